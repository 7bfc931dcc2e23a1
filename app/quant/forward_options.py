"""One option on a forward, as plain arithmetic that a compiled loop can vectorise.

Black-76 at zero rate, as the coin exchanges mark their options, per unit of the underlying::

    d1 = ln(F/K) / v + v / 2,   d2 = d1 - v,   v = σ √T,   φ = +1 for a call, -1 for a put
    V  = φ (F N(φ d1) - K N(φ d2))

exp and the normal distribution are written out, because a call of the C library in a loop keeps it from being
vectorised: exp by Cody and Waite's reduction and a polynomial (relative error below 3e-16 down to e^-708, 0
below), N by Hart's rational form (absolute error below 3e-16; relative error of a tail below 1e-13 up to 4
standard deviations, 3e-9 at 7, 4e-6 at 38, where that form still has the right limit). Everything that
solvency and scenarios value goes through `forward_option`, and nothing else here is used elsewhere: a better
kernel replaces it in one place.

References: W. J. Cody and W. Waite, Software Manual for the Elementary Functions (1980); J. F. Hart et al.,
Computer Approximations (1968), 5666, as in G. West, Better approximations to cumulative normal functions,
Wilmott (2005).
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numba import types
from numba.extending import intrinsic

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
_FARTHEST_DEVIATIONS = 38.0  # N(-38) is 3e-316
_LEAST_TOTAL_VOLATILITY = 1e-12  # below it the option is at its intrinsic value to the last bit


def _fused(_typing: object, _a: object, _b: object, _c: object) -> tuple[object, Callable[..., object]]:
    def generate(_context: object, builder: Any, _signature: object, factors: Sequence[object]) -> object:
        return builder.fma(*factors)

    return types.float64(types.float64, types.float64, types.float64), generate


# a b + c, rounded once: an operation of IEEE 754, so the same bits wherever it runs
_fma = cast(Callable[[float, float, float], float], intrinsic(_fused))


@_inlined
def exp_of_negative(power: float) -> float:
    """e^power for powers from 0 downwards; 0 below -708."""
    clamped = max(power, _LOWEST_EXPONENT)
    shifted = _fma(clamped, _LOG2_E, _ROUND_TO_INTEGER)
    count = shifted - _ROUND_TO_INTEGER
    r = _fma(-count, _LN2_LOW, _fma(-count, _LN2_HIGH, clamped))
    series = 2.5110037605963777e-08  # e^r for |r| <= ln(2)/2, near-minimax (Chebyshev), 3e-18
    series = _fma(series, r, 2.763263963904103e-07)
    series = _fma(series, r, 2.755724091857897e-06)
    series = _fma(series, r, 2.4801485482328494e-05)
    series = _fma(series, r, 0.00019841269890047113)
    series = _fma(series, r, 0.0013888888952314775)
    series = _fma(series, r, 0.008333333333319601)
    series = _fma(series, r, 0.0416666666664881)
    series = _fma(series, r, 0.1666666666666668)
    series = _fma(series, r, 0.5000000000000019)
    series = _fma(series, r, 1.0)
    series = _fma(series, r, 1.0)
    bits = np.float64(shifted).view(np.int64) + 1023
    scale = np.int64(bits << 52).view(np.float64)
    return series * scale if power >= _LOWEST_EXPONENT else 0.0


@_inlined
def _tail_quotient(deviations: float) -> tuple[float, float]:
    """Numerator and denominator of N(-z) / e^(-z^2/2), for deviations z from 0 upwards."""
    z = min(deviations, _FARTHEST_DEVIATIONS)
    above = _fma(3.52624965998911e-02, z, 0.700383064443688)
    above = _fma(above, z, 6.37396220353165)
    above = _fma(above, z, 33.912866078383)
    above = _fma(above, z, 112.079291497871)
    above = _fma(above, z, 221.213596169931)
    above = _fma(above, z, 220.206867912376)
    below = _fma(8.83883476483184e-02, z, 1.75566716318264)
    below = _fma(below, z, 16.064177579207)
    below = _fma(below, z, 86.7807322029461)
    below = _fma(below, z, 296.564248779674)
    below = _fma(below, z, 637.333633378831)
    below = _fma(below, z, 793.826512519948)
    below = _fma(below, z, 440.413735824752)
    return above, below


@_inlined
def forward_option(
    moneyness: float, log_moneyness: float, total_volatility: float, sign: float
) -> tuple[float, float, float, float]:
    """Of an option on one unit: value over strike, delta, density at d1, and 1/v.

    ``moneyness`` is forward / strike, in (0, inf), ``log_moneyness`` its logarithm; ``sign`` is +1 for a
    call, -1 for a put. Without width the value is intrinsic and the density 0. The rest follows: gamma is the
    density over (forward v), vega the forward times the density times the root of the years.
    """
    per_width = 1.0 / max(total_volatility, _LEAST_TOTAL_VOLATILITY)
    width = max(total_volatility, _LEAST_TOTAL_VOLATILITY)
    d1 = _fma(log_moneyness, per_width, 0.5 * width)
    d2 = d1 - width
    exponential = exp_of_negative(-0.5 * d1 * d1)
    above1, below1 = _tail_quotient(abs(d1))
    above2, below2 = _tail_quotient(abs(d2))
    scaled = exponential / (below1 * below2)  # both quotients with one division
    tail1 = above1 * below2 * scaled
    tail2 = above2 * below1 * scaled * moneyness  # e^(-d2^2/2) is e^(-d1^2/2) F/K
    asset = 1.0 - tail1 if sign * d1 > 0.0 else tail1
    cash = 1.0 - tail2 if sign * d2 > 0.0 else tail2
    value = max(sign * _fma(moneyness, asset, -cash), 0.0)
    density = _INVERSE_SQRT_TWO_PI * exponential if total_volatility > 0.0 else 0.0
    return value, sign * asset, density, per_width
