"""The oracle on a real Redis and PostgreSQL, and somebody who publishes to it and reads what comes of it."""

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager

import asyncpg
import msgspec

from app.adapters.postgres.leases import PostgresOracleLease
from app.adapters.postgres.source_rows import PostgresListings
from app.adapters.redis_streams.client import connect, fields, read_range
from app.adapters.redis_streams.keys import DEADLETTER, MARKET, PROGRESS, STATE, TICKS
from app.adapters.redis_streams.market_log import RedisMarketLog
from app.adapters.redis_streams.tick_log import RedisTickLog
from app.adapters.redis_streams.whole_replies import WholeReplies
from app.adapters.redis_streams.wire import Wire
from app.adapters.wall_clock import SystemClock
from app.bootstrap import stack
from app.domain.market import Frame, Rejection, Tick, TickKind
from app.entrypoints import evaluator as evaluator_role
from app.services.ingest_ticks import IngestTicks
from app.settings import Settings
from tests import factories
from tests.waiting import eventually

START_NS = 1_767_225_600_000_000_000
BTC = factories.BTC_SPOT.id
PERP = factories.BTC_PERP.id

unpack_frame = msgspec.msgpack.Decoder(Frame).decode


def good(sequence, *, instrument=BTC, time_ns=START_NS, value=50_000.0):
    return Tick(TickKind.PRICE, "venue", instrument, sequence, time_ns, value)


class Publisher:
    """Writes by hand what no client of ours would, and reads what became of it."""

    def __init__(self, redis):
        self._redis = redis

    @staticmethod
    def packed(ticks):
        return ["packed", msgspec.msgpack.encode(ticks)]

    async def send(self, body):
        return (await self._redis.execute_command("XADD", TICKS, "*", *body)).decode()

    async def send_together(self, bodies):
        """Entries that are all there at the same moment."""
        pipeline = self._redis.pipeline(transaction=True)
        for body in bodies:
            pipeline.execute_command("XADD", TICKS, "*", *body)
        return [entry.decode() for entry in await pipeline.execute()]

    async def shard_is_at(self, position):
        """What an evaluator would say of its shard."""
        await self._redis.hset(PROGRESS, "0", position.entry_id)

    async def state(self):
        return {name.decode(): value.decode() for name, value in (await self._redis.hgetall(STATE)).items()}

    async def frames(self):
        return [unpack_frame(row[b"f"]) for row in await self._rows(MARKET)]

    async def refusals(self):
        """(entry, reason) in the order in which they were refused; each has words to it."""
        rows = await self._rows(DEADLETTER)
        assert all(row[b"message"] and len(row[b"payload"]) <= 512 for row in rows)
        return [(row[b"entry"].decode(), Rejection(row[b"reason"].decode())) for row in rows]

    async def _rows(self, stream):
        entries = await read_range(self._redis, stream, "-", "+", count=10_000)
        return [dict(fields(flat)) for _, flat in entries]

    async def frame_of(self, body):
        """The frame that an entry makes."""
        entry = await self.send(body)

        async def found():
            return [frame for frame in await self.frames() if frame.entry == entry]

        (frame,) = await eventually(found, what=f"the frame of {body!r}")
        return frame


def service_of(pool, streams, wire):
    return IngestTicks(
        ticks=RedisTickLog(streams, wire),
        market=RedisMarketLog(streams, wire),
        lease=PostgresOracleLease(pool, owner="oracle@test"),
        listings=PostgresListings(pool),
        clock=SystemClock(),
    )


@asynccontextmanager
async def writing(pool, redis_url):
    """The real service until the end of the block; what it raises, the test raises."""
    stop = asyncio.Event()
    async with Wire(redis_url, WholeReplies) as streams, Wire(redis_url) as wire:
        running = asyncio.create_task(service_of(pool, streams, wire).run(stop))
        try:
            yield
        finally:
            stop.set()
            await running


@asynccontextmanager
async def oracle(engine, redis_url, database_url, *, clock):
    """The same on a market that is made for it, and who publishes to it."""
    await factories.create_market(engine, clock=clock)
    async with (
        asyncpg.create_pool(database_url, min_size=1, max_size=3) as pool,
        connect(redis_url) as redis,
        writing(pool, redis_url),
    ):
        yield Publisher(redis)


@asynccontextmanager
async def oracle_and_evaluator(database_url, redis_url):
    """The two roles on a replay's clock until the end of the block; gives whom ticks are published by."""
    settings = Settings(database_url=database_url, redis_url=redis_url, clock="replay", instance="test")
    stop = asyncio.Event()
    async with AsyncExitStack() as resources:
        connected = await resources.enter_async_context(stack(settings))
        service, ticks = await connected.oracle(), await connected.ticks()
        leases, open_lane = await connected.shard_leases(), await connected.lanes()
        tasks = [
            asyncio.create_task(service.run(stop)),
            asyncio.create_task(evaluator_role.run(leases=leases, open_lane=open_lane, stop=stop)),
        ]
        yield ticks
        stop.set()
        await asyncio.gather(*tasks)
