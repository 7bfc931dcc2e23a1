"""Tells the executor that something was queued. A lost word costs one period of its polling."""

from datetime import timedelta

from app.adapters.redis_streams.client import newest_entry, newest_id, read_stream
from app.adapters.redis_streams.keys import ADJUSTMENTS
from app.adapters.redis_streams.wire import Wire


class QueueWakeups:
    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._after: str | None = None

    async def wait(self, *, at_most: timedelta) -> None:
        """Returns when an adjustment was queued since the last call, or when the time is over."""
        if self._after is None:
            self._after = await newest_entry(self._wire, ADJUSTMENTS)
        block_ms = max(1, int(at_most.total_seconds() * 1000))
        reply = await read_stream(self._wire, {ADJUSTMENTS: self._after}, count=1_000, block_ms=block_ms)
        self._after = newest_id(reply.get(ADJUSTMENTS, []), self._after)
