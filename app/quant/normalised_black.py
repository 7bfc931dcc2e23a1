"""The normalised Black function and its inverse, compiled.

With forward F, strike K, x = -|ln(F/K)| and total volatility s = σ √T, the out-of-the-money option is worth
√(FK) b(x, s). With h = x/s (h <= 0), t = s/2, φ and Φ the normal density and distribution, m(z) = Φ(z)/φ(z)::

    b = e^{x/2} Φ(h + t) - e^{-x/2} Φ(h - t) = b' (m(h + t) - m(h - t))
    b' = db/ds = e^{-(h² + t²)/2} / √(2π)
    e^{x/2} - b = b' (m(-h - t) + m(h - t))

Only the ratios b/b' and (e^{x/2} - b)/b' are ever computed. An error of b counts in s by the factor
(b/b')/s, about 1/h² in the wing, which pays for what m(h + t) - m(h - t) cancels there.

The inverse is P. Jäckel, "Let's Be Rational" (2013, revised 2016; Wilmott, January 2015): a guess from
rational cubics through points at s_c = √(2|x|), where b has its inflection, and where the tangent there
meets 0 and the maximum; then Householder steps of third order on 1/ln b, b or ln(e^{x/2} - b). The cubics
are R. Delbourgo and J. A. Gregory, Shape preserving piecewise rational interpolation, SIAM Journal on
Scientific and Statistical Computing 6 (1985). The guess needs seven digits of the normal quantile: M. J.
Wichura, Algorithm AS 241 (PPND7), Applied Statistics 37 (1988).
"""

import math
from enum import IntEnum

import numpy as np

from app.quant.arrays import FloatArray, StatusArray
from app.quant.compiled import compiled

_LOG_ROOT_TWO_PI = 0.9189385332046727
_ROOT_TWO_PI = 2.5066282746310002
_ROOT_THREE = 1.7320508075688772
_TWO_PI_OVER_ROOT_27 = 1.2091995761561452
_SMALL_HALF_VOLATILITY = 0.15
_SMALL_LOG_MONEYNESS = 0.5
_EPSILON = 2.0**-52
_MOST_STEPS = 8  # two suffice for |x| <= 3, four everywhere that was tried (|x| <= 700)


class ImpliedStatus(IntEnum):
    """What became of one premium. Above `AT_INTRINSIC` it is an error, and every figure of it is 0.0."""

    VALID = 0
    AT_INTRINSIC = 1  # no time value that rounding leaves visible: the volatility is 0
    NOT_FINITE = 2
    UNDERLYING_NOT_POSITIVE = 3
    STRIKE_NOT_POSITIVE = 4
    TIME_NOT_POSITIVE = 5
    BELOW_INTRINSIC = 6
    ABOVE_MAXIMUM = 7  # a call at or above the forward, a put at or above the strike, both discounted
    OUT_OF_RANGE = 8  # each input is fine, what is computed on the way does not fit into a float64


def log_moneyness(forwards: FloatArray, strikes: FloatArray) -> FloatArray:
    """``ln(F/K)`` to its last digits also where it is small, which the ratio's rounding would spoil."""
    with np.errstate(all="ignore"):  # whatever is not positive or overflows is named by the caller
        near = (0.5 * strikes < forwards) & (forwards < 2.0 * strikes)
        return np.where(near, np.log1p((forwards - strikes) / strikes), np.log(forwards / strikes))


@compiled
def mills_ratio(z: float) -> float:
    """``Φ(z)/φ(z)``, within 1.5e-15 relative for z <= 0.

    One minimax rational in -z, exact at 0 and infinity and within 1e-17 between (fitted with 160 digits, all
    coefficients positive, so that nothing cancels).
    """
    x = abs(z)
    if x > 1e8:
        below = 1.0 / x
    else:
        top = 8.375079838452605e-07
        top = top * x + 2.4542708722217625e-05
        top = top * x + 0.00035652447059389284
        top = top * x + 0.0033276410196594036
        top = top * x + 0.02190465541561268
        top = top * x + 0.1057317228141479
        top = top * x + 0.3782037341695698
        top = top * x + 0.9905016934799928
        top = top * x + 1.8244033967832214
        top = top * x + 2.151400314211756
        top = top * x + 1.2533141373155003
        bottom = 8.375079838452605e-07
        bottom = bottom * x + 2.454270872221764e-05
        bottom = bottom * x + 0.00035736197857772726
        bottom = bottom * x + 0.00335218372838397
        bottom = bottom * x + 0.022259504869983616
        bottom = bottom * x + 0.10901027843290913
        bottom = bottom * x + 0.39940371501578603
        bottom = bottom * x + 1.0898235827449867
        bottom = bottom * x + 2.1623006097701416
        bottom = bottom * x + 2.961907053642178
        bottom = bottom * x + 2.5144536556188606
        bottom = bottom * x + 1.0
        below = top / bottom
    if z <= 0.0:
        return below
    return _ROOT_TWO_PI * math.exp(0.5 * z * z) - below


@compiled
def normalised_vega(x: float, s: float) -> float:
    """``db/ds``."""
    h, t = x / s, 0.5 * s
    return math.exp(-0.5 * (h * h + t * t)) / _ROOT_TWO_PI


@compiled
def value_over_vega(x: float, s: float) -> float:
    """``b/b'``; its relative error times ``(b/b')/s`` is a few units of rounding."""
    h, t = x / s, 0.5 * s
    if t >= _SMALL_HALF_VOLATILITY or x <= -_SMALL_LOG_MONEYNESS:
        return mills_ratio(h + t) - mills_ratio(h - t)
    # Taylor series of the odd function of t, from m' = 1 + h m and m^(n+1) = h m^(n) + n m^(n-1);
    # what is left out is below t^14/15!! = 2e-18.
    square, squared_t = h * h, t * t
    before = 1.0 + h * mills_ratio(h)
    derivative = (square + 3.0) * before - 1.0
    power = squared_t / 6.0
    total = before + derivative * power
    for n in (3.0, 5.0, 7.0, 9.0, 11.0):
        before, derivative = derivative, (square + 2.0 * n + 1.0) * derivative - n * (n - 1.0) * before
        power *= squared_t / ((n + 1.0) * (n + 2.0))
        total += derivative * power
    return 2.0 * t * total


@compiled
def _complement_over_vega(x: float, s: float) -> float:
    h, t = x / s, 0.5 * s
    return mills_ratio(-h - t) + mills_ratio(h - t)


@compiled
def _normal_quantile(p: float) -> float:
    q = p - 0.5
    if abs(q) <= 0.425:
        r = 0.180625 - q * q
        top = ((59.10937472 * r + 159.29113202) * r + 50.434271938) * r + 3.3871327179
        return q * top / (((67.187563600 * r + 78.757757664) * r + 17.895169469) * r + 1.0)
    r = math.sqrt(-math.log(min(p, 1.0 - p)))
    if r <= 5.0:
        r -= 1.6
        top = ((0.17023821103 * r + 1.3067284816) * r + 2.7568153900) * r + 1.4234372777
        found = top / ((0.12021132975 * r + 0.73700164250) * r + 1.0)
    else:
        r -= 5.0
        top = ((0.017337203997 * r + 0.42868294337) * r + 3.0812263860) * r + 6.6579051150
        found = top / ((0.012258202635 * r + 0.24197894225) * r + 1.0)
    return -found if q < 0.0 else found


@compiled
def _rational_cubic(
    x: float, x0: float, x1: float, y0: float, y1: float, d0: float, d1: float, control: float
) -> float:
    """Through both points with slopes d0 and d1; `control` > -1 keeps it free of poles, 3 is the cubic."""
    width = x1 - x0
    u = (x - x0) / width
    v = 1.0 - u
    inner = u * v * (u * (control * y1 - width * d1) + v * (control * y0 + width * d0))
    return (y1 * u * u * u + inner + y0 * v * v * v) / (1.0 + (control - 3.0) * u * v)


@compiled
def _control(numerator: float, denominator: float) -> float:
    """The free parameter that fits a second derivative, kept where the cubic has no pole."""
    if abs(denominator) <= 1e-300:
        return 3.0
    return min(max(numerator / denominator, -0.99), 1e8)


@compiled
def _lower_guess(beta: float, x: float, s_l: float, b_l: float) -> float:
    """Below the tangent's foot: f(b) = (2π|x|/√27) Φ(x/(√3 s))³ is nearly b, f(0) = 0 and f'(0) = 1."""
    z = x / (_ROOT_THREE * s_l)
    m = mills_ratio(z)
    scale = -_TWO_PI_OVER_ROOT_27 * x
    cube_root = m * math.exp(-0.5 * z * z) / _ROOT_TWO_PI
    f = scale * cube_root * cube_root * cube_root
    slope = z * z * m * m * math.exp(0.125 * s_l * s_l)
    curvature = (
        slope * (0.25 * s_l - 2.0 / s_l - 2.0 * z * (1.0 + z * m) / (m * s_l)) / normalised_vega(x, s_l)
    )
    secant = f / b_l
    control = _control(0.5 * b_l * curvature + slope - 1.0, slope - secant)
    target = _rational_cubic(beta, 0.0, b_l, 0.0, f, 1.0, slope, control)
    if not 0.0 < target < 0.125 * scale:
        target = min(beta, 0.12 * scale)
    return abs(x / (_ROOT_THREE * _normal_quantile((target / scale) ** (1.0 / 3.0))))


@compiled
def _upper_guess(beta: float, x: float, s_u: float, b_u: float, b_max: float) -> float:
    """Above the tangent's head: f(b) = Φ(-s/2), with f(b_max) = 0 and f'(b_max) = -1/2."""
    h, t = x / s_u, 0.5 * s_u
    f = 0.5 * math.erfc(t / math.sqrt(2.0))
    slope = -0.5 * math.exp(0.5 * h * h)
    curvature = math.sqrt(0.5 * math.pi) * math.exp(h * h + 0.5 * t * t) * h * h / s_u
    secant = -f / (b_max - b_u)
    control = _control(0.5 * (b_max - b_u) * curvature - 0.5 - slope, secant - slope)
    target = _rational_cubic(beta, b_u, b_max, f, 0.0, slope, -0.5, control)
    if not 0.0 < target < 0.5:
        target = f * (b_max - beta) / (b_max - b_u)
    return -2.0 * _normal_quantile(target)


@compiled
def _householder(newton: float, second: float, third: float) -> float:
    return newton * (1.0 + 0.5 * second * newton) / (1.0 + newton * (second + third * newton / 6.0))


@compiled
def _relative_derivatives(x: float, s: float) -> tuple[float, float]:
    """The second and the third derivative of b by s, over the first."""
    h, t = x / s, 0.5 * s
    second = (h * h - t * t) / s
    return second, second * second - 3.0 * h * h / (s * s) - 0.25


@compiled
def _lower_step(log_beta: float, x: float, s: float) -> float:
    """On 1/ln b."""
    ratio = value_over_vega(x, s)
    h, t = x / s, 0.5 * s
    log_b = math.log(ratio) - 0.5 * (h * h + t * t) - _LOG_ROOT_TWO_PI
    second, third = _relative_derivatives(x, s)
    newton = (log_beta - log_b) * (log_b / log_beta) * ratio
    bend = (1.0 + 2.0 / log_b) / ratio
    third += 2.0 * (1.0 + 3.0 / log_b * (1.0 + 1.0 / log_b)) / (ratio * ratio) - 3.0 * second * bend
    return _householder(newton, second - bend, third)


@compiled
def _middle_step(beta: float, x: float, s: float) -> float:
    """On b itself."""
    second, third = _relative_derivatives(x, s)
    return _householder(beta / normalised_vega(x, s) - value_over_vega(x, s), second, third)


@compiled
def _upper_step(complement: float, x: float, s: float) -> float:
    """On ln(b_max - b)."""
    ratio = _complement_over_vega(x, s)
    h, t = x / s, 0.5 * s
    log_complement = math.log(ratio) - 0.5 * (h * h + t * t) - _LOG_ROOT_TWO_PI
    second, third = _relative_derivatives(x, s)
    newton = (log_complement - math.log(complement)) * ratio
    third += (3.0 * second + 2.0 / ratio) / ratio
    return _householder(newton, second + 1.0 / ratio, third)


@compiled
def _guess(beta: float, x: float) -> tuple[float, int]:
    """A total volatility near the answer, and which of the three objectives to refine it on."""
    s_c = math.sqrt(-2.0 * x)
    b_max = math.exp(0.5 * x)
    ratio = value_over_vega(x, s_c) if x < 0.0 else 0.0
    vega = b_max / _ROOT_TWO_PI  # h² + t² = |x| at s_c
    b_c = ratio * vega
    if beta < b_c:
        s_l = s_c - ratio
        b_l = value_over_vega(x, s_l) * normalised_vega(x, s_l) if s_l > 0.0 else 0.0
        if beta < b_l:
            return _lower_guess(beta, x, s_l, b_l), -1
        if b_l == 0.0:
            return s_c * beta / b_c, 0
        d_l, d_c = 1.0 / normalised_vega(x, s_l), 1.0 / vega
        control = _control(d_c - d_l, d_c - ratio / (b_c - b_l))
        return _rational_cubic(beta, b_l, b_c, s_l, s_c, d_l, d_c, control), 0
    s_u = s_c + (b_max - b_c) / vega
    b_u = b_max - _complement_over_vega(x, s_u) * normalised_vega(x, s_u)
    if beta > b_u:
        return _upper_guess(beta, x, s_u, b_u, b_max), 1
    d_c, d_u = 1.0 / vega, 1.0 / normalised_vega(x, s_u)
    control = _control(d_u - d_c, (s_u - s_c) / (b_u - b_c) - d_c)
    return _rational_cubic(beta, b_c, b_u, s_c, s_u, d_c, d_u, control), 0


@compiled
def total_volatility(beta: float, complement: float, x: float) -> float:
    """The s with ``b(x, s) = beta``, for x <= 0, beta > 0 and ``complement = e^{x/2} - beta > 0``.

    Within 4e-15 relative for -3 <= x and 1e-4 <= s <= 4, and 1.4e-14 for -700 <= x and s <= 40, of the s of
    the given beta as long as the complement is known to its last digit.
    """
    s, branch = _guess(beta, x)
    log_beta = math.log(beta)
    for _ in range(_MOST_STEPS):
        if branch < 0:
            step = _lower_step(log_beta, x, s)
        elif branch == 0:
            step = _middle_step(beta, x, s)
        else:
            step = _upper_step(complement, x, s)
        s += max(step, -0.5 * s)
        if abs(step) <= 1e-5 * s:  # of fourth order: the next step would be below the rounding
            break
    return s


@compiled
def _implied_one(
    premium: float, forward: float, strike: float, x: float, is_call: bool
) -> tuple[float, float, int]:
    """Total volatility, condition number and status for an undiscounted premium; ``x = ln(F/K)``."""
    intrinsic = forward - strike if is_call else strike - forward
    in_the_money = intrinsic > 0.0
    time_value = premium - intrinsic if in_the_money else premium
    smaller = min(forward, strike)
    unit = math.sqrt(forward) * math.sqrt(strike)
    if not 0.0 < unit < math.inf or not math.isfinite(time_value):
        return 0.0, 0.0, ImpliedStatus.OUT_OF_RANGE
    if time_value == 0.0 or (in_the_money and abs(time_value) <= _EPSILON * max(forward, strike)):
        return 0.0, 0.0, ImpliedStatus.AT_INTRINSIC
    if time_value < 0.0:
        return 0.0, 0.0, ImpliedStatus.BELOW_INTRINSIC
    if time_value >= smaller:
        return 0.0, 0.0, ImpliedStatus.ABOVE_MAXIMUM
    beta, complement = time_value / unit, (smaller - time_value) / unit
    if not (0.0 < beta < math.inf and complement > 0.0):
        return 0.0, 0.0, ImpliedStatus.OUT_OF_RANGE
    x = -abs(x)
    total = total_volatility(beta, complement, x)
    condition = value_over_vega(x, total) / total * (premium / time_value)
    if not (0.0 < total < math.inf and 0.0 < condition < math.inf):
        return 0.0, 0.0, ImpliedStatus.OUT_OF_RANGE
    return total, condition, ImpliedStatus.VALID


@compiled
def implied_total_volatilities(
    premiums: FloatArray,
    forwards: FloatArray,
    strikes: FloatArray,
    log_moneyness_columns: FloatArray,
    calls: FloatArray,
    totals: FloatArray,
    conditions: FloatArray,
    statuses: StatusArray,
) -> None:
    """Of undiscounted premiums, wherever the status is `VALID`; elsewhere 0."""
    for i in range(premiums.size):
        total, condition = 0.0, 0.0
        if statuses[i] == ImpliedStatus.VALID:
            total, condition, status = _implied_one(
                premiums[i], forwards[i], strikes[i], log_moneyness_columns[i], calls[i] != 0.0
            )
            statuses[i] = status
        totals[i], conditions[i] = total, condition
