"""No-trade bands: how far a hedge may stray before trading costs less than the risk that it leaves.

With λ the cost of trading as a share of what is traded, γ the risk aversion of an exponential utility, Γ the
gamma, τ the time that is left and σ the volatility, the half-band to both sides of the hedge is

    Whalley-Wilmott    (3/2 e^{-rτ} λ S Γ² / γ)^{1/3}
    Zakamouline        H0 + H1,   H0 = λ / (γ S σ² τ),
                                  H1 = 1.12 λ^0.31 τ^0.05 (e^{-rτ} / σ)^0.25 (|Γ| / γ)^0.5

and Zakamouline's hedge is the delta at a volatility that knows the costs: higher for who is short of gamma
and loses by every trade, lower for who is long,

    σ² (1 - sign(Γ) K),           K  = 4.76 λ^0.78 τ^-0.02 (e^{-rτ} / σ)^0.25 (γ S² |Γ|)^0.15

Both are of the problem of Hodges and Neuberger (1989). The first is its limit for small costs, where a
position without gamma is hedged at once; the second has the same shape with parameters fitted to its numeric
solution, and leaves a band H0 also there.

Units: the band and Γ S are in units of the underlying, S and 1 / γ in one currency. A position n times as
large has n times the band at γ / n: γ is that of whoever holds the whole position.

Sources: Whalley and Wilmott, "An asymptotic analysis of an optimal hedging model for option pricing with
transaction costs", Mathematical Finance 7 (1997), 307-324. Zakamouline, "Optimal hedging of options with
transaction costs", EFMA 2005; "Efficient analytic approximation of the optimal hedging strategy for a
European call option with transaction costs", Quantitative Finance 6 (2006), 435-445. Taken from who prints or
implements them: the first as pfhedge documents it; H0 and H1 as Sinclair prints them ("Volatility Trading",
chapter 4); K as two independent implementations have it, for Sinclair prints and draws 5.76, not 4.76.
"""

from math import copysign, exp, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from app.quant.arrays import FloatArray, as_columns
from app.quant.compiled import compiled, inlined


class NoTradeBands(NamedTuple):
    """Half-bands in units of the underlying, and the volatility at which Zakamouline takes the delta."""

    whalley_wilmott: FloatArray
    zakamouline: FloatArray
    modified_volatilities: FloatArray


@inlined
def whalley_wilmott_half_band(
    gamma: float, price: float, cost_rate: float, risk_aversion: float, years: float, rate: float
) -> float:
    """For a compiled loop; see `no_trade_bands`."""
    of_costs = (1.5 * exp(-rate * years) * cost_rate * price / risk_aversion) ** (1 / 3)
    half_band: float = of_costs * abs(gamma) ** (2 / 3)  # the square of a gamma may be too small for a float
    return half_band


@inlined
def zakamouline_half_band(
    gamma: float,
    price: float,
    cost_rate: float,
    risk_aversion: float,
    years: float,
    rate: float,
    volatility: float,
) -> float:
    """For a compiled loop; see `no_trade_bands`."""
    without_gamma = cost_rate / (risk_aversion * price * volatility * volatility * years)
    discounted = (exp(-rate * years) / volatility) ** 0.25
    of_gamma = 1.12 * cost_rate**0.31 * years**0.05 * discounted * sqrt(abs(gamma) / risk_aversion)
    half_band: float = without_gamma + of_gamma
    return half_band


@inlined
def zakamouline_volatility(
    gamma: float,
    price: float,
    cost_rate: float,
    risk_aversion: float,
    years: float,
    rate: float,
    volatility: float,
) -> float:
    """For a compiled loop; see `no_trade_bands`."""
    discounted = (exp(-rate * years) / volatility) ** 0.25
    size = (risk_aversion * price * price * abs(gamma)) ** 0.15
    moved = 4.76 * cost_rate**0.78 / years**0.02 * discounted * size
    return volatility * sqrt(max(1.0 - copysign(moved, gamma), 0.0))


def no_trade_bands(
    *,
    gammas: ArrayLike,
    prices: ArrayLike,
    cost_rates: ArrayLike,
    risk_aversions: ArrayLike,
    years: ArrayLike,
    volatilities: ArrayLike,
    rates: ArrayLike = 0.0,
) -> NoTradeBands:
    """Half-bands around the hedge, and where Zakamouline's hedge is.

    Parameters
    ----------
    gammas : array_like
        Of the whole position, in units of the underlying per unit of its price; long is positive.
    prices : array_like
        Of the underlying, positive.
    cost_rates : array_like
        Fee and slippage of a trade over its notional, 0 and above.
    risk_aversions : array_like
        Positive, per unit of the currency of the prices.
    years : array_like
        That the position is hedged for, positive.
    volatilities : array_like
        Annual, positive.
    rates : array_like
        Annual, continuously compounded.

    Returns
    -------
    NoTradeBands
        Without gamma 0 after Whalley and Wilmott, H0 after Zakamouline; without costs 0, and the volatility
        as it is. A modified volatility that would be imaginary is 0: costs take all of it. H0 has no bound as
        time or volatility vanish. NaN where an input is NaN.
    """
    shape, columns = as_columns(gammas, prices, cost_rates, risk_aversions, years, rates, volatilities)
    bands = np.empty((3, columns[0].size))
    _fill_bands(np.stack(columns), bands)
    return NoTradeBands._make(bands.reshape(3, *shape))


@compiled
def _fill_bands(inputs: FloatArray, bands: FloatArray) -> None:
    for i in range(inputs.shape[1]):
        gamma, price, cost_rate, risk_aversion = inputs[0, i], inputs[1, i], inputs[2, i], inputs[3, i]
        years, rate, volatility = inputs[4, i], inputs[5, i], inputs[6, i]
        bands[0, i] = whalley_wilmott_half_band(gamma, price, cost_rate, risk_aversion, years, rate)
        bands[1, i] = zakamouline_half_band(gamma, price, cost_rate, risk_aversion, years, rate, volatility)
        bands[2, i] = zakamouline_volatility(gamma, price, cost_rate, risk_aversion, years, rate, volatility)
