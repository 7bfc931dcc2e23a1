"""FAULTS 3: roles killed with SIGKILL in the middle of a replay; the end is that of an undisturbed one.

The evaluator is also killed between a decision and its commit, the executor between a fill and its booking:
the statement waits in the database while the process ends, and is then undone, or lands after all.
"""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from itertools import islice, pairwise

import asyncpg
import pytest
import redis.asyncio

from app.adapters.embedded import create_database, drop_database
from app.adapters.postgres.exports import PostgresExports
from app.bootstrap import migrate, stack
from app.domain.market import Tick, TickKind
from app.domain.times import NS_PER_HOUR, NS_PER_SECOND
from app.entrypoints.cli import supervise
from app.lab.history import read_ticks
from app.services.load_scenario import load_scenario, parse_scenario
from app.settings import Settings
from tests.recorded_storm import INSTRUMENT, scenario_text, write_bars
from tests.running_roles import Roles, running_roles
from tests.waiting import eventually

ROLES = ("oracle", "evaluator", "executor")
WAITING = """
SELECT pid FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE $1
"""
ALL_CHECKPOINTED = "SELECT min(sequence) = $1 FROM shards"

Disturbance = Callable[["Roles", asyncpg.Pool, asyncio.Event], Coroutine[None, None, None]]


def kill(name: str) -> Disturbance:
    async def kill_it(roles: Roles, pool: asyncpg.Pool, begun: asyncio.Event) -> None:
        begun.set()
        await roles.kill(name)

    return kill_it


def kill_in(statement: str, name: str, *, holding: str, undone: bool = True) -> Disturbance:
    """While its statement waits for rows that are held; then that is undone, or lands after all."""

    async def kill_it(roles: Roles, pool: asyncpg.Pool, begun: asyncio.Event) -> None:
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute(f"SELECT FROM {holding} FOR UPDATE")
            begun.set()
            waiting = partial(pool.fetch, WAITING, f"{statement}%")
            backends = await eventually(waiting, timeout=30, what=f"a statement of {name} that waits")
            await roles.kill(name)
            for backend in backends if undone else ():
                assert await pool.fetchval("SELECT pg_terminate_backend($1, 5000)", backend["pid"])

    return kill_it


# Portfolios' rows: the commit of quiet frames, which decides nothing, does not touch them.
kill_in_commit = partial(kill_in, "%WITH held AS MATERIALIZED", "evaluator", holding="portfolios")
kill_in_booking = partial(kill_in, "%INSERT INTO balances", "executor", holding="balances")


@pytest.fixture
def run_storm(postgres_server, redis_url, tmp_path, monkeypatch):
    """Replays so many bars on a database of its own, disturbed by entry; gives the export and the kills.

    Where something is to come `after` the first `until` entries, the rest is left out.
    """
    # Killed on purpose, a role is started again at once however often it was killed.
    monkeypatch.setattr(supervise, "LONGEST_BACKOFF_SECONDS", supervise.FIRST_BACKOFF_SECONDS)

    async def run(
        name: str,
        *,
        portfolios: int,
        bars: int,
        disturbances: Mapping[int, Disturbance],
        until: int | None = None,
        after: Sequence[list[Tick]] = (),
    ) -> tuple[list[str], Counter[str]]:
        scenario = parse_scenario(scenario_text(portfolios=portfolios, restore="0.0995"))
        file = write_bars(tmp_path / "bars.csv", bars=bars)
        url = await create_database(postgres_server, f"ballast_test_{tmp_path.name[:20]}_{name}")
        settings = Settings(database_url=url, redis_url=redis_url, clock="replay", log_level="info")
        async with redis.asyncio.Redis.from_url(redis_url) as client:
            await client.flushdb()
        await migrate(settings)
        async with stack(settings) as connected, asyncpg.create_pool(url, min_size=2) as pool:
            async with (await connected.units())() as unit:
                await load_scenario(unit, "storm", scenario)
            async with running_roles(settings, tmp_path / f"{name}.log", ROLES) as roles:
                lockstep = await connected.lockstep()
                entries = [*islice(read_ticks(file, instrument=INSTRUMENT), until), *after]
                for begin, end in pairwise([0, *sorted(disturbances), len(entries)]):
                    disturbing: list[asyncio.Task[None]] = []
                    if begin in disturbances:
                        begun = asyncio.Event()
                        disturbance = disturbances[begin](roles, pool, begun)
                        disturbing.append(asyncio.create_task(disturbance))
                        await asyncio.wait_for(begun.wait(), 20)
                    await asyncio.gather(lockstep.run(entries[begin:end]), *disturbing)
                came_to_the_end = partial(pool.fetchval, ALL_CHECKPOINTED, len(entries))
                await eventually(came_to_the_end, timeout=30, what="a checkpoint at the last frame")
            lines = [line async for line in PostgresExports(pool).lines()]
        await drop_database(postgres_server, url.rpartition("/")[2])
        return lines, roles.kills

    return run


def entries_that_acted(export: list[str]) -> list[int]:
    """Every entry makes one frame, and frames count from one."""
    records = map(json.loads, export)
    return sorted({r["sequence"] - 1 for r in records if r["record"] == "adjustment"} - {0})


def adjustments(export: list[str]) -> int:
    return sum(json.loads(line)["record"] == "adjustment" for line in export)


async def test_f03_killed_anywhere_it_ends_the_same(run_storm):
    undisturbed, _ = await run_storm("calm", portfolios=4, bars=20, disturbances={})
    acted = entries_that_acted(undisturbed)
    disturbances = {
        acted[1]: kill_in_commit(),
        acted[2]: kill_in_booking(),
        acted[3] + 1: kill("evaluator"),
        acted[4] + 1: kill("oracle"),
    }
    disturbed, kills = await run_storm("killed", portfolios=4, bars=20, disturbances=disturbances)
    assert kills == {"evaluator": 2, "executor": 1, "oracle": 1}
    assert adjustments(undisturbed) > 10
    assert disturbed == undisturbed


BOUNDARY_NS = 1_709_280_000_000_000_000  # 2024-03-01T08:00:00Z
TWO_BOUNDARIES = [
    [Tick(TickKind.FUNDING_RATE, "file", INSTRUMENT, 1, BOUNDARY_NS - NS_PER_SECOND, 0.0001)],
    [Tick(TickKind.HEARTBEAT, "clock", "", 1, BOUNDARY_NS, 0.0)],
    [Tick(TickKind.HEARTBEAT, "clock", "", 2, BOUNDARY_NS + 8 * NS_PER_HOUR, 0.0)],
]


async def test_f03_killed_as_funding_is_committed_it_is_paid_once(run_storm):
    """Where the commit was undone the successor pays; where it landed after all it does not pay again."""
    storm = partial(run_storm, portfolios=4, bars=100, until=4, after=TWO_BOUNDARIES)
    undisturbed, _ = await storm("still", disturbances={})
    disturbed, kills = await storm(
        "struck", disturbances={5: kill_in_commit(), 6: kill_in_commit(undone=False)}
    )
    assert kills == {"evaluator": 2}
    fills = [record for record in map(json.loads, undisturbed) if record["record"] == "fill"]
    assert sum(fill["kind"] == "funding" for fill in fills) == 4 * 2 * 2  # of books, accounts, boundaries
    assert disturbed == undisturbed


def sixty_kills(acted: list[int], entries: int) -> dict[int, Disturbance]:
    """Twenty of each role: 12 + 4 evaluators and 12 executors in a commit, the rest wherever they are."""
    caught: dict[int, Disturbance] = {}
    caught |= dict.fromkeys(acted[0::3][:12], kill_in_commit())
    caught |= dict.fromkeys(acted[1::3][:12], kill_in_booking())
    caught |= dict.fromkeys(acted[2::3][:4], kill_in_commit(undone=False))
    others = ["oracle"] * 20 + ["evaluator"] * 4 + ["executor"] * 8
    random.Random(3).shuffle(others)
    free = [entry for entry in range(1, entries) if entry not in caught]
    places = free[:: len(free) // len(others)]
    return caught | {entry: kill(name) for entry, name in zip(places, others, strict=False)}


@pytest.mark.long
async def test_f03_each_killed_twenty_times_it_ends_the_same(run_storm):
    undisturbed, _ = await run_storm("calm", portfolios=16, bars=100, disturbances={})
    assert adjustments(undisturbed) >= 200
    disturbances = sixty_kills(entries_that_acted(undisturbed), entries=400)
    disturbed, kills = await run_storm("killed", portfolios=16, bars=100, disturbances=disturbances)
    assert kills == dict.fromkeys(ROLES, 20)
    assert disturbed == undisturbed
