"""Queues of deliveries, claimed and told of step by step: turns, pauses, and what is kept of answers."""

from datetime import timedelta
from itertools import cycle

import msgspec
import pytest

from app.adapters.postgres.delivery_queue import PostgresDeliveryQueue
from app.ports.delivery import Attempt, Breaker, Delivered, Retryable

LEASE = timedelta(seconds=30)
MINUTES = timedelta(minutes=1)


@pytest.fixture
async def tenant(committed):
    return await committed.tenant()


@pytest.fixture
def backlog(committed, register, outbox, tenant):
    """An endpoint of its own portfolio, for which so many events wait."""

    async def wait(events, **columns):
        portfolio = await committed.portfolio(tenant)
        endpoint = await register(tenant, "http://127.0.0.1:9/", portfolios=[portfolio], **columns)
        logged = await committed.commit(tenant, portfolio, events)
        await outbox.dispatch([(portfolio, event.sequence) for event in logged], published=True)
        return endpoint

    return wait


async def claimed(queue, *, limit=100, per_endpoint=100):
    return await queue.claim(limit=limit, per_endpoint=per_endpoint, in_flight={}, lease=LEASE)


async def test_f35_a_backlog_takes_its_turn_behind_those_that_wait_already(queue, backlog):
    """However much is due of others, and for how long: a queue that is woken is in the next round."""
    busy = {await backlog(9) for _ in range(4)}
    assert {d.endpoint_id for d in await claimed(queue, limit=4)} == busy
    fresh = await backlog(1)
    turns = [[d.endpoint_id for d in await claimed(queue, limit=2)] for _ in range(3)]
    assert fresh in turns[0] + turns[1] + turns[2]
    assert {endpoint for turn in turns for endpoint in turn} == busy | {fresh}


async def test_a_single_place_goes_to_those_that_fail_one_time_in_four(asyncpg_pool, backlog):
    ill, well = await backlog(20), await backlog(20)
    await asyncpg_pool.execute("UPDATE webhook_queues SET failures = 1 WHERE endpoint_id = $1", ill)
    queue = PostgresDeliveryQueue(asyncpg_pool, draw=cycle([0.0, 0.3, 0.7, 0.9]).__next__)
    taken = [delivery.endpoint_id for _ in range(8) for delivery in await claimed(queue, limit=1)]
    assert (taken.count(ill), taken.count(well)) == (2, 6)


@pytest.mark.parametrize("later", [Delivered(200), Retryable("no", 500)], ids=["arrived", "failed"])
@pytest.mark.parametrize("ordered", [False, True])
async def test_f36_what_was_under_way_does_not_end_the_pause_that_was_asked_for(
    *, later, ordered, queue, backlog, asyncpg_pool, register, committed, outbox, tenant
):
    endpoint = await backlog(1, ordered=ordered)
    other = await committed.portfolio(tenant)
    await asyncpg_pool.execute("UPDATE webhook_endpoints SET portfolios = '{}'")
    await committed.commit(tenant, other)
    await outbox.dispatch([(other, 1)], published=True)
    first, second = await claimed(queue)
    await queue.record([Attempt(first, Retryable("busy", 503, 10 * MINUTES), 10 * MINUTES)])
    await queue.record([Attempt(second, later, MINUTES)])
    await committed.commit(tenant, other)
    await outbox.dispatch([(other, 2)], published=True)
    left = await asyncpg_pool.fetchval(
        "SELECT due_at - now() FROM webhook_queues WHERE endpoint_id = $1", endpoint
    )
    assert 9 * MINUTES < left <= 10 * MINUTES
    assert await claimed(queue) == []


async def test_the_probe_ends_the_pause_though_something_older_arrived_meanwhile(asyncpg_pool, backlog):
    queue = PostgresDeliveryQueue(asyncpg_pool, breaker=Breaker(failures=2, pause=MINUTES))
    await backlog(9)
    ill, ill_too, late = await claimed(queue, per_endpoint=3)
    for delivery in (ill, ill_too):
        await queue.record([Attempt(delivery, Retryable("no", 500), MINUTES)])
    assert await claimed(queue) == []
    await asyncpg_pool.execute("UPDATE webhook_queues SET due_at = now(), paused_until = now()")
    (probe,) = await claimed(queue)
    await queue.record([Attempt(late, Delivered(200))])
    assert await claimed(queue) == []
    await queue.record([Attempt(probe, Delivered(200))])
    assert len(await claimed(queue)) == 5


async def test_whatever_an_endpoint_says_is_noted(queue, backlog, asyncpg_pool):
    """What PostgreSQL does not take as text would keep all that ended beside it from being noted."""
    await backlog(2)
    hostile, other = await claimed(queue)
    said = "a\x00b\ud800" + "c" * 2_000
    await queue.record([Attempt(hostile, Retryable(said), MINUTES), Attempt(other, Delivered(200))])
    noted = await asyncpg_pool.fetch("SELECT status, response FROM webhook_attempts ORDER BY delivery_id")
    assert list(map(tuple, noted)) == [(None, "a\N{REPLACEMENT CHARACTER}b?" + "c" * 1_020), (200, "")]


async def test_an_event_that_only_a_newer_version_knows_is_passed_on(
    *, queue, committed, register, outbox, tenant, asyncpg_pool
):
    """While versions change there are couriers of both: what one cannot name must not stop what it can."""
    await register(tenant, "http://127.0.0.1:9/")
    portfolio = await committed.portfolio(tenant)
    await committed.commit(tenant, portfolio, 2)
    await asyncpg_pool.execute("UPDATE events SET type = 'desk.opened' WHERE sequence = 1")
    swept = await outbox.undispatched(older_than=timedelta(0), after=None, limit=10)
    assert [entry.event.type for entry in swept] == ["desk.opened", "adjustment.queued"]
    await outbox.dispatch([(portfolio, 2)], published=True)
    types = [msgspec.json.decode(delivery.body)["type"] for delivery in await claimed(queue)]
    assert types == ["desk.opened", "adjustment.queued"]
