"""What an endpoint's owner asks for: resend, recover, test, rotate, other terms; and what is told of it."""

import asyncio
from base64 import b64decode
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from aiohttp import web
from standardwebhooks import Webhook

from app.domain.errors import Conflict, InvalidInput
from app.ports.delivery import Attempt, Delivered, Rejected
from app.ports.webhooks import EndpointTerms
from app.services.manage_webhooks import (
    Reach,
    change_endpoint,
    recover,
    resend,
    rotate_secret,
    seen_endpoint,
    send_test,
)
from tests.integration.delivery.receivers import ids, receiver, sequences
from tests.waiting import eventually

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def since(moment):
    """Of what `recover` takes."""
    return {"since": moment, "until": datetime.now(UTC), "known_since": LONG_AGO}


@pytest.fixture
async def portfolio(committed, tenant):
    return await committed.portfolio(tenant)


@pytest.fixture
async def tenant(committed):
    return await committed.tenant()


@pytest.fixture
def log(units):
    """The deliveries of an endpoint, oldest first."""

    async def read(endpoint):
        async with units() as unit:
            return (await unit.deliveries.page(endpoint, state=None, before=None, limit=100))[::-1]

    return read


async def test_every_attempt_is_in_the_log(
    *, committed, feed, register, start_courier, tenant, portfolio, units, log
):
    answers = [(500, "a" * 2000), (200, "thanks")]

    async def answer(request):
        status, text = answers.pop(0)
        return web.Response(status=status, text=text)

    async with receiver(answer) as hook:
        endpoint = await register(tenant, hook.url)
        await start_courier(feed, retries=[timedelta()])
        await feed.publish(await committed.commit(tenant, portfolio))
        await eventually(lambda: _states(log, endpoint, ["delivered"]))
    ((first, second),) = [delivery.attempts for delivery in await log(endpoint)]
    assert (first.number, first.status, first.response) == (1, 500, "a" * 1024)
    assert (second.number, second.status, second.response) == (2, 200, "thanks")
    assert 0 <= first.latency_ms < 5_000
    async with units() as unit:
        told = await unit.deliveries.statistics(endpoint, since=timedelta(hours=1))
    assert (told.attempts, told.succeeded, told.pending, told.failures_in_a_row) == (2, 1, 0, 0)
    assert told.last_failure == first
    assert told.p50_ms <= told.p95_ms <= told.p99_ms


async def _states(log, endpoint, expected):
    return [delivery.state for delivery in await log(endpoint)] == expected


async def test_what_was_given_up_is_sent_again_on_request_with_a_schedule_of_its_own(
    *, committed, feed, register, start_courier, tenant, portfolio, units, log
):
    well = asyncio.Event()

    async def ill(request):
        return web.Response(status=200 if well.is_set() else 500)

    async with receiver(ill) as hook:
        endpoint = await register(tenant, hook.url)
        await start_courier(feed, retries=[timedelta()])
        await feed.publish(await committed.commit(tenant, portfolio))
        await eventually(lambda: _states(log, endpoint, ["failed"]))
        (delivery,) = await log(endpoint)
        async with units() as unit:
            await resend(unit, tenant, endpoint, delivery.id)
        await eventually(lambda: _attempts(log, endpoint, 4))
        well.set()
        async with units() as unit:
            await resend(unit, tenant, endpoint, delivery.id)
        await eventually(lambda: _states(log, endpoint, ["delivered"]))
        assert list(ids(hook).values()) == [5]
        async with units() as unit:
            await resend(unit, tenant, endpoint, delivery.id)
        await eventually(lambda: len(hook.received) == 6)


async def _attempts(log, endpoint, count):
    (delivery,) = await log(endpoint)
    return len(delivery.attempts) == count and delivery.state == "failed"


async def test_f34_a_resend_does_not_run_beside_the_attempt_under_way(
    *, committed, feed, register, start_courier, tenant, portfolio, units, log
):
    under_way, released, most = 0, asyncio.Event(), 0

    async def hold(request):
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await released.wait()
        under_way -= 1
        return web.Response(status=500 if len(hook.received) == 1 else 200)

    async with receiver(hold) as hook:
        endpoint = await register(tenant, hook.url)
        for _ in range(2):
            await start_courier(feed, retries=[timedelta()], timeout=timedelta(seconds=20))
        await feed.publish(await committed.commit(tenant, portfolio))
        await eventually(lambda: under_way == 1)
        (delivery,) = await log(endpoint)
        for _ in range(3):
            async with units() as unit:
                assert (await resend(unit, tenant, endpoint, delivery.id)).state == "pending"
        released.set()
        await eventually(lambda: _states(log, endpoint, ["delivered"]))
    assert (most, len(hook.received)) == (1, 2)


async def test_what_was_missed_is_recovered_once(
    *, committed, feed, register, start_courier, tenant, portfolio, units, asyncpg_pool, log
):
    other = await committed.portfolio(tenant)
    async with receiver() as hook:
        endpoint = await register(tenant, hook.url, portfolios=[portfolio], enabled=False)
        await start_courier(feed)
        await feed.publish(
            await committed.commit(tenant, portfolio, 3) + await committed.commit(tenant, other)
        )
        await eventually(lambda: asyncpg_pool.fetchval("SELECT bool_and(dispatched) FROM events"))
        async with units() as unit:
            with pytest.raises(Conflict, match="enable it first"):
                await recover(unit, tenant, endpoint, **since(LONG_AGO))
            await unit.webhooks.set_enabled(tenant, endpoint, enabled=True)
            found = await recover(unit, tenant, endpoint, **since(LONG_AGO))
        assert (found.deliveries, found.complete) == (3, True)
        await eventually(lambda: _states(log, endpoint, ["delivered"] * 3))
        await asyncpg_pool.execute("UPDATE webhook_deliveries SET state = 'failed' WHERE sequence = 2")
        async with units() as unit:
            found = await recover(unit, tenant, endpoint, **since(LONG_AGO))
        assert found.deliveries == 1
        await eventually(lambda: _states(log, endpoint, ["delivered"] * 3))
        assert sequences(hook) == [1, 2, 2, 3]


async def test_a_test_event_goes_to_its_endpoint_alone_whatever_that_chose(
    *, feed, register, start_courier, tenant, units, log
):
    async with receiver() as hook, receiver() as other:
        endpoint = await register(
            tenant, hook.url, event_types=["adjustment.failed"], ordered=True, rate_limit=1
        )
        await register(tenant, other.url)
        await start_courier(feed)
        async with units() as unit:
            await send_test(unit, tenant, endpoint, event_id="evt_1", time_ns=0)
        await eventually(lambda: _states(log, endpoint, ["delivered"]))
        ((headers, body),) = hook.received
        assert headers["webhook-id"] == "evt_1"
        assert msgspec.json.decode(body)["type"] == "webhook.test"
        assert other.received == []


async def test_f36_a_rotated_secret_signs_beside_the_old_one_until_the_overlap_ends(
    *, feed, register, start_courier, tenant, units
):
    async with receiver() as hook:
        endpoint = await register(tenant, hook.url)
        await start_courier(feed)
        shown = []
        for number, overlap in enumerate((timedelta(hours=1), timedelta(0))):
            async with units() as unit:
                secret = bytes([number]) * 32
                rotated, text = await rotate_secret(unit, tenant, endpoint, secret=secret, overlap=overlap)
                shown.append(text)
                await send_test(unit, tenant, endpoint, event_id=f"evt_{number}", time_ns=0)
            await eventually(lambda number=number: len(hook.received) == number + 1)
        assert rotated.version == 3
    (first, body), (second, later) = hook.received
    assert len(first["webhook-signature"].split()) == 2
    assert Webhook(shown[0]).verify(body, first)
    assert Webhook(b"0123456789abcdef0123456789abcdef").verify(body, first)
    assert b64decode(shown[1].removeprefix("whsec_")) == bytes([1]) * 32
    # The second rotation had no overlap, whatever the first one's was: which secret leaked is nobody's guess.
    assert len(second["webhook-signature"].split()) == 1
    assert Webhook(shown[1]).verify(later, second)


async def test_no_more_than_a_few_old_secrets_sign(register, tenant, units):
    endpoint = await register(tenant, "https://example.com/")
    async with units() as unit:
        for _ in range(4):
            await rotate_secret(unit, tenant, endpoint, secret=bytes(32), overlap=timedelta(hours=1))
        with pytest.raises(Conflict, match="wait until"):
            await rotate_secret(unit, tenant, endpoint, secret=bytes(32), overlap=timedelta(hours=1))
        rotated, _ = await rotate_secret(unit, tenant, endpoint, secret=bytes(32), overlap=timedelta(0))
        assert rotated.rotated_until is None


async def test_what_is_queued_goes_where_the_endpoint_is_by_then(
    *, committed, feed, register, start_courier, tenant, portfolio, outbox, units
):
    async with receiver() as before, receiver() as after:
        endpoint = await register(tenant, before.url)
        events = await committed.commit(tenant, portfolio, 2)
        await outbox.dispatch([(e.portfolio_id, e.sequence) for e in events], published=True)
        async with units() as unit:
            await seen_endpoint(unit, tenant, endpoint, 1)
            await change_endpoint(unit, tenant, endpoint, EndpointTerms(after.url), reach=Reach(opened=True))
        await start_courier(feed)
        await eventually(lambda: sequences(after) == [1, 2])
        assert before.received == []


async def test_what_is_too_large_is_a_link_to_the_event(
    *, committed, feed, register, start_courier, tenant, portfolio, units
):
    async with receiver() as hook:
        await register(tenant, hook.url)
        await start_courier(feed)
        small, large = [await committed.commit(tenant, portfolio, size=size) for size in (19_000, 21_000)]
        await feed.publish(small + large)
        await eventually(lambda: sequences(hook) == [1, 2])
    bodies = {event["sequence"]: event for event in (msgspec.json.decode(body) for _, body in hook.received)}
    assert all(len(body) < 20_000 for _, body in hook.received)
    assert bodies[1]["data"]["pad"] == "x" * 19_000
    assert "data" not in bodies[2]
    assert bodies[2]["link"] == f"/v1/portfolios/{portfolio}/events/2"
    async with units() as unit:
        whole = msgspec.json.decode(await unit.deliveries.event(tenant, portfolio, 2))
    assert whole["data"]["pad"] == "x" * 21_000
    assert {name: value for name, value in bodies[2].items() if name != "link"}.items() <= whole.items()


async def test_old_deliveries_are_dropped_with_their_attempts_and_held_ones_end(
    *, committed, register, tenant, portfolio, outbox, queue, asyncpg_pool, states, monkeypatch
):
    kept, off = [await register(tenant, "http://127.0.0.1:9/") for _ in range(2)]
    events = await committed.commit(tenant, portfolio, 3)
    await outbox.dispatch([(e.portfolio_id, e.sequence) for e in events], published=True)
    await asyncpg_pool.execute("UPDATE webhook_endpoints SET enabled = false WHERE id = $1", off)
    await asyncpg_pool.execute(
        "UPDATE webhook_deliveries SET state = 'delivered' WHERE endpoint_id = $1 AND sequence > 1", kept
    )
    await asyncpg_pool.execute(
        "INSERT INTO webhook_attempts (delivery_id, number, endpoint_id, latency_ms)"
        " SELECT id, 1, endpoint_id, 7 FROM webhook_deliveries"
    )
    await asyncpg_pool.execute(
        "UPDATE webhook_deliveries SET created_at = now() - CASE WHEN sequence = 3 THEN interval '31 days'"
        " ELSE interval '6 days' END WHERE sequence > 1"
    )
    monkeypatch.setattr("app.adapters.postgres.delivery_queue._DROPPED_AT_ONCE", 5)
    await asyncpg_pool.execute(
        "INSERT INTO webhook_deliveries (endpoint_id, test_event, state, created_at)"
        " SELECT $1, '', 'delivered', now() - interval '31 days' FROM generate_series(1, 5)",
        kept,
    )
    assert await queue.forget() == 2
    assert await states() == {"pending": 2, "delivered": 1, "failed": 1}
    assert await asyncpg_pool.fetchval("SELECT count(*) FROM webhook_attempts") == 4


async def test_what_was_forgotten_is_not_taken_for_never_delivered(register, tenant, units):
    endpoint = await register(tenant, "https://example.com/")
    async with units() as unit:
        with pytest.raises(InvalidInput, match="before 2020-01-01T00:00:00Z is not known"):
            await recover(unit, tenant, endpoint, **since(LONG_AGO - timedelta(seconds=1)))
        assert (await recover(unit, tenant, endpoint, **since(LONG_AGO))).complete


@pytest.mark.parametrize("ask", ["resend", "recover"])
async def test_with_order_what_is_asked_for_again_does_not_go_beside_what_is_under_way(
    *, ask, committed, register, tenant, portfolio, outbox, queue, units, asyncpg_pool
):
    endpoint = await register(tenant, "http://127.0.0.1:9/", ordered=True)
    await committed.commit(tenant, portfolio, 2)
    await outbox.dispatch([(portfolio, 1), (portfolio, 2)], published=True)
    claim = {"limit": 10, "per_endpoint": 10, "in_flight": {}, "lease": timedelta(seconds=30)}

    async def claimed():
        return [(d, msgspec.json.decode(d.body)["sequence"]) for d in await queue.claim(**claim)]

    ((first, _),) = await claimed()
    await queue.record([Attempt(first, Rejected("no", 400))])
    ((second, sequence),) = await claimed()
    assert sequence == 2
    async with units() as unit:
        if ask == "resend":
            await resend(unit, tenant, endpoint, first.id)
        else:
            assert (await recover(unit, tenant, endpoint, **since(LONG_AGO))).deliveries == 1
    assert await claimed() == []
    await queue.record([Attempt(second, Delivered(200))])
    await asyncpg_pool.execute("UPDATE webhook_deliveries SET next_attempt_at = now() WHERE sequence = 1")
    assert [sequence for _, sequence in await claimed()] == [1]
