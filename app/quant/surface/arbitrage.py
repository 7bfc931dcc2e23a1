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

`app.quant.surface.nonnegative` decides the signs. What is negative by no more than `_ROUNDING` is none: of g
itself, and relative to V, so that a slice does not cross its equal.

References: V. Durrleman, A note on initial volatility surface (2003); R. Lee, The moment formula for implied
volatility at extreme strikes, Mathematical Finance 14 (2004); Gatheral and Jacquier (2014).
"""

import math
from dataclasses import dataclass

import numpy as np

from app.quant.arrays import BoolArray, FloatArray
from app.quant.compiled import compiled
from app.quant.surface.nonnegative import NOWHERE, add_scaled, negative_where, on_half_line, product
from app.quant.surface.svi import RawSvi, durrleman_densities

_ROUNDING = 1e-10
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
    found = negative_where(on_half_line(_butterfly_polynomial(a, p, q, m, s)), _ANYWHERE)
    return found != NOWHERE, _log_moneyness(row, found)


@compiled
def has_calendar(earlier: FloatArray, later: FloatArray) -> tuple[bool, float]:
    """Whether the later slice is below the earlier one, and the log-moneyness where."""
    a1, p1, q1 = earlier[0], earlier[1] * (1.0 - earlier[2]), earlier[1] * (1.0 + earlier[2])
    a2, angle, tilt = later[0], later[1], later[1] * later[2]
    m1, s1, m2, s2 = earlier[3], earlier[4], later[3], later[4]
    offset, excess = np.empty(3), np.empty(3)
    offset[0], offset[1], offset[2] = -s1, 2.0 * (m1 - m2), s1  # (k - m₂) 2E
    excess[0], excess[1], excess[2] = s1 * p1, 2.0 * (a1 - a2), s1 * q1
    add_scaled(excess, 0, -tilt, offset)  # V 2E
    gap = np.zeros(5)
    gap[2] = (2.0 * angle * s2) ** 2
    add_scaled(gap, 0, angle * angle, product(offset, offset))  # (b₂ r₂ 2E)²
    for power in range(gap.size):
        gap[power] *= 1.0 + _ROUNDING
    add_scaled(gap, 0, _ROUNDING - 1.0, product(excess, excess))
    found = negative_where(on_half_line(gap), on_half_line(excess))
    return found != NOWHERE, _log_moneyness(earlier, found)


@compiled
def _butterfly_polynomial(a: float, p: float, q: float, m: float, s: float) -> FloatArray:
    """16 D³ Q² g, lowest power first: 4 D (2DQ - LR)² - R² D Q² - (8/s) E R² D Q + (32 (p + q)/s) E³ Q²."""
    Q = np.array((p, 2.0 * a / s, q))  # noqa: N806  # the formula's own letters
    R = np.array((-p, 0.0, q))  # noqa: N806
    L = np.array((-1.0, 2.0 * m / s, 1.0))  # noqa: N806
    D = np.array((1.0, 0.0, 1.0))  # noqa: N806
    DQ = product(D, Q)  # noqa: N806
    shifted = np.zeros(5)
    add_scaled(shifted, 0, 2.0, DQ)
    add_scaled(shifted, 0, -1.0, product(L, R))
    steep = product(product(R, R), DQ)
    polynomial = np.zeros(11)
    add_scaled(polynomial, 0, 4.0, product(D, product(shifted, shifted)))
    add_scaled(polynomial, 0, -1.0, product(steep, Q))
    add_scaled(polynomial, 1, -8.0 / s, steep)
    add_scaled(polynomial, 3, 32.0 * (p + q) / s, product(Q, Q))
    add_scaled(polynomial, 0, 16.0 * _ROUNDING, product(product(D, DQ), DQ))
    return polynomial


@compiled
def _log_moneyness(row: FloatArray, place: float) -> float:
    if place == NOWHERE:
        return 0.0
    if place <= 0.0:
        return -math.inf
    if place >= 1.0:
        return math.inf
    ratio = place / (1.0 - place)
    return float(row[3] + 0.5 * row[4] * (ratio - 1.0 / ratio))
