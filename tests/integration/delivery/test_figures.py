"""What couriers say of themselves: counted by the role as it runs, and read by whoever runs the service."""

import asyncio
from datetime import timedelta

import httpx
import pytest
from aiohttp import web

from app.adapters.redis_streams.attempt_counts import RedisAttemptCounts, read_attempt_counts
from app.adapters.redis_streams.client import connect
from app.adapters.webhooks.addresses import parse_networks
from app.adapters.webhooks.sender import HttpWebhookSender
from app.domain.events import EventType
from app.entrypoints import courier
from app.entrypoints.api.application import create_app
from app.entrypoints.api.dependencies import Dependencies
from app.ports.delivery import Attempt, Delivered, Delivery, Rejected, Retryable
from app.ports.webhook_figures import LATENCY_BOUNDS_MS, AttemptFigures, QueueFigures
from app.services.count_attempts import AttemptTally, outcome_of
from app.services.watch_webhooks import QueueWatch
from tests.integration.delivery.receivers import receiver
from tests.waiting import eventually

NONE = timedelta(0)
MILLISECOND = timedelta(milliseconds=1)


@pytest.fixture
async def redis_client(redis_url):
    client = connect(redis_url)
    yield client
    await client.aclose()


@pytest.fixture
async def metrics(units, market, redis_client):
    """What a monitor reads, by name and labels."""
    dependencies = Dependencies(
        units=units,
        market=market,
        attempts=lambda: read_attempt_counts(redis_client),
        queues=QueueWatch(units, period=NONE).figures,
    )
    transport = httpx.ASGITransport(create_app(dependencies))
    async with httpx.AsyncClient(transport=transport, base_url="http://api") as http:

        async def read():
            text = (await http.get("/metrics")).text
            lines = [line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("ballast_webhook_")]
            return {name.removeprefix("ballast_webhook_"): float(value) for name, value in lines}

        yield read


async def test_what_came_of_attempts_is_measured(*, committed, feed, register, outbox, queue, wire, metrics):
    """By the role itself: what it counted last is there when it has left."""
    tenant = await committed.tenant()

    async def refuse(request):
        return web.Response(status=503)

    async def leave(request):
        return web.Response(status=410)

    async with receiver() as well, receiver(refuse) as ill, receiver(leave) as gone:
        for url in (well.url, ill.url, gone.url, "http://127.0.0.1:9/"):
            await register(tenant, url, event_types=[EventType.ADJUSTMENT_QUEUED])
        await committed.commit(tenant, await committed.portfolio(tenant), 1)
        stop = asyncio.Event()
        async with HttpWebhookSender(allowed_networks=parse_networks(["127.0.0.0/8"])) as sender:
            running = asyncio.create_task(
                courier.run(
                    feed=feed,
                    outbox=outbox,
                    queue=queue,
                    sender=sender,
                    mail=None,
                    market_time=_no_time,
                    counts=RedisAttemptCounts(wire),
                    stop=stop,
                )
            )
            await eventually(lambda: _attempted(metrics, 4))
            stop.set()
            await running
    measured = await metrics()
    for outcome in ("2xx", "4xx", "5xx", "no_answer"):
        assert measured[f'attempts_total{{outcome="{outcome}"}}'] == 1
    assert measured["given_up_total"] == 1
    assert measured['attempt_seconds_bucket{le="+Inf"}'] == measured["attempt_seconds_count"] == 4
    assert 0 < measured["attempt_seconds_sum"] < 60
    assert measured["waiting_deliveries"] == 2
    assert measured['endpoints{state="disabled_by_service"}'] == 1


async def _no_time():
    return 0


async def _attempted(metrics, count):
    return (await metrics()).get("attempt_seconds_count") == count


async def test_how_the_queues_stand_is_measured(*, committed, register, outbox, units, metrics, asyncpg_pool):
    assert (await metrics())["overdue_seconds"] == (await metrics())["oldest_waiting_seconds"] == 0
    tenant, other = [await committed.tenant() for _ in range(2)]
    mine, held, broken = [await register(tenant, "http://127.0.0.1:9/") for _ in range(3)]
    by_service = await register(other, "http://127.0.0.1:9/")
    deleted = await register(other, "http://127.0.0.1:9/")
    for owner in (tenant, other):
        portfolio = await committed.portfolio(owner)
        await committed.commit(owner, portfolio, 5)
        await outbox.dispatch([(portfolio, 3)], published=True)
    async with units() as unit:
        await unit.webhooks.set_enabled(tenant, held, enabled=False)
        await unit.webhooks.delete(other, deleted)
    await asyncpg_pool.execute(
        "UPDATE webhook_endpoints SET enabled = false, disabled_reason = 'gone' WHERE id = $1", by_service
    )
    await asyncpg_pool.execute("UPDATE webhook_queues SET failures = 5 WHERE endpoint_id = $1", broken)
    await asyncpg_pool.execute(
        "UPDATE webhook_queues SET due_at = now() - interval '7 minutes' WHERE endpoint_id = $1", mine
    )
    await asyncpg_pool.execute(
        "UPDATE webhook_deliveries SET created_at = now() - interval '9 minutes' WHERE sequence = 1"
    )
    await asyncpg_pool.execute(
        "UPDATE events SET created_at = now() - interval '11 minutes' WHERE NOT dispatched"
    )
    measured = await metrics()
    assert (measured["waiting_deliveries"], measured["held_deliveries"]) == (2 * 3, 3 + 3)
    states = ("enabled", "disabled_by_owner", "disabled_by_service")
    assert [measured[f'endpoints{{state="{state}"}}'] for state in states] == [2, 1, 1]
    assert measured["open_breakers"] == 1
    for name, minutes in (("overdue", 7), ("oldest_waiting", 9), ("undispatched", 11)):
        assert 0 <= measured[f"{name}_seconds"] - 60 * minutes < 30


async def test_what_cannot_be_counted_now_is_counted_later(tmp_path, wire, redis_client):
    class Away:
        def __init__(self):
            self.away = True

        async def add(self, counted):
            if self.away:
                raise ConnectionError
            await RedisAttemptCounts(wire).add(counted)

    counts = Away()
    tally = AttemptTally(counts)
    delivery = Delivery(1, None, "", b"", 0, "", b"")
    tally.count([Attempt(delivery, Delivered(200), latency=25 * MILLISECOND)])
    await tally.add()
    tally.count([Attempt(delivery, Rejected("gone", 410), latency=25_000 * MILLISECOND)])
    counts.away = False
    for _ in range(2):
        await tally.add()
    counted = AttemptFigures({"2xx": 1, "4xx": 1}, {"25": 1, "beyond": 1}, 25_025, 1)
    assert await read_attempt_counts(redis_client) == counted


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (None, "no_answer"),
        (100, "other"),
        (200, "2xx"),
        (399, "3xx"),
        (599, "5xx"),
        (600, "other"),
        (999, "other"),
    ],
)
def test_whatever_is_answered_there_are_few_outcomes(status, kind):
    assert outcome_of(Attempt(Delivery(1, None, "", b"", 0, "", b""), Retryable("", status))) == kind
    assert tuple(sorted(LATENCY_BOUNDS_MS)) == LATENCY_BOUNDS_MS


async def test_many_who_ask_at_once_are_one_who_reads():
    read = 0

    class Deliveries:
        async def standing(self):
            nonlocal read
            read += 1
            await asyncio.sleep(0)
            return QueueFigures(read, 0, NONE, NONE, NONE, 0, 0, 0, 0)

    class Unit:
        deliveries = Deliveries()

        async def __aenter__(self):
            return self

        async def __aexit__(self, *_):
            pass

    watch = QueueWatch(Unit)
    figures = await asyncio.gather(*(watch.figures() for _ in range(20)))
    assert {f.waiting for f in figures} == {read} == {1}
