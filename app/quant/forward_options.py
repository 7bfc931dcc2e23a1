"""One option on a forward, as plain arithmetic that a compiled loop can vectorise.

Black-76 at zero rate, as the coin exchanges mark their options, per unit of the underlying::

    d1 = ln(F/K) / v + v / 2,   d2 = d1 - v,   v = σ √T,   φ = +1 for a call, -1 for a put
    V  = φ (F N(φ d1) - K N(φ d2))

exp and the normal distribution are written out, because a call of the C library in a loop keeps it from being
vectorised: exp by Cody and Waite's reduction and its Taylor series (relative error below 4e-16 on [-745, 0]),
N by Hart's rational form with a continued fraction beyond 7.07 (absolute error below 3e-16; relative error of
the far tail below 1e-8, where N is below 1e-12). Everything that solvency and scenarios value goes through
`forward_option`, and nothing else here is used elsewhere: a better kernel replaces it in one place.

References: W. J. Cody and W. Waite, Software Manual for the Elementary Functions (1980); J. F. Hart et al.,
Computer Approximations (1968), 5666, as in G. West, Better approximations to cumulative normal functions,
Wilmott (2005).
"""

from collections.abc import Callable
from typing import TypeVar, cast

import numba
import numpy as np

Function = TypeVar("Function", bound=Callable[..., object])


def _inlined(function: Function) -> Function:
    """Becomes part of the loop that calls it: a call that is left standing keeps it from being vectorised."""
    return cast(Function, numba.njit(inline="always", error_model="numpy")(function))


_LOG2_E = 1.4426950408889634
_LN2_HIGH = 6.93147180369123816490e-01
_LN2_LOW = 1.90821492927058770002e-10
_ROUND_TO_INTEGER = 6755399441055744.0  # 1.5 x 2^52: adding it leaves the nearest integer in the low bits
_LOWEST_EXPONENT = -708.0  # below it the result would be subnormal: taken as 0
_INVERSE_SQRT_TWO_PI = 0.3989422804014327
_HART_LIMIT = 7.07106781186547
_FARTHEST_DEVIATIONS = 38.0  # N(-38) is 3e-316
_LEAST_TOTAL_VOLATILITY = 1e-12  # below it the option is at its intrinsic value to the last bit


@_inlined
def exp_of_negative(power: float) -> float:
    """e^power for powers from 0 downwards; 0 below -708."""
    clamped = max(power, _LOWEST_EXPONENT)
    shifted = clamped * _LOG2_E + _ROUND_TO_INTEGER
    count = shifted - _ROUND_TO_INTEGER
    r = (clamped - count * _LN2_HIGH) - count * _LN2_LOW
    series = 1.6059043836821613e-10  # Taylor to the 13th power, for |r| <= ln(2)/2
    series = series * r + 2.08767569878681e-09
    series = series * r + 2.505210838544172e-08
    series = series * r + 2.755731922398589e-07
    series = series * r + 2.7557319223985893e-06
    series = series * r + 2.48015873015873e-05
    series = series * r + 1.984126984126984e-04
    series = series * r + 1.3888888888888889e-03
    series = series * r + 8.333333333333333e-03
    series = series * r + 4.1666666666666664e-02
    series = series * r + 1.6666666666666666e-01
    series = series * r + 0.5
    series = series * r + 1.0
    series = series * r + 1.0
    bits = np.float64(shifted).view(np.int64) + 1023
    scale = np.int64(bits << 52).view(np.float64)
    return series * scale if power >= _LOWEST_EXPONENT else 0.0


@_inlined
def _tail(deviations: float, density_exponential: float) -> float:
    """N(-deviations) for deviations from 0 upwards, given e^(-deviations²/2)."""
    z = min(deviations, _FARTHEST_DEVIATIONS)
    above = 3.52624965998911e-02 * z + 0.700383064443688
    above = above * z + 6.37396220353165
    above = above * z + 33.912866078383
    above = above * z + 112.079291497871
    above = above * z + 221.213596169931
    above = above * z + 220.206867912376
    below = 8.83883476483184e-02 * z + 1.75566716318264
    below = below * z + 16.064177579207
    below = below * z + 86.7807322029461
    below = below * z + 296.564248779674
    below = below * z + 637.333633378831
    below = below * z + 793.826512519948
    below = below * z + 440.413735824752
    c0 = z + 0.65
    c1 = z * c0 + 4.0
    c2 = z * c1 + 3.0 * c0
    c3 = z * c2 + 2.0 * c1
    c4 = z * c3 + c2
    near = z < _HART_LIMIT
    numerator = above if near else _INVERSE_SQRT_TWO_PI * c3
    denominator = below if near else c4
    return density_exponential * (numerator / denominator)


@_inlined
def forward_option(
    forward: float, strike: float, log_moneyness: float, total_volatility: float, sign: float
) -> tuple[float, float, float, float]:
    """Value, delta, gamma, and vega over the root of the years; ``sign`` is +1 for a call, -1 for a put.

    ``log_moneyness`` is ln(forward / strike). Without width gamma and vega are 0 and the value is intrinsic.
    """
    width = max(total_volatility, _LEAST_TOTAL_VOLATILITY)
    d1 = log_moneyness / width + 0.5 * width
    d2 = d1 - width
    exponential = exp_of_negative(-0.5 * d1 * d1)
    tail1 = _tail(abs(d1), exponential)
    tail2 = _tail(abs(d2), exponential * (forward / strike))
    asset = 1.0 - tail1 if sign * d1 > 0.0 else tail1
    cash = 1.0 - tail2 if sign * d2 > 0.0 else tail2
    value = max(sign * (forward * asset - strike * cash), 0.0)
    density = _INVERSE_SQRT_TWO_PI * exponential if total_volatility > 0.0 else 0.0
    return value, sign * asset, density / (forward * width), forward * density
