"""What belongs to no portfolio: a log of the tenant's own, told like any other."""

from datetime import timedelta
from uuid import uuid4

import msgspec
import pytest

from app.adapters.postgres.event_rows import append_events, encode_event
from app.adapters.redis_streams.events import streamed_event
from app.domain.adjustment_events import expired_event
from app.domain.adjustments import AdjustmentState, InFlight
from app.domain.identifiers import EndpointId
from app.domain.webhook_events import disabled_event
from app.ports.delivery import Horizon
from tests.event_documents import check_documented
from tests.integration.delivery.conftest import NOW_NS


def switched_off(tenant):
    return disabled_event(tenant, EndpointId(uuid4()), "https://example.com/hook", "410 Gone", NOW_NS)


def expired(tenant, portfolio):
    work = InFlight(uuid4(), uuid4(), AdjustmentState.RECOMMENDED, NOW_NS, ())
    return expired_event(tenant, portfolio, work, NOW_NS)


@pytest.fixture
async def append(asyncpg_pool):
    async def commit(*events):
        async with asyncpg_pool.acquire() as connection, connection.transaction():
            return await append_events(connection, events)

    return commit


async def test_each_log_counts_for_itself_whoever_else_is_in_the_transaction(committed, append, outbox):
    tenant = await committed.tenant()
    portfolio = await committed.portfolio(tenant)
    events = await append(switched_off(tenant), expired(tenant, portfolio), switched_off(tenant))
    events += await append(expired(tenant, portfolio), switched_off(tenant))
    assert [event.sequence for event in events] == [1, 1, 2, 2, 3]
    ends = (await outbox.heads({tenant: Horizon(0)}, [])).heads
    assert set(ends) == {(tenant, portfolio, 2), (tenant, tenant, 3)}
    assert (await outbox.heads({}, [tenant])).heads == [(tenant, tenant, 3)]
    told = [msgspec.json.decode(event.body) for event in await outbox.after(tenant, 0, limit=10)]
    assert [(each["portfolio_id"], each["sequence"]) for each in told] == [(None, 1), (None, 2), (None, 3)]
    for event in events:
        check_documented(msgspec.json.decode(encode_event(event)))
    assert len(await outbox.undispatched(older_than=timedelta(0), after=None, limit=10)) == 5


async def test_endpoints_of_the_tenant_are_sent_it(committed, append, outbox, queue, asyncpg_pool):
    tenant, other = await committed.tenant(), await committed.tenant()
    for owner, types in ((tenant, ["webhook.disabled"]), (tenant, ["policy.created"]), (other, [])):
        await asyncpg_pool.execute(
            "INSERT INTO webhook_endpoints (id, tenant_id, url, secret, event_types) "
            "VALUES ($1, $2, $3, $4, $5)",
            *(uuid4(), owner, "https://example.com/hook", bytes(32), types),
        )
    (event,) = await append(switched_off(tenant))
    assert await outbox.dispatch([(event.portfolio_id, event.sequence)], published=True) == 1
    (delivery,) = await queue.claim(limit=10, per_endpoint=5, in_flight={}, lease=timedelta(seconds=60))
    assert delivery.event_id == event.id
    assert msgspec.json.decode(delivery.body) == msgspec.json.decode(encode_event(event))


async def test_clients_who_hear_all_of_the_tenant_hear_it(stream, dial, feed, committed, append):
    await committed.portfolio(stream.tenant)
    client = await dial(stream)
    await client.say(op="subscribe", channel="adjustments")
    while (await client.hear())["op"] != "snapshot":
        pass
    missed, published = await append(switched_off(stream.tenant), switched_off(stream.tenant))
    await feed.publish([streamed_event(published)])  # the gap before it is filled
    heard = [(await client.hear())["event"] for _ in range(2)]
    assert [event["id"] for event in heard] == [missed.id, published.id]
    assert {event["type"] for event in heard} == {"webhook.disabled"}
