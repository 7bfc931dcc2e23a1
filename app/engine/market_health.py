"""Which markets are degraded, that is whose price has not been valid for a while; told as it begins and ends.

A function of the frames alone, on the market clock. A price that is doubted now and then, or is valid for a
moment in between, turns nothing; one that was never known says nothing of its market.
"""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import numpy as np

from app.domain.market import Quality
from app.domain.times import NS_PER_SECOND
from app.engine.frame_block import UNKNOWN, RecordNumbers, Records, Turned
from app.quant.arrays import BoolArray, IntArray

DWELL_NS: Final = 10 * NS_PER_SECOND
"""For so long its price must have been otherwise than was told."""


class Doubt(NamedTuple):
    """What is remembered of a market: whether it was told as degraded, and since when it is otherwise."""

    instrument: str
    is_degraded: bool
    since_ns: int


class MarketHealth:
    """Of listed instruments, by their rows."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._degraded: BoolArray = np.zeros(len(names), dtype=bool)
        self._since_ns: IntArray = np.zeros(len(names), dtype=np.int64)

    def doubts(self) -> list[Doubt]:
        rows = np.flatnonzero(self._degraded | (self._since_ns > 0)).tolist()
        return [Doubt(self._names[row], bool(self._degraded[row]), int(self._since_ns[row])) for row in rows]

    def recall(self, doubts: Iterable[Doubt], row_of: dict[str, int]) -> None:
        for doubt in doubts:
            if (row := row_of.get(doubt.instrument)) is not None:
                self._degraded[row], self._since_ns[row] = doubt.is_degraded, doubt.since_ns

    def take(
        self,
        times_ns: IntArray,
        changed_frames: IntArray,
        changed_rows: IntArray,
        states: RecordNumbers,
        records: Records,
    ) -> list[Turned]:
        """What turns in each frame of a block. Nearly always nothing is in doubt, and nobody looks."""
        listed = changed_rows < len(self._names)
        rows = changed_rows[listed]
        poor = records.quality[states[changed_frames[listed], rows]] != Quality.VALID
        doubtful = np.flatnonzero(self._since_ns)
        asked = np.union1d(rows[poor != self._degraded[rows]], doubtful).astype(np.int64)
        turned: list[Turned] = []
        if asked.size:
            for k, time_ns in enumerate(times_ns.tolist()):
                turned += self._turned(k, time_ns, asked, states[k, asked], records)
        return turned

    def _turned(
        self, k: int, time_ns: int, rows: IntArray, standing: RecordNumbers, records: Records
    ) -> Iterable[Turned]:
        qualities = records.quality[standing]
        differs = ((qualities != Quality.VALID) != self._degraded[rows]) & (standing != UNKNOWN)
        since_ns = self._since_ns[rows]
        since_ns = np.where(differs, np.where(since_ns > 0, since_ns, time_ns), 0)
        turns = differs & (time_ns - since_ns >= DWELL_NS)
        self._since_ns[rows] = np.where(turns, 0, since_ns)
        self._degraded[rows] ^= turns
        for at in np.flatnonzero(turns).tolist():
            row = int(rows[at])
            yield Turned(k, self._names[row], bool(self._degraded[row]), Quality(int(qualities[at])))
