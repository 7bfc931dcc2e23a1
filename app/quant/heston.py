"""European options under Heston's stochastic volatility, on forwards.

::

    dF = F √v dW,   dv = κ (θ - v) dt + σ √v dZ,   d<W, Z> = ρ dt

For stress (a smile that moves with the spot) and for greeks that know the smile. How the price is computed
is in `heston_contour`. An option on a spot is one on its forward ``S e^{(r - y) T}``; deltas per unit of the
spot are these times ``e^{(r - y) T}``.

Greeks are analytic, and theta follows from the pricing equation. The delta moves the forward with the
variance held: as the model is homogeneous, the smile travels with the forward (sticky moneyness). The
minimum-variance delta adds what the variance is expected to do meanwhile, ``Δ + ρ σ V_v / F``: the hedge
with the forward alone that leaves the least variance.

Reference: S. L. Heston, A closed-form solution for options with stochastic volatility, Review of Financial
Studies 6 (1993).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from app.quant.arrays import BoolArray, FloatArray, StatusArray, as_columns
from app.quant.heston_contour import FIGURES, HestonStatus, price
from app.quant.normalised_black import log_moneyness


class HestonGreeks(NamedTuple):
    """Per option on one unit of the underlying, in quote currency, raw."""

    values: FloatArray
    deltas: FloatArray  # per unit of the forward, the variance held: the smile moves along
    gammas: FloatArray
    variance_vegas: (
        FloatArray  # per 1.00 of initial variance; times 2 √v₀ it is per 1.00 of initial volatility
    )
    long_run_variance_vegas: FloatArray
    vannas: FloatArray  # change of the delta per 1.00 of initial variance
    volgas: FloatArray  # change of the variance vega per 1.00 of initial variance
    thetas: FloatArray  # per year, forward and variance held
    minimum_variance_deltas: FloatArray
    statuses: StatusArray

    @property
    def usable(self) -> BoolArray:
        """Where the figures mean something: no error."""
        return self.statuses <= HestonStatus.AT_KINK


def heston(
    *,
    forwards: ArrayLike,
    strikes: ArrayLike,
    years_to_expiry: ArrayLike,
    initial_variances: ArrayLike,
    mean_reversion_speeds: ArrayLike,
    long_run_variances: ArrayLike,
    volatilities_of_variance: ArrayLike,
    correlations: ArrayLike,
    rates: ArrayLike = 0.0,
    is_call: ArrayLike,
) -> HestonGreeks:
    """Value and greeks under Heston.

    Parameters
    ----------
    forwards, strikes : array_like
        Positive prices in quote currency.
    years_to_expiry : array_like
        Zero and above; zero gives the limit.
    initial_variances, long_run_variances : array_like
        v₀ and θ, annual (0.64 is a volatility of 80 %), zero and above.
    mean_reversion_speeds, volatilities_of_variance : array_like
        κ per year and σ, zero and above. A zero σ gives Black-76 with the average variance.
    correlations : array_like
        ρ, inside (-1, 1).
    rates : array_like
        Any sign; they discount, the forward is held.
    is_call : array_like of bool
        False is a put.

    Returns
    -------
    HestonGreeks
        In the broadcast shape. Bad input never raises: it is named in ``statuses``.
    """
    shape, columns = as_columns(
        forwards,
        strikes,
        years_to_expiry,
        initial_variances,
        mean_reversion_speeds,
        long_run_variances,
        volatilities_of_variance,
        correlations,
        rates,
        np.asarray(is_call, dtype=bool),
    )
    rows = np.stack([*columns, log_moneyness(columns[0], columns[1])], axis=1)
    figures = np.zeros((columns[0].size, FIGURES))
    statuses = np.empty(columns[0].size, dtype=np.int8)
    price(rows, figures, statuses)
    value, delta, gamma, vega, long_run, vanna, volga, theta, minimum = (
        np.ascontiguousarray(figure).reshape(shape) for figure in figures.T
    )
    return HestonGreeks(
        value, delta, gamma, vega, long_run, vanna, volga, theta, minimum, statuses.reshape(shape)
    )
