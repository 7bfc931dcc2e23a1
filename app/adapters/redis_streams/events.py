"""The `events` stream: committed events on their way to WebSocket hubs and the courier.

It only carries: whatever is lost here is found again in PostgreSQL by its readers.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from app.adapters.postgres.event_rows import encode_event
from app.adapters.redis_streams.client import BLOCK_MS, newest_entry, read_stream
from app.adapters.redis_streams.keys import ADJUSTMENTS, EVENTS
from app.adapters.redis_streams.wire import Command, Wire
from app.domain.events import Event, EventType

KEEP_ENTRIES = 100_000
KEEP_WORDS = 1_000


@dataclass(frozen=True, slots=True)
class StreamedEvent:
    """`body` is the envelope, exactly as clients receive it."""

    tenant_id: UUID
    portfolio_id: UUID
    sequence: int
    type: str
    body: bytes

    def fields(self) -> tuple[str | bytes | int, ...]:
        """Of its stream entry."""
        return (
            "t", self.tenant_id.bytes, "p", self.portfolio_id.bytes, "s", self.sequence,
            "k", self.type, "d", self.body,
        )  # fmt: skip


def streamed_event(event: Event) -> StreamedEvent:
    return StreamedEvent(
        event.tenant_id, event.portfolio_id, event.sequence, event.type.value, encode_event(event)
    )


def announced(events: Sequence[StreamedEvent]) -> list[Command]:
    """Their entries, in order, and a word to the executor where one says that something was queued."""
    commands: list[Command] = [
        ("XADD", EVENTS, "MAXLEN", "~", KEEP_ENTRIES, "*", *event.fields()) for event in events
    ]
    if any(event.type == EventType.ADJUSTMENT_QUEUED for event in events):
        commands.append(("XADD", ADJUSTMENTS, "MAXLEN", "~", KEEP_WORDS, "*", "queued", 1))
    return commands


class EventStream:
    """Reading may wait, so whoever also publishes does that over another connection."""

    def __init__(self, *, reading: Wire, writing: Wire) -> None:
        self._reading = reading
        self._writing = writing

    async def publish(self, events: Iterable[StreamedEvent]) -> None:
        """One round trip, in order."""
        await self._writing.execute_many(announced(list(events)))

    async def read(
        self, after: str, *, block_ms: int | None = BLOCK_MS, count: int = 1_000
    ) -> Sequence[tuple[str, StreamedEvent]]:
        """`after` is an entry id, or `$` for what comes from now on."""
        reply = await read_stream(self._reading, {EVENTS: after}, count=count, block_ms=block_ms)
        return [(entry_id.decode(), _decode(flat)) for entry_id, flat in reply.get(EVENTS, ())]

    async def tail(self) -> str:
        """The newest entry's id, `0-0` for a stream that is empty or was flushed."""
        return await newest_entry(self._reading, EVENTS)


def _decode(flat: list[bytes]) -> StreamedEvent:
    _, tenant, _, portfolio, _, sequence, _, kind, _, body = flat
    return StreamedEvent(UUID(bytes=tenant), UUID(bytes=portfolio), int(sequence), kind.decode(), body)
