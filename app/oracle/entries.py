"""Entries of the tick stream as loops read them, and the ticks that were taken of them."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from app.quant.arrays import ByteArray, FloatArray, IntArray, with_room

UNREAD = -1
"""Instead of where an entry's packed ticks are: it is to be looked at closely, tick by tick."""
ID_START, ID_END, START, END, STATED = range(5)


class Entries(msgspec.Struct, frozen=True, gc=False):
    """A row has where the entry's id starts and ends in `ids`, and its ticks, a msgpack array, in `data`, or
    `UNREAD`; and how many ticks it has by its own word, but no more than there is room for: in all `ticks`.
    What else it has is its maker's.
    """

    rows: IntArray
    ids: ByteArray
    data: ByteArray
    ticks: int

    def __len__(self) -> int:
        return len(self.rows)

    def id(self, i: int) -> str:
        start, end = self.rows[i, : ID_END + 1].tolist()
        return self.ids[start:end].tobytes().decode()


class Window(NamedTuple):
    """Ticks at most so much older than the market clock and so far ahead of it need no closer look.

    A clock that `moves` goes on to the times of ticks. The first entry at `until_ns` or later is the last
    one.
    """

    now_ns: int
    maximum_age_ns: int
    maximum_lead_ns: int
    moves: bool
    until_ns: int


class Taken:
    """Ticks of entries that are not settled yet, in the order in which they came: the first so many rows.

    Of a tick place and time in `whole`, value and confidence in `told`, which has `bits`; of an entry in
    `ends` the end of its ticks, and the market time.
    """

    def __init__(self) -> None:
        self.ticks = self.entries = 0
        self.whole: IntArray = np.empty((0, 2), dtype=np.int64)
        self.told: FloatArray = np.empty((0, 2))
        self.bits: IntArray = self.told.view(np.int64)
        self.ends: IntArray = np.empty((0, 2), dtype=np.int64)
        self.claim(1_000, 1_000)

    def claim(self, ticks: int, entries: int) -> None:
        """There is room for so many more then."""
        if len(self.whole) < self.ticks + ticks:
            self.whole = with_room(self.whole, self.ticks + ticks)
            self.told = with_room(self.told, self.ticks + ticks)
            self.bits = self.told.view(np.int64)
        self.ends = with_room(self.ends, self.entries + entries)

    def add(self, whole: Sequence[tuple[int, int]], told: Sequence[tuple[float, float]], now_ns: int) -> None:
        """One entry's."""
        self.claim(len(told), 1)
        if told:
            end = self.ticks + len(told)
            self.whole[self.ticks : end], self.told[self.ticks : end] = whole, told
            self.ticks = end
        self.ends[self.entries] = self.ticks, now_ns
        self.entries += 1

    @property
    def time_ns(self) -> int:
        """The market time at the last entry."""
        return int(self.ends[self.entries - 1, 1])

    def clear(self) -> None:
        self.ticks = self.entries = 0
