"""European options: Black-Scholes-Merton on a spot, Black-76 on a forward, and coin-settled options.

One kernel serves all three. With spot S, strike K, years T, volatility σ, rate r and dividend yield y::

    d1 = (ln(S/K) + (r - y) T) / (σ √T) + σ √T / 2,   d2 = d1 - σ √T
    V  = φ (S e^{-yT} N(φ d1) - K e^{-rT} N(φ d2)),   φ = +1 for a call, -1 for a put

Black-76 is the case y = r with the forward in place of the spot; only its rho differs, because there the
forward is held while the rate moves. A funding yield is a dividend yield; r - y is the cost of carry.

Where σ √T is 0 (below 1e-290) the limits hold exactly: the value is the discounted intrinsic value and N is
0 or 1. Exactly at the forward's strike the limit has a kink: `OptionStatus.AT_KINK`. Exercise other than
European is refused by its name.

Precision: values out of the money and every greek keep a relative error of a few 1e-16 times d² (the rounding
of d itself), at any width and as far out as the figure is a normal number: 1e-12 at 37 standard deviations.
In the money the error is of that order relative to the larger of the two discounted prices.

References: E. G. Haug, The Complete Guide to Option Pricing Formulas, 2nd ed. (2007), chapters 1 and 2;
F. Black, The pricing of commodity contracts, Journal of Financial Economics 3 (1976).
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from app.quant.arrays import BoolArray, FloatArray, StatusArray
from app.quant.black_scholes_kernel import greeks_of_columns, higher_greeks_of_columns
from app.quant.options import Exercise, OptionStatus, filled, require_european, withdraw

__all__ = [
    "CoinSettledGreeks",
    "Exercise",
    "HigherGreeks",
    "OptionGreeks",
    "OptionStatus",
    "black_76",
    "black_76_higher",
    "black_scholes_merton",
    "black_scholes_merton_higher",
    "coin_settled",
]


class OptionGreeks(NamedTuple):
    """Per option on one unit of the underlying, in quote currency, raw (see the package's conventions)."""

    values: FloatArray
    deltas: FloatArray  # per unit of the spot, or of the forward for Black-76
    gammas: FloatArray
    vegas: FloatArray
    thetas: FloatArray  # the spot, or the forward, held while time passes
    rhos: FloatArray  # the spot and its yield, or the forward, held while the rate moves
    vannas: FloatArray  # d delta / d volatility = d vega / d spot
    volgas: FloatArray  # d vega / d volatility
    statuses: StatusArray

    @property
    def usable(self) -> BoolArray:
        """Where the figures mean something: no error."""
        return self.statuses <= OptionStatus.AT_KINK


class HigherGreeks(NamedTuple):
    """What delta and gamma do next, raw; charm and colour per year of time passing, as theta is."""

    charms: FloatArray  # d delta / d time
    speeds: FloatArray  # d gamma / d spot
    zommas: FloatArray  # d gamma / d volatility
    colours: FloatArray  # d gamma / d time
    statuses: StatusArray

    @property
    def usable(self) -> BoolArray:
        """Where the figures mean something: no error."""
        return self.statuses <= OptionStatus.AT_KINK


class CoinSettledGreeks(NamedTuple):
    """An option on one coin whose premium and payoff are in that coin (an inverse option)."""

    values_in_coin: FloatArray
    values: FloatArray  # in quote currency at the forward, as are the greeks below
    deltas: FloatArray  # plain: d value / d forward, the premium taken as quote currency
    net_deltas: FloatArray  # premium-adjusted: plain less the premium in coin, which is itself coin exposure
    gammas: FloatArray
    vegas: FloatArray
    thetas: FloatArray
    rhos: FloatArray
    vannas: FloatArray
    volgas: FloatArray
    statuses: StatusArray

    @property
    def usable(self) -> BoolArray:
        """Where the figures mean something: no error."""
        return self.statuses <= OptionStatus.AT_KINK


def black_scholes_merton(
    *,
    spots: ArrayLike,
    strikes: ArrayLike,
    years_to_expiry: ArrayLike,
    volatilities: ArrayLike,
    rates: ArrayLike = 0.0,
    dividend_yields: ArrayLike = 0.0,
    is_call: ArrayLike,
    exercise: Exercise = Exercise.EUROPEAN,
) -> OptionGreeks:
    """Value and greeks of European options on a spot, with cost of carry ``rates - dividend_yields``.

    Parameters
    ----------
    spots, strikes : array_like
        Positive prices in quote currency.
    years_to_expiry, volatilities : array_like
        Zero and above; zero gives the limit.
    rates, dividend_yields : array_like
        Any sign.
    is_call : array_like of bool
        False is a put.
    exercise : Exercise
        European; any other raises.

    Returns
    -------
    OptionGreeks
        In the broadcast shape. Bad numbers never raise: they are named in ``statuses``.

    Raises
    ------
    InvalidInput
        When `exercise` is not European.
    """
    require_european(exercise)
    inputs = (spots, strikes, years_to_expiry, volatilities, rates, dividend_yields)
    return _greeks(inputs, is_call, holds_forward=False)


def black_76(
    *,
    forwards: ArrayLike,
    strikes: ArrayLike,
    years_to_expiry: ArrayLike,
    volatilities: ArrayLike,
    rates: ArrayLike = 0.0,
    is_call: ArrayLike,
    exercise: Exercise = Exercise.EUROPEAN,
) -> OptionGreeks:
    """Value and greeks of European options on a forward or future; `black_scholes_merton` says the rest.

    Deltas and gammas are per unit of the forward. Rho holds the forward, so it is ``-years x value``.
    """
    require_european(exercise)
    inputs = (forwards, strikes, years_to_expiry, volatilities, rates, rates)
    return _greeks(inputs, is_call, holds_forward=True)


def black_scholes_merton_higher(
    *,
    spots: ArrayLike,
    strikes: ArrayLike,
    years_to_expiry: ArrayLike,
    volatilities: ArrayLike,
    rates: ArrayLike = 0.0,
    dividend_yields: ArrayLike = 0.0,
    is_call: ArrayLike,
    exercise: Exercise = Exercise.EUROPEAN,
) -> HigherGreeks:
    """Charm, speed, zomma and colour, for the same arguments as `black_scholes_merton`."""
    require_european(exercise)
    return _higher_greeks((spots, strikes, years_to_expiry, volatilities, rates, dividend_yields), is_call)


def black_76_higher(
    *,
    forwards: ArrayLike,
    strikes: ArrayLike,
    years_to_expiry: ArrayLike,
    volatilities: ArrayLike,
    rates: ArrayLike = 0.0,
    is_call: ArrayLike,
    exercise: Exercise = Exercise.EUROPEAN,
) -> HigherGreeks:
    """Charm, speed, zomma and colour per unit of the forward, which is held while time passes."""
    require_european(exercise)
    return _higher_greeks((forwards, strikes, years_to_expiry, volatilities, rates, rates), is_call)


def coin_settled(
    *,
    forwards: ArrayLike,
    strikes: ArrayLike,
    years_to_expiry: ArrayLike,
    volatilities: ArrayLike,
    rates: ArrayLike = 0.0,
    is_call: ArrayLike,
    exercise: Exercise = Exercise.EUROPEAN,
) -> CoinSettledGreeks:
    """Coin-settled options as crypto exchanges list them: the premium in coin is Black-76 over the forward.

    The net delta is how many coins of exposure the option adds to its holder: ``F d(V/F)/dF = delta - V/F``.
    """
    quoted = black_76(
        forwards=forwards,
        strikes=strikes,
        years_to_expiry=years_to_expiry,
        volatilities=volatilities,
        rates=rates,
        is_call=is_call,
        exercise=exercise,
    )
    values_in_coin = in_coin(quoted, forwards)
    net_deltas = quoted.deltas - values_in_coin
    figures, statuses = withdraw(
        [values_in_coin, quoted.values, quoted.deltas, net_deltas, *quoted[2:-1]],
        quoted.statuses,
        ~np.isfinite(values_in_coin),
    )
    return CoinSettledGreeks._make([*figures, statuses])


def in_coin(quoted: OptionGreeks, underlying_prices: ArrayLike) -> FloatArray:
    """Values over the price of their underlying; 0 where there is none, infinite where that does not fit."""
    prices = np.where(quoted.usable, np.asarray(underlying_prices, dtype=np.float64), 1.0)
    with np.errstate(over="ignore"):
        return quoted.values / prices


def _greeks(inputs: Sequence[ArrayLike], is_call: ArrayLike, *, holds_forward: bool) -> OptionGreeks:
    loop = partial(greeks_of_columns, holds_forward)
    return OptionGreeks._make(filled(loop, 8, inputs, is_call, wants_positive_prices=True))


def _higher_greeks(inputs: Sequence[ArrayLike], is_call: ArrayLike) -> HigherGreeks:
    return HigherGreeks._make(
        filled(higher_greeks_of_columns, 4, inputs, is_call, wants_positive_prices=True)
    )
