"""No butterfly within a slice, no calendar spread between slices: decided for every strike, not on a grid.

With k = m + s (E - 1/E) / 2 for E > 0, and the slopes of the wings p = b (1 - ρ) and q = b (1 + ρ), a slice
is rational in E::

    w = s Q / 2E    Q = q E² + (2a/s) E + p        k = s L / 2E    L = E² + (2m/s) E - 1
    w' = R / D      R = q E² - p,  D = E² + 1      w'' = 4 (p + q) E³ / (s D³)

- Durrleman's g has the sign of a polynomial of degree 10 in E (`_butterfly_polynomial`). Its outermost
  coefficients are q² (4 - q²) and p² (4 - p²): Lee's bound of 2 on the slopes of the wings.
- A later slice lies below an earlier one where b₂ r₂ < V, with V the earlier w less the linear part of the
  later one and r₂ its root: where V > 0 and b₂² r₂² - V² < 0, a quadratic and a quartic in the earlier
  slice's E. (Gatheral and Jacquier, lemma 3.1, find the crossings as roots of a quartic in k.)

Signs are decided without sampling. In Bernstein form over an interval a polynomial lies within the hull of
its coefficients, the first and last of which are its values at the ends. Halving the interval (de Casteljau)
brings the hull quadratically closer, so a few halvings either show every coefficient to be nonnegative or
find an end that is not. What is negative by no more than `_ROUNDING` is none: of g itself, and relative to V,
so that a slice does not cross its equal.

References: V. Durrleman, A note on initial volatility surface (2003); R. Lee, The moment formula for implied
volatility at extreme strikes, Mathematical Finance 14 (2004); Gatheral and Jacquier (2014); R. T.
Farouki, The Bernstein polynomial basis, Computer Aided Geometric Design 29 (2012).
"""

import math
from dataclasses import dataclass

import numpy as np

from app.quant.arrays import BoolArray, FloatArray
from app.quant.compiled import compiled
from app.quant.surface.svi import RawSvi, durrleman_densities

_ROUNDING = 1e-10
_NOISE = 1e-14  # of the largest Bernstein coefficient
_DEEPEST = 44  # halvings: by then an interval is narrower than the abscissa's own rounding
_NOWHERE = -1.0
_ANYWHERE = np.array([1.0])


@dataclass(frozen=True, slots=True)
class ArbitrageReport:
    """What is wrong with the slices of a surface, in the order of their expiries. Arrays of one per slice."""

    butterflies: BoolArray  # variance or density not positive somewhere, or a wing steeper than Lee's bound
    calendars: BoolArray  # somewhere below the slice before it; False for the first one
    butterfly_log_moneyness: FloatArray  # a place where the butterfly is; 0.0 where there is none
    calendar_log_moneyness: FloatArray  # likewise; ±infinity where the wings cross
    least_densities: FloatArray  # the least of Durrleman's g on a grid over the slice, for people to read

    @property
    def free(self) -> bool:
        """No static arbitrage in any slice or between any two."""
        return not (self.butterflies.any() or self.calendars.any())


def arbitrage_report(*, slices: RawSvi) -> ArbitrageReport:
    """Check slices of shape (n,), sorted by expiry, at the same log-moneyness of each one's own forward.

    Parameters must be finite and widths positive. A slice that equals its neighbour is no arbitrage.
    Crossings of slices that are not neighbours imply one between neighbours.
    """
    rows = rows_of(slices)
    count = len(rows)
    butterfly_at, calendar_at = np.zeros(count), np.zeros(count)
    butterflies, calendars = np.zeros(count, dtype=np.bool_), np.zeros(count, dtype=np.bool_)
    for index in range(count):
        butterflies[index], butterfly_at[index] = has_butterfly(rows[index])
        if index > 0:
            calendars[index], calendar_at[index] = has_calendar(rows[index - 1], rows[index])
    angles = np.linspace(-5.0, 5.0, 401)
    raw = RawSvi(*(column[:, None] for column in rows.T))
    grid = rows[:, 3:4] + rows[:, 4:5] * np.sinh(angles)
    with np.errstate(all="ignore"):  # where the variance is not positive
        densities = durrleman_densities(log_moneyness=grid, slices=raw)
    least = np.where(np.isfinite(densities), densities, -np.inf).min(axis=1)
    return ArbitrageReport(butterflies, calendars, butterfly_at, calendar_at, np.maximum(least, -1e300))


def rows_of(slices: RawSvi) -> FloatArray:
    """The slices as rows of (a, b, ρ, m, s)."""
    columns = (np.atleast_1d(np.asarray(each, dtype=np.float64)) for each in slices)
    return np.stack(np.broadcast_arrays(*columns), axis=1)


@compiled
def has_butterfly(row: FloatArray) -> tuple[bool, float]:
    """Whether the slice (a, b, ρ, m, s) has one, and the log-moneyness of it."""
    a, p, q, m, s = row[0], row[1] * (1.0 - row[2]), row[1] * (1.0 + row[2]), row[3], row[4]
    if p < 0.0 or q < 0.0 or a + s * math.sqrt(p * q) <= 0.0:  # the least variance
        return True, m + 0.5 * s * (math.sqrt(p / q) - math.sqrt(q / p)) if p != q else m
    found = _negative_where(_on_half_line(_butterfly_polynomial(a, p, q, m, s)), _ANYWHERE)
    return found != _NOWHERE, _log_moneyness(row, found)


@compiled
def has_calendar(earlier: FloatArray, later: FloatArray) -> tuple[bool, float]:
    """Whether the later slice is below the earlier one, and the log-moneyness where."""
    a1, p1, q1 = earlier[0], earlier[1] * (1.0 - earlier[2]), earlier[1] * (1.0 + earlier[2])
    a2, angle, tilt = later[0], later[1], later[1] * later[2]
    m1, s1, m2, s2 = earlier[3], earlier[4], later[3], later[4]
    offset, excess = np.empty(3), np.empty(3)
    offset[0], offset[1], offset[2] = -s1, 2.0 * (m1 - m2), s1  # (k - m₂) 2E
    excess[0], excess[1], excess[2] = s1 * p1, 2.0 * (a1 - a2), s1 * q1
    _add_scaled(excess, 0, -tilt, offset)  # V 2E
    gap = np.zeros(5)
    gap[2] = (2.0 * angle * s2) ** 2
    _add_scaled(gap, 0, angle * angle, _product(offset, offset))  # (b₂ r₂ 2E)²
    for power in range(gap.size):
        gap[power] *= 1.0 + _ROUNDING
    _add_scaled(gap, 0, _ROUNDING - 1.0, _product(excess, excess))
    found = _negative_where(_on_half_line(gap), _on_half_line(excess))
    return found != _NOWHERE, _log_moneyness(earlier, found)


@compiled
def _butterfly_polynomial(a: float, p: float, q: float, m: float, s: float) -> FloatArray:
    """16 D³ Q² g, lowest power first: 4 D (2DQ - LR)² - R² D Q² - (8/s) E R² D Q + (32 (p + q)/s) E³ Q²."""
    Q = np.array((p, 2.0 * a / s, q))  # noqa: N806  # the formula's own letters
    R = np.array((-p, 0.0, q))  # noqa: N806
    L = np.array((-1.0, 2.0 * m / s, 1.0))  # noqa: N806
    D = np.array((1.0, 0.0, 1.0))  # noqa: N806
    DQ = _product(D, Q)  # noqa: N806
    shifted = np.zeros(5)
    _add_scaled(shifted, 0, 2.0, DQ)
    _add_scaled(shifted, 0, -1.0, _product(L, R))
    steep = _product(_product(R, R), DQ)
    polynomial = np.zeros(11)
    _add_scaled(polynomial, 0, 4.0, _product(D, _product(shifted, shifted)))
    _add_scaled(polynomial, 0, -1.0, _product(steep, Q))
    _add_scaled(polynomial, 1, -8.0 / s, steep)
    _add_scaled(polynomial, 3, 32.0 * (p + q) / s, _product(Q, Q))
    _add_scaled(polynomial, 0, 16.0 * _ROUNDING, _product(_product(D, DQ), DQ))
    return polynomial


@compiled
def _log_moneyness(row: FloatArray, place: float) -> float:
    if place == _NOWHERE:
        return 0.0
    if place <= 0.0:
        return -math.inf
    if place >= 1.0:
        return math.inf
    ratio = place / (1.0 - place)
    return float(row[3] + 0.5 * row[4] * (ratio - 1.0 / ratio))


@compiled
def _on_half_line(polynomial: FloatArray) -> FloatArray:
    """Bernstein coefficients over s in (0, 1) of (1 - s)ⁿ P(s / (1 - s)): of P over (0, ∞)."""
    degree = polynomial.size - 1
    coefficients = np.empty(degree + 1)
    binomial = 1.0
    for power in range(degree + 1):
        coefficients[power] = polynomial[power] / binomial
        binomial *= (degree - power) / (power + 1.0)
    return coefficients


@compiled
def _add_scaled(target: FloatArray, shift: int, factor: float, polynomial: FloatArray) -> None:
    """`target` += factor xˢʰⁱᶠᵗ polynomial."""
    for power in range(polynomial.size):
        target[power + shift] += factor * polynomial[power]


@compiled
def _product(first: FloatArray, second: FloatArray) -> FloatArray:
    """Coefficients of the product of two polynomials, lowest power first."""
    result = np.zeros(first.size + second.size - 1)
    for i in range(first.size):
        for j in range(second.size):
            result[i + j] += first[i] * second[j]
    return result


@compiled
def _negative_where(tested: FloatArray, asked: FloatArray) -> float:
    """A point of [0, 1] where `tested` is negative while `asked` is positive, or `_NOWHERE`.

    Both are Bernstein coefficients over [0, 1]. What stays undecided after the last halving counts as
    negative, so that `_NOWHERE` is a proof up to rounding.
    """
    stack = np.empty((_DEEPEST + 2, tested.size + asked.size))
    starts, widths = np.empty(_DEEPEST + 2), np.empty(_DEEPEST + 2)
    size = tested.size
    stack[0, :size] = tested
    stack[0, size:] = asked
    starts[0], widths[0] = 0.0, 1.0
    height = 1
    while height > 0:
        height -= 1
        first, second = stack[height, :size], stack[height, size:]
        start, width = starts[height], widths[height]
        noise = _NOISE * _largest(first)
        if _extreme(first, -1.0) <= noise or _extreme(second, 1.0) <= _NOISE * _largest(second):
            continue
        if first[0] < -noise and second[0] > 0.0:
            return float(start)
        if first[-1] < -noise and second[-1] > 0.0:
            return float(start + width)
        if width < math.ldexp(1.0, -_DEEPEST):
            return float(start + 0.5 * width)
        starts[height], widths[height] = start + 0.5 * width, 0.5 * width
        starts[height + 1], widths[height + 1] = start, 0.5 * width
        _halve(first, stack[height + 1, :size])
        _halve(second, stack[height + 1, size:])
        height += 2
    return _NOWHERE


@compiled
def _largest(coefficients: FloatArray) -> float:
    largest = 0.0
    for coefficient in coefficients:
        largest = max(largest, abs(coefficient))
    return largest


@compiled
def _extreme(coefficients: FloatArray, sign: float) -> float:
    """The greatest of `sign` times each coefficient."""
    greatest = -math.inf
    for coefficient in coefficients:
        greatest = max(greatest, sign * coefficient)
    return greatest


@compiled
def _halve(coefficients: FloatArray, left: FloatArray) -> None:
    """De Casteljau at the middle: `left` gets the left half, `coefficients` become the right half."""
    size = coefficients.size
    for step in range(size):
        left[step] = coefficients[0]
        for index in range(size - 1 - step):
            coefficients[index] = 0.5 * (coefficients[index] + coefficients[index + 1])
