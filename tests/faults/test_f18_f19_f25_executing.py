"""FAULTS 18, 19 and 25: replies get lost, time-outs are not failures, and a storm meets a rate limit."""

import asyncio
from datetime import timedelta

import pytest

from app.domain.adjustments import AdjustmentState
from app.domain.identifiers import derived_id
from app.entrypoints import executor as executor_role
from app.services.execute_adjustment import Postponed, Settled
from tests import factories
from tests.execution import DECIDED_NS, SECOND_NS, Desk, Exchange, ending, portfolio_now, queue, sell
from tests.waiting import eventually

EXECUTED = Settled(AdjustmentState.EXECUTED)


@pytest.fixture
async def tenant(engine):
    await factories.create_market(engine)
    return await factories.create_tenant(engine)


@pytest.fixture
async def portfolio(engine, tenant):
    return await factories.create_portfolio(engine, tenant)


async def test_f18_a_lost_reply_is_one_trade(asyncpg_pool, portfolio):
    adjustment_id = await queue(asyncpg_pool, portfolio)
    venue = Exchange(lost_replies=1)
    assert await Desk(asyncpg_pool, venue=venue).drain() == [EXECUTED]
    assert dict(venue.trades) == {derived_id("fill", adjustment_id, 0): 1}
    assert await asyncpg_pool.fetchval("SELECT count(*) FROM fills") == 1


async def test_f18_an_executor_that_died_after_sending_is_one_trade(asyncpg_pool, portfolio):
    """The order reached the venue, its sender never came to booking it; the next one asks first."""
    await queue(asyncpg_pool, portfolio)
    venue = Exchange()
    first = Desk(asyncpg_pool, venue=venue, lease=timedelta(0))
    claims = await first.executor.claim()
    settle = first.store.settle

    async def dies(settlement):
        raise asyncio.CancelledError

    first.store.settle = dies
    with pytest.raises(asyncio.CancelledError):
        await first.executor.execute(claims.work[0], clock_ns=claims.clock_ns)
    first.store.settle = settle
    assert await Desk(asyncpg_pool, venue=venue, owner="executor-2").drain() == [EXECUTED]
    assert list(venue.trades.values()) == [1]
    assert await asyncpg_pool.fetchval("SELECT count(*) FROM fills") == 1


async def test_f19_a_timeout_is_not_a_failure(asyncpg_pool, portfolio):
    """Neither the order nor the question is answered: it stays executing until somebody knows."""
    adjustment_id = await queue(asyncpg_pool, portfolio)
    venue = Exchange(lost_replies=1, deaf=True)
    desk = Desk(asyncpg_pool, venue=venue)
    (outcome,) = await desk.drain()
    assert isinstance(outcome, Postponed)
    assert (await ending(asyncpg_pool, adjustment_id))[0] == "executing"
    assert (await portfolio_now(asyncpg_pool, portfolio.id)).in_flight != ()
    venue.deaf = False
    await asyncpg_pool.execute("UPDATE adjustments SET claimed_until = now() - interval '1 second'")
    assert await desk.drain() == [EXECUTED]
    assert list(venue.trades.values()) == [1]


async def test_f19_an_order_that_never_arrived_is_not_sent_after_its_time(asyncpg_pool, portfolio):
    adjustment_id = await queue(asyncpg_pool, portfolio, expires_at_ns=DECIDED_NS + SECOND_NS)
    first = Desk(asyncpg_pool, lease=timedelta(0))
    await first.executor.claim()
    venue = Exchange()
    second = Desk(asyncpg_pool, venue=venue, owner="executor-2")
    second.clock.time_ns = DECIDED_NS + 2 * SECOND_NS
    assert await second.drain() == [Settled(AdjustmentState.FAILED)]
    assert await ending(asyncpg_pool, adjustment_id) == (
        "failed",
        "leg 0: its time passed before it was sent",
    )
    assert not venue.trades


class NoWakeups:
    async def wait(self, *, at_most):
        await asyncio.sleep(at_most.total_seconds() / 10)


async def test_f25_a_rate_limit_in_a_storm(engine, asyncpg_pool, tenant):
    """Three orders are let through. They are the urgent ones; what waits grows stale and is discarded."""
    portfolios = [await factories.create_portfolio(engine, tenant) for _ in range(9)]
    soon = DECIDED_NS + SECOND_NS
    hedges = [
        await queue(asyncpg_pool, p, [sell(p)], risk_reducing=False, expires_at_ns=soon)
        for p in portfolios[:6]
    ]
    exits = [await queue(asyncpg_pool, p, [sell(p)], decided_at_ns=DECIDED_NS + 9) for p in portfolios[6:]]
    venue = Exchange(orders_left=3)
    desk = Desk(asyncpg_pool, venue=venue, limit=4)
    stop = asyncio.Event()
    role = asyncio.create_task(executor_role.run(executor=desk.executor, wakeups=NoWakeups(), stop=stop))

    async def limited():
        return len(venue.seen) >= 5  # three fills, and the limit was met more than once

    await eventually(limited)
    desk.clock.time_ns = soon

    async def over():
        return not await asyncpg_pool.fetchval(
            "SELECT count(*) FROM adjustments WHERE state IN ('queued', 'executing')"
        )

    venue.orders_left = None
    await eventually(over)
    stop.set()
    await asyncio.wait_for(role, 5)
    assert [(await ending(asyncpg_pool, key))[0] for key in exits] == ["executed"] * 3
    states = {(await ending(asyncpg_pool, key))[0] for key in hedges}
    assert states <= {"expired", "failed"}
    assert set(venue.trades) == {derived_id("fill", key, 0) for key in exits}
