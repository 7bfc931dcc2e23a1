"""What margin accounts hold, as flat columns: the positions of many books one after the other."""

from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from app.quant.arrays import BoolArray, FloatArray, IntArray
from app.quant.compiled import compiled

KindArray = NDArray[np.int8]


class PositionKind(IntEnum):
    HOLDING = 0  # coins held (or borrowed) at the underlying's price
    LINEAR = 1  # perpetual or future settled in quote currency
    INVERSE = 2  # perpetual or future settled in coin, its multiplier in quote currency
    LINEAR_CALL = 3
    LINEAR_PUT = 4
    COIN_CALL = 5  # premium and payoff in coin
    COIN_PUT = 6


# As the compiled loops compare them.
HOLDING, LINEAR, FIRST_OPTION = (
    int(kind) for kind in (PositionKind.HOLDING, PositionKind.LINEAR, PositionKind.LINEAR_CALL)
)
_PUTS = (int(PositionKind.LINEAR_PUT), int(PositionKind.COIN_PUT))
_FIRST_COIN_OPTION, _LAST = int(PositionKind.COIN_CALL), int(PositionKind.COIN_PUT)


class TierTables(NamedTuple):
    """Maintenance by notional: in a tier it is ``notional x rate - amount``, never below 0.

    Table t is the rows ``starts[t]:starts[t + 1]``; a tier holds from its floor (inclusive) to the next
    one's. Floors and amounts are in quote currency for linear contracts and in coin for inverse ones.
    """

    starts: IntArray
    floors: FloatArray
    rates: FloatArray
    amounts: FloatArray


class Books(NamedTuple):
    """Book b is the positions ``starts[b]:starts[b + 1]`` and its cash. Made by `books_of`."""

    starts: IntArray
    cash: FloatArray
    kinds: KindArray
    underlyings: IntArray
    quantities: FloatArray
    multipliers: FloatArray
    entry_prices: FloatArray
    price_ratios: FloatArray
    strikes: FloatArray
    years_to_expiry: FloatArray
    volatilities: FloatArray
    initial_rates: FloatArray
    tier_tables: IntArray
    tiers: TierTables


class BookStatus(IntEnum):
    VALID = 0
    INSOLVENT = 1  # equity is not positive: ratio and leverage are unbounded, and given as 0
    INVALID = 2  # something is not finite, not positive where it must be, or not listed; every figure is 0


def tier_tables(
    *, tier_counts: ArrayLike, floors: ArrayLike, rates: ArrayLike, amounts: ArrayLike | None = None
) -> TierTables:
    """Tables of maintenance tiers, one after the other: floors rising, the first of each table 0.

    Parameters
    ----------
    tier_counts : array_like of int, shape (tables,)
        How many tiers each table has.
    floors, rates : array_like, shape (tiers,)
        Where each tier begins, and its rate in [0, 1).
    amounts : array_like, shape (tiers,), optional
        What is deducted. Left out, they make maintenance continuous, as Binance's "maintenance amount":
        ``amount[k] = amount[k - 1] + floor[k] (rate[k] - rate[k - 1])``, from 0.

    Raises
    ------
    ValueError
        Where the columns do not fit each other, or floors or rates are not as above.
    """
    starts = _starts(tier_counts)
    floor, rate = (np.array(column, dtype=np.float64).reshape(-1) for column in (floors, rates))
    steps = np.zeros(floor.size) if amounts is None else np.array(amounts, dtype=np.float64).reshape(-1)
    if not floor.size == rate.size == steps.size == starts[-1] or np.any(np.diff(starts) < 1):
        raise ValueError("tier_counts, floors, rates and amounts differ in length, or a table is empty")
    first = np.zeros(floor.size, dtype=bool)
    first[starts[:-1]] = True
    rising = np.diff(floor, prepend=0.0) > 0.0
    if np.any(floor[first] != 0.0) or not np.all(rising | first) or not np.all(np.isfinite(floor)):
        raise ValueError("the floors of a table rise from 0")
    if not np.all((rate >= 0.0) & (rate < 1.0)) or not np.all(np.isfinite(steps)):
        raise ValueError("rates are in [0, 1), amounts are finite")
    if amounts is None:
        for row in np.flatnonzero(~first):
            steps[row] = steps[row - 1] + floor[row] * (rate[row] - rate[row - 1])
    return TierTables(starts, floor, rate, steps)


NO_TIERS = TierTables(np.zeros(1, dtype=np.int64), np.zeros(0), np.zeros(0), np.zeros(0))


def books_of(
    *,
    position_counts: ArrayLike,
    cash: ArrayLike,
    kinds: ArrayLike,
    underlyings: ArrayLike,
    quantities: ArrayLike,
    multipliers: ArrayLike = 1.0,
    entry_prices: ArrayLike = 0.0,
    price_ratios: ArrayLike = 1.0,
    strikes: ArrayLike = 0.0,
    years_to_expiry: ArrayLike = 0.0,
    volatilities: ArrayLike = 0.0,
    initial_rates: ArrayLike = 0.0,
    maintenance_tiers: ArrayLike = -1,
    tiers: TierTables = NO_TIERS,
) -> Books:
    """The books of many accounts, from columns with one row for each position, book after book.

    Parameters
    ----------
    position_counts : array_like of int, shape (books,)
        How many of the rows belong to each book.
    cash : array_like, shape (books,)
        Collateral in quote currency, realised profit included; may be negative.
    kinds : array_like of PositionKind, shape (positions,); all below broadcast to it
    underlyings : array_like of int
        Which of the underlying prices, that the kernels are given, moves the position.
    quantities : array_like
        Signed contracts; coins for a holding.
    multipliers : array_like
        Coins per contract (linear, options), quote currency per contract (inverse), or the part of a holding
        that counts (1 less the haircut).
    entry_prices : array_like
        Perpetuals and futures only.
    price_ratios : array_like
        The instrument's price (for options: of the forward that marks it) over the underlying's: the basis,
        held while the underlying moves.
    strikes, years_to_expiry, volatilities : array_like
        Options only; zero time or volatility leaves the intrinsic value.
    initial_rates : array_like
        Initial margin of perpetuals and futures, of their notional.
    maintenance_tiers : array_like of int
        The table in ``tiers`` of each perpetual and future; -1 needs no maintenance.

    Raises
    ------
    ValueError
        Where the columns do not fit each other. What stands in them is judged later, book by book.
    """
    starts = _starts(position_counts)
    kind = np.array(kinds, dtype=np.int8).reshape(-1)
    collateral = np.array(cash, dtype=np.float64).reshape(-1)
    if kind.size != starts[-1] or collateral.size != starts.size - 1:
        raise ValueError("position_counts, cash and kinds do not fit each other")

    def column(given: ArrayLike, kind_of_number: type) -> NDArray[Any]:
        return np.array(np.broadcast_to(np.asarray(given, kind_of_number), kind.shape))

    return Books(
        starts=starts,
        cash=collateral,
        kinds=kind,
        underlyings=column(underlyings, np.int64),
        quantities=column(quantities, np.float64),
        multipliers=column(multipliers, np.float64),
        entry_prices=column(entry_prices, np.float64),
        price_ratios=column(price_ratios, np.float64),
        strikes=column(strikes, np.float64),
        years_to_expiry=column(years_to_expiry, np.float64),
        volatilities=column(volatilities, np.float64),
        initial_rates=column(initial_rates, np.float64),
        tier_tables=column(maintenance_tiers, np.int64),
        tiers=tiers,
    )


def _starts(counts: ArrayLike) -> IntArray:
    sizes = np.array(counts, dtype=np.int64).reshape(-1)
    if np.any(sizes < 0):
        raise ValueError("counts are not negative")
    return np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(sizes)))


def prices_column(underlying_prices: ArrayLike) -> FloatArray:
    """The underlyings' prices as the kernels take them."""
    return np.array(underlying_prices, dtype=np.float64).reshape(-1)


@compiled
def is_option(kind: int) -> bool:
    return kind >= FIRST_OPTION


@compiled
def is_put(kind: int) -> bool:
    return kind in _PUTS


@compiled
def is_coin_settled_option(kind: int) -> bool:
    return kind >= _FIRST_COIN_OPTION


@compiled
def valid_books(books: Books, prices: FloatArray, valid: BoolArray) -> None:
    """Whether the figures of each book mean anything. Columns are taken out first: that is cheap once."""
    kinds, underlyings, quantities, multipliers = (
        books.kinds, books.underlyings, books.quantities, books.multipliers
    )  # fmt: skip
    ratios, entries, strikes, rates = (
        books.price_ratios, books.entry_prices, books.strikes, books.initial_rates
    )  # fmt: skip
    years, volatilities, tables = books.years_to_expiry, books.volatilities, books.tier_tables
    listed = books.tiers.starts.size - 1
    for book in range(books.cash.size):
        sound = abs(books.cash[book]) < np.inf
        for i in range(books.starts[book], books.starts[book + 1]):
            kind, u = kinds[i], underlyings[i]
            sound &= (abs(quantities[i]) < np.inf) & (u >= 0) & (u < prices.size)
            sound = sound and 0.0 < prices[u] < np.inf
            if kind == HOLDING:
                sound &= 0.0 <= multipliers[i] < np.inf
                continue
            sound &= (0.0 < multipliers[i] < np.inf) & (0.0 < ratios[i] < np.inf)
            if kind >= FIRST_OPTION:
                sound &= (kind <= _LAST) & (0.0 < strikes[i] < np.inf)
                sound &= (0.0 <= years[i] < np.inf) & (0.0 <= volatilities[i] < np.inf)
            else:
                sound &= (kind > HOLDING) & (0.0 <= rates[i] < np.inf)
                sound &= (tables[i] >= -1) & (tables[i] < listed)
                sound &= (0.0 < entries[i] < np.inf) | (quantities[i] == 0.0)
        valid[book] = sound
