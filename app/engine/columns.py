"""A growable struct of arrays. Rows are appended in blocks and never move until compaction."""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, Generic, TypeVar, get_type_hints

import numpy as np
from numpy.typing import NDArray

from app.quant.arrays import BoolArray, FloatArray, IntArray

_FIRST_CAPACITY = 64
_DTYPES: dict[Any, Any] = {IntArray: np.int64, FloatArray: np.float64, BoolArray: np.bool_}

Arrays = TypeVar("Arrays", bound=tuple[Any, ...])


class Columns(Generic[Arrays]):
    """`arrays` is a NamedTuple of the columns at their full capacity: what compiled loops are given."""

    def __init__(self, kind: type[Arrays]) -> None:
        self._kind = kind
        self._dtypes = _dtypes_of(kind)
        self.length = 0
        self.arrays: Arrays = self._empty(_FIRST_CAPACITY)

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
            grown = self._empty(capacity)
            for array, larger in zip(self.arrays, grown, strict=True):
                larger[: self.length] = array[: self.length]
            self.arrays = grown

    def _empty(self, capacity: int) -> Arrays:
        return self._kind(*(np.empty(capacity, dtype=dtype) for dtype in self._dtypes))


@cache
def _dtypes_of(kind: type[tuple[Any, ...]]) -> list[Any]:
    """Hints are slow to read, and a book of one portfolio is made for every question about it."""
    return [_DTYPES[hint] for hint in get_type_hints(kind).values()]


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
