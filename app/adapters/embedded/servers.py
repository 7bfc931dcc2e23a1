"""Both embedded servers on one data directory, with one owner."""

import asyncio
import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from app.adapters.embedded.errors import DataDirectoryInUse
from app.adapters.embedded.postgres import EmbeddedPostgres
from app.adapters.embedded.processes import read_pid
from app.adapters.embedded.redis import EmbeddedRedis

_ADDRESSES = "addresses"


class EmbeddedServers:
    """PostgreSQL in `data_dir/postgres` and Redis in `data_dir/redis`; a second owner is refused.

    `with` and `async with` start both and stop both; the asynchronous form leaves the loop free meanwhile.
    """

    def __init__(self, data_dir: Path, *, database: str = "ballast", durable: bool = True) -> None:
        self._data_dir = data_dir.absolute()
        self.postgres = EmbeddedPostgres(self._data_dir / "postgres", database=database, durable=durable)
        self.redis = EmbeddedRedis(self._data_dir / "redis", durable=durable)
        self._running = ExitStack()

    @property
    def database_url(self) -> str:
        """The plain form, `postgresql://…`; SQLAlchemy wants `postgresql+asyncpg://` in its place."""
        return self.postgres.dsn

    @property
    def redis_url(self) -> str:
        """`unix:///…`."""
        return self.redis.url

    def start(self) -> None:
        """Start both, or neither: `DataDirectoryInUse` where another process has them."""
        with ExitStack() as starting:
            starting.enter_context(_sole_owner(self._data_dir))
            starting.enter_context(self.postgres)
            starting.enter_context(self.redis)
            starting.enter_context(_told(self._data_dir, self.database_url, self.redis_url))
            self._running = starting.pop_all()

    def stop(self) -> None:
        """Stop both and give the directory up; nothing if not started."""
        self._running.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self.start)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.stop)


def running_addresses(data_dir: Path) -> tuple[str, str] | None:
    """Of PostgreSQL and Redis, where a process runs them on this directory."""
    try:
        database_url, redis_url = (data_dir / _ADDRESSES).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return None
    return database_url, redis_url


@contextmanager
def _told(data_dir: Path, *addresses: str) -> Iterator[None]:
    """Other commands read them there; after a kill they stay, as do the servers."""
    path = data_dir / _ADDRESSES
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text("".join(f"{address}\n" for address in addresses), encoding="utf-8")
    unfinished.replace(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def _sole_owner(data_dir: Path) -> Iterator[None]:
    """Hold the directory by a lock that the kernel gives up with the process, however it ends."""
    data_dir.mkdir(parents=True, exist_ok=True)
    lock_path = data_dir / "owner.pid"
    with lock_path.open("a+", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataDirectoryInUse(data_dir, read_pid(lock_path)) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield
