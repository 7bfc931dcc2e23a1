"""European options: Black-Scholes-Merton on a spot, Black-76 on a forward, and coin-settled options.

One kernel serves all three. With spot S, strike K, years T, volatility σ, rate r and dividend yield y::

    d1 = (ln(S/K) + (r - y) T) / (σ √T) + σ √T / 2,   d2 = d1 - σ √T
    V  = φ (S e^{-yT} N(φ d1) - K e^{-rT} N(φ d2)),   φ = +1 for a call, -1 for a put

Black-76 is the case y = r with the forward in place of the spot; only its rho differs, because there the
forward is held while the rate moves. A funding yield is a dividend yield.

Where σ √T is 0 the limits hold exactly: the value is the discounted intrinsic value and N is 0 or 1.
Exactly at the forward's strike the limit has a kink: `OptionStatus.AT_KINK`.
American exercise is out of scope.

References: E. G. Haug, The Complete Guide to Option Pricing Formulas, 2nd ed. (2007), chapters 1 and 2;
F. Black, The pricing of commodity contracts, Journal of Financial Economics 3 (1976).
"""

from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr

from app.quant.arrays import BoolArray, FloatArray, StatusArray, as_columns

_INVERSE_SQRT_TWO_PI = 0.3989422804014327


class OptionStatus(IntEnum):
    """What became of one element. Above `AT_KINK` it is an error, and every figure of it is 0.0."""

    VALID = 0
    AT_KINK = 1  # no time value, forward at the strike: delta is the midpoint, gamma (infinite) is given as 0
    NOT_FINITE = 2
    UNDERLYING_NOT_POSITIVE = 3
    STRIKE_NOT_POSITIVE = 4
    TIME_NEGATIVE = 5
    VOLATILITY_NEGATIVE = 6
    OUT_OF_RANGE = 7  # each input is fine, a figure does not fit into a float64


class OptionGreeks(NamedTuple):
    """Per option on one unit of the underlying, in quote currency, raw (see the package's conventions)."""

    values: FloatArray
    deltas: FloatArray  # per unit of the spot, or of the forward for Black-76
    gammas: FloatArray
    vegas: FloatArray
    thetas: FloatArray  # the spot, or the forward, held while time passes
    rhos: FloatArray  # the spot and its yield, or the forward, held while the rate moves
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

    Returns
    -------
    OptionGreeks
        In the broadcast shape. Bad input never raises: it is named in ``statuses``.
    """
    shape, columns = as_columns(
        spots, strikes, years_to_expiry, volatilities, rates, dividend_yields, np.asarray(is_call, dtype=bool)
    )
    figures, statuses = _generalised(columns, is_forward=False)
    return _option_greeks(figures, statuses, shape)


def black_76(
    *,
    forwards: ArrayLike,
    strikes: ArrayLike,
    years_to_expiry: ArrayLike,
    volatilities: ArrayLike,
    rates: ArrayLike = 0.0,
    is_call: ArrayLike,
) -> OptionGreeks:
    """Value and greeks of European options on a forward or future; `black_scholes_merton` says the rest.

    Deltas and gammas are per unit of the forward. Rho holds the forward, so it is ``-years x value``.
    """
    shape, columns = as_columns(
        forwards, strikes, years_to_expiry, volatilities, rates, rates, np.asarray(is_call, dtype=bool)
    )
    figures, statuses = _generalised(columns, is_forward=True)
    return _option_greeks(figures, statuses, shape)


def coin_settled(
    *,
    forwards: ArrayLike,
    strikes: ArrayLike,
    years_to_expiry: ArrayLike,
    volatilities: ArrayLike,
    rates: ArrayLike = 0.0,
    is_call: ArrayLike,
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
    )
    divisors = np.where(quoted.usable, np.asarray(forwards, dtype=np.float64), 1.0)
    with np.errstate(all="ignore"):  # what overflows gets a status in `checked`
        in_coin = quoted.values / divisors
    (values_in_coin, net_deltas, *figures), statuses = checked(
        [in_coin, quoted.deltas - in_coin, *_figures(quoted)], quoted.statuses
    )
    values, deltas, gammas, vegas, thetas, rhos = figures
    return CoinSettledGreeks(
        values_in_coin, values, deltas, net_deltas, gammas, vegas, thetas, rhos, statuses
    )


def _generalised(columns: list[FloatArray], *, is_forward: bool) -> tuple[list[FloatArray], StatusArray]:
    statuses = _input_statuses(columns)
    accepted = statuses == OptionStatus.VALID
    underlyings, strikes, years, volatilities, rates, yields = (
        np.where(accepted, column, 1.0) for column in columns[:6]
    )
    signs = np.where(columns[6] != 0.0, 1.0, -1.0)
    with np.errstate(all="ignore"):  # what leaves the range of float64 gets a status in `checked`
        root_years = np.sqrt(years)
        total_volatilities = volatilities * root_years
        log_moneyness = np.log(underlyings / strikes) + (rates - yields) * years
        d1, d2 = _d1_d2(log_moneyness, total_volatilities)
        carried = np.exp(-yields * years)
        discounted_strikes = strikes * np.exp(-rates * years)
        discounted_underlyings = underlyings * carried
        asset_legs = signs * discounted_underlyings * ndtr(signs * d1)
        strike_legs = signs * discounted_strikes * ndtr(signs * d2)
        intrinsic = np.maximum(signs * (discounted_underlyings - discounted_strikes), 0.0)
        values = np.maximum(asset_legs - strike_legs, intrinsic)  # rounding must not go below the bound
        densities = _INVERSE_SQRT_TWO_PI * np.exp(-0.5 * d1 * d1)
        has_width = total_volatilities > 0.0
        gammas = carried * densities / np.where(has_width, underlyings * total_volatilities, np.inf)
        vegas = discounted_underlyings * densities * root_years
        decay = vegas * volatilities / (2.0 * np.where(years > 0.0, years, 1.0))
        thetas = yields * asset_legs - rates * strike_legs - np.where(years > 0.0, decay, 0.0)
        rhos = -years * values if is_forward else years * strike_legs
        deltas = signs * carried * ndtr(signs * d1)
    at_kink = accepted & ~has_width & (log_moneyness == 0.0)
    statuses = np.where(at_kink, np.int8(OptionStatus.AT_KINK), statuses)
    return checked([values, deltas, gammas, vegas, thetas, rhos], statuses)


def _d1_d2(log_moneyness: FloatArray, total_volatilities: FloatArray) -> tuple[FloatArray, FloatArray]:
    has_width = total_volatilities > 0.0
    limits = np.where(log_moneyness == 0.0, 0.0, np.copysign(np.inf, log_moneyness))
    quotients = log_moneyness / np.where(has_width, total_volatilities, 1.0)
    d1 = np.where(has_width, quotients + 0.5 * total_volatilities, limits)
    return d1, d1 - total_volatilities


def _input_statuses(columns: list[FloatArray]) -> StatusArray:
    underlyings, strikes, years, volatilities, rates, yields, _ = columns
    finite = np.isfinite(underlyings) & np.isfinite(strikes) & np.isfinite(years)
    finite &= np.isfinite(volatilities) & np.isfinite(rates) & np.isfinite(yields)
    faults = [
        (~finite, OptionStatus.NOT_FINITE),
        (underlyings <= 0.0, OptionStatus.UNDERLYING_NOT_POSITIVE),
        (strikes <= 0.0, OptionStatus.STRIKE_NOT_POSITIVE),
        (years < 0.0, OptionStatus.TIME_NEGATIVE),
        (volatilities < 0.0, OptionStatus.VOLATILITY_NEGATIVE),
    ]
    return np.select(
        [found for found, _ in faults],
        [np.int8(status) for _, status in faults],
        np.int8(OptionStatus.VALID),
    )


def checked(figures: list[FloatArray], statuses: StatusArray) -> tuple[list[FloatArray], StatusArray]:
    """Name what left the range of float64, and leave no figure standing beside an error."""
    finite = np.logical_and.reduce([np.isfinite(figure) for figure in figures])
    sound = statuses <= OptionStatus.AT_KINK
    statuses = np.where(sound & ~finite, np.int8(OptionStatus.OUT_OF_RANGE), statuses)
    return [np.where(sound & finite, figure, 0.0) for figure in figures], statuses


def _figures(greeks: OptionGreeks) -> list[FloatArray]:
    return [greeks.values, greeks.deltas, greeks.gammas, greeks.vegas, greeks.thetas, greeks.rhos]


def _option_greeks(figures: list[FloatArray], statuses: StatusArray, shape: tuple[int, ...]) -> OptionGreeks:
    values, deltas, gammas, vegas, thetas, rhos = (figure.reshape(shape) for figure in figures)
    return OptionGreeks(values, deltas, gammas, vegas, thetas, rhos, statuses.reshape(shape))
