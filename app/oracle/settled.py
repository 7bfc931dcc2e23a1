"""What a number of entries changed, in columns and as msgpack."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from app.quant.arrays import IntArray

_NONE = np.empty(0, dtype=np.int64)


class Settled(NamedTuple):
    """What entries changed, in order: where the changes of each entry end, rows of lines, the changes as
    msgpack, and where each of those ends.
    """

    ends: IntArray
    rows: IntArray
    packed: bytes
    packed_ends: IntArray

    @classmethod
    def joined(cls, parts: Sequence["Settled"]) -> "Settled":
        if len(parts) == 1:
            return parts[0]
        changes = np.cumsum([0, *(part.rows.size for part in parts)])
        written = np.cumsum([0, *(len(part.packed) for part in parts)])
        return cls(
            np.concatenate([_NONE, *(part.ends + n for part, n in zip(parts, changes, strict=False))]),
            np.concatenate([_NONE, *(part.rows for part in parts)]),
            b"".join([part.packed for part in parts]),
            np.concatenate([_NONE, *(part.packed_ends + n for part, n in zip(parts, written, strict=False))]),
        )

    def between(self, start: int, end: int, *, merged: bool) -> tuple[int, bytes]:
        """How many changes these are, as msgpack; merged, the last word on each line in the order of the
        first.
        """
        if not merged:
            return end - start, self.packed[self._starts(start) : self._starts(end)]
        last = dict(zip(self.rows[start:end].tolist(), range(start, end), strict=True))
        return len(last), b"".join([self._change(i) for i in last.values()])

    def last(self) -> dict[int, bytes]:
        """Of each line, its last change as msgpack."""
        last = np.full(self.rows.max(initial=-1) + 1, -1)
        np.maximum.at(last, self.rows, np.arange(self.rows.size))
        rows = np.flatnonzero(last >= 0)
        return {row: self._change(i) for row, i in zip(rows.tolist(), last[rows].tolist(), strict=True)}

    def _change(self, i: int) -> bytes:
        return self.packed[self._starts(i) : self._starts(i + 1)]

    def _starts(self, i: int) -> int:
        return int(self.packed_ends[i - 1]) if i else 0
