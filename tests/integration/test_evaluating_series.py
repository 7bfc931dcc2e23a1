"""What policies read of the market besides prices, through the oracle and the evaluator, killed on the way.

An evaluator that goes on from a snapshot has to know of a volatility or an average what an undisturbed one
knows: what it decided is compared with the decision core's own answer to all the frames in one go.
"""

import asyncio
import json
from contextlib import AsyncExitStack
from uuid import uuid4

import msgspec
import pytest
from msgspec.structs import replace

from app.adapters.redis_streams.keys import MARKET
from app.bootstrap import stack
from app.domain.conditions import AllOf, Comparison
from app.domain.families.rule import Hedge, Notify
from app.domain.identifiers import PolicyId
from app.domain.market import Frame, Tick, TickKind
from app.domain.policies import Guards, Mode, Rule, StoredPolicy, VolatilityTarget
from app.engine.book import Book
from app.engine.decide import affected, decide, whole_block
from app.engine.market_view import MarketView
from app.engine.universe import Universe
from app.services.manage_policies import create_policy
from app.services.wake_times import WakeTimes
from app.settings import Settings
from tests import factories
from tests.factories import BTC_PERP
from tests.waiting import eventually

BEGIN_NS = 1_709_251_200_000_000_000
SECOND = 1_000_000_000
GUARDS = Guards(cooldown_seconds=3, expiry_seconds=5, maximum_price_age_seconds=60)
RULE = Rule(
    name="step aside", mode=Mode.RECOMMEND, guards=GUARDS,
    condition=Comparison(metric="stress.MARKET", op="above", value="0.7"),
    actions=[Hedge(underlying="BTC", target_delta="0.5", hedge_instruments=(BTC_PERP.id,))],
)  # fmt: skip
AVERAGED = Rule(
    name="dear for a while", mode=Mode.RECOMMEND, guards=GUARDS,
    actions=[Notify(message="above its average")],
    condition=AllOf(conditions=[
        Comparison(metric=f"price.{BTC_PERP.id}", op="above", other=f"twap.{BTC_PERP.id}/7s"),
        Comparison(metric=f"ewma_price.{BTC_PERP.id}/2s", op="below", other=f"price.{BTC_PERP.id}"),
        Comparison(metric=f"ewma_confidence.{BTC_PERP.id}/2s", op="at_most", value="1"),
    ]),
)  # fmt: skip
TARGET = VolatilityTarget(
    name="steady", underlying="BTC", mode=Mode.RECOMMEND, guards=GUARDS,
    target_volatility_annual="0.5", maximum_leverage="2", band="0.02", trade_instruments=(BTC_PERP.id,),
    volatility={
        "kind": "realized", "instrument": BTC_PERP.id, "bar_seconds": 2, "window_bars": 12,
        "half_life_bars": 4,
    },
)  # fmt: skip
DECISIONS = """
SELECT policy_id, sequence, outcome, reason, conditions FROM decisions
WHERE portfolio_id = $1 ORDER BY sequence, policy_id
"""


def price_at(second):
    """A different swing in every second."""
    return 60_000.0 * (1.0 + 2e-4 * ((7 * second) % 11 - 5))


class Running:
    """One portfolio, long 1 BTC on 20,000 USDT, and an evaluator that can be killed."""

    def __init__(self, connected, redis, pool, portfolio):
        self.portfolio = portfolio
        self.units = None
        self._ticks = None
        self._connected = connected
        self._redis = redis
        self._pool = pool
        self._published = 0
        self._stop = asyncio.Event()
        self._lane = None

    async def start(self):
        self.units, self._ticks = await self._connected.units(), await self._connected.ticks()
        grants = await (await self._connected.shard_leases()).claim([])
        self._lane = asyncio.create_task((await self._connected.lanes())(grants).run(self._stop))

    async def kill(self):
        """Nothing is finished that it is in the middle of."""
        self._lane.cancel()
        await asyncio.gather(self._lane, return_exceptions=True)

    async def stop(self):
        self._stop.set()
        await self._lane

    async def publish(self, seconds):
        for _ in range(seconds):
            second = self._published = self._published + 1
            time_ns, stress = BEGIN_NS + second * SECOND, 0.9 if second % 10 > 6 else 0.3
            found = [Tick(TickKind.PRICE, "test", BTC_PERP.id, second, time_ns, price_at(second), 1.0)]
            if second % 3 == 0:
                found.append(Tick(TickKind.STRESS, "test", "MARKET", second, time_ns, stress))
            await self._ticks.publish(found)

    async def come_to_the_end(self):
        query = "SELECT s.sequence >= $2 FROM shards s JOIN portfolios p USING (shard) WHERE p.id = $1"
        await eventually(lambda: self._pool.fetchval(query, self.portfolio.id, self._published), timeout=30)

    async def revision_is_evaluated(self):
        query = "SELECT NOT unevaluated FROM portfolios WHERE id = $1"
        await eventually(lambda: self._pool.fetchval(query, self.portfolio.id))

    async def decisions(self):
        rows = await self._pool.fetch(DECISIONS, self.portfolio.id)
        return [(*found, json.loads(conditions)) for *found, conditions in rows]

    async def frames(self):
        unpack = msgspec.msgpack.Decoder(Frame).decode
        return [unpack(entry[b"f"]) for _, entry in await self._redis.xrange(MARKET)]


@pytest.fixture
async def running(engine, asyncpg_pool, database_url, redis_url, redis):
    await factories.create_market(engine)
    tenant = await factories.create_tenant(engine)
    portfolio = await factories.create_portfolio(engine, tenant, policies=[RULE, AVERAGED])
    settings = Settings(database_url=database_url, redis_url=redis_url, clock="replay", instance="test")
    stop = asyncio.Event()
    async with AsyncExitStack() as resources:
        connected = await resources.enter_async_context(stack(settings))
        oracle = asyncio.create_task((await connected.oracle()).run(stop))
        lane = Running(connected, redis, asyncpg_pool, portfolio)
        await lane.start()
        try:
            yield lane
        finally:
            stop.set()
            await lane.stop()
            await oracle


def decided(portfolio, frames, *, since, policy):
    """What the decision core says to these frames, when a policy was added after so many of them."""
    universe = Universe(factories.INSTRUMENTS)
    market, book, wakes, memories, found = MarketView(universe), Book(universe), WakeTimes(), {}, []
    book.put(portfolio)

    def look(block, todo):
        for verdict in decide(book, memories, block, todo).values():
            memories.update(verdict.memories)
            wakes.schedule(book.portfolio(portfolio.id), memories, block.frames[-1].time_ns)
            found.extend(
                (d.policy_id, d.position.sequence, d.outcome, d.reason, d.conditions)
                for d in verdict.decisions
            )

    for frame in frames:
        block = market.advance([frame])
        look(block, affected(book, block, wakes.due(frame.time_ns)))
        if frame.sequence == since:
            now = book.portfolio(portfolio.id)
            book.put(replace(now, policies=(*now.policies, policy), revision=now.revision + 1))
            block = market.block()
            look(block, whole_block(book, block, [portfolio.id]))
    return sorted(found, key=lambda each: (each[1], each[0]))


async def test_an_evaluator_that_was_killed_decides_on_series_as_if_it_had_not_been(running):
    await running.publish(12)
    await running.kill()
    await running.start()
    await running.publish(11)
    await running.come_to_the_end()
    policy = StoredPolicy(PolicyId(uuid4()), 1, TARGET)
    async with running.units() as unit:
        place = (running.portfolio.tenant_id, running.portfolio.id, policy.id)
        await create_policy(unit, *place, TARGET, time_ns=0)
    await running.revision_is_evaluated()
    await running.publish(9)
    await running.come_to_the_end()
    await running.kill()
    await running.start()
    await running.publish(15)
    await running.kill()
    await running.start()
    await running.publish(10)
    await running.come_to_the_end()
    frames = await running.frames()
    assert [frame.sequence for frame in frames] == list(range(1, 58))
    expected = decided(running.portfolio, frames, since=23, policy=policy)
    stored = [*running.portfolio.policies, policy]
    assert {each.id for each in stored} == {policy_id for policy_id, *_ in expected}
    assert await running.decisions() == expected
