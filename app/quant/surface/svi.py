"""One expiry's smile as raw SVI, its derivatives, and its jump-wings figures.

Total implied variance w = σ² T over the log-moneyness k = ln(K / F)::

    w(k) = a + b (ρ (k - m) + √((k - m)² + s²)),   b >= 0, |ρ| <= 1, s > 0

Far out it is a line of slope b (ρ - 1) on the left and b (ρ + 1) on the right. Its least value is
a + b s √(1 - ρ²).

References: J. Gatheral, A parsimonious arbitrage-free implied volatility parameterization (2004);
J. Gatheral and A. Jacquier, Arbitrage-free SVI volatility surfaces, Quantitative Finance 14 (2014).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from app.quant.arrays import FloatArray


class RawSvi(NamedTuple):
    """Gatheral's five parameters; each a float, or an array of one element per slice."""

    levels: ArrayLike  # a
    angles: ArrayLike  # b: half the sum of the wings' slopes
    rotations: ArrayLike  # ρ: above zero the right wing is the steeper one
    centres: ArrayLike  # m
    widths: ArrayLike  # s (Gatheral's σ): how round the vertex is


class JumpWings(NamedTuple):
    """The same slice in figures a trader knows. They change little from one expiry to the next."""

    atm_variances: ArrayLike  # v = σ² at the forward
    atm_skews: ArrayLike  # ψ = √T dσ/dk at the forward
    left_slopes: ArrayLike  # p: of the put wing, in units of √w at the forward
    right_slopes: ArrayLike  # c: of the call wing
    minimum_variances: ArrayLike  # ṽ: the least σ²


def total_variances(*, log_moneyness: ArrayLike, slices: RawSvi) -> FloatArray:
    """w(k), in the broadcast shape of the two; finite for finite input."""
    a, b, rho, m, s = (np.asarray(each, dtype=np.float64) for each in slices)
    offsets = np.asarray(log_moneyness, dtype=np.float64) - m
    return np.asarray(a + b * (rho * offsets + np.sqrt(offsets * offsets + s * s)))


def durrleman_densities(*, log_moneyness: ArrayLike, slices: RawSvi) -> FloatArray:
    """Durrleman's g(k): the risk-neutral density of the slice without its (positive) Gaussian factor.

    Below zero somewhere, a butterfly has a negative price::

        g = (1 - k w' / 2w)² - w'² (1/w + 1/4) / 4 + w'' / 2

    Requires w(k) > 0 and a positive width. Gatheral and Jacquier (2014), lemma 2.2.
    """
    _, b, rho, m, s = (np.asarray(each, dtype=np.float64) for each in slices)
    k = np.asarray(log_moneyness, dtype=np.float64)
    roots = np.sqrt((k - m) ** 2 + s * s)
    w = total_variances(log_moneyness=k, slices=slices)
    first = b * (rho + (k - m) / roots)
    second = b * s * s / roots**3
    spread = 1.0 - k * first / (2.0 * w)
    return np.asarray(spread**2 - first**2 * (1.0 / w + 0.25) / 4.0 + second / 2.0)


def to_jump_wings(*, slices: RawSvi, years_to_expiry: ArrayLike) -> JumpWings:
    """Gatheral and Jacquier (2014), equation 3.5. Requires positive years and w(0) > 0."""
    a, b, rho, m, s = (np.asarray(each, dtype=np.float64) for each in slices)
    years = np.asarray(years_to_expiry, dtype=np.float64)
    w = total_variances(log_moneyness=0.0, slices=slices)
    roots = np.sqrt(w)
    return JumpWings(
        atm_variances=w / years,
        atm_skews=b * (rho - m / np.hypot(m, s)) / (2.0 * roots),
        left_slopes=b * (1.0 - rho) / roots,
        right_slopes=b * (1.0 + rho) / roots,
        minimum_variances=(a + b * s * np.sqrt(1.0 - rho * rho)) / years,
    )


def from_jump_wings(*, wings: JumpWings, years_to_expiry: ArrayLike) -> RawSvi:
    """The inverse of `to_jump_wings`.

    Requires ``-left_slopes < 2 atm_skews < right_slopes`` and minimum variances below those at the forward.
    With β = m / √(m² + s²), v - ṽ is b √(m² + s²) (1 - cos(arcsin β - arcsin ρ)), which also holds at m = 0.
    A slice whose vertex lies at the forward (ρ = β) does not say how round it is: its width comes out as 0.
    """
    v, psi, p, c, least = (np.asarray(each, dtype=np.float64) for each in wings)
    years = np.asarray(years_to_expiry, dtype=np.float64)
    roots = np.sqrt(v * years)
    b = roots * (p + c) / 2.0
    rho = (c - p) / (p + c)
    beta = rho - 4.0 * psi / (p + c)
    bends = 2.0 * np.sin((np.arcsin(beta) - np.arcsin(rho)) / 2.0) ** 2
    bent = bends > 0.0
    radii = np.where(bent, (v - least) * years / np.where(bent, b * bends, 1.0), 0.0)
    s = radii * np.sqrt(1.0 - beta * beta)
    return RawSvi(least * years - b * s * np.sqrt(1.0 - rho * rho), b, rho, radii * beta, s)
