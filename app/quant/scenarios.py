"""Whole accounts under shocks of spot, volatility and time: the grid behind a frontend's heat map.

In every cell each price is ``price (1 + spot shock)``, each volatility ``volatility (1 + weight x volatility
shock)``, and time has moved on: equity, maintenance margin and greeks are those of the book then, not
approximations from the greeks of now. The conventions are those of `app.quant.solvency`; an option past its
expiry is at its intrinsic value.

A cell's sums go through the positions in stored order, so it has the same bits in any grid and beside any
other book.
"""

from math import log, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from app.quant.arrays import BoolArray, FloatArray, StatusArray
from app.quant.compiled import compiled
from app.quant.forward_options import forward_option
from app.quant.margin import OPTION_MAINTENANCE_RATE
from app.quant.solvency.books import Books, BookStatus, is_option, is_put, prices_column, valid_books
from app.quant.solvency.positions import option_units, requirements, straight_value

_LANES = 8  # cells are padded to whole vectors: a remainder of one would cost as much as a vector


class ScenarioGrid(NamedTuple):
    """In quote currency; shape (books, spot shocks, volatility shocks, time shifts)."""

    profits: FloatArray  # equity less the equity as it is, without shocks
    equity: FloatArray
    maintenance_margin: FloatArray
    delta_notionals: FloatArray  # what equity gains per relative move of all underlyings, in the cell
    gamma_notionals: FloatArray  # what the delta notional of the options gains by curvature, likewise
    vegas: FloatArray  # per 1.00 of volatility
    statuses: StatusArray  # shape (books,): VALID or INVALID; an invalid book's cells are 0


def scenario_grid(
    *,
    books: Books,
    underlying_prices: ArrayLike,
    spot_shocks: ArrayLike,
    volatility_shocks: ArrayLike = 0.0,
    time_shifts_years: ArrayLike = 0.0,
    moved_underlyings: ArrayLike = True,
    volatility_weights: ArrayLike = 1.0,
    least_volatilities: ArrayLike = 0.0,
) -> ScenarioGrid:
    """Every book in every combination of the shocks.

    Parameters
    ----------
    books : Books
        From `app.quant.solvency.books.books_of`.
    underlying_prices : array_like, shape (underlyings,)
        Positive, in quote currency.
    spot_shocks, volatility_shocks : array_like
        Relative: -0.1 is 10 % down. Spot shocks are above -1; a volatility does not fall below 0.
    time_shifts_years : array_like
        How much time has passed, 0 and above.
    moved_underlyings : array_like of bool, broadcast to (underlyings,)
        The others stay where they are.
    volatility_weights : array_like, broadcast to (positions,)
        How much of the volatility shock reaches a position: a term structure.
    least_volatilities : array_like, broadcast to the volatility shocks
        No shocked volatility is below it.

    Raises
    ------
    ValueError
        Where a shock is not finite, a spot shock not above -1, or time would run backwards.
    """
    prices = prices_column(underlying_prices)
    spots, vols, times = _shock_columns(spot_shocks, volatility_shocks, time_shifts_years)
    begins_later = times.size == 0 or times[0] != 0.0
    shocks = _Shocks(
        factors=1.0 + spots,
        volatilities=vols,
        least_volatilities=np.array(np.broadcast_to(np.asarray(least_volatilities, np.float64), vols.shape)),
        times=np.concatenate((np.zeros(1), times)) if begins_later else times,
        weights=np.array(np.broadcast_to(np.asarray(volatility_weights, np.float64), books.kinds.shape)),
        moved=np.array(np.broadcast_to(np.asarray(moved_underlyings, np.bool_), prices.shape)),
    )
    count = books.cash.size
    cells = np.zeros((5, count, shocks.times.size, vols.size * spots.size))
    present, valid = np.zeros(count), np.zeros(count, dtype=bool)
    _every_book(books, prices, shocks, cells, present, valid)
    shaped = cells[:, :, int(begins_later) :].reshape(5, count, times.size, vols.size, spots.size)
    equity, maintenance, delta, gamma, vega = np.ascontiguousarray(shaped.transpose(0, 1, 4, 3, 2))
    profits = equity - present.reshape(count, 1, 1, 1)
    statuses = np.where(valid, np.int8(BookStatus.VALID), np.int8(BookStatus.INVALID))
    return ScenarioGrid(profits, equity, maintenance, delta, gamma, vega, statuses)


def _shock_columns(*shocks: ArrayLike) -> list[FloatArray]:
    spots, vols, times = columns = [np.array(each, np.float64).reshape(-1) for each in shocks]
    finite = np.all(np.isfinite(np.concatenate((spots, vols, times))))
    if not finite or np.any(spots <= -1.0) or np.any(times < 0.0):
        raise ValueError("shocks are finite, spot shocks above -1, time shifts not negative")
    return columns


class _Shocks(NamedTuple):
    factors: FloatArray
    volatilities: FloatArray
    least_volatilities: FloatArray
    times: FloatArray
    weights: FloatArray
    moved: BoolArray


class _Cells(NamedTuple):
    """One time shift's cells, volatility by volatility: what they are, and what adds up in them.

    The one after the last is the present, without shocks; then padding. Of factors and logarithms there are
    two rows: for an underlying that stays, and for one that moves.
    """

    factors: FloatArray
    logarithms: FloatArray
    volatilities: FloatArray
    least_volatilities: FloatArray
    equity: FloatArray
    maintenance: FloatArray
    delta: FloatArray
    gamma: FloatArray
    vega: FloatArray


@compiled
def _every_book(
    books: Books, prices: FloatArray, shocks: _Shocks, out: FloatArray, present: FloatArray, valid: BoolArray
) -> None:
    cells = _cells_of(shocks)
    count = shocks.factors.size * shocks.volatilities.size
    valid_books(books, prices, valid)
    for book in range(books.cash.size):
        if not valid[book]:
            continue
        for time in range(shocks.times.size):
            cells.equity[:] = books.cash[book]
            for sums in (cells.maintenance, cells.delta, cells.gamma, cells.vega):
                sums[:] = 0.0
            _add_positions(books, book, prices, shocks, time, cells)
            if time == 0:
                present[book] = cells.equity[count]
            out[0, book, time, :] = cells.equity[:count]
            out[1, book, time, :] = cells.maintenance[:count]
            out[2, book, time, :] = cells.delta[:count]
            out[3, book, time, :] = cells.gamma[:count]
            out[4, book, time, :] = cells.vega[:count]


@compiled
def _cells_of(shocks: _Shocks) -> _Cells:
    spots, count = shocks.factors.size, shocks.factors.size * shocks.volatilities.size
    padded = -(-(count + 1) // _LANES) * _LANES
    factors, volatilities, least = np.ones((2, padded)), np.zeros(padded), np.zeros(padded)
    for cell in range(count):
        factors[1, cell] = shocks.factors[cell % spots]
        volatilities[cell] = shocks.volatilities[cell // spots]
        least[cell] = shocks.least_volatilities[cell // spots]
    sums = np.empty((5, padded))
    return _Cells(factors, np.log(factors), volatilities, least, sums[0], sums[1], sums[2], sums[3], sums[4])


@compiled
def _add_positions(
    books: Books, book: int, prices: FloatArray, shocks: _Shocks, time: int, cells: _Cells
) -> None:
    """The loop that all the time is spent in. For an option its body has no branches and no calls."""
    factors, logarithms = cells.factors, cells.logarithms
    volatilities, least_volatilities = cells.volatilities, cells.least_volatilities
    equity, maintenance, delta, gamma, vega = (
        cells.equity, cells.maintenance, cells.delta, cells.gamma, cells.vega
    )  # fmt: skip
    for i in range(books.starts[book], books.starts[book + 1]):
        price, moves = prices[books.underlyings[i]], np.int64(shocks.moved[books.underlyings[i]])
        if not is_option(books.kinds[i]):
            _add_straight(books, i, price, shocks, cells)
            continue
        put, strike, units = is_put(books.kinds[i]), books.strikes[i], option_units(books, i)
        sign, scale = -1.0 if put else 1.0, units * strike
        at_strike = books.price_ratios[i] * price / strike
        log_at_strike = log(at_strike)
        volatility, weight = books.volatilities[i], books.volatilities[i] * shocks.weights[i]
        root = sqrt(max(books.years_to_expiry[i] - shocks.times[time], 0.0))
        margin = OPTION_MAINTENANCE_RATE * max(-books.quantities[i], 0.0) * books.multipliers[i] * price
        put_margin = OPTION_MAINTENANCE_RATE * max(-scale, 0.0) if put else 0.0
        for cell in range(equity.size):
            shocked = max(volatility + weight * volatilities[cell], least_volatilities[cell])
            moneyness = at_strike * factors[moves, cell]
            value, slope, density, per_width = forward_option(
                moneyness, log_at_strike + logarithms[moves, cell], shocked * root, sign
            )
            worth = scale * moneyness
            equity[cell] += scale * value
            maintenance[cell] += max(margin * factors[moves, cell], put_margin * value)
            delta[cell] += worth * slope
            gamma[cell] += worth * density * per_width
            vega[cell] += worth * density * root


@compiled
def _add_straight(books: Books, i: int, price: float, shocks: _Shocks, cells: _Cells) -> None:
    moved = shocks.moved[books.underlyings[i]]
    level, slope = straight_value(books, i, price)
    spots, count = shocks.factors.size, shocks.factors.size * shocks.volatilities.size
    cells.equity[count] += level + slope
    for spot in range(spots):
        factor = shocks.factors[spot] if moved else 1.0
        worth, gain = level + slope * factor, slope * factor
        _, needed = requirements(books, i, price * factor)
        for cell in range(spot, count, spots):
            cells.equity[cell] += worth
            cells.maintenance[cell] += needed
            cells.delta[cell] += gain
