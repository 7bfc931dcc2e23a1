"""A growable struct of arrays. Rows are appended in blocks and never move until compaction."""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, Generic, TypeVar, get_type_hints

import numpy as np
from numpy.typing import NDArray

from app.quant.arrays import BoolArray, FloatArray, IntArray

_FIRST_CAPACITY = 64
_LINE, _HUGE_PAGE = 64, 1 << 21
_DTYPES: dict[Any, Any] = {IntArray: np.int64, FloatArray: np.float64, BoolArray: np.bool_}

Arrays = TypeVar("Arrays", bound=tuple[Any, ...])


class Columns(Generic[Arrays]):
    """`arrays` is a NamedTuple of the columns at their full capacity: what compiled loops are given.

    Columns that are read together may stand `beside` each other, in one group or several, row after row: few
    rows among many that are not read are then on a line or two of memory each, and not on as many as there
    are columns.
    """

    def __init__(self, kind: type[Arrays], *beside: tuple[str, ...]) -> None:
        self._kind = kind
        self._blocks = _blocks_of(kind, beside)
        self.length = 0
        self._claim_room(_FIRST_CAPACITY)

    def append(self, rows: Sequence[Sequence[Any]]) -> tuple[int, int]:
        """Adds rows, each with a value for every column; answers where they stand, as (start, stop)."""
        start, stop = self.claim(len(rows))
        for at, row in enumerate(rows, start=start):
            for array, value in zip(self.arrays, row, strict=True):
                array[at] = value
        return start, stop

    def extend(self, columns: Iterable[Sequence[Any] | NDArray[Any]]) -> tuple[int, int]:
        """Adds many rows given as columns, all of one length."""
        given = list(columns)
        start, stop = self.claim(len(given[0]))
        for array, values in zip(self.arrays, given, strict=True):
            array[start:stop] = values
        return start, stop

    def truncate(self, length: int) -> None:
        """Forgets what was added last."""
        self.length = length

    def nbytes(self) -> tuple[int, int]:
        """Of the rows in use, and of all that there is room for."""
        allocated = sum(array.nbytes for array in self.arrays)
        return allocated // len(self.arrays[0]) * self.length, allocated

    def claim(self, count: int) -> tuple[int, int]:
        """Room for so many rows more, which whoever asked fills."""
        start, stop = self.length, self.length + count
        capacity = len(self.arrays[0])
        if stop > capacity:
            self.reserve(max(stop, 2 * capacity))
        self.length = stop
        return start, stop

    def reserve(self, capacity: int) -> None:
        """Room for so many rows in all, and not twice as many when they come."""
        if capacity > len(self.arrays[0]):
            before = self._rooms
            self._claim_room(capacity)
            for room, larger in zip(before, self._rooms, strict=True):
                used = self.length * room.itemsize
                larger.view(np.uint8)[:used] = room.view(np.uint8)[:used]  # not field by field

    def _claim_room(self, capacity: int) -> None:
        sizes = [-(-block.itemsize * capacity // _LINE) * _LINE for block in self._blocks]
        room, self._rooms = _room(sum(sizes)), []
        for block, size in zip(self._blocks, sizes, strict=True):
            self._rooms.append(room[: block.itemsize * capacity].view(block))
            room = room[size:]
        columns = {name: rows[name] for rows in self._rooms for name in rows.dtype.names or ()}
        self.arrays: Arrays = self._kind(**columns)


def _room(size: int) -> NDArray[np.uint8]:
    """In huge pages, if it is large: numpy asks for them, and they begin at multiples of their size. Of rows
    that are far apart each would be on a page of its own, which takes longer to find than to read.
    """
    if size < _HUGE_PAGE:
        return np.empty(size, dtype=np.uint8)
    room = np.empty(size + 2 * _HUGE_PAGE, dtype=np.uint8)
    start = -room.ctypes.data % _HUGE_PAGE
    return room[start : start + size]


@cache
def _blocks_of(kind: type[tuple[Any, ...]], beside: tuple[tuple[str, ...], ...]) -> list[np.dtype[np.void]]:
    """What rows are made of: of each group that stands beside each other, and of each other column.

    Hints are slow to read, and a book of one portfolio is made for every question about it.
    """
    dtypes = {name: _DTYPES[hint] for name, hint in get_type_hints(kind).items()}
    alone = ((name,) for name in dtypes if not any(name in names for names in beside))
    return [np.dtype([(name, dtypes[name]) for name in names], align=True) for names in (*beside, *alone)]


def row_ranges(starts: IntArray, stops: IntArray) -> tuple[IntArray, IntArray]:
    """The rows of all ranges, one after the other, and the number of the range that each is of."""
    counts = stops - starts
    owners = np.repeat(np.arange(counts.size), counts)
    rows = np.arange(owners.size) + (starts - np.cumsum(counts) + counts)[owners]
    return rows, owners


def ordinals_within(owners: IntArray, keys: IntArray) -> IntArray:
    """Of each row, how many smaller keys its owner has."""
    distinct, of_row = np.unique(np.stack((owners, keys)), axis=1, return_inverse=True)
    ordinals = np.arange(distinct.shape[1]) - np.searchsorted(distinct[0], distinct[0])
    found: IntArray = ordinals[of_row.reshape(-1)]
    return found
