"""FAULTS 3: the oracle's process killed twenty times; the market is told as if nobody had killed it."""

import asyncio
import random
from dataclasses import dataclass

import asyncpg
import pytest
from msgspec.structs import replace

from app.adapters.embedded import create_database, drop_database
from app.adapters.redis_streams.client import connect
from app.bootstrap import migrate, stack
from app.domain.market import Quality, Tick, TickKind
from app.domain.times import NS_PER_SECOND
from app.entrypoints.cli import supervise
from app.oracle.declared import Declared, Source
from app.services.load_scenario import load_scenario, parse_scenario
from app.settings import Settings
from tests.recorded_storm import INSTRUMENT, scenario_text
from tests.running_oracle import START_NS, Publisher
from tests.running_roles import running_roles
from tests.waiting import eventually

SOURCES, ENTRIES, KILLS = 5, 2_000, 20
COIN = "USDC-USDT"
LISTED = f"""
  - {{id: {COIN}, kind: spot, underlying: USDC, quote: USDT, lot_size: 0.01, tick_size: 0.0001}}
portfolios:
"""
DECLARED = Declared(
    sources={
        "source-0": Source(quote="USDC"),
        "source-1": Source(maximum_age_ns=NS_PER_SECOND, heartbeat_ns=3 * NS_PER_SECOND),
        "rates": Source(maximum_age_ns=8 * NS_PER_SECOND, heartbeat_ns=10 * NS_PER_SECOND),
    }
)


@dataclass(frozen=True)
class Told:
    """Frames but for when they were stamped and the entries they name; both are of the run. Which entries had
    something refused and why: a kill between the dead letter and the frames has it written twice.
    """

    frames: list
    kills: int
    refused: set


def entries() -> list[list[Tick]]:
    """A walk that all sources are near to; two lie for a while, and some repeat themselves.

    One speaks in a coin, whose rate is told so seldom that it converts for a while and then no more. One has
    heartbeats of its own.
    """
    chance, price, sequences, found = random.Random(17), 50_000.0, [0] * SOURCES, []
    for number in range(ENTRIES):
        price *= 1.0 + chance.gauss(0.0, 2e-4)
        ticks = []
        for source in chance.sample(range(SOURCES), chance.randint(1, SOURCES)):
            sequences[source] += chance.random() > 0.02  # else it is one that was told before
            lies = source >= SOURCES - 2 and 500 < number < 900
            ticks.append(
                Tick(
                    TickKind.PRICE,
                    f"source-{source}",
                    INSTRUMENT,
                    sequences[source],
                    START_NS + number * NS_PER_SECOND // 4,
                    price * (1.03 if lies else 1.0 + chance.gauss(0.0, 1e-4)),
                    price * 1e-4,
                )
            )
        time_ns = START_NS + number * NS_PER_SECOND // 4
        if number % 80 == 0:
            ticks.append(Tick(TickKind.PRICE, "rates", COIN, number + 1, time_ns, chance.gauss(1.0, 1e-4)))
        if number % 30 == 0:
            ticks.append(Tick(TickKind.HEARTBEAT, "source-4", "", 1, time_ns, 0.0))
        found.append(ticks)
    return found


@pytest.fixture
def told(postgres_server, redis_url, tmp_path, monkeypatch):
    """What the oracle role says of the entries, killed so often while they come."""
    monkeypatch.setattr(supervise, "LONGEST_BACKOFF_SECONDS", supervise.FIRST_BACKOFF_SECONDS)

    text = scenario_text(portfolios=1).replace("portfolios:\n", LISTED.lstrip("\n"))

    async def run(name: str, kills: int) -> Told:
        url = await create_database(postgres_server, f"ballast_test_{tmp_path.name[:20]}_{name}")
        settings = Settings(database_url=url, redis_url=redis_url, clock="replay", log_level="info")
        async with connect(redis_url) as redis, asyncpg.create_pool(url, min_size=1):
            await redis.flushdb()
            await migrate(settings)
            async with stack(settings) as connected, (await connected.units())() as unit:
                await load_scenario(unit, "storm", parse_scenario(text))
                await unit.sources.declare(DECLARED)
            publisher = Publisher(redis)
            async with running_roles(settings, tmp_path / f"{name}.log", ("oracle",)) as roles:
                bodies, chance = [publisher.packed(ticks) for ticks in entries()], random.Random(3)
                ends = sorted(chance.sample(range(1, ENTRIES), kills))
                sent: list[str] = []
                for begin, end in zip([0, *ends], [*ends, ENTRIES], strict=True):
                    sent += await publisher.send_together(bodies[begin:end])
                    if end < ENTRIES:
                        await asyncio.sleep(0)  # it is killed with more or less of them read
                        await roles.kill("oracle")

                async def all_was_read() -> bool:
                    return (await publisher.state()).get("cursor") == sent[-1]

                await eventually(all_was_read, timeout=60, what="the last entry at the cursor")
            frames = [replace(frame, stamp_ns=0, entry="") for frame in await publisher.frames()]
            refused = {(sent.index(entry), reason) for entry, reason in await publisher.refusals()}
        await drop_database(postgres_server, url.rpartition("/")[2])
        return Told(frames, roles.kills["oracle"], refused)

    return run


async def test_f03_the_oracle_killed_twenty_times_tells_the_same_market(told):
    undisturbed, disturbed = await told("calm", 0), await told("killed", KILLS)
    assert disturbed.kills == KILLS
    assert len(undisturbed.frames) > 0.9 * ENTRIES
    told_of = {
        name: {
            change.quality
            for frame in undisturbed.frames
            for change in frame.changes
            if change.instrument == name
        }
        for name in (INSTRUMENT, COIN)
    }
    assert told_of[COIN] == {Quality.VALID, Quality.STALE_FOR_TRADING, Quality.STALE_FOR_MARGIN}
    assert told_of[INSTRUMENT] == {Quality.VALID, Quality.TOO_UNCERTAIN}
    assert disturbed.frames == undisturbed.frames
    assert disturbed.refused == undisturbed.refused
    assert undisturbed.refused
