"""Sends one webhook over HTTP, and says what came of it. Bounded in time and in memory, whoever answers."""

import asyncio
import time
from collections.abc import Sequence
from datetime import timedelta
from types import TracebackType
from typing import Self

import aiohttp

from app.adapters.webhooks.addresses import AddressDenied, Network, guarded_socket
from app.adapters.webhooks.signing import sign
from app.ports.delivery import Delivered, Delivery, Outcome, Rejected, Retryable

TIMEOUT = timedelta(seconds=15)
_KEPT_BODY_BYTES = 1_024
_BODY_TIMEOUT_SECONDS = 2.0  # the answer is known by then; its body only explains
_GONE = 410


class HttpWebhookSender:
    """`allowed_networks` opens ranges that are denied otherwise: for development, demo and tests."""

    def __init__(self, *, timeout: timedelta = TIMEOUT, allowed_networks: Sequence[Network] = ()) -> None:
        self._timeout = timeout
        self._allowed_networks = tuple(allowed_networks)
        self._session: aiohttp.ClientSession | None = None

    @property
    def timeout(self) -> timedelta:
        return self._timeout

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,
                socket_factory=guarded_socket(self._allowed_networks),
                resolver=aiohttp.ThreadedResolver(),  # the system's, whatever else is installed
            ),
            timeout=aiohttp.ClientTimeout(total=self._timeout.total_seconds()),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,  # 1 kB of it could be a gigabyte
            trust_env=False,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def send(self, delivery: Delivery) -> Outcome:
        if self._session is None:
            raise RuntimeError("the sender has not been entered")
        now_seconds = int(time.time())
        headers = {
            "content-type": "application/json",
            "user-agent": "Ballast",
            "webhook-id": delivery.event_id,
            "webhook-timestamp": str(now_seconds),
            "webhook-signature": sign(delivery.secret, delivery.event_id, now_seconds, delivery.body),
        }
        try:
            async with self._session.post(
                delivery.url, data=delivery.body, headers=headers, allow_redirects=False
            ) as response:
                return _judge(response.status, await _beginning(response))
        except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError) as error:
            return Rejected(f"not a URL that can be posted to: {error}")
        except TimeoutError:
            return Retryable(f"no answer within {self._timeout.total_seconds():g} s")
        except aiohttp.ClientConnectorError as error:
            return Retryable(_why_not_connected(error))
        except (aiohttp.ClientError, OSError) as error:
            return Retryable(f"{type(error).__name__}: {error}"[:_KEPT_BODY_BYTES])


def _judge(status: int, beginning: bytes) -> Outcome:
    if 200 <= status < 300:
        return Delivered(status)
    said = beginning.decode(errors="replace").replace("\x00", "\N{REPLACEMENT CHARACTER}")
    if status == _GONE:
        return Rejected(said or "gone", status)
    return Retryable("redirects are not followed" if 300 <= status < 400 else said, status)


async def _beginning(response: aiohttp.ClientResponse) -> bytes:
    """At most 1 kB of the body, however slowly or endlessly it comes; what is left closes the connection."""
    body = bytearray()
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
    cause = error.os_error
    return str(cause) if isinstance(cause, AddressDenied) else f"cannot connect: {cause}"
