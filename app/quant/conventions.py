"""Named views on the raw kernels: the units people quote, and what one exchange prints.

The scale functions name what they return; none is applied anywhere else. "Per percent" is a relative move of
the underlying by 1 %, "per point" a move of the volatility (or rate) by 0.01, "per day" a calendar day. A
dollar greek is in quote currency.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from app.quant.arrays import BoolArray, FloatArray, StatusArray
from app.quant.black_scholes import black_scholes_merton, in_coin
from app.quant.options import OptionStatus, withdraw

DAYS_PER_YEAR = 365.0
POINTS_PER_UNIT = 100.0


class DeribitGreeks(NamedTuple):
    """As Deribit's ticker prints them: USD, but the mark price in coin."""

    mark_prices_in_coin: FloatArray
    deltas: FloatArray  # plain; the net delta is this less the mark price
    gammas: FloatArray
    vegas_per_point: FloatArray
    thetas_per_day: FloatArray
    rhos_per_point: FloatArray
    statuses: StatusArray

    @property
    def usable(self) -> BoolArray:
        """Where the figures mean something: no error."""
        return self.statuses <= OptionStatus.AT_KINK


def per_point(raw: FloatArray) -> FloatArray:
    """Vega, rho, vanna or zomma per percentage point instead of per 1.00."""
    return raw / POINTS_PER_UNIT


def per_day(raw: FloatArray) -> FloatArray:
    """Theta, charm or colour per calendar day instead of per year."""
    return raw / DAYS_PER_YEAR


def gammas_per_percent_move(*, gammas: FloatArray, underlying_prices: ArrayLike) -> FloatArray:
    """How many units the delta changes when the underlying moves by 1 %."""
    return gammas * np.asarray(underlying_prices, dtype=np.float64) / POINTS_PER_UNIT


def dollar_deltas(*, deltas: FloatArray, underlying_prices: ArrayLike) -> FloatArray:
    """The position in the underlying that moves alike, in quote currency."""
    return deltas * np.asarray(underlying_prices, dtype=np.float64)


def dollar_gammas_per_percent(*, gammas: FloatArray, underlying_prices: ArrayLike) -> FloatArray:
    """What a 1 % move of the underlying adds to the delta, in quote currency at its price: ``Γ S² / 100``."""
    return gammas * _squared(underlying_prices) / POINTS_PER_UNIT


def dollar_vannas_per_point(*, vannas: FloatArray, underlying_prices: ArrayLike) -> FloatArray:
    """Change of the dollar delta when the volatility moves by a point."""
    return per_point(dollar_deltas(deltas=vannas, underlying_prices=underlying_prices))


def volgas_per_point_squared(volgas: FloatArray) -> FloatArray:
    """Change of the vega per point when the volatility moves by a point."""
    return volgas / POINTS_PER_UNIT**2


def dollar_charms_per_day(*, charms: FloatArray, underlying_prices: ArrayLike) -> FloatArray:
    """Change of the dollar delta when a day passes."""
    return per_day(dollar_deltas(deltas=charms, underlying_prices=underlying_prices))


def dollar_speeds_per_percent(*, speeds: FloatArray, underlying_prices: ArrayLike) -> FloatArray:
    """What a 1 % move adds to the dollar gamma per percent at today's price: ``speed S³ / 100²``."""
    prices = np.asarray(underlying_prices, dtype=np.float64)
    return speeds * _squared(prices) * prices / POINTS_PER_UNIT**2


def dollar_zommas_per_point(*, zommas: FloatArray, underlying_prices: ArrayLike) -> FloatArray:
    """Change of the dollar gamma per percent when the volatility moves by a point."""
    return per_point(dollar_gammas_per_percent(gammas=zommas, underlying_prices=underlying_prices))


def dollar_colours_per_day(*, colours: FloatArray, underlying_prices: ArrayLike) -> FloatArray:
    """Change of the dollar gamma per percent when a day passes."""
    return per_day(dollar_gammas_per_percent(gammas=colours, underlying_prices=underlying_prices))


def deribit_greeks(
    *,
    underlying_prices: ArrayLike,
    strikes: ArrayLike,
    years_to_expiry: ArrayLike,
    volatilities: ArrayLike,
    is_call: ArrayLike,
) -> DeribitGreeks:
    """Deribit's ticker from its underlying price (the expiry's future, or the synthetic one) and mark IV.

    The exchange prices Black-76 at zero rate and quotes rho as on a spot. Its theta is the decay of the
    coming day, or of what is left of the option's life, and no more than the option's price. These
    conventions were found from, and hold on, all 976 BTC tickers of 2021-02-11.
    """
    raw = black_scholes_merton(
        spots=underlying_prices,
        strikes=strikes,
        years_to_expiry=years_to_expiry,
        volatilities=volatilities,
        is_call=is_call,
    )
    years = np.where(raw.usable, np.asarray(years_to_expiry, dtype=np.float64), 0.0)
    decay = np.abs(per_day(raw.thetas)) * (np.minimum(years, 1.0 / DAYS_PER_YEAR) * DAYS_PER_YEAR)
    thetas = -np.minimum(decay, raw.values)
    mark_prices = in_coin(raw, underlying_prices)
    figures, statuses = withdraw(
        [mark_prices, raw.deltas, raw.gammas, per_point(raw.vegas), thetas, per_point(raw.rhos)],
        raw.statuses,
        ~np.isfinite(mark_prices),
    )
    return DeribitGreeks._make([*figures, statuses])


def _squared(prices: ArrayLike) -> FloatArray:
    return np.square(np.asarray(prices, dtype=np.float64))
