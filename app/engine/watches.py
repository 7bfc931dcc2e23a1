"""What asleep portfolios wait for: intervals of market values inside which nothing of theirs can fire.

A watch is a column of the market, or its ratio to another one: the prices of one underlying move together,
and how they move against each other is watched apart. A view has an entry in every watch that it depends
on; entries of a watch stand in chunks, and these in blocks, whose narrowest ends are looked at first. An
entry that no value is inside of wakes its view with every news: so begins each view, and so are those for
which no bound is known.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from app.engine.columns import Columns
from app.engine.frame_block import FrameBlock, RecordNumbers
from app.quant.arrays import BoolArray, FloatArray, IntArray
from app.quant.compiled import compiled_in_place, inlined_in_place

CHUNK, BLOCK = 1_024, 16
ITSELF = -1
"""The base of a watch that is no ratio."""
_NONE = -1
_FEW = 16
"""Of all slots one in so many: more that wake in a frame are put in order."""
_FIRST_FOUND = 64
"""Room for those who wake; for more than ever before they are looked for twice."""
_AT_ONCE = 8
"""Entries of which one comparison tells that all are asleep: their flags are a word."""


class EntryColumns(NamedTuple):
    """The number of a view, its interval, and whether no value is inside of it. Chunk c has the rows from
    c x `CHUNK` on.
    """

    number: IntArray
    low: FloatArray
    high: FloatArray
    awake: BoolArray


class ChunkColumns(NamedTuple):
    """The next chunk of the same watch, how many rows are in use, the narrowest ends of those that sleep, and
    how many are awake.
    """

    following: IntArray
    used: IntArray
    highest_low: FloatArray
    lowest_high: FloatArray
    awake: IntArray


class BlockColumns(NamedTuple):
    """The narrowest ends of those that sleep among the rows from b x `BLOCK` on."""

    highest_low: FloatArray
    lowest_high: FloatArray


class Intervals(NamedTuple):
    """What is written with every entry."""

    entries: EntryColumns
    blocks: BlockColumns
    chunks: ChunkColumns


class WatchColumns(NamedTuple):
    """A column of the market and the one that it is held against, and the chunk that was added last.

    `seen` is the number of the frame for which it was last gone through: news of its column and of its base
    in one frame are one value.
    """

    column: IntArray
    base: IntArray
    head: IntArray
    seen: IntArray


class LinkColumns(NamedTuple):
    """A watch that has news when a row of the market has, and the next such link of the same row."""

    watch: IntArray
    following: IntArray


class News(NamedTuple):
    """Of a block: which rows changed in which frames, and what stands in every column after each."""

    frame: IntArray
    row: IntArray
    standing: RecordNumbers
    value: FloatArray


class ViewRanges(NamedTuple):
    """Whose a view is, and where its own entries are numbered."""

    slot: IntArray
    watch: IntArray
    watch_stop: IntArray


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
            number, _ = self.columns.append([(column, base, _NONE, 0)])
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
        used[heads != _NONE] = self.chunks.arrays.used[heads[heads != _NONE]]
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
            count = _woken(
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
            self._first_links = np.concatenate((self._first_links, np.full(missing, _NONE, dtype=np.int64)))


@inlined_in_place
def put_entry(entry: int, low: float, high: float, intervals: Intervals) -> None:
    """Its block is not looked at again: the narrowest ends of before may be narrower than need be."""
    entries, blocks, chunks = intervals
    entries.low[entry], entries.high[entry] = low, high
    block, chunk, awake = entry // BLOCK, entry // CHUNK, low > high
    chunks.awake[chunk] += int(awake) - int(entries.awake[entry])
    entries.awake[entry] = awake
    if low <= high:
        blocks.highest_low[block] = max(blocks.highest_low[block], low)
        blocks.lowest_high[block] = min(blocks.lowest_high[block], high)
        chunks.highest_low[chunk] = max(chunks.highest_low[chunk], low)
        chunks.lowest_high[chunk] = min(chunks.lowest_high[chunk], high)


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
        if chunk == _NONE or chunks.used[chunk] == CHUNK:
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


@compiled_in_place
def _woken(
    news: News,
    first_links: IntArray,
    links: LinkColumns,
    watches: WatchColumns,
    awake: IntArray,
    intervals: Intervals,
    views: ViewRanges,
    own_entries: IntArray,
    seen: IntArray,
    first_frame: int,
    found: IntArray,
) -> int:
    """How many (slot, frame) some value is outside of an interval for, each once; those that fit are written
    into `found`. `first_frame` is the number of frame 0, above every one that `seen` holds; `awake` are the
    flags of the entries, eight to a word.

    Whoever wakes is awake from then on: what left its interval may still be outside when other news come.
    """
    count, first, chunks = 0, 0, intervals.chunks
    for i in range(news.row.size):
        k, row = news.frame[i], news.row[i]
        link = first_links[row]
        while link != _NONE:
            watch = links.watch[link]
            link = links.following[link]
            if watches.seen[watch] == first_frame + k:
                continue
            value, base = news.value[news.standing[k, watches.column[watch]]], watches.base[watch]
            if base != ITSELF:
                if np.isnan(value) and row == base:
                    continue  # what is not known stays so whatever becomes of its base
                value /= news.value[news.standing[k, base]]
            watches.seen[watch] = first_frame + k
            chunk = watches.head[watch]
            while chunk != _NONE:
                if chunks.awake[chunk] > 0:
                    count = _find_awake(
                        chunk, k, intervals.entries, awake, views.slot, first_frame, count, seen, found
                    )
                if _is_left(chunks.highest_low[chunk], chunks.lowest_high[chunk], value):
                    count = _find_left(
                        chunk, k, value, intervals, views, own_entries, first_frame, count, seen, found
                    )
                chunk = chunks.following[chunk]
        if i + 1 == news.row.size or news.frame[i + 1] > k:
            _put_in_order(first_frame + k, first, count, seen, found)
            first = count
    return count


@inlined_in_place
def _find_left(
    chunk: int,
    k: int,
    value: float,
    intervals: Intervals,
    views: ViewRanges,
    own_entries: IntArray,
    first_frame: int,
    count: int,
    seen: IntArray,
    found: IntArray,
) -> int:
    """Who sleeps in an interval that the value is outside of, and wakes."""
    entries, blocks, chunks = intervals
    first, stop = chunk * CHUNK, chunk * CHUNK + chunks.used[chunk]
    narrowest_low, narrowest_high = -np.inf, np.inf
    for begin in range(first, stop, BLOCK):
        block = begin // BLOCK
        if _is_left(blocks.highest_low[block], blocks.lowest_high[block], value):
            highest_low, lowest_high = -np.inf, np.inf
            for entry in range(begin, min(begin + BLOCK, stop)):
                low, high = entries.low[entry], entries.high[entry]
                if not _is_left(low, high, value):
                    highest_low, lowest_high = max(highest_low, low), min(lowest_high, high)
                elif low <= high:
                    view = entries.number[entry]
                    for own in range(views.watch[view], views.watch_stop[view]):
                        put_entry(own_entries[own], np.inf, -np.inf, intervals)
                    count = _find(views.slot[view], k, first_frame, count, seen, found)
            blocks.highest_low[block], blocks.lowest_high[block] = highest_low, lowest_high
        narrowest_low = max(narrowest_low, blocks.highest_low[block])
        narrowest_high = min(narrowest_high, blocks.lowest_high[block])
    chunks.highest_low[chunk], chunks.lowest_high[chunk] = narrowest_low, narrowest_high
    return count


@inlined_in_place
def _is_left(low: float, high: float, value: float) -> bool:
    """What is open at both ends is not, whatever becomes of the value."""
    return not (low <= value <= high or (low == -np.inf and high == np.inf))


@inlined_in_place
def _put_in_order(frame: int, first: int, stop: int, seen: IntArray, found: IntArray) -> None:
    """Those who were found in a frame: many of all are looked at in the order in which they stand in memory,
    which is twice as fast.
    """
    if stop > found.shape[1] or stop - first < seen.size // _FEW:
        return
    at = first
    for slot in range(seen.size):
        if seen[slot] == frame:
            found[0, at] = slot
            at += 1


@inlined_in_place
def _find_awake(
    chunk: int,
    k: int,
    entries: EntryColumns,
    awake: IntArray,
    slots: IntArray,
    first_frame: int,
    count: int,
    seen: IntArray,
    found: IntArray,
) -> int:
    first = chunk * CHUNK
    for word in range(first // _AT_ONCE, (first + CHUNK) // _AT_ONCE):
        if awake[word] == 0:
            continue
        for entry in range(word * _AT_ONCE, (word + 1) * _AT_ONCE):
            if entries.awake[entry]:
                count = _find(slots[entries.number[entry]], k, first_frame, count, seen, found)
    return count


@inlined_in_place
def _find(slot: int, k: int, first_frame: int, count: int, seen: IntArray, found: IntArray) -> int:
    """Each slot once a frame; how many there are."""
    if seen[slot] != first_frame + k:
        seen[slot] = first_frame + k
        if count < found.shape[1]:
            found[0, count] = slot
            found[1, count] = k
        count += 1
    return count
