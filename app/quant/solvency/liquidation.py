"""The prices at which an account is liquidated: below and above where the market stands, exactly.

The question is put in a factor s: the price of one underlying (or all prices together) goes to s times what
it is, the rest stays. Equity less maintenance margin is then a straight line between the points where a
contract's notional enters another tier, plus the options (`curves`). The segments are gone through from s = 1
outwards, so what is found is the nearest price on that side, and finding none means that there is none: not
by sampling, by the segments' ends and the options' convexity.

Maintenance that jumps from tier to tier can jump over the equity. Then no price has equity = maintenance, and
the answer is the price of the jump, the account solvent on the one side of it and not on the other.
"""

from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from app.quant.arrays import BoolArray, FloatArray, IntArray, StatusArray
from app.quant.compiled import compiled
from app.quant.solvency.books import HOLDING, LINEAR, Books, is_option, prices_column, valid_books
from app.quant.solvency.curves import (
    NO_CROSSING,
    Curves,
    excess,
    first_crossing,
    put_curve,
    room_for_curves,
)
from app.quant.solvency.positions import (
    notional_of,
    option_requirements,
    requirements,
    straight_value,
    tier_of,
    value_and_slope,
)

TOGETHER = -1  # in place of an underlying: all that move, by the same factor

_ROUNDING = 1e-14  # of the gross: less than this below maintenance is not below


class CrossingStatus(IntEnum):
    SOLVED = 0  # equity is the maintenance margin at this price
    AT_TIER_JUMP = 1  # maintenance jumps over the equity at this price
    NONE = 2  # no price on this side liquidates
    BREACHED = 3  # equity is not above maintenance as it is; the price is the present one, the distance 0
    NO_EXPOSURE = 4  # nothing in the book moves with it
    INVALID = 5


_SOLVED, _AT_TIER_JUMP, _NONE, _BREACHED, _NO_EXPOSURE, _INVALID = (int(status) for status in CrossingStatus)


class LiquidationLevels(NamedTuple):
    """Of each book, shape (books,). Anything but `SOLVED`, `AT_TIER_JUMP` and `BREACHED` comes with 0.0."""

    factors_below: FloatArray  # of the present price
    factors_above: FloatArray
    prices_below: FloatArray  # in quote currency; 0 for all underlyings together
    prices_above: FloatArray
    distances: FloatArray  # the smallest relative move, up or down, that liquidates
    statuses_below: StatusArray
    statuses_above: StatusArray

    @property
    def reachable(self) -> BoolArray:
        """Where there is a distance: some move liquidates, or the account is liquidated as it is."""
        return (self.factors_below > 0.0) | (self.factors_above > 0.0)


def liquidation_levels(
    *,
    books: Books,
    underlying_prices: ArrayLike,
    underlyings: ArrayLike = TOGETHER,
    move_together: ArrayLike = True,
) -> LiquidationLevels:
    """The nearest prices below and above at which each book's equity is its maintenance margin.

    Parameters
    ----------
    books : Books
        From `app.quant.solvency.books.books_of`.
    underlying_prices : array_like, shape (underlyings,)
        Positive, in quote currency: where the search starts.
    underlyings : array_like of int, broadcast to (books,)
        Whose price moves, for each book; `TOGETHER` moves several by one factor.
    move_together : array_like of bool, broadcast to (underlyings,)
        Which these are; an underlying that stands for a stablecoin rather stays.

    Returns
    -------
    LiquidationLevels
        Bad input never raises: it is named in the statuses. Re-priced at a solved price a book's equity is
        its maintenance margin to 1e-12 of the gross. Volatilities and price ratios are held. Above 2^40 times
        the present price nothing is looked for.
    """
    prices = prices_column(underlying_prices)
    count = books.cash.size
    chosen = np.array(np.broadcast_to(np.asarray(underlyings, dtype=np.int64), (count,)))
    together = np.array(np.broadcast_to(np.asarray(move_together, dtype=np.bool_), prices.shape))
    factors, statuses = np.zeros((2, count)), np.empty((2, count), dtype=np.int8)
    root_years = np.sqrt(np.maximum(books.years_to_expiry, 0.0))
    _levels(books, prices, root_years, chosen, together, _room(books), factors, statuses)
    listed = (chosen >= 0) & (chosen < prices.size)
    present = np.where(listed, np.append(prices, 0.0)[np.where(listed, chosen, -1)], 0.0)
    return levels_of(factors, statuses, present)


def levels_of(factors: FloatArray, statuses: StatusArray, present: FloatArray) -> LiquidationLevels:
    """From what was found below and above (shape (2, books)), and the present price (0 for several)."""
    below, above = factors
    distances = np.where(below > 0.0, 1.0 - below, np.inf)
    distances = np.minimum(distances, np.where(above > 0.0, above - 1.0, np.inf))
    distances = np.where(np.isfinite(distances), distances, 0.0)
    return LiquidationLevels(below, above, below * present, above * present, distances, *statuses)


class _Room(NamedTuple):
    """Work columns, as large as the largest book needs."""

    straight: IntArray  # rows of the perpetuals, futures and holdings that move
    breaks: FloatArray
    curves: Curves


class _Moving(NamedTuple):
    """One book, split into what stays (a level, and slopes that no tier changes) and what moves."""

    level: float
    slope: float
    straight: int
    breaks: int
    curves: int


def _room(books: Books) -> _Room:
    counts = np.diff(books.starts)
    widest = int(counts.max()) if counts.size else 0
    longest = int(np.diff(books.tiers.starts).max()) if books.tiers.starts.size > 1 else 0
    return _Room(np.empty(widest, dtype=np.int64), np.empty(2 * widest * longest), room_for_curves(widest))


@compiled
def _levels(
    books: Books,
    prices: FloatArray,
    root_years: FloatArray,
    chosen: IntArray,
    together: BoolArray,
    room: _Room,
    factors: FloatArray,
    statuses: NDArray[np.int8],
) -> None:
    valid = np.empty(books.cash.size, dtype=np.bool_)
    valid_books(books, prices, valid)
    for book in range(books.cash.size):
        if not valid[book] or not TOGETHER <= chosen[book] < prices.size:
            statuses[:, book] = _INVALID
            continue
        moving = _split(books, book, prices, root_years, chosen[book], together, room)
        if moving.straight + moving.curves == 0:
            statuses[:, book] = _NO_EXPOSURE
            continue
        level, slope, _ = _line(books, prices, moving, room, 1.0)
        now, _ = excess(level, slope, room.curves, moving.curves, 1.0)
        if now <= 0.0:
            statuses[:, book] = _BREACHED
            factors[:, book] = 1.0
            continue
        _sort(room.breaks, moving.breaks)
        statuses[0, book], factors[0, book] = _nearest(books, prices, moving, room, False)
        statuses[1, book], factors[1, book] = _nearest(books, prices, moving, room, True)


@compiled
def _split(
    books: Books,
    book: int,
    prices: FloatArray,
    root_years: FloatArray,
    chosen: int,
    together: BoolArray,
    room: _Room,
) -> _Moving:
    level, slope = books.cash[book], 0.0
    straight = breaks = curves = 0
    for i in range(books.starts[book], books.starts[book + 1]):
        u = books.underlyings[i]
        price = prices[u]
        moves = together[u] if chosen == TOGETHER else u == chosen
        if books.quantities[i] == 0.0:
            continue
        if not moves:
            value, _, unit_value = value_and_slope(books, i, price, root_years)
            if is_option(books.kinds[i]):
                level += value - option_requirements(books, i, price, unit_value)[1]
            else:
                level += value - requirements(books, i, price)[1]
        elif is_option(books.kinds[i]):
            width = books.volatilities[i] * root_years[i]
            slope -= put_curve(room.curves, curves, books, i, price, width)
            curves += 1
        else:
            room.straight[straight] = i
            straight += 1
            breaks = _add_breaks(books, i, price, room.breaks, breaks)
    return _Moving(level, slope, straight, breaks, curves)


@compiled
def _add_breaks(books: Books, i: int, price: float, breaks: FloatArray, count: int) -> int:
    """The factors at which a contract enters another tier, or its requirement rises from zero."""
    table = books.tier_tables[i]
    if books.kinds[i] == HOLDING or table < 0:
        return count
    now, _ = notional_of(books, i, price)
    for row in range(books.tiers.starts[table], books.tiers.starts[table + 1]):
        floor, rate, amount = books.tiers.floors[row], books.tiers.rates[row], books.tiers.amounts[row]
        for notional in (floor, amount / rate if rate > 0.0 else 0.0):
            if notional > 0.0:
                breaks[count] = notional / now if books.kinds[i] == LINEAR else now / notional
                count += 1
    return count


@compiled
def _sort(breaks: FloatArray, count: int) -> None:
    """By insertion: they are few, and in runs that are sorted already."""
    for k in range(1, count):
        moved, at = breaks[k], k
        while at > 0 and breaks[at - 1] > moved:
            breaks[at] = breaks[at - 1]
            at -= 1
        breaks[at] = moved


@compiled
def _line(
    books: Books, prices: FloatArray, moving: _Moving, room: _Room, inside: float
) -> tuple[float, float, float]:
    """Equity less maintenance without the options, in the tiers that hold inside: level, slope, gross."""
    level, slope = moving.level, moving.slope
    gross = abs(level) + abs(slope) * inside
    for k in range(moving.straight):
        i = room.straight[k]
        price = prices[books.underlyings[i]]
        worth, gain = straight_value(books, i, price)
        kept, rise = _requirement_line(books, i, price, inside)
        level += worth - kept
        slope += gain - rise
        gross += abs(worth) + abs(gain) * inside
    return level, slope, gross


@compiled
def _requirement_line(books: Books, i: int, price: float, inside: float) -> tuple[float, float]:
    table = books.tier_tables[i]
    if books.kinds[i] == HOLDING or table < 0:
        return 0.0, 0.0
    notional, worth = notional_of(books, i, inside * price)
    row = tier_of(books.tiers, table, notional)
    rate, amount = books.tiers.rates[row], books.tiers.amounts[row]
    if notional * rate - amount <= 0.0:
        return 0.0, 0.0
    if books.kinds[i] == LINEAR:
        return -amount, notional / inside * rate
    return notional * worth * rate, -amount * price


@compiled
def _nearest(
    books: Books, prices: FloatArray, moving: _Moving, room: _Room, upward: bool
) -> tuple[int, float]:
    """Segment after segment outwards from where the market stands, to 0 or to infinity."""
    near = 1.0
    for step in range(moving.breaks + 1):
        if step == moving.breaks:
            far = np.inf if upward else 0.0
        else:
            far = room.breaks[step if upward else moving.breaks - 1 - step]
        if far > near if upward else far < near:
            status, factor = _in_segment(books, prices, moving, room, near, far)
            if status != _NONE:
                return status, factor
            near = far
    return _NONE, 0.0


@compiled
def _in_segment(
    books: Books, prices: FloatArray, moving: _Moving, room: _Room, near: float, far: float
) -> tuple[int, float]:
    inside = 2.0 * near if far == np.inf else 0.5 * (near + far)
    level, slope, gross = _line(books, prices, moving, room, inside)
    at_near, _ = excess(level, slope, room.curves, moving.curves, near)
    tolerance = _ROUNDING * gross
    if at_near < -tolerance:
        return _AT_TIER_JUMP, near
    if at_near < 0.0:
        return _SOLVED, near
    crossing = first_crossing(level, slope, room.curves, moving.curves, near, far, tolerance)
    return (_NONE, 0.0) if crossing == NO_CROSSING else (_SOLVED, crossing)
