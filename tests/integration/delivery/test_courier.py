"""From a committed event to a recorded delivery, on real servers and over real HTTP."""

import asyncio
import contextlib
import signal
from collections import Counter
from datetime import timedelta

import msgspec
from aiohttp import web

from app.adapters.embedded import EmbeddedRedis
from app.adapters.redis_streams.events import EventStream
from app.adapters.redis_streams.wire import Wire
from app.domain.events import EventType
from tests import factories
from tests.integration.delivery.courier_process import courier_process
from tests.integration.delivery.receivers import ids, receiver, sequences
from tests.waiting import eventually

TENTH = timedelta(milliseconds=100)


async def test_published_events_arrive_once_where_they_belong(
    *, committed, feed, register, start_courier, states, asyncpg_pool
):
    tenant, other, silent = [await committed.tenant() for _ in range(3)]
    async with receiver() as everything, receiver() as chosen, receiver() as foreign, receiver() as off:
        await register(tenant, everything.url)
        await register(tenant, chosen.url, event_types=[EventType.ADJUSTMENT_EXECUTED])
        await register(tenant, off.url, enabled=False)
        await register(other, foreign.url)
        await start_courier(feed)
        portfolios = [await committed.portfolio(owner) for owner in (tenant, other, silent)]
        for owner, portfolio in zip((tenant, other, silent), portfolios, strict=True):
            events = await committed.commit(owner, portfolio, 5)
            events += await committed.commit(owner, portfolio, 2, kind=EventType.ADJUSTMENT_EXECUTED)
            await feed.publish(events + events[:3])

        async def all_told():
            return await states() == {"delivered": 7 + 2 + 7}

        await eventually(all_told)
        assert sequences(everything) == sequences(foreign) == [1, 2, 3, 4, 5, 6, 7]
        assert sequences(chosen) == [6, 7]
        assert off.received == []
        assert set(ids(everything).values()) == {1}
        assert {msgspec.json.decode(body)["id"] for _, body in everything.received} == set(ids(everything))
    await eventually(lambda: _all_dispatched(asyncpg_pool))


async def test_never_published_events_are_swept_and_published(
    *, committed, feed, register, start_courier, redis, asyncpg_pool
):
    tenant = await committed.tenant()
    portfolio = await committed.portfolio(tenant)
    await committed.commit(tenant, portfolio, 3)
    async with receiver() as hook:
        await register(tenant, hook.url)
        await start_courier(feed)
        await eventually(lambda: sequences(hook) == [1, 2, 3])
    assert [event.sequence for _, event in await feed.read("0-0", block_ms=None)] == [1, 2, 3]
    await eventually(lambda: _all_dispatched(asyncpg_pool))


async def test_f33_redis_away_delays_and_loses_nothing(
    *, committed, register, start_courier, serve, dial, tmp_path, asyncpg_pool, engine
):
    """The server stops, comes back empty: webhooks and WebSocket clients get everything, from PostgreSQL."""
    tenant = await committed.tenant()
    portfolio = await committed.portfolio(tenant)
    server = EmbeddedRedis(tmp_path / "redis", durable=False)
    await asyncio.to_thread(server.start)
    try:
        async with Wire(server.url) as reading, Wire(server.url) as writing, receiver() as hook:
            own_feed = EventStream(reading=reading, writing=writing)
            await register(tenant, hook.url)
            await start_courier(own_feed)
            stream = await serve(own_feed)
            stream.keys = {"good": await factories.create_key(engine, tenant, scopes=["read"])}
            listener = await dial(stream)
            await listener.hear()
            await listener.recover(f"portfolio.{portfolio}")
            await own_feed.publish(await committed.commit(tenant, portfolio, 2))
            assert await listener.sequences(2) == [1, 2]

            await asyncio.to_thread(server.stop)
            await committed.commit(tenant, portfolio, 3)
            assert await listener.sequences(3) == [3, 4, 5]
            await eventually(lambda: sequences(hook) == [1, 2, 3, 4, 5])

            await asyncio.to_thread(server.start)
            await eventually(lambda: _published(own_feed, 3), what="swept into the stream")
            await own_feed.publish(await committed.commit(tenant, portfolio, 1))
            assert await listener.sequences(1) == [6]
            await eventually(lambda: sequences(hook) == [1, 2, 3, 4, 5, 6])
            await eventually(lambda: _all_dispatched(asyncpg_pool))
    finally:
        await asyncio.to_thread(server.stop)


async def _all_dispatched(pool):
    return await pool.fetchval("SELECT count(*) FROM events WHERE NOT dispatched") == 0


async def _published(feed, count):
    return len(await feed.read("0-0", block_ms=None)) >= count


async def test_a_failure_is_retried_on_schedule_and_then_given_up(
    committed, feed, register, start_courier, asyncpg_pool
):
    tenant = await committed.tenant()
    portfolio = await committed.portfolio(tenant)

    async def fail(request):
        return web.Response(status=503, text="not now")

    async with receiver(fail) as hook:
        await register(tenant, hook.url)
        await start_courier(feed, draw=lambda: 0.5, poll_period=TENTH)
        await feed.publish(await committed.commit(tenant, portfolio))
        for attempt, wait_seconds in enumerate((5.5, 330, 1980, 7920, 19800, 39600, 39600), start=1):
            row = await eventually(lambda attempt=attempt: _after_attempt(asyncpg_pool, attempt))
            assert (row["state"], row["last_status"], row["last_error"]) == ("pending", 503, "not now")
            assert wait_seconds - 2 < row["wait"] <= wait_seconds
            await asyncpg_pool.execute("UPDATE webhook_deliveries SET next_attempt_at = now()")
            await asyncpg_pool.execute("UPDATE webhook_queues SET due_at = now()")
        row = await eventually(lambda: _after_attempt(asyncpg_pool, 8))
        assert row["state"] == "failed"
        assert len(hook.received) == 8
        assert len(ids(hook)) == 1


async def _after_attempt(pool, attempts):
    return await pool.fetchrow(
        "SELECT state, last_status, last_error,"
        " extract(epoch FROM next_attempt_at - clock_timestamp())::float AS wait"
        " FROM webhook_deliveries WHERE attempts = $1",
        attempts,
    )


async def test_f35_a_slow_endpoint_delays_nobody_else(committed, feed, register, start_courier, states):
    tenant = await committed.tenant()
    portfolio = await committed.portfolio(tenant)
    under_way, most = 0, 0
    released = asyncio.Event()

    async def hold(request):
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await released.wait()
        under_way -= 1
        return web.Response()

    async with receiver(hold) as slow, receiver() as quick:
        await register(tenant, slow.url)
        await register(tenant, quick.url)
        await start_courier(feed, timeout=timedelta(seconds=20), per_endpoint=3, concurrency=8)
        await feed.publish(await committed.commit(tenant, portfolio, 60))
        await eventually(lambda: len(sequences(quick)) == 60)
        assert most == 3
        released.set()

        async def all_told():
            return await states() == {"delivered": 120}

        await eventually(all_told)
        assert most == 3
        assert sequences(slow) == sequences(quick) == list(range(1, 61))


async def test_f35_many_slow_endpoints_with_much_to_hear_delay_nobody_else(
    *, committed, feed, register, start_courier
):
    """They would fill all that a courier has under way, and free places as slowly as they answer."""
    tenant, other = [await committed.tenant() for _ in range(2)]
    held, released = 0, asyncio.Event()

    async def hold(request):
        nonlocal held
        held += 1
        await released.wait()
        return web.Response()

    async with receiver(hold) as slow, receiver() as quick:
        for _ in range(12):
            await register(tenant, slow.url)
        await register(other, quick.url)
        await start_courier(feed, timeout=timedelta(seconds=25), concurrency=16)
        await feed.publish(await committed.commit(tenant, await committed.portfolio(tenant), 8))
        await eventually(lambda: held >= 16 * 4 // 2)
        portfolio = await committed.portfolio(other)
        for sequence in (1, 2, 3):
            await feed.publish(await committed.commit(other, portfolio, 1))
            await eventually(lambda sequence=sequence: len(quick.received) == sequence)
        assert held < 16 * 4
        released.set()
        await eventually(lambda: held == 12 * 8)


async def test_f32_a_deleted_endpoint_ends_what_waits_for_it(
    *, committed, register, queue, outbox, states, units
):
    tenant = await committed.tenant()
    portfolio = await committed.portfolio(tenant)
    endpoint = await register(tenant, "http://127.0.0.1:9/")
    disabled = await register(tenant, "http://127.0.0.1:9/other")
    events = await committed.commit(tenant, portfolio, 3)
    assert await outbox.dispatch([(e.portfolio_id, e.sequence) for e in events], published=True) == 6
    async with units() as unit:
        await unit.webhooks.delete(tenant, endpoint)
        await unit.webhooks.set_enabled(tenant, disabled, enabled=False)
    claim = {"limit": 10, "per_endpoint": 10, "in_flight": {}, "lease": timedelta(seconds=30)}
    assert await queue.claim(**claim) == []
    assert await queue.forget() == 3
    assert await states() == {"failed": 3, "pending": 3}
    async with units() as unit:
        await unit.webhooks.set_enabled(tenant, disabled, enabled=True)
    assert len(await queue.claim(**claim)) == 3


async def test_f34_concurrent_claims_never_overlap(committed, register, queue, outbox):
    tenant = await committed.tenant()
    portfolio = await committed.portfolio(tenant)
    for _ in range(3):
        await register(tenant, "http://127.0.0.1:9/")
    events = await committed.commit(tenant, portfolio, 40)
    references = [(e.portfolio_id, e.sequence) for e in events]
    created = await asyncio.gather(*(outbox.dispatch(references, published=True) for _ in range(4)))
    assert sum(created) == 120
    lease = timedelta(seconds=30)
    claims = [queue.claim(limit=7, per_endpoint=5, in_flight={}, lease=lease) for _ in range(60)]
    claimed = [d.id for batch in await asyncio.gather(*claims) for d in batch]
    assert len(claimed) == len(set(claimed))
    busy = {d.endpoint_id: 2 for d in await queue.claim(limit=9, per_endpoint=3, in_flight={}, lease=lease)}
    again = await queue.claim(limit=90, per_endpoint=3, in_flight=busy, lease=lease)
    assert all(
        count <= 1 for count in Counter(d.endpoint_id for d in again if d.endpoint_id in busy).values()
    )


async def test_killed_between_claim_and_mark_the_event_is_delivered_again(
    *, committed, feed, register, states, database_url, redis_url
):
    tenant = await committed.tenant()
    portfolio = await committed.portfolio(tenant)
    arrived = asyncio.Event()
    dead = asyncio.Event()

    async def hold_first(request):
        if not dead.is_set():
            arrived.set()
            await dead.wait()
        return web.Response()

    async with receiver(hold_first) as hook, contextlib.AsyncExitStack() as couriers:
        await register(tenant, hook.url)
        first = await couriers.enter_async_context(courier_process(database_url, redis_url))
        await committed.commit(tenant, portfolio, 4)
        await asyncio.wait_for(arrived.wait(), 20)
        first.send_signal(signal.SIGKILL)
        await first.wait()
        dead.set()
        before = set(ids(hook))
        await couriers.enter_async_context(courier_process(database_url, redis_url))

        async def all_told():
            return await states() == {"delivered": 4}

        await eventually(all_told, timeout=20)
        assert before
        assert all(ids(hook)[identifier] >= 2 for identifier in before)
        assert len(ids(hook)) == 4
