"""FAULTS 3: roles killed with SIGKILL in the middle of a replay; the end is that of an undisturbed one.

The evaluator is also killed while its commit waits in the database, and that commit is then undone.
"""

import asyncio
import signal
from collections.abc import Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from functools import partial
from itertools import pairwise

import asyncpg
import pytest
import redis.asyncio

from app.adapters.embedded import create_database, drop_database
from app.adapters.postgres.exports import PostgresExports
from app.bootstrap import migrate, stack
from app.entrypoints.cli import supervise
from app.entrypoints.cli.local import environment
from app.entrypoints.cli.supervise import Part, Supervisor
from app.lab.history import read_ticks
from app.services.load_scenario import load_scenario, parse_scenario
from app.settings import Settings
from tests.recorded_storm import INSTRUMENT, scenario_text, write_bars
from tests.waiting import eventually

PARTS = [Part(name, [name]) for name in ("oracle", "evaluator", "executor")]
WAITING = """
SELECT pid FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%WITH held AS MATERIALIZED%'
"""
CLAIMED = "SELECT min(epoch) > $1 FROM shards"

Disturbance = Callable[["Roles", asyncpg.Pool, asyncio.Event], Coroutine[None, None, None]]


class Roles:
    """The three that decide and do, each kept alive by the supervisor."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self.killed_epoch = 0  # of the evaluator: its successor claims the shards under the next one

    def all_run(self) -> bool:
        running = self._supervisor.processes
        return len(running) == len(PARTS) and all(p.returncode is None for p in running.values())

    async def kill(self, name: str) -> None:
        """One that runs: after a kill shortly before, its successor."""
        process = await eventually(lambda: self._running(name), timeout=20, what=f"a running {name}")
        process.kill()
        assert await process.wait() == -signal.SIGKILL

    def _running(self, name: str) -> asyncio.subprocess.Process | None:
        process = self._supervisor.processes[name]
        return process if process.returncode is None else None


def kill(name: str) -> Disturbance:
    async def kill_it(roles: Roles, pool: asyncpg.Pool, begun: asyncio.Event) -> None:
        begun.set()
        await roles.kill(name)
        if name == "evaluator":
            roles.killed_epoch += 1

    return kill_it


async def kill_in_commit(roles: Roles, pool: asyncpg.Pool, begun: asyncio.Event) -> None:
    """The evaluator's statement waits; its process ends, then its backend, before the lock is released."""
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT FROM shards FOR UPDATE")
        begun.set()
        backends = await eventually(lambda: pool.fetch(WAITING), timeout=20, what="a commit that waits")
        await roles.kill("evaluator")
        roles.killed_epoch += 1
        for backend in backends:
            await pool.fetchval("SELECT pg_terminate_backend($1, 5000)", backend["pid"])
        assert not await pool.fetch(WAITING)


@asynccontextmanager
async def running_roles(settings: Settings, log):
    stop = asyncio.Event()
    supervisor = Supervisor(environment(settings), log=log)
    task = asyncio.create_task(supervisor.run(PARTS, stop))
    roles = Roles(supervisor)
    try:
        await eventually(roles.all_run)
        yield roles
    finally:
        stop.set()
        await task


@pytest.fixture
def run_storm(postgres_server, redis_url, tmp_path, monkeypatch):
    """Replays so many bars on a database of its own, with disturbances by entry; gives the export."""
    # Killed on purpose, a role is started again at once however often it was killed.
    monkeypatch.setattr(supervise, "LONGEST_BACKOFF_SECONDS", supervise.FIRST_BACKOFF_SECONDS)
    scenario = parse_scenario(scenario_text(portfolios=4))

    async def run(name: str, bars: int, disturbances: Mapping[int, Disturbance]) -> list[str]:
        file = write_bars(tmp_path / "bars.csv", bars=bars)
        url = await create_database(postgres_server, f"ballast_test_{tmp_path.name[:20]}_{name}")
        settings = Settings(database_url=url, redis_url=redis_url, clock="replay", log_level="warning")
        async with redis.asyncio.Redis.from_url(redis_url) as client:
            await client.flushdb()
        await migrate(settings)
        with (tmp_path / f"{name}.log").open("wb") as log:
            async with stack(settings) as connected, asyncpg.create_pool(url, min_size=2) as pool:
                async with (await connected.units())() as unit:
                    await load_scenario(unit, "storm", scenario)
                async with running_roles(settings, log) as roles:
                    lockstep = await connected.lockstep()
                    entries = list(read_ticks(file, instrument=INSTRUMENT))
                    for begin, end in pairwise([0, *disturbances, len(entries)]):
                        disturbing: list[asyncio.Task[None]] = []
                        if begin in disturbances:
                            await eventually(partial(pool.fetchval, CLAIMED, roles.killed_epoch), timeout=20)
                            begun = asyncio.Event()
                            disturbance = disturbances[begin](roles, pool, begun)
                            disturbing.append(asyncio.create_task(disturbance))
                            await asyncio.wait_for(begun.wait(), 20)
                        await asyncio.gather(lockstep.run(entries[begin:end]), *disturbing)
                lines = [line async for line in PostgresExports(pool).lines()]
        await drop_database(postgres_server, url.rpartition("/")[2])
        return lines

    return run


async def test_f03_killed_anywhere_it_ends_the_same(run_storm):
    undisturbed = await run_storm("calm", 20, {})
    disturbed = await run_storm(
        "killed",
        20,
        {10: kill("executor"), 25: kill("evaluator"), 40: kill("oracle"), 55: kill_in_commit},
    )
    assert sum('"record": "adjustment"' in line for line in undisturbed) > 10
    assert disturbed == undisturbed
