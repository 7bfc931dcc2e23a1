"""The `events` stream: committed events on their way to WebSocket hubs and the courier.

It only carries: whatever is lost here is found again in PostgreSQL by its readers.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from redis.asyncio import Redis

from app.adapters.postgres.event_rows import encode_event
from app.adapters.redis_streams.client import BLOCK_MS, read_stream
from app.adapters.redis_streams.keys import EVENTS
from app.domain.events import Event

KEEP_ENTRIES = 100_000


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


class EventStream:
    def __init__(self, redis: "Redis") -> None:
        self._redis = redis

    async def publish(self, events: Iterable[StreamedEvent]) -> None:
        """One round trip, in order."""
        pipeline = self._redis.pipeline(transaction=False)
        for event in events:
            pipeline.execute_command("XADD", EVENTS, "MAXLEN", "~", KEEP_ENTRIES, "*", *event.fields())
        if len(pipeline):
            await pipeline.execute()

    async def read(
        self, after: str, *, block_ms: int | None = BLOCK_MS, count: int = 1_000
    ) -> Sequence[tuple[str, StreamedEvent]]:
        """`after` is an entry id, or `$` for what comes from now on."""
        reply = await read_stream(self._redis, {EVENTS: after}, count=count, block_ms=block_ms)
        return [(entry_id.decode(), _decode(flat)) for entry_id, flat in reply.get(EVENTS, ())]


def _decode(flat: list[bytes]) -> StreamedEvent:
    _, tenant, _, portfolio, _, sequence, _, kind, _, body = flat
    return StreamedEvent(UUID(bytes=tenant), UUID(bytes=portfolio), int(sequence), kind.decode(), body)
