"""Tells the executor that something was queued. A lost word costs one period of its polling."""

import time
from datetime import timedelta

from app.adapters.redis_streams.event_feed import EventFeed
from app.domain.events import EventType


class QueueWakeups:
    def __init__(self, feed: EventFeed) -> None:
        self._feed = feed
        self._after: str | None = None

    async def wait(self, *, at_most: timedelta) -> None:
        """Returns when an adjustment was queued since the last call, or when the time is over."""
        if self._after is None:
            self._after = await self._feed.tail()
        deadline = time.monotonic() + at_most.total_seconds()
        while (left_ms := int((deadline - time.monotonic()) * 1000)) > 0:
            entries = await self._feed.read(self._after, block_ms=left_ms)
            if entries:
                self._after = entries[-1][0]
            if any(event.type == EventType.ADJUSTMENT_QUEUED for _, event in entries):
                return
