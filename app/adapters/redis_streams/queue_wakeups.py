"""Tells the executor that something was queued. A lost word costs one period of its polling."""

import time
from datetime import timedelta

from app.adapters.redis_streams.events import EventStream
from app.domain.events import EventType


class QueueWakeups:
    def __init__(self, events: EventStream) -> None:
        self._events = events
        self._after = "$"

    async def wait(self, *, at_most: timedelta) -> None:
        """Returns when an adjustment was queued since the last call, or when the time is over."""
        deadline = time.monotonic() + at_most.total_seconds()
        while (left_ms := int((deadline - time.monotonic()) * 1000)) > 0:
            entries = await self._events.read(self._after, block_ms=left_ms)
            if entries:
                self._after = entries[-1][0]
            if any(event.type == EventType.ADJUSTMENT_QUEUED for _, event in entries):
                return
