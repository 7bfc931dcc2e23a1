"""The quotes that surfaces are fitted to: twelve expiries of sixty, at two moments, with outliers among
them."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

EXPIRIES, STRIKES = 12, 60
YEARS = np.array([1, 2, 3, 7, 14, 21, 30, 60, 90, 180, 270, 365]) / 365
_OUTLIERS = 40  # every fortieth quote is ten volatility points off
_HALF_SPREAD = 0.005


class Quotes(NamedTuple):
    """Arrays of one per quote, sorted by expiry; log-moneyness and volatilities."""

    expiries: NDArray[np.int64]
    log_moneyness: NDArray[np.float64]
    bids: NDArray[np.float64]
    asks: NDArray[np.float64]


def quotes(moment: int) -> Quotes:
    """Moment 1 is a little after moment 0: the level has moved by half a point, and every quote a little."""
    rng = np.random.default_rng(moment)
    expiries = np.repeat(np.arange(EXPIRIES), STRIKES)
    roots = np.sqrt(YEARS[expiries])
    x = np.tile(np.linspace(-2.5, 2.5, STRIKES), EXPIRIES)  # standard deviations from the forward
    smile = 1.0 + 0.45 * (np.sqrt((x - 0.3) ** 2 + 2.0) - np.sqrt(2.09)) - 0.04 * x * roots
    middles = (0.6 + 0.005 * moment) * np.sqrt(smile) + rng.uniform(-0.003, 0.003, len(x))
    middles[7::_OUTLIERS] += 0.1
    half = _HALF_SPREAD * (1.0 + 0.5 * np.abs(x))
    return Quotes(expiries, 0.6 * roots * x, middles - half, middles + half)
