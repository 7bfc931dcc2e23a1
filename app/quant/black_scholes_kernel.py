"""The loops under `app.quant.black_scholes`: one element's arithmetic, and which of its figures are stored.

With A = S e^{-yT}, B = K e^{-rT}, x = ln(A/B), s = σ√T and Mills' ratio M(z) = N(-z)/n(z), everything comes
from w = A n(d1) = B n(d2) and two ratios. The out-of-the-money value is::

    V = w (M(z) - M(z + s)),   z = |x|/s - s/2

whose difference `mills_ratios` gives without cancellation, so that V keeps its relative precision far out of
the money and at any width. Where z < -1/2, M is taken at |z| and the larger leg is subtracted from its bound.
The in-the-money value adds the intrinsic one, A - B. P. Jäckel, Let's Be Rational, Wilmott (2015) writes the
same form in erfcx.

What holds the loops to vector code: no call, no branch, no store that might overlap a load. A loop only marks
an element as suspect; `options.filled` says afterwards what was wrong.
"""

import math

from app.quant.arrays import BoolArray, StatusArray
from app.quant.compiled import compiled_disjoint, inlined
from app.quant.normal import density, exponential, fma, logarithm, mills_ratios
from app.quant.options import Columns, OptionStatus

_VALID = int(OptionStatus.VALID)
_AT_KINK = int(OptionStatus.AT_KINK)
_SUSPECT = int(OptionStatus.OUT_OF_RANGE)

_LEAST_WIDTH = 1e-290  # a total volatility below counts as none
_LEAST_RATIO = 2.3e-308  # of spot to strike: the logarithm wants a normal number
_FARTHEST = 70.0  # standard deviations; a density of e^{-2450} is 0
_REFLECTED_BELOW = -0.5


@inlined
def _log_moneyness(
    spot: float, strike: float, inverse_spot: float, carry: float, years: float
) -> tuple[float, float]:
    """``ln(S/K) + (r - y) T`` with what the quotient rounds away put back, and the quotient."""
    ratio = spot / strike
    logarithm_of_ratio = logarithm(ratio) + fma(-ratio, strike, spot) * inverse_spot
    return fma(carry, years, logarithm_of_ratio), ratio


@inlined
def _distances(x: float, width: float, is_wide: bool) -> tuple[float, float, float, bool]:
    """``|x|/s - s/2`` (its absolute value where reflected), the gap to the other ratio, d1 and d2 in size."""
    size = abs(x) / (width if is_wide else 1.0)
    size = size if is_wide else (0.0 if x == 0.0 else _FARTHEST)
    near = size - 0.5 * width
    is_reflected = near < _REFLECTED_BELOW
    gap = 2.0 * size if is_reflected else width
    gap = min(gap, 2.0 * _FARTHEST)
    near = abs(near) if is_reflected else near
    near = min(near, _FARTHEST)
    far = size + 0.5 * width
    return near, gap, min(far, _FARTHEST), is_reflected


@inlined
def priced(
    spot: float,
    strike: float,
    years: float,
    volatility: float,
    rate: float,
    dividend_yield: float,
    is_call: bool,
) -> tuple[float, float, float, float, float, float, float, float, float, float, bool]:
    """Of one option: value, delta, strike leg, ``w/S``, d1, d2, ``1/s`` (0 where there is no width), ``1/S``,
    A + B, S/K, and whether it is at the kink.
    """  # fmt: skip
    inverse_spot = 1.0 / spot
    x, ratio = _log_moneyness(spot, strike, inverse_spot, rate - dividend_yield, years)
    width = volatility * math.sqrt(years)
    is_wide = width > _LEAST_WIDTH
    inverse_width = 1.0 / width if is_wide else 0.0
    carried = exponential(-dividend_yield * years)
    asset_bound, strike_bound = spot * carried, strike * exponential(-rate * years)
    near, gap, far, is_reflected = _distances(x, width, is_wide)
    ratio_near, ratio_far, slope = mills_ratios(near, gap)
    near = -near if is_reflected else near
    is_below = x <= 0.0  # then calls are out of the money, and d1 is the nearer to 0
    d1 = -near if is_below else far
    d2 = -far if is_below else near
    weight = carried * density(d1)
    tail, far_tail = weight * ratio_near, weight * ratio_far

    lead = asset_bound if is_below else strike_bound
    time_value = spot * (weight * (gap * slope))
    time_value = lead - spot * (tail + far_tail) if is_reflected else time_value
    asset_near = carried - tail if is_reflected else tail
    strike_near = strike_bound - spot * tail if is_reflected else spot * tail
    delta = asset_near if is_below else far_tail
    strike_leg = spot * far_tail if is_below else strike_near

    is_kink = (not is_wide) and x == 0.0
    is_out = is_below == is_call
    delta = delta if is_out else carried - delta
    delta = 0.5 * carried if is_kink else delta
    strike_leg = strike_leg if is_out else strike_bound - strike_leg
    strike_leg = 0.5 * strike_bound if is_kink else strike_leg
    intrinsic = asset_bound - strike_bound if is_call else strike_bound - asset_bound
    value = time_value + (0.0 if is_out or intrinsic < 0.0 else intrinsic)
    delta = delta if is_call else -delta
    strike_leg = strike_leg if is_call else -strike_leg
    bounds = asset_bound + strike_bound
    return value, delta, strike_leg, weight, d1, d2, inverse_width, inverse_spot, bounds, ratio, is_kink


@inlined
def _status(total: float, spot: float, ratio: float, years: float, volatility: float, is_kink: bool) -> int:
    """`total` is a sum of all that must be finite."""
    is_sound = (0.0 * total == 0.0) & (spot > 0.0) & (ratio > _LEAST_RATIO) & (years >= 0.0)
    status = _AT_KINK if is_kink else _VALID
    return status if is_sound & (volatility >= 0.0) else _SUSPECT


@compiled_disjoint
def greeks_of_columns(
    holds_forward: bool, columns: Columns, is_call: BoolArray, figures: Columns, statuses: StatusArray
) -> None:
    """Fills `figures` in the order of `OptionGreeks`. `holds_forward`: rho is that of Black-76."""
    spots, strikes, years, volatilities, rates, dividend_yields = columns
    values, deltas, gammas, vegas, thetas, rhos, vannas, volgas = figures
    for i in range(spots.size):
        spot, time, volatility, rate, dividend_yield = (
            spots[i], years[i], volatilities[i], rates[i], dividend_yields[i],
        )  # fmt: skip
        value, delta, strike_leg, weight, d1, d2, inverse_width, inverse_spot, bounds, ratio, is_kink = (
            priced(spot, strikes[i], time, volatility, rate, dividend_yield, is_call[i])
        )
        root = math.sqrt(time)
        gamma = weight * inverse_width * inverse_spot
        vega = spot * weight * root
        decay = 0.5 * (spot * weight) * volatility * (volatility * inverse_width)
        theta = fma(dividend_yield * spot, delta, fma(-rate, strike_leg, -decay))
        rho = time * (-value if holds_forward else strike_leg)
        d2_per_volatility = d2 * (root * inverse_width)
        vanna = -weight * d2_per_volatility
        volga = vega * d1 * d2_per_volatility
        values[i], deltas[i], gammas[i], vegas[i] = value, delta, gamma, vega
        thetas[i], rhos[i], vannas[i], volgas[i] = theta, rho, vanna, volga
        total = ((value + delta) + (gamma + vega)) + ((theta + rho) + (vanna + volga))
        total += bounds + (rate + dividend_yield)
        statuses[i] = _status(total, spot, ratio, time, volatility, is_kink)


@compiled_disjoint
def higher_greeks_of_columns(
    columns: Columns, is_call: BoolArray, figures: Columns, statuses: StatusArray
) -> None:
    """Fills `figures` in the order of `HigherGreeks`."""
    spots, strikes, years, volatilities, rates, dividend_yields = columns
    charms, speeds, zommas, colours = figures
    for i in range(spots.size):
        spot, time, volatility, rate, dividend_yield = (
            spots[i], years[i], volatilities[i], rates[i], dividend_yields[i],
        )  # fmt: skip
        value, delta, _, weight, d1, d2, inverse_width, inverse_spot, bounds, ratio, is_kink = priced(
            spot, strikes[i], time, volatility, rate, dividend_yield, is_call[i]
        )
        drift = (rate - dividend_yield) * inverse_width
        half_inverse_time = 0.5 * (volatility * inverse_width) * (volatility * inverse_width)
        gamma = weight * inverse_width * inverse_spot
        charm = dividend_yield * delta - weight * (drift - d2 * half_inverse_time)
        speed = -gamma * inverse_spot * (1.0 + d1 * inverse_width)
        zomma = gamma * (d1 * d2 - 1.0) * (math.sqrt(time) * inverse_width)
        colour = gamma * (dividend_yield + drift * d1 + (1.0 - d1 * d2) * half_inverse_time)
        charms[i], speeds[i], zommas[i], colours[i] = charm, speed, zomma, colour
        total = (value + delta) + ((charm + speed) + (zomma + colour))
        total += bounds + (rate + dividend_yield)
        statuses[i] = _status(total, spot, ratio, time, volatility, is_kink)
