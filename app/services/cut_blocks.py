"""Frames that were read at once, in blocks as they are decided."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import attrgetter

from app.domain.market import Frame

FRAMES_PER_BLOCK = 256
CELLS_PER_BLOCK = 1 << 21


def blocks_of(frames: Sequence[Frame], width: int) -> Iterator[Sequence[Frame]]:
    """Consecutive ones of one generation, no more than fit into a block of a market of so many columns."""
    size = max(1, min(FRAMES_PER_BLOCK, CELLS_PER_BLOCK // width))
    for _, generation in groupby(frames, key=attrgetter("generation")):
        same = list(generation)
        for start in range(0, len(same), size):
            yield same[start : start + size]
