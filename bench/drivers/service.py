"""Ballast as its operator runs it: servers, `ballast migrate`, and five roles in processes of their own."""

import json
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.adapters.embedded.servers import EmbeddedServers
from bench.drivers.pipeline_client import Feed
from bench.floors.redis_wire import BlockingRedis
from bench.processes import Child, children

ROLES = ("oracle", "evaluator", "executor", "courier", "api")
_CLI = "app.entrypoints.cli"
_READY_SECONDS = 60.0
_LOG_LINES = 30


@dataclass(frozen=True, slots=True)
class Ballast:
    """Running, and caught up with its market."""

    redis_path: str
    database_url: str
    api_port: int
    roles: tuple[Child, ...]

    def adjustments_feed(self, token: str) -> Feed:
        """All adjustments of the token's tenant; it says `authenticated`, `subscribed` and a snapshot."""
        return Feed(
            port=self.api_port,
            path="/v1/stream",
            headers={"Authorization": f"Bearer {token}"},
            hello=[json.dumps({"op": "subscribe", "channel": "adjustments"})],
            answers_to_hello=3,
        )

    def peak_memory_mib(self) -> float:
        """Of all roles together."""
        return sum(role.peak_memory_mib() for role in self.roles)

    def check_alive(self) -> None:
        if dead := [role.name for role in self.roles if not role.running]:
            raise RuntimeError(f"ended by itself: {', '.join(dead)}")


@contextmanager
def ballast(
    directory: Path, prepare: Callable[[str], None], *, names: Sequence[str] = ROLES
) -> Iterator[Ballast]:
    """`prepare` is given the migrated database's address before any role starts, all or those named."""
    with ExitStack() as running:
        servers = running.enter_context(EmbeddedServers(directory / "servers"))
        environment = {"BALLAST_DATABASE_URL": servers.database_url, "BALLAST_REDIS_URL": servers.redis_url}
        running.enter_context(_log_shown_on_failure(directory / "roles.log"))
        log = running.enter_context((directory / "roles.log").open("wb"))
        migrate = Child(_CLI, ["migrate"], environment=environment, log=log)
        with children(migrate):
            migrate.output(timeout_seconds=_READY_SECONDS)
        prepare(servers.database_url)
        port = _free_port()
        arguments = {"api": ["--host", "127.0.0.1", "--port", str(port)]}
        roles = tuple(
            Child(_CLI, [role, *arguments.get(role, [])], environment=environment, log=log) for role in names
        )
        running.enter_context(children(*roles))
        service = Ballast(servers.redis_url.removeprefix("unix://"), servers.database_url, port, roles)
        _wait_until_ready(service)
        yield service


def _wait_until_ready(service: Ballast) -> None:
    """The oracle writes; where there are such roles, the API accepts, and some frame was evaluated."""
    deadline = time.monotonic() + _READY_SECONDS
    names = {role.name.split()[-1] for role in service.roles}
    with closing(BlockingRedis(service.redis_path)) as redis:
        while time.monotonic() < deadline:
            service.check_alive()
            writes = redis.call(b"XLEN", b"market") > 0
            evaluates = "evaluator" not in names or redis.call(b"HLEN", b"{market}:progress") > 0
            if writes and evaluates and ("api" not in names or _accepts(service.api_port)):
                return
            time.sleep(0.05)
    raise RuntimeError(f"not ready in {_READY_SECONDS:.0f} s")


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
    except OSError:
        return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _log_shown_on_failure(path: Path) -> Iterator[None]:
    """The last words of the roles, before the error that follows."""
    try:
        yield
    except BaseException:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        print("\n".join(lines[-_LOG_LINES:]), file=sys.stderr)
        raise
