"""One webhook against real HTTP servers, hostile ones included."""

import asyncio
import time
from base64 import b64encode
from datetime import timedelta
from uuid import uuid4

import pytest
from aiohttp import web
from standardwebhooks import Webhook

from app.adapters.webhooks.addresses import parse_networks
from app.adapters.webhooks.sender import HttpWebhookSender
from app.domain.identifiers import EndpointId
from app.ports.delivery import Delivered, Delivery, Rejected, Retryable
from tests.integration.delivery.receivers import raw_server, receiver

SECRET = b"0123456789abcdef0123456789abcdef"
LOOPBACK = parse_networks(["127.0.0.0/8"])
BODY = b'{"id":"evt_1","n":1}'


def delivery(url):
    return Delivery(1, EndpointId(uuid4()), url, SECRET, 0, "evt_1", BODY)


async def sent(url, *, timeout=timedelta(seconds=3), allowed=LOOPBACK):
    async with HttpWebhookSender(timeout=timeout, allowed_networks=allowed) as sender:
        return await sender.send(delivery(url))


async def test_what_arrives_verifies_with_the_receivers_library():
    async with receiver() as hook:
        assert await sent(hook.url) == Delivered(200)
    ((headers, body),) = hook.received
    assert body == BODY
    assert Webhook("whsec_" + b64encode(SECRET).decode()).verify(body, headers) == {"id": "evt_1", "n": 1}
    assert headers["webhook-id"] == "evt_1"
    assert headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_f28_redirects_are_failures_and_not_followed(status):
    async with receiver() as inside:

        async def elsewhere(request):
            return web.Response(status=status, headers={"Location": inside.url})

        async with receiver(elsewhere) as hook:
            assert await sent(hook.url) == Retryable("redirects are not followed", status)
        assert inside.received == []


@pytest.mark.parametrize(
    ("status", "kind"), [(400, Retryable), (404, Retryable), (410, Rejected), (500, Retryable)]
)
async def test_what_a_status_means(status, kind):
    async def answer(request):
        return web.Response(status=status, text="because")

    async with receiver(answer) as hook:
        assert await sent(hook.url) == kind("because", status)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1", "0"]
)
async def test_f29_loopback_by_any_name_is_not_dialled(host):
    async with receiver() as hook:
        outcome = await sent(f"http://{host}:{hook.port}/", allowed=())
        assert isinstance(outcome, Retryable | Rejected)
        assert "not an address that webhooks may be" in outcome.reason or "not a canonical" in outcome.reason
        assert hook.received == []


@pytest.mark.parametrize("url", ["file:///etc/passwd", "gopher://127.0.0.1/", "not a url", "http://"])
async def test_only_http_is_spoken(url):
    assert isinstance(await sent(url), Rejected)


async def test_nobody_listens():
    async with receiver() as hook:
        url = hook.url
    outcome = await sent(url)
    assert isinstance(outcome, Retryable)
    assert outcome.status is None
    assert "cannot connect" in outcome.reason


async def test_silence_ends_at_the_time_out():
    async def say_nothing(writer):
        await asyncio.Event().wait()

    async with raw_server(say_nothing) as url:
        started = time.monotonic()
        outcome = await sent(url, timeout=timedelta(seconds=0.3))
        assert outcome == Retryable("no answer within 0.3 s")
        assert time.monotonic() - started < 2


async def test_f35_an_endless_body_is_read_no_further_than_a_kilobyte():
    written = 0

    async def gush(writer):
        nonlocal written
        writer.write(b"HTTP/1.1 500 No\r\nConnection: close\r\n\r\n")
        while True:
            writer.write(b"a" * 65_536)
            written += 65_536
            await writer.drain()

    async with raw_server(gush) as url:
        outcome = await sent(url)
        assert outcome == Retryable("a" * 1024, 500)
        assert written < 32 << 20  # what sockets hold, and no more


async def test_f35_a_slow_drip_does_not_hold_the_answer_back(monkeypatch):
    monkeypatch.setattr("app.adapters.webhooks.sender._BODY_TIMEOUT_SECONDS", 0.2)

    async def drip(writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while True:
            writer.write(b".")
            await writer.drain()
            await asyncio.sleep(0.05)

    async with raw_server(drip) as url:
        started = time.monotonic()
        assert await sent(url) == Delivered(200)
        assert time.monotonic() - started < 2
