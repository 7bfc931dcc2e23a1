"""What asleep portfolios wait for: intervals of market values inside which nothing of theirs can fire.

A watch is a column of the market, or its ratio to another one: the prices of one underlying move together,
and how they move against each other is watched apart. A view has an entry in every watch that it depends
on; entries of a watch stand in chunks, and these in blocks, whose narrowest ends are looked at first. An
entry that no value is inside of wakes its view with every news: so begins each view, and so are those for
which no bound is known.
"""

from collections.abc import Iterable

import numpy as np

from app.engine.columns import Columns
from app.engine.frame_block import FrameBlock
from app.engine.waking import News, ViewRanges, find_woken
from app.engine.watch_rows import (
    BLOCK,
    CHUNK,
    ITSELF,
    NONE,
    BlockColumns,
    ChunkColumns,
    EntryColumns,
    Intervals,
    LinkColumns,
    WatchColumns,
    put_entry,
)
from app.quant.arrays import IntArray
from app.quant.compiled import compiled_in_place

_FIRST_FOUND = 64
"""Room for those who wake; for more than ever before they are looked for twice."""


class Watches:
    def __init__(self) -> None:
        self.entries = Columns(EntryColumns, ("low", "high"))
        self.blocks = Columns(BlockColumns, BlockColumns._fields)
        self.chunks = Columns(ChunkColumns, ChunkColumns._fields)
        self.columns = Columns(WatchColumns)
        self._numbers: dict[tuple[int, int], int] = {}
        self._rows: list[tuple[int, ...]] = []
        self.links = Columns(LinkColumns)
        self._first_links: IntArray = np.zeros(0, dtype=np.int64)
        self._most_found = _FIRST_FOUND

    def numbers(self, columns: IntArray, bases: IntArray, row_of_column: IntArray) -> IntArray:
        """Of the watches of market columns, or of their ratios to others. News of the rows whose columns they
        are (see `Universe.row_of_column`) are news of them.
        """
        span = int(np.max(bases, initial=ITSELF)) + 2
        keys, of_each = np.unique(columns * span + bases + 1, return_inverse=True)
        pairs = ((key // span, key % span - 1) for key in keys.tolist())
        found = [self._number(column, base, row_of_column) for column, base in pairs]
        numbers: IntArray = np.array(found, dtype=np.int64)[of_each]
        return numbers

    def _number(self, column: int, base: int, row_of_column: IntArray) -> int:
        key = (column, base)
        if key not in self._numbers:
            number, _ = self.columns.append([(column, base, NONE, 0)])
            self._numbers[key] = number
            row = int(row_of_column[column]) if column < row_of_column.size else column
            rows = (row,) if base == ITSELF else (row, base)
            self._rows.append(rows)
            self._fit_rows(max(rows) + 1)
            for row in rows:
                link, _ = self.links.append([(number, self._first_links[row])])
                self._first_links[row] = link
        return self._numbers[key]

    def add_all(self, watches: IntArray, views: IntArray) -> IntArray:
        """The rows of new entries, which wake their views with every news."""
        counts = np.bincount(watches, minlength=self.columns.length)
        heads, used = self.columns.arrays.head[: counts.size], np.full(counts.size, CHUNK)
        used[heads != NONE] = self.chunks.arrays.used[heads[heads != NONE]]
        more = -(-np.maximum(counts - (CHUNK - used), 0) // CHUNK)
        free, _ = self.chunks.claim(int(more.sum()))
        self.blocks.claim(int(more.sum()) * CHUNK // BLOCK)
        self.entries.claim(int(more.sum()) * CHUNK)
        rows = np.empty(watches.size, dtype=np.int64)
        _add_all(watches, views, free, self.columns.arrays, self.intervals(), rows)
        return rows

    def wake_always(self, entries: IntArray) -> None:
        self._put(entries, np.inf, -np.inf)

    def hand_over(self, entries: IntArray, view: int) -> None:
        """They wake another view, and that one always."""
        self.entries.arrays.number[entries] = view
        self.wake_always(entries)

    def forget(self, entries: IntArray) -> None:
        """Of a view that is gone: they wake nobody."""
        self._put(entries, -np.inf, np.inf)

    def _put(self, entries: IntArray, low: float, high: float) -> None:
        _put_all(entries.copy(), low, high, self.intervals())  # loops are compiled for rows

    def intervals(self) -> Intervals:
        return Intervals(self.entries.arrays, self.blocks.arrays, self.chunks.arrays)

    def woken(
        self,
        block: FrameBlock,
        views: ViewRanges,
        own_entries: IntArray,
        seen: IntArray,
        frames_seen: int,
    ) -> IntArray:
        """Slots and frames, in the order of the frames. `seen` holds no number above `frames_seen`."""
        self._fit_rows(block.standing.shape[1])
        news = News(block.changed_frames, block.changed_rows, block.standing, block.records.value)
        found = np.empty((2, self._most_found), dtype=np.int64)
        while True:
            count = find_woken(
                news,
                self._first_links,
                self.links.arrays,
                self.columns.arrays,
                self.entries.arrays.awake[: self.entries.length].view(np.int64),
                self.intervals(),
                views,
                own_entries,
                seen,
                frames_seen + 1,
                found,
            )
            if count <= found.shape[1]:
                return found[:, :count]
            seen[:] = frames_seen
            self.columns.arrays.seen[:] = frames_seen
            self._most_found = count
            found = np.empty((2, count), dtype=np.int64)

    def frames_of(self, watches: Iterable[int], block: FrameBlock) -> set[int]:
        """The frames of a block with news of any of the watches."""
        rows = self.rows_of(watches)
        changed = zip(block.changed_rows.tolist(), block.changed_frames.tolist(), strict=True)
        return {frame for row, frame in changed if row in rows}

    def rows_of(self, watches: Iterable[int]) -> set[int]:
        """The rows whose news are news of any of the watches."""
        return {row for watch in watches for row in self._rows[watch]}

    def _fit_rows(self, width: int) -> None:
        """There may be more series than before."""
        missing = width - self._first_links.size
        if missing > 0:
            self._first_links = np.concatenate((self._first_links, np.full(missing, NONE, dtype=np.int64)))


@compiled_in_place
def _add_all(
    watches: IntArray,
    views: IntArray,
    free: int,
    columns: WatchColumns,
    intervals: Intervals,
    rows: IntArray,
) -> None:
    """Chunks from `free` on are there to be used, as many as are needed."""
    entries, blocks, chunks = intervals
    for i in range(watches.size):
        watch = watches[i]
        chunk = columns.head[watch]
        if chunk == NONE or chunks.used[chunk] == CHUNK:
            chunks.following[free], chunks.used[free], chunks.awake[free] = chunk, 0, 0
            chunks.highest_low[free], chunks.lowest_high[free] = -np.inf, np.inf
            entries.awake[free * CHUNK : (free + 1) * CHUNK] = False
            first, stop = free * CHUNK // BLOCK, (free + 1) * CHUNK // BLOCK
            blocks.highest_low[first:stop], blocks.lowest_high[first:stop] = -np.inf, np.inf
            columns.head[watch] = chunk = free
            free += 1
        entry = chunk * CHUNK + chunks.used[chunk]
        chunks.used[chunk] += 1
        entries.number[entry] = views[i]
        put_entry(entry, np.inf, -np.inf, intervals)
        rows[i] = entry


@compiled_in_place
def _put_all(rows: IntArray, low: float, high: float, intervals: Intervals) -> None:
    for entry in rows:
        put_entry(entry, low, high, intervals)
