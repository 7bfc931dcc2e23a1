"""What a number of entries changed, in columns and as msgpack."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from app.quant.arrays import IntArray

_NONE = np.empty(0, dtype=np.int64)
_FEW = 64
"""Changes that are quicker looked through one by one."""


class Settled(NamedTuple):
    """What entries changed, in order: where the changes of each entry end, rows of lines, the changes as
    msgpack, and where each of those starts, and the last one ends.
    """

    ends: IntArray
    rows: IntArray
    packed: bytes
    starts: list[int]

    @classmethod
    def joined(cls, parts: Sequence["Settled"]) -> "Settled":
        if len(parts) == 1:
            return parts[0]
        changes = np.cumsum([0, *(part.rows.size for part in parts)])
        starts = [0]
        for part in parts:
            starts += [starts[-1] + start for start in part.starts[1:]]
        return cls(
            np.concatenate([_NONE, *(part.ends + n for part, n in zip(parts, changes, strict=False))]),
            np.concatenate([_NONE, *(part.rows for part in parts)]),
            b"".join([part.packed for part in parts]),
            starts,
        )

    def between(self, start: int, end: int, *, merged: bool) -> tuple[int, bytes]:
        """How many changes these are, as msgpack; merged, the last word on each line in the order of the
        first.
        """
        if not merged:
            return end - start, self.packed[self.starts[start] : self.starts[end]]
        last = dict(zip(self.rows[start:end].tolist(), range(start, end), strict=True))
        return len(last), b"".join([self._change(i) for i in last.values()])

    def last(self) -> dict[int, bytes]:
        """Of each line, its last change as msgpack."""
        count = self.rows.size
        if count <= _FEW:
            last = dict(zip(self.rows.tolist(), range(count), strict=True))
        else:
            at = np.full(self.rows.max() + 1, -1)
            np.maximum.at(at, self.rows, np.arange(count))
            rows = np.flatnonzero(at >= 0)
            last = dict(zip(rows.tolist(), at[rows].tolist(), strict=True))
        return {row: self._change(i) for row, i in last.items()}

    def _change(self, i: int) -> bytes:
        return self.packed[self.starts[i] : self.starts[i + 1]]
