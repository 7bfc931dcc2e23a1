"""FAULTS 3: whoever sleeps decides the same though its shard is taken over.

Of two evaluators one is killed, and its shards go to the other when its lease ends. There their portfolios
begin awake, fall asleep at the next look, and wake on the tick that concerns them.
"""

import asyncio
import json
import signal
from contextlib import asynccontextmanager
from functools import partial

import asyncpg
import redis.asyncio

from app.adapters.embedded import create_database, drop_database
from app.adapters.postgres.exports import PostgresExports
from app.adapters.redis_streams.evaluator_figures import read_figures
from app.bootstrap import migrate, stack
from app.domain.market import Tick, TickKind
from app.domain.times import NS_PER_SECOND
from app.entrypoints.cli import supervise
from app.entrypoints.cli.local import environment
from app.entrypoints.cli.supervise import Part, Supervisor
from app.services.load_scenario import load_scenario, parse_scenario
from app.settings import Settings
from tests.recorded_storm import INSTRUMENT, scenario_text
from tests.waiting import eventually

BEGIN_NS = 1_709_251_200_000_000_000
PARTS = {
    "oracle": "oracle",
    "executor": "executor",
    "surviving": "evaluator",
    "doomed": "evaluator",
}
PORTFOLIOS = 8
# Long and short from 50,000: at first everybody hedges, then nothing happens between 48,889 and 50,909.
QUIET = [50_000.0, 50_010.0, 49_990.0, 50_005.0]
QUIET_ELSEWHERE = [50_015.0, 49_980.0]
ONE_ACTS, ALL_ACT = 48_500.0, [46_000.0, 53_500.0]

OWNED = "SELECT shard FROM shards WHERE owner = $1"
CHECKPOINTED = "SELECT min(sequence) = $1 FROM shards"
SHARDS_THAT_ACTED = """
SELECT DISTINCT shard FROM decisions JOIN portfolios ON portfolios.id = portfolio_id
WHERE outcome = 'acted' AND sequence > $1
"""


class Running:
    def __init__(self, connected, pool, client, supervisor):
        self.connected = connected
        self.pool = pool
        self.client = client
        self._supervisor = supervisor
        self._published = 0

    async def prices(self, *values):
        """One after the other, each worked off, and the last one committed."""
        entries = []
        for value in values:
            self._published += 1
            at = BEGIN_NS + self._published * NS_PER_SECOND
            entries.append([Tick(TickKind.PRICE, "file", INSTRUMENT, self._published, at, value)])
        await (await self.connected.lockstep()).run(entries)
        came_to_it = partial(self.pool.fetchval, CHECKPOINTED, self._published)
        await eventually(came_to_it, what="a checkpoint at the last frame")

    async def owned(self, name):
        return {row["shard"] for row in await self.pool.fetch(OWNED, f"evaluator@{name}")}

    async def lanes(self, *, awake):
        """What the evaluators say once so many portfolios are awake, of all shards together."""

        async def said():
            lanes = await read_figures(self.client)
            shards = sorted(shard for lane in lanes for shard in lane.shards)
            held = sum(lane.book.portfolios for lane in lanes)
            found = sum(lane.book.awake_portfolios for lane in lanes)
            assert (shards, held, found) == ([0, 1, 2, 3], PORTFOLIOS, awake)
            return lanes

        return await eventually(said, timeout=30, what="what evaluators say")

    async def is_shared(self):
        return await self.owned("doomed") and await self.owned("surviving")

    async def kill_the_doomed(self):
        process = self._supervisor.processes["doomed"]
        process.kill()
        assert await process.wait() == -signal.SIGKILL


@asynccontextmanager
async def running_on(postgres_server, redis_url, directory, name, *parts):
    url = await create_database(postgres_server, f"ballast_test_{directory.name[:20]}_{name}")
    settings = Settings(database_url=url, redis_url=redis_url, clock="replay")
    await migrate(settings)
    stop = asyncio.Event()
    with (directory / f"{name}.log").open("wb") as log:
        async with (
            redis.asyncio.Redis.from_url(redis_url) as client,
            stack(settings) as connected,
            asyncpg.create_pool(url, min_size=1) as pool,
        ):
            await client.flushdb()
            async with (await connected.units())() as unit:
                scenario = parse_scenario(scenario_text(portfolios=PORTFOLIOS))
                await load_scenario(unit, "sleepers", scenario)
            supervisor = Supervisor(environment(settings), log=log)
            wanted = [Part(part, [PARTS[part]]) for part in parts]
            running = asyncio.create_task(supervisor.run(wanted, stop))
            try:
                yield Running(connected, pool, client, supervisor)
            finally:
                stop.set()
                await running
    await drop_database(postgres_server, url.rpartition("/")[2])


async def lived(running, *, takes_over):
    """The export, the shards that the doomed evaluator had, and those that acted afterwards."""
    if takes_over:
        await eventually(running.is_shared, timeout=30, what="shards of both evaluators")
    await running.prices(*QUIET)
    await running.lanes(awake=0)
    taken = await running.owned("doomed")
    if takes_over:
        await running.kill_the_doomed()
        await eventually(lambda: took_all(running), timeout=40, what="the takeover")
        lanes = await running.lanes(awake=await portfolios_of(running.pool, taken))
        assert all(lane.frames == 0 for lane in lanes if taken.intersection(lane.shards))
    await running.prices(*QUIET_ELSEWHERE)
    lanes = await running.lanes(awake=0)
    woken = sum(lane.woken for lane in lanes)
    await running.prices(ONE_ACTS)

    async def one_woke():
        return sum(lane.woken for lane in await read_figures(running.client)) == woken + 1

    await eventually(one_woke, what="one that wakes")
    await running.prices(*ALL_ACT)
    acted = await running.pool.fetch(SHARDS_THAT_ACTED, len(QUIET + QUIET_ELSEWHERE))
    lines = [line async for line in PostgresExports(running.pool).lines()]
    return lines, taken, {row["shard"] for row in acted}


async def took_all(running):
    return len(await running.owned("surviving")) == 4


async def portfolios_of(pool, shards):
    return await pool.fetchval("SELECT count(*) FROM portfolios WHERE shard = ANY($1::int[])", list(shards))


async def test_f03_sleepers_that_are_taken_over_wake_on_the_tick_that_concerns_them(
    postgres_server, redis_url, tmp_path, monkeypatch
):
    # Whoever is killed stays away: nobody of its name takes its shards over at once.
    monkeypatch.setattr(supervise, "FIRST_BACKOFF_SECONDS", 3_600.0)
    calm = running_on(postgres_server, redis_url, tmp_path, "calm", "oracle", "executor", "surviving")
    async with calm as running:
        undisturbed, _, _ = await lived(running, takes_over=False)
    async with running_on(postgres_server, redis_url, tmp_path, "taken", *PARTS) as running:
        disturbed, taken, acted = await lived(running, takes_over=True)
    assert taken & acted
    assert sum(json.loads(line)["record"] == "adjustment" for line in undisturbed) > 2 * PORTFOLIOS
    assert disturbed == undisturbed
