"""What asleep portfolios wait for: intervals of market values inside which nothing of theirs can fire.

A watch is a column of the market, or its ratio to another one: the prices of one underlying move together,
and how they move against each other is watched apart. A view has an entry in every watch that it depends
on; entries of a watch stand in chunks, whose narrowest ends are looked at first. An entry that no value is
inside of wakes its view with every news: so begins each view, and so are those for which no bound is known.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from app.engine.columns import Columns
from app.engine.frame_block import FrameBlock
from app.quant.arrays import FloatArray, IntArray
from app.quant.compiled import compiled_in_place, inlined_in_place

CHUNK = 256
ITSELF = -1
"""The base of a watch that is no ratio."""
_NONE = -1


class EntryColumns(NamedTuple):
    """The number of a view, and its interval. Chunk c has the rows from c x `CHUNK` on."""

    number: IntArray
    low: FloatArray
    high: FloatArray


class ChunkColumns(NamedTuple):
    """The next chunk of the same watch, how many rows are in use, and the narrowest ends of all of them."""

    following: IntArray
    used: IntArray
    highest_low: FloatArray
    lowest_high: FloatArray


class WatchColumns(NamedTuple):
    """A column of the market and the one that it is held against, and the chunk that was added last."""

    column: IntArray
    base: IntArray
    head: IntArray


class Tests(NamedTuple):
    """Values that watches came to, in the order of the frames."""

    frame: IntArray
    watch: IntArray
    value: FloatArray


class Watches:
    def __init__(self) -> None:
        self.entries = Columns(EntryColumns)
        self.chunks = Columns(ChunkColumns)
        self.columns = Columns(WatchColumns)
        self._numbers: dict[tuple[int, int], int] = {}
        self._of_row: dict[int, list[int]] = {}
        self._tested: tuple[FrameBlock, int, Tests] | None = None
        self._tested_frames: dict[int, list[int]] = {}

    def watch(self, rows: Iterable[int], column: int, base: int = ITSELF) -> int:
        """The number of a watch; news of any of the `rows` are news of it."""
        key = (column, base)
        if key not in self._numbers:
            self._numbers[key], _ = self.columns.append([(column, base, _NONE)])
            for row in rows:
                self._of_row.setdefault(row, []).append(self._numbers[key])
        return self._numbers[key]

    def add(self, watch: int, view: int) -> int:
        """The row of a new entry, which wakes the view with every news."""
        heads, chunk = self.columns.arrays.head, int(self.columns.arrays.head[watch])
        if chunk == _NONE or self.chunks.arrays.used[chunk] == CHUNK:
            following = chunk
            chunk, _ = self.chunks.append([(following, 0, -np.inf, np.inf)])
            blank = np.zeros(CHUNK)
            self.entries.extend([blank, blank, blank])
            heads[watch] = chunk
        chunks = self.chunks.arrays
        entry = chunk * CHUNK + int(chunks.used[chunk])
        chunks.used[chunk] += 1
        self.entries.arrays.number[entry] = view
        self.wake_always(np.array([entry]))
        return entry

    def wake_always(self, entries: IntArray) -> None:
        _put_all(entries, np.inf, -np.inf, self.entries.arrays, self.chunks.arrays)

    def forget(self, entries: IntArray) -> None:
        """Of a view that is gone: they wake nobody."""
        _put_all(entries, -np.inf, np.inf, self.entries.arrays, self.chunks.arrays)

    def tests(self, block: FrameBlock) -> Tests:
        """What the block's news come to, watch by watch. Those of the last block are kept."""
        if self._tested and self._tested[0] is block and self._tested[1] == self.columns.length:
            return self._tested[2]
        none: list[int] = []
        found = [self._of_row.get(row, none) for row in block.changed_rows.tolist()]
        counts = [len(watches) for watches in found]
        frames = np.repeat(block.changed_frames, counts)
        watches = np.array([watch for some in found for watch in some], dtype=np.int64)
        values, base = self.values(block, frames, watches), self.columns.arrays.base[watches]
        # What is not known stays so whatever becomes of its base.
        told = ~(np.isnan(values) & (np.repeat(block.changed_rows, counts) == base))
        tests = Tests(frames[told], watches[told], values[told])
        self._tested = (block, self.columns.length, tests)
        self._tested_frames = {}
        return tests

    def frames_of(self, watches: Iterable[int], block: FrameBlock) -> set[int]:
        """The frames of a block with news of any of the watches."""
        tests, known = self.tests(block), self._tested_frames
        if not known:
            for watch, frame in zip(tests.watch.tolist(), tests.frame.tolist(), strict=True):
                known.setdefault(watch, []).append(frame)
        return {frame for watch in watches for frame in known.get(watch, ())}

    def values(self, block: FrameBlock, frames: IntArray, watches: IntArray) -> FloatArray:
        columns = self.columns.arrays
        column, base = columns.column[watches], columns.base[watches]
        base = np.where(base == ITSELF, block.universe.one_row, base)
        return block.values(frames, column) / block.values(frames, base)


@inlined_in_place
def put_entry(entry: int, low: float, high: float, entries: EntryColumns, chunks: ChunkColumns) -> None:
    """Its chunk is not looked at again: the narrowest ends of before may be narrower than need be."""
    entries.low[entry], entries.high[entry] = low, high
    chunk = entry // CHUNK
    chunks.highest_low[chunk] = max(chunks.highest_low[chunk], low)
    chunks.lowest_high[chunk] = min(chunks.lowest_high[chunk], high)


@compiled_in_place
def _put_all(rows: IntArray, low: float, high: float, entries: EntryColumns, chunks: ChunkColumns) -> None:
    for entry in rows:
        put_entry(entry, low, high, entries, chunks)


@compiled_in_place
def woken(
    tests: Tests,
    heads: IntArray,
    entries: EntryColumns,
    chunks: ChunkColumns,
    slots_of_views: IntArray,
    seen: IntArray,
    first_frame: int,
    found: IntArray,
) -> int:
    """How many (slot, frame) some value is outside of an interval for, each once; those that fit are written
    into `found`. `first_frame` is the number of frame 0, above every one that `seen` holds.
    """
    count = 0
    for i in range(tests.frame.size):
        value, k = tests.value[i], tests.frame[i]
        chunk = heads[tests.watch[i]]
        while chunk != _NONE:
            if not (chunks.highest_low[chunk] <= value <= chunks.lowest_high[chunk]):
                highest_low, lowest_high = -np.inf, np.inf
                for entry in range(chunk * CHUNK, chunk * CHUNK + chunks.used[chunk]):
                    low, high = entries.low[entry], entries.high[entry]
                    highest_low, lowest_high = max(highest_low, low), min(lowest_high, high)
                    if low <= value <= high:
                        continue
                    if low == -np.inf and high == np.inf:
                        continue
                    slot = slots_of_views[entries.number[entry]]
                    if seen[slot] != first_frame + k:
                        seen[slot] = first_frame + k
                        if count < found.shape[1]:
                            found[0, count] = slot
                            found[1, count] = k
                        count += 1
                chunks.highest_low[chunk], chunks.lowest_high[chunk] = highest_low, lowest_high
            chunk = chunks.following[chunk]
    return count
