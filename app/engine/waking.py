"""The compiled loop that finds whom the news of a block wake."""

from typing import NamedTuple

import numpy as np

from app.engine.frame_block import RecordNumbers
from app.engine.watch_rows import (
    BLOCK,
    CHUNK,
    ITSELF,
    NONE,
    EntryColumns,
    Intervals,
    LinkColumns,
    WatchColumns,
    put_entry,
)
from app.quant.arrays import FloatArray, IntArray
from app.quant.compiled import compiled_in_place, inlined_in_place

_FEW = 16
"""Of all slots one in so many: more that wake in a frame are put in order."""
_AT_ONCE = 8
"""Entries of which one comparison tells that all are asleep: their flags are a word."""


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


@compiled_in_place
def find_woken(
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
        while link != NONE:
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
            while chunk != NONE:
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
