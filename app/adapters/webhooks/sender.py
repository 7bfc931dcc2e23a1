"""Sends one webhook over HTTP, and says what came of it. Bounded in time and in memory, whoever answers.

Public receivers are spoken to by https alone; http is for networks that the operator opened by name.

Behind a proxy it is the proxy that dials. Names are then resolved here as well, and nothing is handed over
unless every address of a name may be reached; but the proxy resolves it again, and its own rules have to
deny what ours do.
"""

import asyncio
import os
import socket
import ssl
import time
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from app.adapters.webhooks.addresses import AddressDenied, Guard, Network
from app.adapters.webhooks.resolver import SystemResolver
from app.adapters.webhooks.signing import sign
from app.ports.delivery import Delivered, Delivery, Outcome, Rejected, Retryable

TIMEOUT = timedelta(seconds=15)
PORTS = (443, 8443)
LONGEST_WAIT = timedelta(hours=1)
_RESOLVING = timedelta(seconds=5)
_KEPT_BODY_BYTES = 1_024
_BODY_TIMEOUT_SECONDS = 2.0  # the answer is known by then; its body only explains
_GONE = 410
_BUSY = frozenset({429, 502, 503, 504})


class HttpWebhookSender:
    """`allowed_networks` opens ranges that are denied otherwise: for development, demo and tests."""

    def __init__(
        self,
        *,
        timeout: timedelta = TIMEOUT,
        allowed_networks: Sequence[Network] = (),
        ports: Collection[int] = PORTS,
        proxy: str | None = None,
        resolver: AbstractResolver | None = None,
    ) -> None:
        self._timeout = timeout
        networks = tuple(allowed_networks)
        self._guards = {"https": Guard(networks, frozenset(ports)), "http": Guard(networks)}
        self._proxy = proxy
        self._resolver = resolver or SystemResolver()
        self._sessions: dict[str, aiohttp.ClientSession] = {}

    @property
    def timeout(self) -> timedelta:
        return self._timeout + (_RESOLVING if self._proxy else timedelta())

    async def __aenter__(self) -> Self:
        for scheme, guard in self._guards.items():
            self._sessions[scheme] = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=0,
                    socket_factory=None if self._proxy else guard.socket,  # the operator named the proxy
                    resolver=self._resolver,
                ),
                timeout=aiohttp.ClientTimeout(total=self._timeout.total_seconds()),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,  # 1 kB of it could be a gigabyte
                trust_env=False,
                proxy=self._proxy,
            )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for session in self._sessions.values():
            await session.close()
        self._sessions.clear()

    async def send(self, delivery: Delivery) -> Outcome:
        if not self._sessions:
            raise RuntimeError("the sender has not been entered")
        try:
            url = URL(delivery.url)
            session = self._sessions.get(url.scheme)
            if session is None or not url.host:
                return Rejected("not a URL that can be posted to: http:// or https:// with a host is needed")
            if self._proxy:
                await self._check(url)
            async with session.post(
                url, data=delivery.body, headers=_headers(delivery), allow_redirects=False
            ) as response:
                return _judge(response, await _beginning(response))
        except TimeoutError:
            return Retryable(f"no answer within {self.timeout.total_seconds():g} s")
        except AddressDenied as error:
            return Retryable(str(error))
        except aiohttp.ClientHttpProxyError as error:
            return Retryable(f"the proxy answered {error.status}")
        except aiohttp.ClientProxyConnectionError:
            return Retryable("the proxy cannot be reached")  # where it is concerns the operator alone
        except aiohttp.ClientConnectorError as error:
            return Retryable(_why_not_connected(error))
        except ValueError as error:  # what is wrong with a certificate is one too: it was told above
            return Rejected(f"not a URL that can be posted to: {error}")
        except (aiohttp.ClientError, OSError) as error:
            return Retryable(f"{type(error).__name__}: {error}")

    async def _check(self, url: URL) -> None:
        """What the proxy would dial, as far as can be known here."""
        host, port = url.raw_host or "", url.port or 0  # as the proxy is given it
        async with asyncio.timeout(_RESOLVING.total_seconds()):
            found = await self._resolver.resolve(host, port, socket.AF_UNSPEC)
        for address in found:
            self._guards[url.scheme].check(address["host"], port)


def _headers(delivery: Delivery) -> dict[str, str]:
    now_seconds = int(time.time())
    return {
        "content-type": "application/json",
        "user-agent": "Ballast",
        "webhook-id": delivery.event_id,
        "webhook-timestamp": str(now_seconds),
        "webhook-signature": sign(
            delivery.secret, delivery.event_id, now_seconds, delivery.body, *delivery.old_secrets
        ),
    }


def _judge(response: aiohttp.ClientResponse, beginning: bytes) -> Outcome:
    status = response.status
    said = beginning.decode(errors="replace")
    if 200 <= status < 300:
        return Delivered(status, said)
    if status == _GONE:
        return Rejected(said or "gone", status, gone=True)
    wait = _asked_wait(response.headers.get("Retry-After", "")) if status in _BUSY else None
    return Retryable("redirects are not followed" if 300 <= status < 400 else said, status, wait)


def _asked_wait(retry_after: str) -> timedelta | None:
    """Of a Retry-After in seconds or as a date; at most an hour, None where it says neither."""
    try:
        if retry_after.strip().isdecimal():
            wait = timedelta(seconds=min(int(retry_after), LONGEST_WAIT.total_seconds()))
        else:
            moment = parsedate_to_datetime(retry_after)
            wait = moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)
    except (ValueError, OverflowError):
        return None
    return min(wait, LONGEST_WAIT) if wait > timedelta() else None


async def _beginning(response: aiohttp.ClientResponse) -> bytes:
    """At most 1 kB of the body, however slowly or endlessly it comes; what is left closes the connection."""
    body = bytearray()
    if response.content.at_eof():
        return b""
    try:
        async with asyncio.timeout(_BODY_TIMEOUT_SECONDS):
            while len(body) < _KEPT_BODY_BYTES and not response.content.at_eof():
                body += await response.content.read(_KEPT_BODY_BYTES - len(body))
    except (TimeoutError, aiohttp.ClientError, OSError):
        pass
    if not response.content.at_eof():
        response.close()
    return bytes(body)


def _why_not_connected(error: aiohttp.ClientConnectorError) -> str:
    """Without the address, which may be one of the operator's network."""
    match error.os_error:
        case AddressDenied() as cause:
            return str(cause)
        case ssl.SSLError() | socket.gaierror() as cause:
            return f"cannot connect: {cause}"
        case cause:
            return f"cannot connect: {os.strerror(cause.errno) if cause.errno else 'no address answers'}"
