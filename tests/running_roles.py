"""Roles in processes of their own, to be killed."""

import asyncio
import signal
from collections import Counter
from collections.abc import Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from app.entrypoints.cli.local import environment
from app.entrypoints.cli.supervise import Part, Supervisor
from app.settings import Settings
from tests.waiting import eventually


class Roles:
    """Each is kept alive by the supervisor."""

    def __init__(self, supervisor: Supervisor, log_path: Path, names: Sequence[str]) -> None:
        self._supervisor = supervisor
        self._names = names
        self._log_path = log_path
        self.kills: Counter[str] = Counter()

    async def all_run(self) -> None:
        for name in self._names:
            await self._running(name)

    async def kill(self, name: str) -> None:
        """One that has come up: after a kill shortly before, its successor."""
        process = await self._running(name)
        process.kill()
        assert await process.wait() == -signal.SIGKILL
        self.kills[name] += 1

    async def _running(self, name: str) -> asyncio.subprocess.Process:
        started = f'"event": "{name}_started"'

        def has_started() -> bool:
            return self._log_path.read_text(encoding="utf-8").count(started) > self.kills[name]

        await eventually(has_started, timeout=30, what=f"the start of {name} after {self.kills[name]} kills")
        return self._supervisor.processes[name]


@asynccontextmanager
async def running_roles(settings: Settings, log_path: Path, names: Sequence[str], *, port: int | None = None):
    """`port` is the API's, where that is among them."""
    stop = asyncio.Event()
    with log_path.open("wb") as log:
        supervisor = Supervisor(environment(settings), log=log)
        options = {"api": ["--port", str(port)]}
        parts = [Part(name, [name, *options.get(name, ())]) for name in names]
        task = asyncio.create_task(supervisor.run(parts, stop))
        roles = Roles(supervisor, log_path, names)
        try:
            await roles.all_run()
            yield roles
        finally:
            stop.set()
            await task
