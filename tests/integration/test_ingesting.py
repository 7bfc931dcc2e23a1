"""The oracle on real Redis and PostgreSQL: when clocks misbehave, when connections are lost, and options."""

import asyncio
import time
from contextlib import asynccontextmanager
from decimal import Decimal

import msgspec
import pytest

from app.adapters.redis_streams import wire as wires
from app.adapters.redis_streams.client import connect
from app.adapters.redis_streams.market_reader import read_consensus
from app.adapters.redis_streams.tick_publisher import flat_fields
from app.adapters.redis_streams.whole_replies import WholeReplies
from app.adapters.redis_streams.wire import Wire
from app.adapters.wall_clock import SystemClock
from app.domain.market import Tick, TickKind
from app.entrypoints import oracle as oracle_role
from app.services.ingest_ticks import READ_COUNT
from tests import factories
from tests.running_oracle import PERP, START_NS, Publisher, good, oracle, service_of
from tests.waiting import eventually

HOUR_NS = 3_600_000_000_000
RENEWED = """
SELECT oracle_lease_until > $1::timestamptz + interval '3 seconds' FROM markets
"""


async def test_a_wall_clock_that_was_set_back_is_no_silence_of_redis(
    engine, redis_url, database_url, asyncpg_pool, monkeypatch
):
    """The next heartbeat is an hour away then: it is not waited for in one read."""
    monkeypatch.setattr(wires, "REPLY_SECONDS", 1.5)
    async with oracle(engine, redis_url, database_url, clock="live") as publisher:
        await eventually(publisher.frames)
        monkeypatch.setattr(SystemClock, "now_ns", lambda _: time.time_ns() - HOUR_NS)
        until = await asyncpg_pool.fetchval("SELECT oracle_lease_until FROM markets")
        await eventually(lambda: asyncpg_pool.fetchval(RENEWED, until), what="a lease that is renewed")


async def test_a_listed_option_that_nobody_quotes_has_the_volatility_of_the_surface(
    engine, redis, redis_url, database_url
):
    strikes = [30_000, 45_000, 60_000, 75_000, 90_000, 105_000]
    calls = [
        factories.BTC_CALL.model_copy(update={"id": f"BTC-{strike}", "strike": Decimal(strike)})
        for strike in strikes
    ]
    await factories.create_instruments(engine, calls)
    silent = factories.BTC_CALL.id  # of the strike 60000 too
    ticks = [good(1, instrument=PERP, value=60_000.0)]
    ticks += [Tick(TickKind.IMPLIED_VOL, "venue", call.id, 1, START_NS, 0.6) for call in calls]
    async with oracle(engine, redis_url, database_url, clock="replay") as publisher:
        frame = await publisher.frame_of(["packed", msgspec.msgpack.encode(ticks)])
    (change,) = [change for change in frame.changes if change.is_read_off]
    assert change.instrument == silent
    assert change.value == pytest.approx(0.6, abs=1e-3)
    key = (TickKind.IMPLIED_VOL, silent)
    assert (await read_consensus(redis, [key]))[key] == change


async def test_a_connection_lost_under_way_costs_no_tick_and_repeats_none(
    engine, redis, redis_url, asyncpg_pool
):
    """The one on which the role reads and writes, again and again while it does."""
    await factories.create_market(engine, clock="replay")
    sent, killed = [], 0
    async with connect(redis_url) as client, as_a_role(asyncpg_pool, redis_url):
        publisher = Publisher(client)
        for number in range(1, 121):
            sent.append(await publisher.send(flat_fields(good(number))))
            if number % 40 == 0:
                killed += await kill_who_reads(redis)

        async def all_told():
            return [frame.entry for frame in await publisher.frames()] == sent

        await eventually(all_told, what="a frame of each entry, in order")
        assert await publisher.refusals() == []
    assert killed >= 3


async def test_a_read_ahead_waits_for_no_ticks(engine, redis_url, asyncpg_pool):
    """The frames of what was read are written behind it, on the same connection."""
    await factories.create_market(engine, clock="replay")
    async with connect(redis_url) as client, connect(redis_url) as other, as_a_role(asyncpg_pool, redis_url):
        publisher = Publisher(client)
        await publisher.frame_of(flat_fields(good(1)))
        async with other.monitor() as monitor:
            bodies = [flat_fields(good(number)) for number in range(2, READ_COUNT + 2)]
            sent = await publisher.send_together(bodies)
            reads = []
            async for told in monitor.listen():
                name, *words = told["command"].split()
                if name == "XREAD" and words[-1] == sent[-1]:
                    reads.append("BLOCK" in words)
                if len(reads) == 2:
                    break
        assert reads == [False, True]
        assert [frame.entry for frame in await publisher.frames()][1:] == sent


async def kill_who_reads(redis):
    """How many connections that were."""

    async def found():
        clients = await redis.client_list()
        return [client["id"] for client in clients if client["cmd"] in ("xread", "evalsha")]

    ids = await eventually(found, what="a connection that reads or writes")
    for number in ids:
        await redis.client_kill_filter(_id=number)
    return len(ids)


@asynccontextmanager
async def as_a_role(pool, redis_url):
    """Until the end of the block, on connections that it makes anew when they are lost."""
    stop = asyncio.Event()
    async with Wire(redis_url, WholeReplies) as streams, Wire(redis_url) as wire:
        running = asyncio.create_task(oracle_role.run(oracle=service_of(pool, streams, wire), stop=stop))
        try:
            yield
        finally:
            stop.set()
            await running
