"""The columns of watches: intervals of market values in chunks, and these in blocks.

The narrowest ends of a chunk, and then those of its blocks, tell where nobody need be looked at.
"""

from typing import NamedTuple

from app.quant.arrays import BoolArray, FloatArray, IntArray
from app.quant.compiled import inlined_in_place

CHUNK, BLOCK = 1_024, 16
ITSELF = -1
"""The base of a watch that is no ratio."""
NONE = -1
"""The chunk or the link that follows the last."""


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
