"""A client that was away: from what it says to the last of the events that it missed."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg

from app.adapters.postgres.event_rows import append_events
from bench.drivers.book import Book
from bench.drivers.fanout import events_of, quiet_book
from bench.drivers.service import Ballast, ballast
from bench.drivers.websocket_client import WebSocketClient
from bench.processes import Child, children

_TIMES = 5
_EVENT = b'"op":"event"'


@contextmanager
def _away(directory: Path, missed: int) -> Iterator[tuple[Ballast, Book]]:
    """The service, and a portfolio to which so much has happened."""
    books: list[Book] = []

    def prepare(dsn: str) -> None:
        books.append(asyncio.run(_eventful_book(dsn, missed)))

    with ballast(directory, prepare, names=("oracle", "api")) as service:
        yield service, books[0]


async def _eventful_book(dsn: str, events: int) -> Book:
    book = await quiet_book(dsn)
    connection = await asyncpg.connect(dsn)
    try:
        async with connection.transaction():
            await append_events(connection, events_of(book.portfolios[0], 0, events))
        await connection.execute("ANALYZE")
    finally:
        await connection.close()
    return book


def _fastest(connected: Callable[[], WebSocketClient], said: str, missed: int) -> float:
    """Milliseconds, of several clients one after the other."""
    return min(_seconds(connected(), said, missed) for _ in range(_TIMES)) * 1e3


def _seconds(client: WebSocketClient, said: str, missed: int) -> float:
    began = time.perf_counter()
    client.send(said)
    heard = 0
    while heard < missed:
        heard += sum(_EVENT in message[:20] for message in client.receive())
    taken = time.perf_counter() - began
    client.close()
    return taken


def ours(directory: Path, missed: int) -> tuple[float, float]:
    """(milliseconds, peak memory in MiB)."""
    with _away(directory, missed) as (service, book):
        (portfolio,) = book.portfolios
        channel = f"portfolio.{portfolio}"
        subscribe = json.dumps({"op": "subscribe", "channel": channel, "recover": {"cursor": "0"}})
        headers = {"Authorization": f"Bearer {book.token}"}

        def connected() -> WebSocketClient:
            client = WebSocketClient(port=service.api_port, path="/v1/stream", headers=headers)
            client.receive()  # authenticated
            return client

        taken = _fastest(connected, subscribe, missed)
        return taken, service.roles[-1].peak_memory_mib()


def floor(directory: Path, missed: int) -> tuple[float, float]:
    with _away(directory, missed) as (service, book):
        server = Child("bench.floors.read_and_send", [service.database_url, str(book.portfolios[0])])
        with children(server):
            port = int(server.line())

            def connected() -> WebSocketClient:
                return WebSocketClient(port=port, path="/", headers={})

            return _fastest(connected, "send", missed), server.peak_memory_mib()
