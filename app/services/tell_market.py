"""Instruments' consensus values, told to whoever watches them, no more often than each of them asked for.

One reader of the `market` stream in each process, which reads only while somebody watches. Of whatever a
frame changes only the newest is kept until a client's time has come, and while a client is still reading:
nothing of this is queued, so it never stands in the way of events.
"""

import asyncio
from collections.abc import Callable, Sequence
from itertools import product
from typing import Final, NamedTuple

import structlog

from app.domain.errors import Unavailable
from app.domain.market import UNLISTED, Change, Frame, StreamPosition, TickKind
from app.ports.delivery import is_before
from app.ports.management import MarketNow, UnitsOfWork
from app.ports.market import FrameStream
from app.services.event_listeners import Receiver

_KINDS: Final = tuple(kind for kind in TickKind if kind is not TickKind.HEARTBEAT)
_RETRY_SECONDS = 0.5
_log = structlog.get_logger(__name__)


class MarketPicture(NamedTuple):
    """All values of an instrument, by kind."""

    position: StreamPosition
    time_ns: int
    changes: Sequence[Change]


class MarketWatch:
    """What one client is to be told of one instrument, once it is begun."""

    def __init__(
        self, instrument: str, seconds: float, receiver: Receiver, tell: Callable[[MarketPicture], None]
    ) -> None:
        self.instrument = instrument
        self._seconds = seconds
        self._receiver = receiver
        self._tell = tell
        self._latest: dict[TickKind, tuple[StreamPosition, Change]] = {}
        self._as_of = (StreamPosition(0, 0), 0)
        self._loop = asyncio.get_running_loop()
        self._due = self._loop.time()
        self._begun = False
        self._timer: asyncio.TimerHandle | None = None

    def take(self, position: StreamPosition, time_ns: int, change: Change) -> None:
        """In any order: what is known at first may be older than a frame that came meanwhile."""
        known = self._latest.get(change.kind)
        if known is not None and (position < known[0] or change == known[1]):
            return
        self._latest[change.kind] = (position, change)
        self._as_of = max(self._as_of, (position, time_ns))
        self._schedule()

    def begin(self) -> None:
        self._begun = True
        self._schedule()

    def cancel(self) -> None:
        self._begun = False
        if self._timer is not None:
            self._timer.cancel()

    def _schedule(self) -> None:
        if self._begun and self._latest and self._timer is None:
            self._timer = self._loop.call_at(self._due, self._show)

    def _show(self) -> None:
        now = self._loop.time()
        self._due = now + self._seconds
        if self._receiver.congested:
            self._timer = self._loop.call_at(self._due, self._show)
            return
        self._timer = None
        changes = [self._latest[kind][1] for kind in sorted(self._latest)]
        self._tell(MarketPicture(*self._as_of, changes))


class MarketWatches:
    """One of them in each process that serves clients."""

    def __init__(self, units: UnitsOfWork, market: MarketNow, frames: FrameStream) -> None:
        self._units = units
        self._market = market
        self._frames = frames
        self._watches: dict[str, list[MarketWatch]] = {}
        self._wanted = asyncio.Event()

    async def check(self, instrument: str) -> None:
        """NotFound for what is neither listed nor a name of its own."""
        known = await self._market.values([(kind, instrument) for kind in UNLISTED])
        if not known:
            async with self._units() as unit:
                await unit.instruments.get(instrument)

    async def watch(
        self, instrument: str, *, seconds: float, receiver: Receiver, tell: Callable[[MarketPicture], None]
    ) -> MarketWatch:
        """To be begun: told at once what is known, and then of what changes, every so many seconds at most.

        Where that cannot be read nothing is left of it.
        """
        watch = MarketWatch(instrument, seconds, receiver, tell)
        self._watches.setdefault(instrument, []).append(watch)  # first, so that no frame is missed
        self._wanted.set()
        try:
            await self._read([watch])
        except BaseException:
            self.unwatch(watch)
            raise
        return watch

    def unwatch(self, watch: MarketWatch) -> None:
        watch.cancel()
        watches = self._watches[watch.instrument]
        watches.remove(watch)
        if not watches:
            del self._watches[watch.instrument]

    async def run(self) -> None:
        """Until cancelled."""
        cursor: str | None = None
        while True:
            try:
                if not self._watches:
                    cursor = None
                    self._wanted.clear()
                    await self._wanted.wait()
                cursor = await self._follow(cursor)
            except Exception as error:  # noqa: BLE001 - the outermost loop: it goes on from the newest frame
                _log.warning("market_unreadable", error=repr(error))
                cursor = None
                await asyncio.sleep(_RETRY_SECONDS)

    async def _follow(self, cursor: str | None) -> str | None:
        """One read; from the newest frame where nothing was read yet, or the stream went back."""
        if cursor is None:
            cursor = await self._frames.tail()
            await self._read([watch for watches in self._watches.values() for watch in watches])
            return cursor
        entries = await self._frames.read(cursor)
        for _, frame in entries:
            self._take(frame)
        if entries:
            return entries[-1][0]
        return None if is_before(await self._frames.tail(), cursor) else cursor

    async def _read(self, watches: Sequence[MarketWatch]) -> None:
        """What is known now, whichever frame said it."""
        instruments = {watch.instrument for watch in watches}
        try:
            position, time_ns = await self._market.clock()  # first: values are not older
            known = await self._market.values(product(_KINDS, instruments))
        except Unavailable:
            return  # no frame was written yet
        for watch in watches:
            for kind in _KINDS:
                change = known.get((kind, watch.instrument))
                if change is not None:
                    watch.take(position, time_ns, change)

    def _take(self, frame: Frame) -> None:
        for change in frame.changes:
            for watch in self._watches.get(change.instrument, ()):
                watch.take(frame.position, frame.time_ns, change)
