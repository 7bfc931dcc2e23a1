"""Bars: open, high, low and close of a stretch of time, into the state that every bar estimator reads.

The state is O(1): 16 sums for each instrument and bucket of its window, the last close, and the last return
(bipower variation multiplies neighbours). A rolling window forgets bucket by bucket instead of bar by bar, so
that its size does not depend on how many bars it covers.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from app.quant.arrays import FloatArray, StatusArray
from app.quant.estimators.accumulation import BarState, BarSums, fold_bars
from app.quant.estimators.estimates import over_buckets
from app.quant.estimators.rows import as_instants, as_prices, rows_of, series_rows
from app.quant.estimators.windows import Window


class Bars(NamedTuple):
    """Columns of one shape. Bars of one instrument stand in the order of time."""

    opened_ns: ArrayLike
    closed_ns: ArrayLike
    opens: ArrayLike
    highs: ArrayLike
    lows: ArrayLike
    closes: ArrayLike


def start(*, instruments: int, window: Window) -> BarState:
    """A state that has seen nothing."""
    return BarState(
        window,
        np.zeros(instruments),
        np.zeros(instruments, dtype=np.int64),
        np.zeros(instruments),
        np.zeros(instruments),
        np.zeros((instruments, window.buckets, len(BarSums._fields))),
    )


def update(state: BarState, bars: Bars, *, rows: ArrayLike | None = None) -> tuple[BarState, StatusArray]:
    """Take bars into a state, one after the other in the order given.

    Parameters
    ----------
    state : BarState
        Left as it is.
    bars : Bars
        Columns of shape (m,). Prices in (1e-150, 1e150), instants within ±2**62 ns.
    rows : array_like of int, optional
        Shape (m,), the instrument of each bar; an instrument may come several times or not at all. Without
        it there is one bar for each instrument.

    Returns
    -------
    BarState
        The new state.
    array of int8
        For each bar its `Observation`. A bar that is refused changes nothing.

    Raises
    ------
    ValueError
        If the columns differ in shape or a row does not exist.
    """
    starts, ends = as_instants(bars.opened_ns), as_instants(bars.closed_ns)
    firsts, highs, lows, lasts = (as_prices(column) for column in bars[2:])
    columns = (starts, ends, firsts, highs, lows, lasts)
    chosen = rows_of(rows, instruments=len(state.closes), columns=columns)
    new = BarState(
        state.window,
        state.closes.copy(),
        state.closed_ns.copy(),
        state.returns.copy(),
        state.return_years.copy(),
        state.sums.copy(),
    )
    statuses = np.empty(len(chosen), dtype=np.int8)
    fold_bars(new, chosen, starts, ends, firsts, highs, lows, lasts, statuses)
    return new, statuses


def measure(
    bars: Bars, *, offsets: ArrayLike | None = None, window: Window | None = None
) -> tuple[BarState, StatusArray]:
    """The batch form: whole series at once, one instrument of the new state for each.

    Parameters
    ----------
    bars : Bars
        Columns of shape (m,) or (series, m).
    offsets : array_like of int, optional
        Shape (series + 1,), for columns of shape (m,) that hold series of different lengths end to end:
        series i is ``offsets[i]:offsets[i + 1]``.
    window : Window, optional
        Everything, if not given.

    Returns
    -------
    BarState
        As of the last bar of each series. The first bar of each only gives the close to begin from.
    array of int8
        For each bar its `Observation`, in the shape of the columns.
    """
    shape = np.shape(bars.closes)
    rows, instruments = series_rows(shape, offsets)
    empty = start(instruments=instruments, window=window or Window.everything())
    flat = Bars(*(np.reshape(column, -1) for column in bars))
    state, statuses = update(empty, flat, rows=rows)
    return state, statuses.reshape(shape)


def window_sums(state: BarState) -> BarSums[FloatArray]:
    """Of each instrument, the sums over all buckets, in the order in which they stand."""
    return BarSums(*over_buckets(state.sums).T)
