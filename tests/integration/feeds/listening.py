"""A feed that runs in a test, on whatever it publishes to, and comes back at once."""

import asyncio
from contextlib import asynccontextmanager

from app.adapters.wall_clock import SystemClock
from app.services import publish_feed
from app.services.publish_feed import PublishFeed


class Written:
    """What was published, entry by entry."""

    def __init__(self):
        self.entries = []

    @property
    def ticks(self):
        return [tick for entry in self.entries for tick in entry]

    async def publish(self, ticks):
        self.entries.append(list(ticks))
        return f"{len(self.entries)}-0"


@asynccontextmanager
async def published(
    feed, publisher, monkeypatch, *, silence=publish_feed.LONGEST_SILENCE_SECONDS, clock=None
):
    monkeypatch.setattr(publish_feed, "FIRST_BACKOFF_SECONDS", 0.01)
    monkeypatch.setattr(publish_feed, "LONGEST_BACKOFF_SECONDS", 0.05)
    stop = asyncio.Event()
    service = PublishFeed(
        feed=feed, publisher=publisher, clock=clock or SystemClock(), longest_silence_seconds=silence
    )
    running = asyncio.create_task(service.run(stop))
    try:
        yield running
    finally:
        stop.set()
        await running
