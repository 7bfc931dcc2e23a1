"""Implied volatilities of European options, from premiums in quote currency or in coin.

The premium is taken to the out-of-the-money side by parity and inverted there to a few units of rounding
(`normalised_black` has the method: P. Jäckel, "Let's Be Rational"). What a premium can say about its
volatility is bounded by its own last digit: with ε = 2^-53, ``condition number = (∂σ/∂P)(P/σ)``::

    |error| / σ <= 3e-15 + condition number x (a few ε)

Out of the money the condition number is at most 4.5 within moneyness e^±3 and total volatility 4, and falls
like σ²T / ln²(F/K) in the wings. In the money it grows like premium over time value: the digits of the
intrinsic value carry nothing. Where they leave no time value at all, the premium is "at intrinsic" and the
volatility 0.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from app.quant.arrays import BoolArray, FloatArray, StatusArray, as_columns
from app.quant.normalised_black import ImpliedStatus, implied_total_volatilities, log_moneyness


class ImpliedVolatilities(NamedTuple):
    """Annual volatilities in the broadcast shape."""

    volatilities: FloatArray
    condition_numbers: FloatArray  # relative change of the volatility per relative change of the premium
    statuses: StatusArray

    @property
    def usable(self) -> BoolArray:
        """Where the figures mean something: no error."""
        return self.statuses <= ImpliedStatus.AT_INTRINSIC


def black_76_implied_volatilities(
    *,
    premiums: ArrayLike,
    forwards: ArrayLike,
    strikes: ArrayLike,
    years_to_expiry: ArrayLike,
    rates: ArrayLike = 0.0,
    is_call: ArrayLike,
) -> ImpliedVolatilities:
    """Volatilities at which `black_76` gives the premiums.

    Parameters
    ----------
    premiums : array_like
        Paid today, in quote currency.
    forwards, strikes : array_like
        Positive prices in quote currency.
    years_to_expiry : array_like
        Positive: no premium of an expired option has a volatility.
    rates : array_like
        Any sign.
    is_call : array_like of bool
        False is a put.

    Returns
    -------
    ImpliedVolatilities
        In the broadcast shape. Bad input never raises: it is named in ``statuses``.
    """
    shape, columns = as_columns(
        premiums, forwards, strikes, years_to_expiry, rates, 0.0, np.asarray(is_call, dtype=bool)
    )
    return _implied(shape, columns, in_coin=False)


def black_scholes_implied_volatilities(
    *,
    premiums: ArrayLike,
    spots: ArrayLike,
    strikes: ArrayLike,
    years_to_expiry: ArrayLike,
    rates: ArrayLike = 0.0,
    dividend_yields: ArrayLike = 0.0,
    is_call: ArrayLike,
) -> ImpliedVolatilities:
    """Volatilities at which `black_scholes_merton` gives the premiums, with the spot in place of the forward.

    `black_76_implied_volatilities` says the rest. A funding yield is a dividend yield.
    The forward is ``spot x exp((rate - yield) x years)``.
    """
    shape, columns = as_columns(
        premiums,
        spots,
        strikes,
        years_to_expiry,
        rates,
        np.subtract(rates, dividend_yields),
        np.asarray(is_call, dtype=bool),
    )
    return _implied(shape, columns, in_coin=False)


def coin_settled_implied_volatilities(
    *,
    premiums_in_coin: ArrayLike,
    forwards: ArrayLike,
    strikes: ArrayLike,
    years_to_expiry: ArrayLike,
    rates: ArrayLike = 0.0,
    is_call: ArrayLike,
) -> ImpliedVolatilities:
    """Volatilities at which `coin_settled` gives the premiums: the Black-76 value over the forward."""
    shape, columns = as_columns(
        premiums_in_coin, forwards, strikes, years_to_expiry, rates, 0.0, np.asarray(is_call, dtype=bool)
    )
    return _implied(shape, columns, in_coin=True)


def _implied(shape: tuple[int, ...], columns: list[FloatArray], *, in_coin: bool) -> ImpliedVolatilities:
    statuses = _input_statuses(columns)
    accepted = statuses == ImpliedStatus.VALID
    premiums, underlyings, strikes, years, rates, carries = (
        np.where(accepted, column, 1.0) for column in columns[:6]
    )
    with np.errstate(all="ignore"):  # what leaves the range of float64 gets a status in the loop
        undiscounted = premiums * np.exp(rates * years)
        carry = carries * years
        forwards = underlyings * np.exp(carry)
        moneyness = log_moneyness(underlyings, strikes) + carry
        if in_coin:  # the same option with the forward as unit of account
            forwards, strikes = np.ones_like(forwards), strikes / forwards
    totals, conditions = np.empty((2, premiums.size))
    implied_total_volatilities(
        undiscounted, forwards, strikes, moneyness, columns[6], totals, conditions, statuses
    )
    volatilities = totals / np.sqrt(years)
    return ImpliedVolatilities(
        volatilities.reshape(shape), conditions.reshape(shape), statuses.reshape(shape)
    )


def _input_statuses(columns: list[FloatArray]) -> StatusArray:
    premiums, underlyings, strikes, years, rates, carries, _ = columns
    finite = np.isfinite(premiums) & np.isfinite(underlyings) & np.isfinite(strikes)
    finite &= np.isfinite(years) & np.isfinite(rates) & np.isfinite(carries)
    faults = [
        (~finite, ImpliedStatus.NOT_FINITE),
        (underlyings <= 0.0, ImpliedStatus.UNDERLYING_NOT_POSITIVE),
        (strikes <= 0.0, ImpliedStatus.STRIKE_NOT_POSITIVE),
        (years <= 0.0, ImpliedStatus.TIME_NOT_POSITIVE),
    ]
    return np.select(
        [found for found, _ in faults],
        [np.int8(status) for _, status in faults],
        np.int8(ImpliedStatus.VALID),
    )
