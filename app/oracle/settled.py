"""What a number of entries changed, in columns and as msgpack."""

import numpy as np

from app.quant.arrays import ByteArray, IntArray, with_room

ENDS, TIME, FADES = range(3)


class Settled:
    """What entries changed, in order: the first so many rows.

    Of an entry in `ends` where its changes end, the market time, and where those begin that time alone made.
    Of a change its row among `lines`, and in `starts` where it begins in `packed`, as msgpack; the last one
    ends where the next would begin.
    """

    def __init__(self) -> None:
        self.entries = self.changes = 0
        self.ends: IntArray = np.empty((0, 3), dtype=np.int64)
        self.lines: IntArray = np.empty(0, dtype=np.int64)
        self.starts: IntArray = np.zeros(1, dtype=np.int64)
        self.packed: ByteArray = np.empty(0, dtype=np.uint8)
        self.claim(1_000, 1_000, 100)

    def claim(self, entries: int, changes: int, bytes_each: int) -> None:
        """There is room for so many more then."""
        self.ends = with_room(self.ends, self.entries + entries)
        self.lines = with_room(self.lines, self.changes + changes)
        self.starts = with_room(self.starts, self.changes + changes + 1)
        self.packed = with_room(self.packed, int(self.starts[self.changes]) + changes * bytes_each)

    def clear(self) -> None:
        self.entries = self.changes = 0

    def span(self, start: int, end: int) -> tuple[int, int]:
        """From which change to before which one the entries from `start` to before `end` go."""
        return int(self.ends[start - 1, ENDS]) if start else 0, int(self.ends[end - 1, ENDS])

    def between(self, start: int, end: int, *, merged: bool) -> tuple[int, bytes]:
        """How many changes these are, as msgpack; merged, the last word on each line in the order of the
        first.
        """
        if not merged:
            return end - start, self._packed(start, end)
        last = dict(zip(self.lines[start:end].tolist(), range(start, end), strict=True))
        return len(last), b"".join([self._packed(i, i + 1) for i in last.values()])

    def _packed(self, start: int, end: int) -> bytes:
        return self.packed[self.starts[start] : self.starts[end]].tobytes()
