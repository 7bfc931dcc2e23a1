"""What every option model shares: its statuses, the columns of its loop, and the exercise that it refuses."""

from collections.abc import Callable, Sequence
from enum import IntEnum, StrEnum
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from app.domain.errors import InvalidInput
from app.quant.arrays import BoolArray, FloatArray, StatusArray

Columns = tuple[FloatArray, ...]
Loop = Callable[[Columns, BoolArray, Columns, StatusArray], None]  # inputs, is call, figures, statuses
Scalar = TypeVar("Scalar", bound=np.generic)


class OptionStatus(IntEnum):
    """What became of one element. Above `AT_KINK` it is an error, and every figure of it is 0.0."""

    VALID = 0
    AT_KINK = 1  # no time value, forward at the strike: delta is the midpoint, gamma (infinite) is given as 0
    NOT_FINITE = 2
    UNDERLYING_NOT_POSITIVE = 3
    STRIKE_NOT_POSITIVE = 4
    TIME_NEGATIVE = 5
    VOLATILITY_NEGATIVE = 6
    OUT_OF_RANGE = 7  # each input is fine, a figure does not fit into a float64


class Exercise(StrEnum):
    """When the holder may exercise. The closed formulas here are those of European exercise alone."""

    EUROPEAN = "european"
    AMERICAN = "american"
    BERMUDAN = "bermudan"


def require_european(exercise: str) -> None:
    """InvalidInput for any other exercise, by its name: its early-exercise premium would be left out."""
    if exercise != Exercise.EUROPEAN:
        raise InvalidInput(f"{exercise} exercise is not priced; only european options are", path="/exercise")


def filled(
    loop: Loop, count: int, inputs: Sequence[ArrayLike], is_call: ArrayLike, *, wants_positive_prices: bool
) -> list[FloatArray | StatusArray]:
    """What a loop makes of the broadcast inputs: `count` figures, and the statuses, in their shape.

    `inputs` are underlyings, strikes, years, volatilities and what else has to be finite. A column that is
    flat and contiguous goes in as it is: a compiled loop computes the same bits wherever it lies.
    """
    arrays = [np.asarray(each, dtype=np.float64) for each in inputs]
    calls = np.asarray(is_call, dtype=bool)
    shape = np.broadcast_shapes(calls.shape, *(each.shape for each in arrays))
    columns = tuple(_column(each, shape) for each in arrays)
    size = columns[0].size
    figures, statuses = np.empty((count, size)), np.empty(size, dtype=np.int8)
    loop(columns, _column(calls, shape), tuple(figures), statuses)
    is_suspect = statuses > OptionStatus.AT_KINK
    if is_suspect.any():
        at = np.flatnonzero(is_suspect)
        suspects = [column[at] for column in columns]
        statuses[at] = _input_faults(suspects, wants_positive_prices=wants_positive_prices)
        figures[:, at] = 0.0
    return [*figures.reshape(count, *shape), statuses.reshape(shape)]


def _column(array: NDArray[Scalar], shape: tuple[int, ...]) -> NDArray[Scalar]:
    if array.shape != shape:
        full = np.empty(shape, dtype=array.dtype)
        full[...] = array
        array = full
    return np.ascontiguousarray(array).reshape(-1)


def _input_faults(columns: Sequence[FloatArray], *, wants_positive_prices: bool) -> StatusArray:
    underlyings, strikes, years, volatilities = columns[:4]
    finite = np.logical_and.reduce([np.isfinite(column) for column in columns])
    faults = [
        (~finite, OptionStatus.NOT_FINITE),
        (wants_positive_prices & (underlyings <= 0.0), OptionStatus.UNDERLYING_NOT_POSITIVE),
        (wants_positive_prices & (strikes <= 0.0), OptionStatus.STRIKE_NOT_POSITIVE),
        (years < 0.0, OptionStatus.TIME_NEGATIVE),
        (volatilities < 0.0, OptionStatus.VOLATILITY_NEGATIVE),
    ]
    return np.select(
        [found for found, _ in faults],
        [np.int8(status) for _, status in faults],
        np.int8(OptionStatus.OUT_OF_RANGE),
    )


def withdraw(
    figures: Sequence[FloatArray], statuses: StatusArray, overflowing: BoolArray
) -> tuple[Sequence[FloatArray], StatusArray]:
    """Where a figure derived from others left the range of float64: a status, and none of them stands."""
    if not overflowing.any():
        return figures, statuses
    named = np.where(
        overflowing & (statuses <= OptionStatus.AT_KINK), np.int8(OptionStatus.OUT_OF_RANGE), statuses
    )
    return [np.where(overflowing, 0.0, figure) for figure in figures], named
