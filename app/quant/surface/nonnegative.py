"""Decides whether a polynomial is nowhere negative, without sampling it.

In Bernstein form over an interval a polynomial lies within the hull of its coefficients, and the first and
last of them are its values at the ends. Halving the interval (de Casteljau) brings the hull quadratically
closer, so a few halvings either show every coefficient to be nonnegative or find an end that is not.
`_ROUNDING` of the largest coefficient counts as zero.

Reference: R. T. Farouki, The Bernstein polynomial basis, Computer Aided Geometric Design 29 (2012).
"""

import math

import numpy as np

from app.quant.arrays import FloatArray
from app.quant.compiled import compiled

NOWHERE = -1.0

_ROUNDING = 1e-14
_DEEPEST = 44  # halvings: by then an interval is narrower than the abscissa's own rounding


@compiled
def on_half_line(polynomial: FloatArray) -> FloatArray:
    """Bernstein coefficients over s in (0, 1) of (1 - s)ⁿ P(s / (1 - s)): of P over (0, ∞)."""
    degree = polynomial.size - 1
    coefficients = np.empty(degree + 1)
    binomial = 1.0
    for power in range(degree + 1):
        coefficients[power] = polynomial[power] / binomial
        binomial *= (degree - power) / (power + 1.0)
    return coefficients


@compiled
def add_scaled(target: FloatArray, shift: int, factor: float, polynomial: FloatArray) -> None:
    """`target` += factor xˢʰⁱᶠᵗ polynomial."""
    for power in range(polynomial.size):
        target[power + shift] += factor * polynomial[power]


@compiled
def product(first: FloatArray, second: FloatArray) -> FloatArray:
    """Coefficients of the product of two polynomials, lowest power first."""
    result = np.zeros(first.size + second.size - 1)
    for i in range(first.size):
        for j in range(second.size):
            result[i + j] += first[i] * second[j]
    return result


@compiled
def negative_where(tested: FloatArray, asked: FloatArray) -> float:
    """A point of [0, 1] where `tested` is negative while `asked` is positive, or `NOWHERE`.

    Both are Bernstein coefficients over [0, 1]. What stays undecided after the last halving counts as
    negative, so that `NOWHERE` is a proof up to rounding.
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
        noise = _ROUNDING * _largest(first)
        if _extreme(first, -1.0) <= noise or _extreme(second, 1.0) <= _ROUNDING * _largest(second):
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
    return NOWHERE


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
