"""Ticks, whose prices carry noise: the two-scale estimator.

An observed price is an efficient one and an error of bid, ask and rounding. Squared returns from tick to tick
measure the error more than the volatility, ever more the finer the ticks. The two-scale estimator takes the
difference of what returns over K ticks and returns over one tick see: both hold the error twice, so that it
cancels.

The state is a ring of the last K prices and instants and 6 sums for each instrument and bucket: a constant
size, whatever the length of the history or the window.

Reference: L. Zhang, P. A. Mykland and Y. Aït-Sahalia, A tale of two time scales, Journal of the American
Statistical Association 100 (2005).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from app.quant.arrays import FloatArray, StatusArray
from app.quant.estimators.accumulation import TickState, TickSums, fold_ticks
from app.quant.estimators.estimates import (
    Estimates,
    EstimateStatus,
    annualised,
    effective_observations,
    over_buckets,
)
from app.quant.estimators.rows import as_instants, as_prices, rows_of, series_rows
from app.quant.estimators.windows import Window


class Ticks(NamedTuple):
    """Columns of one shape. Ticks of one instrument stand in the order of time, which may stand still."""

    times_ns: ArrayLike
    prices: ArrayLike


def start(*, instruments: int, slow_ticks: int, window: Window) -> TickState:
    """A state that has seen nothing; ``slow_ticks`` is K, the span of the slow returns, at least 2."""
    if slow_ticks < 2:
        raise ValueError(f"slow returns span 2 ticks at least, not {slow_ticks}")
    return TickState(
        window,
        np.zeros((instruments, slow_ticks)),
        np.zeros((instruments, slow_ticks), dtype=np.int64),
        np.zeros(instruments, dtype=np.int64),
        np.zeros((instruments, window.buckets, len(TickSums._fields))),
    )


def update(state: TickState, ticks: Ticks, *, rows: ArrayLike | None = None) -> tuple[TickState, StatusArray]:
    """Take ticks into a state, one after the other; `bars.update` says what rows and statuses mean."""
    times, prices = as_instants(ticks.times_ns), as_prices(ticks.prices)
    chosen = rows_of(rows, instruments=len(state.counts), columns=(times, prices))
    new = TickState(
        state.window, state.prices.copy(), state.times_ns.copy(), state.counts.copy(), state.sums.copy()
    )
    statuses = np.empty(len(chosen), dtype=np.int8)
    fold_ticks(new, chosen, times, prices, statuses)
    return new, statuses


def measure(
    ticks: Ticks, *, slow_ticks: int, offsets: ArrayLike | None = None, window: Window | None = None
) -> tuple[TickState, StatusArray]:
    """The batch form: whole series at once; `bars.measure` says what shapes and offsets mean."""
    shape = np.shape(ticks.prices)
    rows, instruments = series_rows(shape, offsets)
    empty = start(instruments=instruments, slow_ticks=slow_ticks, window=window or Window.everything())
    flat = Ticks(*(np.reshape(column, -1) for column in ticks))
    state, statuses = update(empty, flat, rows=rows)
    return state, statuses.reshape(shape)


def two_scale(state: TickState) -> Estimates:
    """``(Σ w S² - Σ w F²) / (Σ w s - Σ w f)``: slow returns S over s years, fast ones F over f years.

    The paper's estimator with its correction for small samples, the sums taken over the same ticks, so that
    errors that are independent from tick to tick cancel exactly on average, at any spacing. The larger K,
    the less noise and the fewer independent slow returns: about ``(12 η⁴ / σ_n⁴)^(1/3) n^(2/3)`` is best for
    n ticks with errors of standard deviation η and a volatility σ_n over all of them.
    """
    sums = _window_sums(state)
    ticks = effective_observations(sums.ticks, sums.squared_weights)
    variances = sums.slow_squares - sums.fast_squares
    estimates = annualised(variances, sums.slow_years - sums.fast_years, ticks, is_enough=ticks > 0.0)
    hidden = estimates.usable & (variances < 0.0)
    statuses = np.where(hidden, np.int8(EstimateStatus.NOISE_PREVAILS), estimates.statuses)
    return estimates._replace(statuses=statuses)


def realized(state: TickState) -> Estimates:
    """The naive estimate, ``Σ w F² / Σ w f``: from tick to tick, noise and all."""
    sums = _window_sums(state)
    ticks = effective_observations(sums.ticks, sums.squared_weights)
    return annualised(sums.fast_squares, sums.fast_years, ticks, is_enough=ticks > 0.0)


def noise(state: TickState) -> FloatArray:
    """Standard deviation of a price's error, relative to the price; 0.0 where nothing is known of it."""
    sums = _window_sums(state)
    variances = two_scale(state).volatilities ** 2
    excess = sums.fast_squares - variances * sums.fast_years
    return np.sqrt(np.maximum(excess, 0.0) / np.where(sums.ticks > 0.0, 2.0 * sums.ticks, 1.0))


def _window_sums(state: TickState) -> TickSums[FloatArray]:
    return TickSums(*over_buckets(state.sums).T)
