"""Where an account under portfolio margin is liquidated: its equity falls to what its worst scenario asks
for.

Equity less that is the least of many curves, neither convex nor concave, so here the price is bracketed by a
scan and found by bisection, all books in step. A pair of crossings within one step of the scan can be missed;
books under standard margin have the exact answer of `app.quant.solvency.liquidation`.
"""

import numpy as np
from numpy.typing import ArrayLike

from app.quant.arrays import BoolArray, FloatArray, StatusArray
from app.quant.portfolio_margin import DERIBIT_BTC, PortfolioMarginRules, portfolio_margins
from app.quant.solvency.books import Books, BookStatus, prices_column
from app.quant.solvency.liquidation import (
    TOGETHER,
    CrossingStatus,
    LiquidationLevels,
    levels_of,
)

STEP = 1.02  # from one factor of the scan to the next
FARTHEST = 32.0  # up to so many times the present price, and down to one over it
_BISECTIONS = 56


def portfolio_liquidation_levels(
    *,
    books: Books,
    underlying_prices: ArrayLike,
    underlyings: ArrayLike = TOGETHER,
    move_together: ArrayLike = True,
    rules: PortfolioMarginRules = DERIBIT_BTC,
) -> LiquidationLevels:
    """The nearest prices below and above at which each book's equity is its portfolio maintenance margin.

    Parameters
    ----------
    books, underlying_prices, underlyings, move_together
        As for `app.quant.solvency.liquidation.liquidation_levels`.
    rules : PortfolioMarginRules

    Returns
    -------
    LiquidationLevels
        Looked for between 1/32 and 32 times the present price, in steps of 2 %.
    """
    search = _Search(books, underlying_prices, underlyings, move_together, rules)
    factors, statuses = zip(search.nearest(1.0 / STEP), search.nearest(STEP), strict=True)
    return levels_of(np.array(factors), np.array(statuses), search.present)


class _Search:
    """Every book with underlyings of its own, so that each can stand at its own factor."""

    def __init__(
        self,
        books: Books,
        underlying_prices: ArrayLike,
        underlyings: ArrayLike,
        move_together: ArrayLike,
        rules: PortfolioMarginRules,
    ) -> None:
        prices = prices_column(underlying_prices)
        count = books.cash.size
        chosen = np.broadcast_to(np.asarray(underlyings, np.int64), (count,))
        together = np.broadcast_to(np.asarray(move_together, np.bool_), prices.shape)
        owners = np.repeat(np.arange(count), np.diff(books.starts))
        known = (books.underlyings >= 0) & (books.underlyings < prices.size)
        numbers = np.where(known, books.underlyings + prices.size * owners, -1)
        self._books, self._prices, self._rules = books._replace(underlyings=numbers), prices, rules
        self._moves = np.where(
            chosen[:, None] == TOGETHER, together[None, :], chosen[:, None] == np.arange(prices.size)
        )
        listed = (chosen >= 0) & (chosen < prices.size)
        self.present = np.where(listed, np.append(prices, 0.0)[np.where(listed, chosen, -1)], 0.0)
        moving = self._moves[owners, np.clip(books.underlyings, 0, prices.size - 1)] & (
            books.quantities != 0.0
        )
        self._exposed = np.bincount(owners, moving, count) > 0
        self._now, self._invalid = self._excess(np.ones(count))
        self._invalid |= ~listed & (chosen != TOGETHER)
        self._sought = ~self._invalid & self._exposed & (self._now > 0.0)

    def nearest(self, step: float) -> tuple[FloatArray, StatusArray]:
        """The crossing nearest to where the market stands, in the direction of the step."""
        near, far, found = self._bracket(step)
        for _ in range(_BISECTIONS if np.any(found & self._sought) else 0):
            middle = np.sqrt(near * far)
            excess, _ = self._excess(middle)
            near, far = np.where(excess > 0.0, middle, near), np.where(excess > 0.0, far, middle)
        statuses = np.select(
            [self._invalid, ~self._exposed, self._now <= 0.0, found],
            [
                np.int8(CrossingStatus.INVALID),
                np.int8(CrossingStatus.NO_EXPOSURE),
                np.int8(CrossingStatus.BREACHED),
                np.int8(CrossingStatus.SOLVED),
            ],
            np.int8(CrossingStatus.NONE),
        )
        at_once = np.where(statuses == CrossingStatus.BREACHED, 1.0, 0.0)
        return np.where(statuses == CrossingStatus.SOLVED, far, at_once), statuses

    def _bracket(self, step: float) -> tuple[FloatArray, FloatArray, BoolArray]:
        near, found = np.ones(self._now.size), ~self._sought
        factor = 1.0
        while 1.0 / FARTHEST <= factor * step <= FARTHEST and not np.all(found):
            excess, _ = self._excess(np.full(near.size, factor * step))
            crossed = ~found & (excess <= 0.0)
            near = np.where(crossed, factor, near)
            found |= crossed
            factor *= step
        return near, np.where(found, near * step, near), found

    def _excess(self, factors: FloatArray) -> tuple[FloatArray, BoolArray]:
        prices = np.where(self._moves, factors[:, None] * self._prices, self._prices)
        margins = portfolio_margins(books=self._books, underlying_prices=prices, rules=self._rules)
        return margins.equity - margins.maintenance_margin, margins.statuses == BookStatus.INVALID
