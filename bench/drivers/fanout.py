"""One channel, a thousand clients: events through the hub, beside the same bytes by `send_text`."""

import asyncio
import json
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from uuid import UUID

import asyncpg

from app.adapters.postgres.event_rows import append_events, encode_event
from app.adapters.redis_streams.events import EventStream, streamed_event
from app.adapters.redis_streams.wire import Wire
from app.domain.events import Event, EventType, NewEvent
from app.domain.identifiers import PortfolioId
from app.services.event_listeners import event_message
from bench.drivers.book import TENANT, Book, store_book
from bench.drivers.listening import Listeners, frame_size
from bench.drivers.ours import RESTS
from bench.drivers.service import Ballast, ballast
from bench.processes import Child, children

EVENTS_AT_ONCE = 20
_DATA = {"policy": "a name", "message": "BTC fell by 3 % within five minutes. " * 20}
"""With its envelope about as much as an adjustment."""


def events_of(portfolio: UUID, first: int, count: int) -> list[NewEvent]:
    return [
        NewEvent(EventType.POLICY_NOTIFIED, TENANT, PortfolioId(portfolio), 1_764_000_000 * 10**9 + n, _DATA)
        for n in range(first, first + count)
    ]


async def quiet_book(dsn: str) -> Book:
    """One portfolio without a policy: nothing is told of it but what is published here."""
    book = await store_book(dsn, portfolios=1, target_delta=RESTS)
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("DELETE FROM policies")
    finally:
        await connection.close()
    return book


class Publisher:
    """Commits, and tells after it: what a role does."""

    def __init__(self, service: Ballast, portfolio: UUID) -> None:
        self._service = service
        self._portfolio = portfolio
        self._runner = asyncio.Runner()

    def commit(self, first: int) -> list[Event]:
        return self._runner.run(self._commit(first))

    async def _commit(self, first: int) -> list[Event]:
        connection = await asyncpg.connect(self._service.database_url)
        try:
            async with connection.transaction():
                return await append_events(connection, events_of(self._portfolio, first, EVENTS_AT_ONCE))
        finally:
            await connection.close()

    def publish(self, events: Sequence[Event]) -> None:
        self._runner.run(self._publish(events))

    async def _publish(self, events: Sequence[Event]) -> None:
        async with Wire(f"unix://{self._service.redis_path}") as wire:
            await EventStream(reading=wire, writing=wire).publish(map(streamed_event, events))

    def close(self) -> None:
        self._runner.close()


def ours(directory: Path, *, clients: int, rounds: int) -> tuple[float, float]:
    """(messages a second, peak memory in MiB)."""
    books: list[Book] = []

    def prepare(dsn: str) -> None:
        books.append(asyncio.run(quiet_book(dsn)))

    with ballast(directory, prepare, names=("oracle", "api")) as service:
        (portfolio,) = books[0].portfolios
        channel = f"portfolio.{portfolio}"
        publisher = Publisher(service, portfolio)
        listeners = Listeners(
            port=service.api_port,
            path="/v1/stream",
            headers={"Authorization": f"Bearer {books[0].token}"},
            hello=[json.dumps({"op": "subscribe", "channel": channel})] * clients,
            answers=3,
        )

        def round_of(number: int) -> float:
            events = publisher.commit(number * EVENTS_AT_ONCE)
            messages = [event_message(channel, str(e.sequence), encode_event(e)) for e in events]
            size = sum(map(frame_size, messages))
            began = time.perf_counter()
            publisher.publish(events)
            return listeners.hear(size) - began

        rate = _rate(round_of, clients=clients, rounds=rounds)
        peak = service.roles[-1].peak_memory_mib()
        listeners.close()
        publisher.close()
    return rate, peak


def floor(_directory: Path, *, clients: int, rounds: int) -> tuple[float, float]:
    server = Child("bench.floors.send_text")
    with children(server):
        port, control_port = map(int, server.line().split())
        listeners = Listeners(port=port, path="/v1/stream", headers={}, hello=["hello"] * clients, answers=1)
        control = socket.create_connection(("127.0.0.1", control_port))
        portfolio = UUID(int=1)

        def round_of(number: int) -> float:
            first = number * EVENTS_AT_ONCE
            texts = [_text(portfolio, first + n) for n in range(EVENTS_AT_ONCE)]
            said = [f"send {len(texts)}", *map(json.dumps, texts), ""]
            began = time.perf_counter()
            control.sendall("\n".join(said).encode())
            return listeners.hear(sum(frame_size(text.encode()) for text in texts)) - began

        rate = _rate(round_of, clients=clients, rounds=rounds)
        peak = server.peak_memory_mib()
        control.close()
        listeners.close()
    return rate, peak


def _text(portfolio: UUID, number: int) -> str:
    """The same bytes that ours sends."""
    (new,) = events_of(portfolio, number, 1)
    event = Event(new.type, 1, new.tenant_id, new.portfolio_id, number + 1, new.time_ns, new.data)
    return event_message(f"portfolio.{portfolio}", str(number + 1), encode_event(event)).decode()


def _rate(round_of: Callable[[int], float], *, clients: int, rounds: int) -> float:
    round_of(0)  # not counted
    seconds = sum(round_of(number) for number in range(1, rounds + 1))
    return clients * rounds * EVENTS_AT_ONCE / seconds
