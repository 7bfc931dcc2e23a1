"""Which instrument each observation belongs to, and columns in the form that the loops take."""

import numpy as np
from numpy.typing import ArrayLike

from app.quant.arrays import FloatArray, IntArray


def as_instants(column: ArrayLike) -> IntArray:
    """Nanoseconds as whole numbers: floats would not hold them."""
    instants = np.asarray(column)
    if instants.size and instants.dtype.kind != "i":
        raise ValueError(f"instants are int64 nanoseconds, not {instants.dtype}")
    return np.ascontiguousarray(instants, dtype=np.int64)


def as_prices(column: ArrayLike) -> FloatArray:
    """One contiguous float64 column."""
    return np.ascontiguousarray(column, dtype=np.float64)


def rows_of(
    rows: ArrayLike | None, *, instruments: int, columns: tuple[FloatArray | IntArray, ...]
) -> IntArray:
    """The instrument of each observation; without `rows`, each instrument has one."""
    chosen = np.arange(instruments) if rows is None else np.ascontiguousarray(rows, dtype=np.int64)
    if any(column.shape != chosen.shape for column in columns) or chosen.ndim != 1:
        raise ValueError(
            f"{chosen.shape} rows and columns of shapes {[column.shape for column in columns]}: "
            "one value of each for every observation"
        )
    if chosen.size and not 0 <= chosen.min() <= chosen.max() < instruments:
        raise ValueError(f"rows from {chosen.min()} to {chosen.max()} of {instruments} instruments")
    return chosen


def series_rows(shape: tuple[int, ...], offsets: ArrayLike | None) -> tuple[IntArray, int]:
    """The series of each observation of columns of this shape, and how many series there are."""
    if len(shape) not in {1, 2} or (len(shape) == 2 and offsets is not None):
        raise ValueError(f"one axis (with offsets or one series) or two (series x observations), not {shape}")
    series, length = shape if len(shape) == 2 else (1, shape[0])
    ends = np.arange(series + 1) * length if offsets is None else np.asarray(offsets, dtype=np.int64)
    lengths = ends[1:] - ends[:-1]
    if ends[0] != 0 or ends[-1] != series * length or lengths.min(initial=0) < 0:
        raise ValueError(f"offsets lead from 0 to {length} without going back")
    return np.repeat(np.arange(len(lengths)), lengths), len(lengths)
