"""Webhooks as a client of the API meets them: what it does becomes events, and the courier delivers them."""

import asyncio
import contextlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx
import msgspec
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry
from standardwebhooks import Webhook

from app.adapters.postgres.delivery_queue import PostgresDeliveryQueue
from app.adapters.postgres.delivery_store import PostgresOutbox
from app.adapters.redis_streams.attempt_counts import RedisAttemptCounts
from app.adapters.redis_streams.events import EventStream
from app.adapters.redis_streams.wire import Wire
from app.adapters.webhooks.addresses import parse_networks
from app.adapters.webhooks.sender import HttpWebhookSender
from app.entrypoints import courier
from app.entrypoints.api.application import create_app
from app.services.manage_webhooks import Reach
from tests.integration.api.client import Client, assert_problem, start_market
from tests.integration.delivery.receivers import receiver
from tests.waiting import eventually


@pytest.fixture
async def client(dependencies, api, redis, redis_url, asyncpg_pool):
    """With a courier beside it, both open for receivers on this machine."""
    await start_market(redis)
    app = create_app(replace(dependencies, webhook_reach=Reach(opened=True), registry=CollectorRegistry()))
    stop = asyncio.Event()
    async with contextlib.AsyncExitStack() as opened:
        reading, writing = [await opened.enter_async_context(Wire(redis_url)) for _ in range(2)]
        networks = parse_networks(["127.0.0.0/8"])
        running = asyncio.create_task(
            courier.run(
                feed=EventStream(reading=reading, writing=writing),
                outbox=PostgresOutbox(asyncpg_pool),
                queue=PostgresDeliveryQueue(asyncpg_pool),
                sender=await opened.enter_async_context(HttpWebhookSender(allowed_networks=networks)),
                mail=None,
                market_time=dependencies.market.time_ns,
                counts=RedisAttemptCounts(writing),
                stop=stop,
            )
        )
        transport = httpx.ASGITransport(app)
        http = await opened.enter_async_context(httpx.AsyncClient(transport=transport, base_url="http://api"))
        yield Client(http, api.key)
        stop.set()
        await running


def heard(hook, secret):
    """(type, sequence) of what arrived, each verified."""
    events = [Webhook(secret).verify(body, headers) for headers, body in hook.received]
    return [(event["type"], event["sequence"]) for event in events]


async def deliveries(client, path, **query):
    """All of them, page by page, oldest first."""
    found, cursor = [], None
    while True:
        asked = {"limit": 2} | query | ({} if cursor is None else {"cursor": cursor})
        page = await client.ok("GET", f"{path}/deliveries?{httpx.QueryParams(asked)}")
        found += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            return found[::-1]


async def registered(client, hook, **terms):
    created = await client.ok("POST", "/v1/webhooks", {"url": hook.url} | terms)
    return f"/v1/webhooks/{created['id']}", created["secret"]


async def test_what_a_client_does_is_delivered_listed_and_counted(client):
    book, other = [(await client.portfolio())["id"] for _ in range(2)]
    async with receiver() as hook, receiver() as chosen:
        path, secret = await registered(client, hook, ordered=True)
        narrow = {"portfolios": [book], "event_types": ["policy.disabled"]}
        chosen_path, chosen_secret = await registered(client, chosen, **narrow)
        for portfolio in (book, other):
            policy = await client.policy(portfolio)
            await client.ok("POST", f"/v1/policies/{policy['id']}/disable", If_Match="*")
        await eventually(lambda: len(hook.received) == 4 and len(chosen.received) == 1)
        assert sorted(heard(hook, secret)) == [("policy.created", 1)] * 2 + [("policy.disabled", 2)] * 2
        assert heard(chosen, chosen_secret) == [("policy.disabled", 2)]

        async def all_noted():
            return len(await deliveries(client, path, state="delivered")) == 4

        await eventually(all_noted)
        for delivery in await deliveries(client, path):
            (attempt,) = delivery["attempts"]
            assert (attempt["number"], attempt["status"], attempt["response"]) == (1, 200, "")
            event = await client.ok(
                "GET", f"/v1/portfolios/{delivery['portfolio_id']}/events/{delivery['sequence']}"
            )
            assert event["id"] == delivery["event_id"]
            assert event in [msgspec.json.decode(body) for _, body in hook.received]
        counted = await client.ok("GET", f"{path}/statistics")
        assert (counted["attempts"], counted["failed"], counted["pending"]) == (4, 0, 0)
        assert counted["success_share"] == "1"
        again = (await deliveries(client, chosen_path))[0]["id"]
        await client.ok("POST", f"{chosen_path}/deliveries/{again}/resend")
        assert_problem(await client("POST", f"{path}/deliveries/{again}/resend"), 404, "not-found")
        await eventually(lambda: heard(chosen, chosen_secret) == [("policy.disabled", 2)] * 2)
        assert len(hook.received) == 4


async def test_an_endpoint_that_left_is_disabled_and_gets_what_it_missed_when_it_is_back(client):
    book = (await client.portfolio())["id"]
    since = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    away = True

    async def answer(request):
        return web.Response(status=410 if away else 200, text="moved out")

    async with receiver(answer) as hook, receiver() as witness:
        path, secret = await registered(client, hook)
        _, witness_secret = await registered(client, witness, event_types=["webhook.disabled"])
        await client.policy(book)
        await eventually(lambda: heard(witness, witness_secret) == [("webhook.disabled", 1)])
        shown = await client.ok("GET", path)
        assert (shown["enabled"], shown["disabled_reason"]) == (False, "the endpoint answered 410 Gone")
        await client.policy(book, name="missed")
        for route, body in (("test", None), ("recover", {"since": since})):
            assert_problem(await client("POST", f"{path}/{route}", body), 409, "conflict")
        away = False
        assert (await client.ok("POST", f"{path}/enable"))["disabled_reason"] == ""
        rotated = await client.ok("POST", f"{path}/rotate-secret", {"overlap_seconds": 60})
        assert (await client.ok("POST", f"{path}/recover", {"since": since}))["complete"]
        await eventually(lambda: {s for _, s in heard(hook, secret)} >= {1, 2})
        for headers, body in hook.received[1:]:
            assert Webhook(rotated["secret"]).verify(body, headers)
        moved = await client.ok("GET", path)
        await client.ok("PATCH", path, {"url": witness.url}, If_Match=f'"{moved["version"]}"')
        await client.ok("POST", f"{path}/test")
        await eventually(lambda: len(witness.received) == 2)
        await registered(client, witness, event_types=["policy.created"])
        await client.ok("DELETE", path)
        assert_problem(await client("GET", f"{path}/deliveries"), 404, "not-found")
        await client.policy(book, name="unheard")
        await eventually(lambda: len(witness.received) >= 3)
        assert len(witness.received) == 3  # the deleted one led here as well


@pytest.mark.parametrize(
    ("route", "body"),
    [
        ("deliveries?state=lost", None),
        ("deliveries?limit=0", None),
        ("deliveries?cursor=%00", None),
        ("deliveries?cursor=bm90IG9uZQ", None),
        ("statistics?hours=0", None),
        ("statistics?hours=721", None),
        ("deliveries/0/resend", {}),
        ("deliveries/9223372036854775808/resend", {}),
        ("recover", {"since": "yesterday"}),
        ("recover", {"since": "2026-11-23T09:00:00"}),
        ("recover", {}),
        ("rotate-secret", {"overlap_seconds": 1.5}),
        ("rotate-secret", {"secret": "whsec_mine"}),
    ],
)
async def test_what_cannot_be_meant_is_refused(client, route, body):
    async with receiver() as hook:
        path, _ = await registered(client, hook)
        response = await client("GET" if body is None else "POST", f"{path}/{route}", body)
        assert response.status_code in (400, 422), response.text
        assert response.headers["content-type"] == "application/problem+json"
