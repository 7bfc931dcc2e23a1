"""A source that is away shows in the market's quality: feeds, a real Redis, the oracle's own sequencer."""

import asyncio
import itertools
import time
from contextlib import asynccontextmanager

from app.adapters.feeds.pyth import PythFeed
from app.adapters.redis_streams.tick_log import RedisTickLog
from app.adapters.redis_streams.tick_publisher import RedisTickPublisher
from app.adapters.redis_streams.whole_replies import WholeReplies
from app.adapters.redis_streams.wire import Wire
from app.domain.instruments import Instrument
from app.domain.market import Quality, TickKind
from app.oracle.declared import SECOND_NS, Declared, Pair, Source
from app.oracle.sequencer import ClockMode, Sequencer
from app.oracle.standing import standings
from app.oracle.warm_up import warm_up
from app.ports.feeds import Line
from tests.integration.feeds.hermes import hermes, update
from tests.integration.feeds.listening import published
from tests.waiting import eventually

BTC = Instrument(id="BTC-USD", kind="spot", underlying="BTC", quote="USD")
AGE = 2 * SECOND_NS  # Hermes tells whole seconds
DECLARED = Declared(
    sources={"pyth-a": Source(maximum_age_ns=AGE), "pyth-b": Source(maximum_age_ns=AGE)},
    quorums={BTC.id: {"sources": 2}},
)


class Market:
    """What the sequencer makes of the tick stream, on the live clock."""

    def __init__(self, ticks):
        self._ticks = ticks
        self.refused = []
        self.changes = []
        self.sequencer = Sequencer(
            generation=1,
            sequence=0,
            time_ns=0,
            clock=ClockMode.LIVE,
            instruments={BTC.id: Pair("BTC", "USD", is_spot=True)},
            declared=DECLARED,
        )

    async def follow(self):
        after = "0-0"
        while True:
            batch = await self._ticks.read(after, count=100, block_ms=100)
            for entry in map(batch.entry, range(len(batch))):
                wall_ns, after = time.time_ns(), entry.id
                step = self.sequencer.take(entry=entry.id, ticks=entry.ticks, wall_ns=wall_ns)
                self.refused += step.rejected
                self.sequencer.close(wall_ns=wall_ns)
                self.changes += [change for frame in self.sequencer.frames() for change in frame.changes]


@asynccontextmanager
async def market(redis_url):
    async with Wire(redis_url, WholeReplies) as reading, Wire(redis_url) as wire:
        it = Market(RedisTickLog(reading, wire))
        following = asyncio.create_task(it.follow())
        try:
            yield it
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)


async def test_a_source_that_is_away_is_missed_until_it_is_back(redis_url, monkeypatch):
    warm_up()
    slots = itertools.count(1)
    async with hermes() as a, hermes() as b, market(redis_url) as seen, Wire(redis_url) as wire:
        feeds = [
            PythFeed(source=name, lines=[Line(BTC, "Crypto.BTC/USD")], url=server.server.url)
            for name, server in (("pyth-a", a), ("pyth-b", b))
        ]

        async def quality_becomes(quality, *, speaking):
            async def it_has():
                for server in speaking:
                    told = update("64250", expo=0, conf="1", publish_time=int(time.time()), slot=next(slots))
                    await server.say(told)
                return seen.changes and seen.changes[-1].quality is quality

            await eventually(it_has, what=quality.name)

        ticks = RedisTickPublisher(wire)
        async with published(feeds[0], ticks, monkeypatch), published(feeds[1], ticks, monkeypatch):
            await quality_becomes(Quality.VALID, speaking=[a, b])
            await a.server.end()
            await quality_becomes(Quality.INSUFFICIENT_SOURCES, speaking=[b])
            machine = seen.sequencer
            lines = standings(
                machine.memory(), machine.declared, of_prices_ns=AGE, instruments=machine.instruments
            )
            missed = lines[TickKind.PRICE, BTC.id]
            ages = {voice.tick.source: time.time_ns() - voice.tick.time_ns for voice in missed.sources}
            assert ages["pyth-a"] > AGE > ages["pyth-b"]
            await a.server.begin()
            await quality_becomes(Quality.VALID, speaking=[a, b])
    assert seen.refused == []
