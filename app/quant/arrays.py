"""Array types of the package, and the one way in which inputs become columns."""

from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
StatusArray = NDArray[np.int8]
IntArray = NDArray[np.int64]
ByteArray = NDArray[np.uint8]
Number = TypeVar("Number", bound=np.generic)


def as_columns(*inputs: ArrayLike) -> tuple[tuple[int, ...], list[FloatArray]]:
    """Broadcast the inputs; return their common shape and each as a fresh, flat, contiguous column.

    Numpy picks another implementation of exp and log (with other last bits) for strides that its vector
    units cannot load. A fresh column leaves it no choice, so a view computes the same bits as its copy.
    """
    arrays = [np.asarray(each, dtype=np.float64) for each in inputs]
    shape = np.broadcast_shapes(*(each.shape for each in arrays))
    return shape, [np.array(np.broadcast_to(each, shape), order="C").reshape(-1) for each in arrays]


def with_room(array: NDArray[Number], rows: int) -> NDArray[Number]:
    """The array, or a copy that is longer by half as much again, where it has fewer rows than that."""
    if len(array) >= rows:
        return array
    longer: NDArray[Number] = np.empty(
        (max(rows, len(array) + len(array) // 2), *array.shape[1:]), dtype=array.dtype
    )
    longer[: len(array)] = array
    return longer
