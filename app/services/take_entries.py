"""Entries of one read, taken into the sequencer: nearly all by its loop, any other tick by tick."""

from collections.abc import Awaitable, Callable, Collection, Sequence

import msgspec

from app.domain.errors import InvalidTick
from app.domain.market import UNLISTED, Tick, TickKind
from app.oracle.entries import STATED, Entries
from app.oracle.sequencer import Sequencer
from app.ports.clock import WallClock
from app.ports.ticks import RejectedTick, TickBatch, TickEntry

MAXIMUM_PAYLOAD = 512
READ_TICKS = 8_000
_OF_NO_INSTRUMENT = frozenset({TickKind.HEARTBEAT, *UNLISTED})

_encoder = msgspec.json.Encoder()


class TakeEntries:
    """`learn` is given the instruments that an entry names, before it is looked at tick by tick."""

    def __init__(
        self, sequencer: Sequencer, clock: WallClock, learn: Callable[[Collection[str]], Awaitable[None]]
    ) -> None:
        self._sequencer = sequencer
        self._clock = clock
        self._learn = learn

    async def __call__(self, batch: TickBatch, start: int, end: int, *, merging: bool) -> list[RejectedTick]:
        """What of them is refused. An entry makes a frame or, when merging, all between two heartbeats do."""
        rejected: list[RejectedTick] = []
        while start < end:
            wall_ns = self._clock.now_ns()
            start = self._sequencer.take_packed(batch.entries, start, end, wall_ns=wall_ns, together=merging)
            if start < end:
                entry = batch.entry(start)
                await self._learn({t.instrument for t in entry.ticks if t.kind not in _OF_NO_INSTRUMENT})
                rejected += self._look_closely(entry, wall_ns, merging=merging)
                start += 1
        if merging:
            self._sequencer.close(wall_ns=self._clock.now_ns())
        return rejected

    def _look_closely(self, entry: TickEntry, wall_ns: int, *, merging: bool) -> list[RejectedTick]:
        alone = not merging or any(tick.kind is TickKind.HEARTBEAT for tick in entry.ticks)
        if alone:
            self._sequencer.close(wall_ns=wall_ns)
        step = self._sequencer.take(
            entry=entry.id, ticks=entry.ticks, wall_ns=wall_ns, signature=entry.signature
        )
        if alone:
            self._sequencer.close(wall_ns=wall_ns)
        return [*entry.rejected, *(self._refused(entry.id, tick, refusal) for tick, refusal in step.rejected)]

    def _refused(self, entry: str, tick: Tick, refusal: InvalidTick) -> RejectedTick:
        """Counted by source only where that is known: anybody may think up a name."""
        source = tick.source if self._sequencer.knows(tick.source) else ""
        payload = _encoder.encode(tick)[:MAXIMUM_PAYLOAD]
        return RejectedTick(entry, refusal.reason, str(refusal), payload, source)


def parts(entries: Entries) -> Sequence[tuple[int, int]]:
    """What is worked on and written in one step, from one entry to before another: of large entries a read
    may have many times as much.
    """
    if len(entries) <= 1 or entries.ticks <= READ_TICKS:
        return [(0, len(entries))]
    found: list[tuple[int, int]] = []
    start, ticks = 0, 0
    for i, count in enumerate(entries.rows[:, STATED].tolist()):
        if i > start and ticks + count > READ_TICKS:
            found.append((start, i))
            start, ticks = i, 0
        ticks += count
    return [*found, (start, len(entries))]
