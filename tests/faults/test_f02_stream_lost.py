"""FAULTS 2: a market stream that was flushed, or went back, is noticed by whoever read it, and begun anew.

The clock is a replay's, so the oracle writes nothing by itself and only the evaluator can notice.
"""

from decimal import Decimal

import pytest

from app.domain.market import Tick, TickKind
from app.domain.policies import LiquidationGuard
from tests import factories
from tests.factories import BTC_PERP, BTC_SPOT
from tests.running_oracle import oracle_and_evaluator
from tests.waiting import eventually

BEGIN_NS = 1_709_251_200_000_000_000
CALM, CRASH = 60_000.0, 44_000.0
GUARD = LiquidationGuard(name="stay alive", trigger=Decimal("0.05"), restore=Decimal("0.03"))
DECISIONS = "SELECT generation, sequence FROM decisions ORDER BY generation, sequence"
MARKET_ROW = "SELECT generation, generation_reason FROM markets"


@pytest.fixture
async def portfolio(engine):
    await factories.create_market(engine)
    tenant = await factories.create_tenant(engine)
    return await factories.create_portfolio(engine, tenant, policies=[GUARD])


@pytest.fixture
async def publish(portfolio, database_url, redis_url):
    """The two roles run; publishes a price of everything, second after second."""
    async with oracle_and_evaluator(database_url, redis_url) as ticks:
        numbers = iter(range(1, 1_000))

        async def publish_price(value: float) -> None:
            number = next(numbers)
            time_ns = BEGIN_NS + number * 1_000_000_000
            await ticks.publish(
                [
                    Tick(TickKind.PRICE, "test", instrument.id, number, time_ns, value, 1.0)
                    for instrument in (BTC_PERP, BTC_SPOT)
                ]
            )

        yield publish_price


async def checkpoint(pool):
    row = await pool.fetchrow("SELECT generation, sequence FROM shards ORDER BY 1, 2 LIMIT 1")
    return tuple(row)


async def test_f02_a_flushed_market_begins_anew_and_is_decided_on(publish, asyncpg_pool, redis):
    await publish(CALM)
    await eventually(lambda: _is(checkpoint(asyncpg_pool), (1, 1)))
    await redis.flushdb()

    async def noticed():
        row = await asyncpg_pool.fetchrow(MARKET_ROW)
        return row["generation"] > 1 and row["generation_reason"]

    assert await eventually(noticed, timeout=20, what="a new generation")
    await publish(CRASH)
    ((generation, _),) = await eventually(lambda: asyncpg_pool.fetch(DECISIONS), timeout=20)
    assert generation > 1


async def _is(awaitable, expected):
    return await awaitable == expected
