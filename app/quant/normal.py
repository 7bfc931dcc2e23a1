"""exp, log and the normal distribution as plain arithmetic, which LLVM vectorises inside a compiled loop.

A call into a mathematics library keeps a loop scalar. These are polynomials and rational functions with
fused multiply-adds, written out: the same bits in every lane, in a loop's remainder, and on every machine.

Errors, relative, measured against 40 digits (`tests/unit/quant/test_normal.py` holds them):

====================  ========  ====================================================================
`exponential`         1.5e-16   arguments from -708 to 709
`logarithm`           1.5e-16   positive normal numbers
`density`             5e-16     arguments up to 37.5 in size
`mills_ratios`        1e-15     arguments from -0.5 to 75; their divided difference 1e-14
`distribution`        1e-15     arguments from -37.5 upwards
====================  ========  ====================================================================

What lies below the normal numbers becomes 0. NaN stays NaN.

References: W. J. Cody and W. Waite, Software Manual for the Elementary Functions (1980), for the reduction of
the exponential's argument; K. C. Ng and Sun Microsystems, fdlibm, `e_log.c` (1993), for the logarithm;
J. F. Hart et al., Computer Approximations (1968), for the normal distribution as a rational function times
its density. The coefficients of the exponential and of Mills' ratio are minimax
(Remez exchange in 70 digits).
"""

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from numba import types
from numba.extending import intrinsic

from app.quant.compiled import inlined

Coefficients = tuple[float, ...]

_INVERSE_SQRT_TWO_PI = 0.3989422804014327
_LOG2_E = 1.4426950408889634
_LN_2 = 0.6931471805599453
_LN_2_REST = 2.3190468138462996e-17
_INTEGRAL = 1.5 * 2.0**52  # added, it leaves the nearest integer in the low bits
_EXPONENT_BIAS = 1023
_MANTISSA_BITS = 52

# (e^r - 1 - r) / r^2 for |r| <= ln(2)/2, from the constant upwards: 3.7e-18 of e^r.
_EXPONENTIAL = (
    0.5000000000000011, 0.1666666666666641, 0.04166666666653043, 0.00833333333349572, 0.00138888889435677,
    0.000198412695040386, 2.4801493156435388e-05, 2.755758847749371e-06, 2.7630229567360535e-07,
    2.4999440890142377e-08,
)  # fmt: skip

# fdlibm's Lg1 to Lg7, and ln 2 with 33 bits, so that its product with an exponent is exact.
_LOGARITHM = (
    6.666666666666735130e-01, 3.999999999940941908e-01, 2.857142874366239149e-01, 2.222219843214978396e-01,
    1.818357216161805012e-01, 1.531383769920937332e-01, 1.479819860511658591e-01,
)  # fmt: skip
_LN_2_HIGH = 6.93147180369123816490e-01
_LN_2_LOW = 1.90821492927058770002e-10
_BITS_OF_ONE = 0x3FF0000000000000
_BITS_OF_SQRT_HALF = 0x3FE6A09E667F3BCD
_BITS_OF_2_52 = 0x4330000000000000

# Mills' ratio at z, for z from -1/2 to 75, as P(z + 1/2) / Q(z + 1/2): 2.1e-17. Highest powers first.
# All coefficients are positive, so nothing cancels.
_MILLS_SHIFT = 0.5
_MILLS_P = (
    1.0000000000000848, 27.249227704411567, 372.3650115034756, 3298.187102977711, 20767.392925792818,
    96662.01768461519, 336422.94613639807, 866680.0864055126, 1592836.756156524, 1912578.3451376387,
    1173050.3434661536,
)  # fmt: skip
_MILLS_Q = (
    1.0, 26.749227704438326, 359.74039764756304, 3139.75382522941, 19502.538983794813, 89712.13027487422,
    309785.48963200906, 798887.2727880034, 1501625.237879152, 1952681.7179750085, 1576551.3015953219,
    597270.8217919079,
)  # fmt: skip


@intrinsic
def _fused(_context: object, _a: object, _b: object, _c: object) -> tuple[object, object]:
    def generate(_context: Any, builder: Any, _signature: Any, arguments: list[Any]) -> Any:
        return builder.fma(*arguments)

    return types.float64(types.float64, types.float64, types.float64), generate


fma = cast(Callable[[float, float, float], float], _fused)
"""``a b + c`` rounded once: one instruction, vectorised like any other, the same bits everywhere.

The intrinsic itself: in a function of its own it would keep LLVM from unrolling the polynomials in time.
"""


@inlined
def _bits(value: float) -> np.int64:
    return np.float64(value).view(np.int64)


@inlined
def _from_bits(bits: np.int64) -> np.float64:
    return np.int64(bits).view(np.float64)


@inlined
def exponential(argument: float) -> float:
    """``e^x``: 0 below -708.75, infinite above 709.43."""
    x = max(argument, -709.1)
    x = min(x, 709.79)
    shifted = fma(x, _LOG2_E, _INTEGRAL)
    exponent = shifted - _INTEGRAL
    r = fma(-exponent, _LN_2_REST, fma(-exponent, _LN_2, x))
    square = r * r
    fourth = square * square
    c = _EXPONENTIAL  # in pairs rather than in one chain: half the latency
    low = fma(fma(c[3], r, c[2]), square, fma(c[1], r, c[0]))
    high = fma(fma(c[7], r, c[6]), square, fma(c[5], r, c[4]))
    high = fma(fma(c[9], r, c[8]), fourth, high)
    mantissa = 1.0 + fma(square, fma(high, fourth, low), r)
    return mantissa * _from_bits((_bits(shifted) + _EXPONENT_BIAS) << _MANTISSA_BITS)


@inlined
def logarithm(argument: float) -> float:
    """Natural logarithm of a positive normal number; meaningless elsewhere."""
    bits = _bits(argument)
    biased = (bits + (_BITS_OF_ONE - _BITS_OF_SQRT_HALF)) >> _MANTISSA_BITS
    mantissa = _from_bits(bits - ((biased - _EXPONENT_BIAS) << _MANTISSA_BITS))
    exponent = _from_bits(biased | _BITS_OF_2_52) - (2.0**_MANTISSA_BITS + _EXPONENT_BIAS)
    f = mantissa - 1.0
    s = f / (2.0 + f)
    z = s * s
    w = z * z
    c = _LOGARITHM
    odd = fma(fma(fma(c[6], w, c[4]), w, c[2]), w, c[0])
    even = fma(fma(c[5], w, c[3]), w, c[1])
    half_square = 0.5 * f * f
    series = half_square + fma(w, even, z * odd)
    rest = half_square - fma(s, series, exponent * _LN_2_LOW)
    return fma(exponent, _LN_2_HIGH, f - rest)


@inlined
def density(argument: float) -> float:
    """Of a finite argument. What squaring it rounds away is put back: it counts in the tail."""
    square = argument * argument
    lost = fma(argument, argument, -square)
    return _INVERSE_SQRT_TWO_PI * exponential(-0.5 * square) * fma(lost, -0.5, 1.0)


@inlined
def mills_ratios(lower: float, gap: float) -> tuple[float, float, float]:
    """``M(z) = N(-z) / n(z)`` at `lower` and at ``lower + gap``, and ``(M(lower) - M(lower + gap)) / gap``.

    The divided difference is that of the rational function itself, with no difference of close numbers: exact
    to the last digits however small the gap, and the negative derivative where the gap is 0.
    `lower` from -0.5 upwards, `gap` from 0 upwards.
    """
    at = lower + _MILLS_SHIFT
    numerator, numerator_slope = _value_and_slope(at, gap, _MILLS_P)
    denominator, denominator_slope = _value_and_slope(at, gap, _MILLS_Q)
    far_numerator = fma(gap, numerator_slope, numerator)
    far_denominator = fma(gap, denominator_slope, denominator)
    scale = 1.0 / (denominator * far_denominator)
    slope = fma(numerator, denominator_slope, -numerator_slope * denominator) * scale
    return numerator * far_denominator * scale, far_numerator * denominator * scale, slope


@inlined
def distribution(argument: float) -> float:
    """``N(x)``, to a relative precision that holds down to the smallest normal numbers."""
    reflected = argument > _MILLS_SHIFT
    lower = argument if reflected else -argument
    lower = min(lower, 75.0)
    ratio, _, _ = mills_ratios(lower, 0.0)
    tail = density(lower) * ratio
    return 1.0 - tail if reflected else tail


@inlined
def _value_and_slope(at: float, gap: float, coefficients: Coefficients) -> tuple[float, float]:
    """A polynomial at a point, and its divided difference to the point that lies `gap` further."""
    there = at + gap
    value = coefficients[0]
    slope = value
    value = fma(value, at, coefficients[1])
    for k in range(2, len(coefficients)):
        slope = fma(slope, there, value)
        value = fma(value, at, coefficients[k])
    return value, slope
