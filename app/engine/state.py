"""The figures of one view as a vector, which goals are about and levers move.

Exposures and accounts of the view have their figures at fixed places. Behind them stand resources: what is
left to take from (a reserve, a position that may be reduced, a balance that may be sold), never below zero.
"""

from collections.abc import Hashable, Iterable
from enum import IntEnum

import numpy as np

from app.engine.figures import AccountFigures, ExposureFigures
from app.engine.metrics import Figures
from app.quant.arrays import FloatArray
from app.quant.compiled import compiled_in_place


class Of(IntEnum):
    """Of an exposure, in units of the underlying and the valuation currency."""

    DELTA = 0
    GROSS = 1
    DOLLAR_GAMMA = 2
    DOLLAR_VEGA = 3


class In(IntEnum):
    """In an account, in the valuation currency. Margin is held against the backing."""

    EQUITY = 0
    INITIAL = 1
    MAINTENANCE = 2
    NET = 3
    GROSS = 4
    BACKING = 5


_VOLATILITY_POINT = 0.01


class State:
    """Where every figure stands in `values`; resources are added as levers are found that need them."""

    def __init__(self, figures: Figures, pair: int) -> None:
        exposures, accounts = figures.exposure_slice(pair), figures.account_slice(pair)
        self.exposures: int = exposures.stop - exposures.start
        self.accounts: int = accounts.stop - accounts.start
        self._first_within: int = len(Of) * self.exposures
        self.prices: FloatArray = figures.exposures.underlying_price[exposures]
        self._figures: list[float] = vector(figures, pair, exposures=self.exposures).tolist()
        self._resources: dict[tuple[Hashable, ...], int] = {}

    def of(self, figure: Of, exposure: int) -> int:
        return int(figure) * self.exposures + exposure

    def within(self, figure: In, account: int) -> int:
        return self._first_within + int(figure) * self.accounts + account

    def all_within(self, account: int) -> range:
        """All of its figures, in the order of `In`."""
        first = self._first_within + account
        return range(first, first + len(In) * self.accounts, self.accounts)

    def resource(self, key: tuple[Hashable, ...], amount: float) -> int:
        """Where it stands; the amount is that of the first who asked. A key begins with what it is."""
        if key not in self._resources:
            self._resources[key] = len(self._figures)
            self._figures.append(amount)
        return self._resources[key]

    def value(self, index: int) -> float:
        return self._figures[index]

    @property
    def resources(self) -> Iterable[tuple[str, int]]:
        """What each is, and where it stands."""
        return ((str(key[0]), at) for key, at in self._resources.items())

    @property
    def values(self) -> FloatArray:
        return np.array(self._figures)


def vector(figures: Figures, pair: int, *, exposures: int) -> FloatArray:
    """The first so many exposures: what a view has besides may be new to the portfolio."""
    accounts = figures.account_slice(pair)
    count = accounts.stop - accounts.start
    found: FloatArray = np.empty(len(Of) * exposures + len(In) * count)
    first_exposure = figures.exposure_slice(pair).start
    _gather(figures.exposures, first_exposure, exposures, figures.accounts, accounts.start, count, found)
    return found


@compiled_in_place
def _gather(
    of: ExposureFigures,
    first_exposure: int,
    exposures: int,
    within: AccountFigures,
    first_account: int,
    accounts: int,
    found: FloatArray,
) -> None:
    """In the order of `Of`, then of `In`."""
    for i in range(exposures):
        at = first_exposure + i
        found[i], found[exposures + i] = of.delta[at], of.gross_notional[at]
        found[2 * exposures + i] = of.dollar_gamma[at]
        found[3 * exposures + i] = of.vega[at] * _VOLATILITY_POINT
    first = 4 * exposures
    for i in range(accounts):
        at = first_account + i
        found[first + i], found[first + accounts + i] = within.equity[at], within.initial_margin[at]
        found[first + 2 * accounts + i] = within.maintenance_margin[at]
        found[first + 3 * accounts + i] = within.net_notional[at]
        found[first + 4 * accounts + i] = within.gross_notional[at]
        found[first + 5 * accounts + i] = within.backing[at]
