"""Several roles on one machine, each a process of its own; one that dies is started again, with back-off.

Should the supervisor itself be killed, its roles are told to stop (on Linux): nobody would start them again,
and the next supervisor starts its own.
"""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

import structlog

from app.adapters.embedded import leashed

FIRST_BACKOFF_SECONDS = 0.2
LONGEST_BACKOFF_SECONDS = 10.0
HEALTHY_AFTER_SECONDS = 5.0
STOP_SECONDS = 15.0

_log = structlog.get_logger("supervisor")


@dataclass(frozen=True, slots=True)
class Part:
    """`name` is unique, and with it the owner of leases: a restarted part takes its own over at once."""

    name: str
    arguments: Sequence[str]


def parts(*, evaluators: int, host: str, port: int) -> list[Part]:
    return [
        Part("oracle", ["oracle"]),
        *(Part(f"evaluator-{number}", ["evaluator"]) for number in range(evaluators)),
        Part("executor", ["executor"]),
        Part("courier", ["courier"]),
        Part("api", ["api", "--host", host, "--port", str(port)]),
    ]


class Supervisor:
    def __init__(self, environment: Mapping[str, str], *, log: IO[bytes] | None = None) -> None:
        self._environment = {**os.environ, **environment}
        self._log_file = log
        self.processes: dict[str, asyncio.subprocess.Process] = {}

    async def run(self, wanted: Sequence[Part], stop: asyncio.Event) -> None:
        """Until `stop`; then every part is told to stop, and killed only if it does not."""
        async with asyncio.TaskGroup() as tasks:
            for part in wanted:
                tasks.create_task(self._keep(part, stop))

    async def _keep(self, part: Part, stop: asyncio.Event) -> None:
        backoff = FIRST_BACKOFF_SECONDS
        while not stop.is_set():
            began = time.monotonic()
            process = await self._start(part)
            self.processes[part.name] = process
            ended = asyncio.create_task(process.wait())
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait({ended, stopping}, return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            if stop.is_set():
                await self._end(process, ended)
                return
            if time.monotonic() - began > HEALTHY_AFTER_SECONDS:
                backoff = FIRST_BACKOFF_SECONDS
            _log.warning("restarting", part=part.name, code=process.returncode, after_seconds=backoff)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), backoff)
            backoff = min(2 * backoff, LONGEST_BACKOFF_SECONDS)

    async def _start(self, part: Part) -> asyncio.subprocess.Process:
        """In a session of its own: the terminal's Ctrl-C is for the supervisor, which stops parts itself."""
        environment = {**self._environment, "BALLAST_INSTANCE": part.name}
        command = [sys.executable, "-m", "app.entrypoints.cli", *part.arguments]
        return await asyncio.create_subprocess_exec(
            *leashed(command, signal.SIGTERM),
            env=environment, stdout=self._log_file, stderr=self._log_file, start_new_session=True,
        )  # fmt: skip

    async def _end(self, process: asyncio.subprocess.Process, ended: asyncio.Task[int]) -> None:
        with suppress(ProcessLookupError):
            process.terminate()
        done, _ = await asyncio.wait({ended}, timeout=STOP_SECONDS)
        if not done:
            process.kill()
            await ended
