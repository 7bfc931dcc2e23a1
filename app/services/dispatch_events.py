"""Turn committed events into webhook deliveries: at once from the stream, what was missed from the outbox.

A committer publishes after its commit and may die in between; Redis may be away or empty. So the outbox is
swept: what is older than a second and undispatched is published again (hubs drop duplicates) and fanned out.
Only what is in the stream counts as dispatched; while Redis is away deliveries are created all the same.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta
from uuid import UUID

import structlog

from app.ports.delivery import EventFeed, Outbox, OutboxEntry, is_before

_log = structlog.get_logger()

SWEEP_PERIOD = timedelta(seconds=1)
SWEEP_AGE = timedelta(seconds=1)
_BATCH = 500
_GATHER_SECONDS = 0.02
"""Between two reads: events in a storm share their transactions, and one that comes alone goes at once."""
_RETRY_SECONDS = 0.5


class EventDispatcher:
    """`due` is called when there are new deliveries."""

    def __init__(
        self,
        *,
        feed: EventFeed,
        outbox: Outbox,
        due: Callable[[], None],
        sweep_period: timedelta = SWEEP_PERIOD,
        sweep_age: timedelta = SWEEP_AGE,
    ) -> None:
        self._feed = feed
        self._outbox = outbox
        self._due = due
        self._sweep_period = sweep_period
        self._sweep_age = sweep_age

    async def run(self, stop: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(self._follow(stop)), tasks.create_task(self._sweep_until(stop))]
            await stop.wait()
            for task in running:
                task.cancel()

    async def _follow(self, stop: asyncio.Event) -> None:
        """The stream, from its end: what came before is the sweep's.

        `stop` is looked at as well: a cancellation that meets a connection being made can get lost in it.
        """
        cursor = "0-0"
        started = False
        while not stop.is_set():
            try:
                if not started:
                    cursor = await self._feed.tail()
                    started = True
                entries = await self._feed.read(cursor, count=_BATCH)
                if entries:
                    await self._dispatch([(e.portfolio_id, e.sequence) for _, e in entries], published=True)
                    cursor = entries[-1][0]
                    await asyncio.sleep(_GATHER_SECONDS)
                else:
                    started = not is_before(await self._feed.tail(), cursor)
            except Exception as error:  # noqa: BLE001 - the outermost loop: nothing is lost, the sweep finds it
                _log.warning("events_unreadable", error=repr(error))
                started = False  # a stream that went back would never reach the old cursor
                await asyncio.sleep(_RETRY_SECONDS)

    async def _sweep_until(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                await self.sweep()
            except Exception as error:  # noqa: BLE001 - the outermost loop: the next sweep finds the same events
                _log.warning("sweep_failed", error=repr(error))
            await asyncio.sleep(self._sweep_period.total_seconds())

    async def sweep(self) -> int:
        """How many events had been missed."""
        swept = 0
        last: OutboxEntry | None = None
        while page := await self._outbox.undispatched(older_than=self._sweep_age, after=last, limit=_BATCH):
            published = await self._publish(page)
            events = [(entry.event.portfolio_id, entry.event.sequence) for entry in page]
            await self._dispatch(events, published=published)
            swept += len(page)
            last = page[-1]
        return swept

    async def _publish(self, page: Sequence[OutboxEntry]) -> bool:
        try:
            await self._feed.publish([entry.event for entry in page])
        except Exception as error:  # noqa: BLE001 - whatever ails Redis, webhooks go out without it
            _log.warning("events_unpublished", events=len(page), error=repr(error))
            return False
        return True

    async def _dispatch(self, events: Sequence[tuple[UUID, int]], *, published: bool) -> None:
        if await self._outbox.dispatch(events, published=published):
            self._due()
