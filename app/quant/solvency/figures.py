"""What the accounts are worth, need, and have left, at the market as it stands."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from app.quant.arrays import BoolArray, FloatArray, StatusArray
from app.quant.compiled import compiled
from app.quant.solvency.books import Books, BookStatus, is_option, prices_column, valid_books
from app.quant.solvency.positions import option_requirements, requirements, value_and_slope


class AccountFigures(NamedTuple):
    """Of each book, in quote currency; shape (books,)."""

    equity: FloatArray
    initial_margin: FloatArray
    maintenance_margin: FloatArray
    margin_ratios: FloatArray  # maintenance margin / equity: 1 is liquidated
    leverage: FloatArray  # Σ |delta notional| / equity
    delta_notionals: (
        FloatArray  # signed: what a relative move of 1 of every underlying would gain, to first order
    )
    gross_notionals: FloatArray  # Σ |delta notional|
    statuses: StatusArray  # of BookStatus


def account_figures(*, books: Books, underlying_prices: ArrayLike) -> AccountFigures:
    """Equity, margin, margin ratio and leverage of every book.

    Parameters
    ----------
    books : Books
        From `app.quant.solvency.books.books_of`.
    underlying_prices : array_like, shape (underlyings,)
        Positive, in quote currency.

    Returns
    -------
    AccountFigures
        Bad input never raises: it is named in ``statuses``. An inverse position's delta is the contract's and
        its coin profit's together, as it changes equity.
    """
    prices = prices_column(underlying_prices)
    count = books.cash.size
    valid = np.zeros(count, dtype=bool)
    figures = np.zeros((5, count))
    _figures(books, prices, np.sqrt(np.maximum(books.years_to_expiry, 0.0)), valid, *figures)
    equity, initial, maintenance, delta, gross = figures
    statuses = np.select(
        [~valid, (equity < 0.0) | ((equity == 0.0) & (gross > 0.0))],
        [np.int8(BookStatus.INVALID), np.int8(BookStatus.INSOLVENT)],
        np.int8(BookStatus.VALID),
    )
    divisors = np.where((statuses == BookStatus.VALID) & (equity > 0.0), equity, np.inf)
    return AccountFigures(
        equity, initial, maintenance, maintenance / divisors, gross / divisors, delta, gross, statuses
    )


@compiled
def _figures(
    books: Books,
    prices: FloatArray,
    root_years: FloatArray,
    valid: BoolArray,
    equity: FloatArray,
    initial: FloatArray,
    maintenance: FloatArray,
    delta: FloatArray,
    gross: FloatArray,
) -> None:
    valid_books(books, prices, valid)
    for book in range(books.cash.size):
        if not valid[book]:
            continue
        equity[book] = books.cash[book]
        for i in range(books.starts[book], books.starts[book + 1]):
            price = prices[books.underlyings[i]]
            value, slope, unit_value = value_and_slope(books, i, price, root_years)
            if is_option(books.kinds[i]):
                opening, keeping = option_requirements(books, i, price, unit_value)
            else:
                opening, keeping = requirements(books, i, price)
            equity[book] += value
            initial[book] += opening
            maintenance[book] += keeping
            delta[book] += slope
            gross[book] += abs(slope)
