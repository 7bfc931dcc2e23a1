"""What the evaluator tells of margins and markets it tells once, though it is killed on the way."""

import asyncio
import json
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from app.bootstrap import stack
from app.domain.conditions import Comparison
from app.domain.families.rule import Notify
from app.domain.market import Tick, TickKind
from app.domain.policies import Rule
from app.settings import Settings
from tests import factories
from tests.factories import BTC_PERP, BTC_SPOT
from tests.waiting import eventually

BEGIN_NS = 1_709_251_200_000_000_000
SECOND_NS = 1_000_000_000
CALM, NEARLY_GONE = 60_000.0, 44_000.0
SILENT = Rule(
    name="silent",
    condition=Comparison(metric="price.BTC-USDT-PERP", op="below", value=1),
    actions=(Notify(message="all is lost"),),
)
PRICES = {
    **dict.fromkeys((1, 5, *range(25, 45)), CALM),
    **dict.fromkeys((2, 3, 4), NEARLY_GONE),
}  # nobody speaks from the 6th second to the 24th
EVENTS = "SELECT sequence, type, time_ns, data FROM events WHERE portfolio_id = $1 ORDER BY sequence"
TOLD = [
    (1, "portfolio.margin_warning", 2),
    (2, "portfolio.liquidation_risk", 2),
    (3, "portfolio.liquidation_risk", 5),
    (4, "portfolio.margin_warning", 5),
    (5, "market.degraded", 21),
    (6, "market.recovered", 35),
]


@asynccontextmanager
async def evaluator(connected):
    """Killed at the end: nothing is finished that it is in the middle of."""
    grants = await (await connected.shard_leases()).claim([])
    lane = asyncio.create_task((await connected.lanes())(grants).run(asyncio.Event()))
    try:
        yield
    finally:
        lane.cancel()
        await asyncio.gather(lane, return_exceptions=True)


async def say(ticks, second):
    time_ns = BEGIN_NS + second * SECOND_NS
    names = (BTC_PERP.id, BTC_SPOT.id) if second in PRICES else ()
    spoken = [Tick(TickKind.PRICE, "test", name, second, time_ns, PRICES[second], 1.0) for name in names]
    await ticks.publish(spoken or [Tick(TickKind.HEARTBEAT, "clock", "", second, time_ns, 0.0)])


@pytest.mark.parametrize("lives", [(44,), (2, 4, 15, 22, 30, 44)])
async def test_levels_and_markets_are_told_once(engine, asyncpg_pool, database_url, redis_url, lives):
    await factories.create_market(engine)
    tenant = await factories.create_tenant(engine)
    held = {"positions": {BTC_PERP.id: ("1", "60000")}, "balances": {"USDT": "16225"}}
    portfolio = await factories.create_portfolio(engine, tenant, **held, policies=[SILENT])
    settings = Settings(database_url=database_url, redis_url=redis_url, clock="replay", instance="test")
    come_to = "SELECT sequence >= $2 FROM shards s JOIN portfolios p USING (shard) WHERE p.id = $1"
    stop, second = asyncio.Event(), 0
    async with AsyncExitStack() as resources:
        connected = await resources.enter_async_context(stack(settings))
        oracle, ticks = await connected.oracle(), await connected.ticks()
        running = asyncio.create_task(oracle.run(stop))
        for until in lives:
            async with evaluator(connected):
                while second < until:
                    second += 1
                    await say(ticks, second)
                seen = (come_to, portfolio.id, second)
                await eventually(lambda seen=seen: asyncpg_pool.fetchval(*seen), timeout=30)
        stop.set()
        await running
    rows = await asyncpg_pool.fetch(EVENTS, portfolio.id)
    assert [(row["sequence"], row["type"], (row["time_ns"] - BEGIN_NS) // SECOND_NS) for row in rows] == TOLD
    sides = [json.loads(row["data"]).get("crossed") for row in rows]
    assert sides == ["above", "above", "below", "below", None, None]
