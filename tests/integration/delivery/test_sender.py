"""One webhook against real HTTP servers, hostile ones included."""

import asyncio
import socket
import ssl
import threading
import time
from base64 import b64encode
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from uuid import uuid4

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from standardwebhooks import Webhook, WebhookVerificationError

from app.adapters.webhooks.addresses import parse_networks
from app.adapters.webhooks.sender import HttpWebhookSender
from app.domain.identifiers import EndpointId
from app.ports.delivery import Delivered, Delivery, Rejected, Retryable
from tests.integration.delivery.receivers import raw_server, receiver

SECRET = b"0123456789abcdef0123456789abcdef"
LOOPBACK = parse_networks(["127.0.0.0/8"])
BODY = b'{"id":"evt_1","n":1}'
NO_ADDRESS = Retryable("the host has no address that webhooks may be sent to")


def delivery(url):
    return Delivery(1, EndpointId(uuid4()), url, SECRET, 0, "evt_1", BODY)


async def sent(url, *, timeout=timedelta(seconds=3), allowed=LOOPBACK, **options):
    async with HttpWebhookSender(timeout=timeout, allowed_networks=allowed, **options) as sender:
        return await sender.send(delivery(url))


class Names(AbstractResolver):
    """Each time a name is resolved it has the next of these lists of addresses."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    async def resolve(self, host, port=0, family=socket.AF_UNSPEC):  # noqa: ARG002 - the interface
        self.asked.append(host)
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=0,
            )
            for address in self.answers.pop(0)
        ]

    async def close(self):
        pass


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


async def test_f28_a_name_that_is_bound_anew_is_judged_anew():
    """First to what may be reached, then to what may not: each dial is looked at, no lookup is believed."""
    opened = parse_networks(["127.0.0.1/32"])
    async with receiver() as hook:
        names = Names(["127.0.0.1"], ["127.0.0.2"], ["169.254.169.254"])
        url = f"http://rebound.example:{hook.port}/"
        options = {"allowed": opened, "resolver": names}
        assert await sent(url, **options) == Delivered(200)
        for _ in range(2):
            assert await sent(url, **options) == NO_ADDRESS
        assert len(hook.received) == 1


async def test_f30_a_private_address_beside_a_public_one_is_passed_over():
    """Both families listen on the port: the one that may be reached gets it, whichever comes first."""
    async with receiver() as hook:
        inside = []

        async def never(reader, writer):
            inside.append(writer.get_extra_info("peername"))
            writer.close()

        private = await asyncio.start_server(never, "::1", hook.port)
        async with private:
            for addresses in (["::1", "127.0.0.1"], ["127.0.0.1", "::1"]):
                url = f"http://both.example:{hook.port}/"
                assert await sent(url, resolver=Names(addresses)) == Delivered(200)
        assert len(hook.received) == 2
        assert inside == []


async def test_f30_only_private_addresses_are_no_address_at_all():
    """Which, is not told: names that only the operator's network knows are not to be read out of answers."""
    outcome = await sent("https://both.example/", allowed=(), resolver=Names(["::1", "10.0.0.1"]))
    assert outcome == NO_ADDRESS


@pytest.mark.parametrize("port", [22, 80, 6379, 8080])
async def test_public_receivers_have_few_ports(port):
    outcome = await sent(f"https://public.example:{port}/", resolver=Names(["1.1.1.1"]))
    assert outcome == Retryable(f"port {port} is not one that webhooks may be sent to")


@pytest.mark.parametrize("port", [80, 443])
async def test_public_receivers_are_not_spoken_to_in_the_clear(port):
    outcome = await sent(f"http://public.example:{port}/", resolver=Names(["1.1.1.1"]))
    assert outcome == Retryable(f"port {port} is not one that webhooks may be sent to")


async def test_a_proxy_is_given_what_may_be_reached_and_nothing_else():
    async with receiver() as proxy:
        through = {"proxy": f"http://127.0.0.1:{proxy.port}"}
        assert await sent("http://127.0.0.1:9/hook", **through) == Delivered(200)
        assert len(proxy.received) == 1
        for url in (
            "http://127.0.0.1:9/",
            "http://[::ffff:10.0.0.1]/",
            "https://2130706433/",
            "http://1.1.1.1/",
        ):
            outcome = await sent(url, allowed=(), **through)
            assert "webhooks may be sent to" in outcome.reason
        assert len(proxy.received) == 1


async def test_a_proxy_is_asked_for_the_host_that_was_looked_up():
    """The two ways of writing a name outside ASCII lead to two hosts, and one of them may be inside."""
    names = Names(["1.1.1.1"], ["10.0.0.1"])
    async with receiver() as proxy:
        for outcome in (Retryable("the proxy answered 404"), NO_ADDRESS):
            url = "https://xn--fa-hia.example/"
            sending = sent(url, allowed=(), proxy=f"http://127.0.0.1:{proxy.port}", resolver=names)
            assert await sending == outcome
    assert names.asked == ["xn--fa-hia.example"] * 2


async def test_what_ails_the_proxy_is_told_without_saying_where_it_is():
    async def forbid(writer):
        writer.write(b"HTTP/1.1 403 not for user:hunter2\r\nContent-Length: 0\r\n\r\n")

    async with raw_server(forbid) as url:
        proxy = url.replace("//", "//user:hunter2@")
        assert await sent("https://1.1.1.1/", proxy=proxy) == Retryable("the proxy answered 403")
    assert await sent("https://1.1.1.1/", proxy=proxy) == Retryable("the proxy cannot be reached")


async def test_f35_names_of_silent_name_servers_hold_no_other_name_up(monkeypatch):
    """Far more than an event loop has threads for looking names up. A lookup cannot be called off."""
    looked_up = socket.getaddrinfo
    told = threading.Event()

    def look_up(host, *arguments, **options):
        if host.endswith(".silent.example"):
            told.wait(20)
        return looked_up("127.0.0.1", *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    async with receiver() as hook, HttpWebhookSender(allowed_networks=LOOPBACK) as sender:
        silent = [
            asyncio.create_task(sender.send(delivery(f"http://{n}.silent.example:{hook.port}/")))
            for n in range(100)
        ]
        await asyncio.sleep(0)
        async with asyncio.timeout(5):
            assert await sender.send(delivery(f"http://quick.example:{hook.port}/")) == Delivered(200)
        assert not any(task.done() for task in silent)
        told.set()
        assert await asyncio.gather(*silent) == [Delivered(200)] * 100


@pytest.mark.parametrize(
    ("asked", "wait"),
    [("30", 30), ("0", None), ("-5", None), ("soon", None), ("1e400", None), ("9" * 400, 3600), ("", None),
     ("Fri, 31 Dec 9999 23:59:59 GMT", 3600), ("Thu, 01 Jan 1970 00:00:00 GMT", None)],
)  # fmt: skip
async def test_f36_retry_after_is_bounded(asked, wait):
    async def busy(request):
        return web.Response(status=503, headers={"Retry-After": asked})

    async with receiver(busy) as hook:
        outcome = await sent(hook.url)
    assert outcome.wait == (None if wait is None else timedelta(seconds=wait))


async def test_f36_while_secrets_are_exchanged_each_of_them_verifies():
    old = bytes(32)
    async with receiver() as hook, HttpWebhookSender(allowed_networks=LOOPBACK) as sender:
        await sender.send(replace(delivery(hook.url), old_secrets=(old,)))
    ((headers, body),) = hook.received
    for secret in (SECRET, old):
        assert Webhook("whsec_" + b64encode(secret).decode()).verify(body, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook("whsec_" + b64encode(b"x" * 32).decode()).verify(body, headers)


@pytest.mark.parametrize(
    ("status", "kind"), [(400, Retryable), (404, Retryable), (410, Rejected), (500, Retryable)]
)
async def test_what_a_status_means(status, kind):
    async def answer(request):
        return web.Response(status=status, text="because")

    async with receiver(answer) as hook:
        assert await sent(hook.url) == kind("because", status)


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "2130706433", "0x7f.1", "0",
     "127.1", "0177.0.0.1", "[64:ff9b::7f00:1]", "[64:ff9b:1::7f00:1]", "[2002:7f00:1::]", "[::127.0.0.1]",
     "[fe80::1]", "[fd00:ec2::254]", "[ff02::1]", "169.254.169.254", "100.64.0.1", "192.88.99.1",
     "224.0.0.1", "10.0.0.1"],
)  # fmt: skip
async def test_f29_loopback_by_any_name_is_not_dialled(host, scheme):
    async with receiver() as hook:
        outcome = await sent(f"{scheme}://{host}:{hook.port}/", allowed=())
        assert isinstance(outcome, Retryable | Rejected)
        assert outcome == NO_ADDRESS or "not a canonical" in outcome.reason
        assert hook.received == []


@pytest.mark.parametrize("url", ["file:///etc/passwd", "gopher://127.0.0.1/", "not a url", "http://"])
async def test_only_http_is_spoken(url):
    assert isinstance(await sent(url), Rejected)


async def test_nobody_listens():
    async with receiver() as hook:
        url = hook.url
    outcome = await sent(url)
    assert outcome == Retryable("cannot connect: Connection refused")


async def test_a_certificate_that_is_not_believed_is_no_wrong_url(tmp_path):
    """It has expired, as a rule, and is renewed: what waits is sent then."""
    key = Ed25519PrivateKey.generate()
    name, now = x509.Name([]), datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now)
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    certificate = builder.add_extension(names, critical=True).sign(key, None)
    pem, clear = serialization.Encoding.PEM, serialization.NoEncryption()
    written = tmp_path / "certificate"
    written.write_bytes(
        certificate.public_bytes(pem) + key.private_bytes(pem, serialization.PrivateFormat.PKCS8, clear)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(written)

    async def close(reader, writer):
        writer.close()

    async with await asyncio.start_server(close, "127.0.0.1", 0, ssl=context) as server:
        outcome = await sent(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
    assert isinstance(outcome, Retryable)
    assert "certificate verify failed" in outcome.reason


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


@pytest.mark.parametrize(
    "line", [b"X-%d: " + b"a" * 4_000 + b"\r\n", b"Set-Cookie: c%d=1\r\n", b"X-%d: " + b"a" * 65_536]
)
async def test_f35_headers_without_end_are_not_collected(line):
    written = 0

    async def gush(writer):
        nonlocal written
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            written += 1
            writer.write(line % written)
            await writer.drain()

    async with raw_server(gush) as url:
        started = time.monotonic()
        outcome = await sent(url)
        assert isinstance(outcome, Retryable)
        assert outcome.status is None
        assert time.monotonic() - started < 2
        assert written * len(line) < 32 << 20
