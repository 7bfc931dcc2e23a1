"""A growable struct of arrays. Rows are appended in blocks and never move until compaction."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

_FIRST_CAPACITY = 64


class Columns:
    """Named columns of equal length; `columns["price"]` is the live part as a view."""

    def __init__(self, **dtypes: Any) -> None:
        self.length = 0
        self._arrays = {name: np.empty(_FIRST_CAPACITY, dtype=dtype) for name, dtype in dtypes.items()}

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._arrays)

    def __getitem__(self, name: str) -> np.ndarray[Any, Any]:
        return self._arrays[name][: self.length]

    def append(self, rows: Mapping[str, Sequence[Any]]) -> tuple[int, int]:
        """Adds a block; answers where it stands, as (start, stop)."""
        count = len(next(iter(rows.values())))
        start, stop = self.length, self.length + count
        capacity = len(next(iter(self._arrays.values())))
        if stop > capacity:
            self._grow(max(stop, 2 * capacity))
        for name, array in self._arrays.items():
            array[start:stop] = rows[name]
        self.length = stop
        return start, stop

    def _grow(self, capacity: int) -> None:
        for name, array in self._arrays.items():
            larger = np.empty(capacity, dtype=array.dtype)
            larger[: self.length] = array[: self.length]
            self._arrays[name] = larger
