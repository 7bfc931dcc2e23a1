"""Endpoints that fail, now and then, for long or for good; and that this is nobody else's trouble."""

import asyncio
import random
from collections import defaultdict
from datetime import timedelta
from smtplib import SMTPNotSupportedError

import msgspec
import pytest
from aiohttp import web

from app.adapters.postgres.delivery_queue import PostgresDeliveryQueue
from app.adapters.webhooks.mail import SmtpMail
from app.domain.events import EventType
from app.ports.delivery import Attempt, Breaker, Retryable
from app.services.keep_webhooks import WebhookKeeper
from tests.integration.delivery.receivers import ids, raw_server, receiver, sequences
from tests.waiting import eventually

TENTH = timedelta(milliseconds=100)
QUICKLY = [timedelta(milliseconds=20)] * 60
ENDPOINTS = """
INSERT INTO webhook_endpoints (id, tenant_id, url, secret, event_types)
SELECT gen_random_uuid(), $1, url, $2, '{}' FROM unnest($3::text[]) AS url
"""
LENIENT = Breaker(failures=5, pause=timedelta(milliseconds=50), longest=timedelta(milliseconds=100))


def unlucky(seed):
    """Of ten requests three are answered with 500, one not at all, and one has its connection reset."""
    chance = random.Random(seed)

    async def answer(request):
        drawn = chance.random()
        if drawn < 0.1:
            await asyncio.sleep(60)
        if drawn < 0.2:
            request.transport.abort()
        return web.Response(status=500 if drawn < 0.5 else 200)

    return answer


def in_order_of_arrival(hook):
    arrived = defaultdict(list)
    for _, body in hook.received:
        event = msgspec.json.decode(body)
        arrived[event["portfolio_id"]].append(event["sequence"])
    return arrived


async def test_bar_3_a_receiver_that_fails_at_random_gets_everything_and_in_order(
    *, committed, feed, register, start_courier, states
):
    """Two couriers, four portfolios; the one receiver asked for order, the other one did not."""
    tenant = await committed.tenant()
    portfolios = [await committed.portfolio(tenant) for _ in range(4)]
    async with receiver(unlucky(1)) as ordered, receiver(unlucky(2)) as unordered:
        await register(tenant, ordered.url, ordered=True)
        await register(tenant, unordered.url)
        for _ in range(2):
            await start_courier(
                feed,
                timeout=timedelta(seconds=0.3),
                breaker=LENIENT,
                retries=QUICKLY,
                poll_period=timedelta(milliseconds=50),
            )
        for _ in range(5):
            events = [event for p in portfolios for event in await committed.commit(tenant, p, 5)]
            await feed.publish(reversed(events))

        async def all_told():
            return await states() == {"delivered": 2 * 4 * 25}

        await eventually(all_told, timeout=60)
    for hook in (ordered, unordered):
        assert len(ids(hook)) == 100
        assert len(hook.received) > 150
    for arrived in in_order_of_arrival(ordered).values():
        assert arrived == sorted(arrived)
        assert set(arrived) == set(range(1, 26))


async def test_what_fails_of_an_ordered_endpoint_blocks_its_portfolio_alone(
    committed, feed, register, start_courier
):
    tenant = await committed.tenant()
    stuck, free = [await committed.portfolio(tenant) for _ in range(2)]

    async def refuse_one(request):
        return web.Response(status=500 if str(stuck) in await request.text() else 200)

    async with receiver(refuse_one) as hook:
        await register(tenant, hook.url, ordered=True)
        await start_courier(feed)
        await feed.publish(
            await committed.commit(tenant, stuck, 3) + await committed.commit(tenant, free, 20)
        )
        await eventually(lambda: len(in_order_of_arrival(hook)[str(free)]) == 20)
        assert in_order_of_arrival(hook) == {str(stuck): [1], str(free): list(range(1, 21))}


async def test_f43_what_was_published_late_is_dispatched_with_what_follows_it(
    committed, register, outbox, queue
):
    tenant = await committed.tenant()
    portfolio = await committed.portfolio(tenant)
    await register(tenant, "http://127.0.0.1:9/", ordered=True)
    events = await committed.commit(tenant, portfolio, 4)
    assert await outbox.dispatch([(portfolio, events[2].sequence)], published=True) == 3
    claim = {"limit": 10, "per_endpoint": 10, "in_flight": {}, "lease": timedelta(seconds=30)}
    assert [msgspec.json.decode(d.body)["sequence"] for d in await queue.claim(**claim)] == [1]


async def test_f36_a_410_disables_and_holds_what_waits(
    committed, feed, register, start_courier, asyncpg_pool
):
    tenant = await committed.tenant()
    portfolio = await committed.portfolio(tenant)

    async def gone(request):
        return web.Response(status=410, text="moved out")

    async with receiver(gone) as hook, receiver() as witness:
        endpoint = await register(tenant, hook.url, ordered=True)
        await register(tenant, witness.url, event_types=[EventType.WEBHOOK_DISABLED])
        await start_courier(feed)
        await feed.publish(await committed.commit(tenant, portfolio, 5))
        row = await eventually(
            lambda: asyncpg_pool.fetchrow(
                "SELECT * FROM webhook_endpoints WHERE id = $1 AND NOT enabled", endpoint
            )
        )
        assert (row["disabled_reason"], row["operator_told"]) == ("the endpoint answered 410 Gone", False)
        told = await asyncpg_pool.fetch("SELECT state, last_status FROM webhook_deliveries ORDER BY sequence")
        assert tuple(told[0]) == ("failed", 410)
        await eventually(lambda: witness.received)
        ((_, body),) = witness.received
        event = msgspec.json.decode(body)
        assert (event["type"], event["portfolio_id"], event["sequence"]) == ("webhook.disabled", None, 1)
        reason = row["disabled_reason"]
        assert event["data"] == {"endpoint_id": str(endpoint), "url": hook.url, "reason": reason}
        assert len(hook.received) <= 2  # one may have been under way


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_f36_retry_after_holds_the_whole_endpoint_back(
    *, status, committed, feed, register, start_courier, asyncpg_pool
):
    tenant = await committed.tenant()
    portfolio = await committed.portfolio(tenant)

    async def busy(request):
        return web.Response(status=status, headers={"Retry-After": "600"})

    async with receiver(busy) as hook:
        await register(tenant, hook.url, rate_limit=10)
        await start_courier(feed)
        await feed.publish(await committed.commit(tenant, portfolio, 8))
        await eventually(lambda: _paused(asyncpg_pool, 500))
        waits = await asyncpg_pool.fetchval(
            "SELECT min(extract(epoch FROM next_attempt_at - now()))::float FROM webhook_deliveries"
            " WHERE attempts > 0"
        )
        assert 590 < waits <= 600
        assert len(hook.received) < 8


async def _paused(pool, seconds):
    return await pool.fetchval(
        "SELECT true FROM webhook_queues WHERE due_at > now() + make_interval(secs => $1)", seconds
    )


async def test_the_breaker_opens_and_one_probe_closes_it(
    committed, feed, register, start_courier, asyncpg_pool
):
    tenant = await committed.tenant()
    portfolio = await committed.portfolio(tenant)
    well = asyncio.Event()

    async def ill(request):
        return web.Response(status=200 if well.is_set() else 500)

    async with receiver(ill) as hook:
        await register(tenant, hook.url)
        await start_courier(feed, breaker=Breaker(failures=3, pause=timedelta(minutes=5)), per_endpoint=4)
        await feed.publish(await committed.commit(tenant, portfolio, 30))
        await eventually(lambda: _paused(asyncpg_pool, 200))
        assert 3 <= len(hook.received) <= 6
        assert (
            await asyncpg_pool.fetchval("SELECT failures FROM webhook_queues") == 3
        )  # though more were sent
        assert not await _paused(asyncpg_pool, 301)
        await feed.publish(await committed.commit(tenant, portfolio, 1))
        await eventually(lambda: asyncpg_pool.fetchval("SELECT count(*) = 31 FROM webhook_deliveries"))
        before = len(hook.received)
        well.set()
        await asyncpg_pool.execute("UPDATE webhook_queues SET due_at = now(), paused_until = '-infinity'")
        await eventually(lambda: len(sequences(hook)) >= before + 25)
        assert await asyncpg_pool.fetchval("SELECT failures FROM webhook_queues") == 0


async def test_f36_a_410_disables_though_redis_is_away_at_that_moment(
    committed, feed, register, start_courier, asyncpg_pool
):
    """The market clock dates it, and cannot be read at first. Nothing else is ever sent there."""
    tenant = await committed.tenant()
    asked = []

    async def gone(request):
        return web.Response(status=410)

    async def market_time():
        asked.append(len(asked))
        if len(asked) < 3:
            raise ConnectionError("Redis is away")
        return 7

    async with receiver(gone) as hook:
        await register(tenant, hook.url)
        await start_courier(feed, market_time=market_time, poll_period=TENTH)
        await feed.publish(await committed.commit(tenant, await committed.portfolio(tenant), 1))
        query = "SELECT disabled_reason FROM webhook_endpoints WHERE NOT enabled"
        assert await eventually(lambda: asyncpg_pool.fetchval(query)) == "the endpoint answered 410 Gone"
        assert (len(hook.received), len(asked)) == (1, 3)


async def test_what_was_under_way_opens_the_breaker_once_and_probes_lengthen_the_pause(
    committed, register, outbox, asyncpg_pool
):
    """Told of one by one."""
    tenant = await committed.tenant()
    await register(tenant, "http://127.0.0.1:9/")
    events = await committed.commit(tenant, await committed.portfolio(tenant), 9)
    await outbox.dispatch([(e.portfolio_id, e.sequence) for e in events], published=True)
    pause, hour = timedelta(minutes=5), timedelta(hours=1)
    queue = PostgresDeliveryQueue(asyncpg_pool, breaker=Breaker(failures=3, pause=pause, longest=hour))
    claim = {"limit": 10, "per_endpoint": 5, "in_flight": {}, "lease": timedelta(seconds=30)}

    async def minutes_after_failing(delivery):
        await queue.record([Attempt(delivery, Retryable("ill", 500), hour)])
        failures, paused = await asyncpg_pool.fetchrow(
            "SELECT failures, extract(epoch FROM greatest(paused_until, now()) - now())::float"
            " FROM webhook_queues"
        )
        return failures, round(paused / 60)

    for failures, delivery in enumerate(await queue.claim(**claim), start=1):
        expected = (failures, 0) if failures < 3 else (3, 5)
        assert await minutes_after_failing(delivery) == expected
    for failures, minutes in ((4, 10), (5, 20)):
        await asyncpg_pool.execute("UPDATE webhook_queues SET due_at = now()")
        (probe,) = await queue.claim(**claim)
        assert await minutes_after_failing(probe) == (failures, minutes)


async def test_an_open_breaker_lets_one_probe_through(committed, register, outbox, queue, asyncpg_pool):
    tenant = await committed.tenant()
    portfolio = await committed.portfolio(tenant)
    await register(tenant, "http://127.0.0.1:9/")
    events = await committed.commit(tenant, portfolio, 9)
    await outbox.dispatch([(e.portfolio_id, e.sequence) for e in events], published=True)
    await asyncpg_pool.execute("UPDATE webhook_queues SET failures = 5")
    claim = {"limit": 10, "per_endpoint": 10, "in_flight": {}, "lease": timedelta(seconds=30)}
    assert len(await queue.claim(**claim)) == 1
    assert await queue.claim(**claim) == []
    await asyncpg_pool.execute("UPDATE webhook_queues SET due_at = now()")
    assert len(await queue.claim(**claim | {"in_flight": {}})) == 1


async def test_five_days_without_a_success_disable_and_the_operator_is_told_by_mail(
    *, committed, feed, register, start_courier, queue, asyncpg_pool
):
    tenant = await committed.tenant()
    portfolio = await committed.portfolio(tenant)

    async def ill(request):
        return web.Response(status=500)

    async with receiver(ill) as hook, MailServer() as (url, mails):
        endpoint = await register(tenant, hook.url)
        await start_courier(feed)
        await feed.publish(await committed.commit(tenant, portfolio, 1))
        await eventually(lambda: asyncpg_pool.fetchval("SELECT failing_since FROM webhook_queues"))
        assert await asyncpg_pool.fetchval("SELECT enabled FROM webhook_endpoints")
        await asyncpg_pool.execute("UPDATE webhook_queues SET failing_since = now() - interval '5 days'")
        await feed.publish(await committed.commit(tenant, portfolio, 1))
        await eventually(lambda: asyncpg_pool.fetchval("SELECT NOT enabled FROM webhook_endpoints"))
        mail = SmtpMail(url, sender="ballast@example.com", recipient="desk@example.com")
        stop = asyncio.Event()
        keeper = asyncio.create_task(WebhookKeeper(queue=queue, mail=mail, period=TENTH).run(stop))
        await eventually(lambda: asyncpg_pool.fetchval("SELECT operator_told FROM webhook_endpoints"))
        stop.set()
        await keeper
    (sent,) = mails
    assert "Subject: 1 webhook endpoint was disabled" in sent
    assert f"{hook.url} of tenant {tenant} (endpoint {endpoint}): nothing was delivered" in sent.replace(
        "=\n", ""
    )


async def test_no_password_is_given_to_a_mail_server_without_tls():
    async with MailServer() as (url, mails):
        mail = SmtpMail(
            url.replace("//", "//desk:hunter2@"), sender="a@example.com", recipient="b@example.com"
        )
        with pytest.raises(SMTPNotSupportedError, match="without TLS"):
            await mail.send("told", "all")
    assert mails == []


class MailServer:
    """As much of SMTP as a client without authentication needs."""

    async def __aenter__(self):
        self._mails = []
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"smtp://127.0.0.1:{self._server.sockets[0].getsockname()[1]}", self._mails

    async def __aexit__(self, *_):
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader, writer):
        writer.write(b"220 here\r\n")
        while line := await reader.readline():
            if line.upper().startswith(b"DATA"):
                writer.write(b"354 go on\r\n")
                text = await reader.readuntil(b"\r\n.\r\n")
                self._mails.append(text.decode().replace("\r\n", "\n"))
            writer.write(b"221 bye\r\n" if line.upper().startswith(b"QUIT") else b"250 OK\r\n")
            if line.upper().startswith(b"QUIT"):
                break
        writer.close()


async def test_a_rate_is_kept(committed, feed, register, start_courier, states, asyncpg_pool):
    tenant = await committed.tenant()
    portfolio = await committed.portfolio(tenant)
    async with receiver() as hook:
        await register(tenant, hook.url, rate_limit=20)
        for _ in range(2):
            await start_courier(feed, poll_period=timedelta(milliseconds=20))
        await feed.publish(await committed.commit(tenant, portfolio, 30))

        async def all_told():
            return await states() == {"delivered": 30}

        await eventually(all_told)
    seconds = await asyncpg_pool.fetchval(
        "SELECT extract(epoch FROM max(at) - min(at)) FROM webhook_attempts"
    )
    assert 1.3 < seconds < 5  # 28 of them, after the two that went at once, at 20 a second


@pytest.mark.parametrize(
    ("healthy", "dead", "places"), [(300, 60, 32), pytest.param(9_000, 1_000, 256, marks=pytest.mark.long)]
)
async def test_f35_dead_endpoints_delay_no_healthy_one(
    *, healthy, dead, places, committed, feed, start_courier, asyncpg_pool
):
    """More of them than there are places, all silent for far longer than the others take."""
    tenant = await committed.tenant()
    portfolio = await committed.portfolio(tenant)

    async def say_nothing(writer):
        await asyncio.Event().wait()

    async with receiver() as hook, raw_server(say_nothing) as silent:
        urls = [silent] * dead + [hook.url] * healthy
        random.Random(1).shuffle(urls)
        await asyncpg_pool.execute(ENDPOINTS, tenant, b"0123456789abcdef0123456789abcdef", urls)
        await start_courier(
            feed, timeout=timedelta(seconds=25), concurrency=places, poll_period=timedelta(seconds=1)
        )
        await feed.publish(await committed.commit(tenant, portfolio, 1, kind=EventType.ADJUSTMENT_FAILED))
        await eventually(lambda: len(hook.received) == healthy, timeout=60)
        slowest = await eventually(lambda: _slowest(asyncpg_pool, healthy), timeout=60)
        assert slowest < 20
        await feed.publish(await committed.commit(tenant, portfolio, 1, kind=EventType.ADJUSTMENT_QUEUED))
        await eventually(lambda: len(hook.received) == 2 * healthy, timeout=40)  # the dead are silent still


async def _slowest(pool, healthy):
    row = await pool.fetchrow(
        "SELECT count(*) AS told, max(extract(epoch FROM delivered_at - created_at))::float AS slowest"
        " FROM webhook_deliveries WHERE state = 'delivered'"
    )
    return row["slowest"] if row["told"] == healthy else None
