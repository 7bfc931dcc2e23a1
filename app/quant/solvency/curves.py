"""Where a straight line plus options first falls below zero, going away from where it is not.

    f(s) = level + slope s + Σ long options' values - Σ (short options' values and requirements)

A value is convex in the price, and so is a short put's requirement. So over an interval f lies above the
straight line that takes the tangents of what is long and the chords of what is short. Where that line is not
negative there is no crossing, and none is missed; where it is, the interval is halved and the half that is
nearer is looked at first. Once the slopes at both ends prove that f only falls, Newton's method, kept within
the bracket, ends the search. The bound closes in with the square of the width, so that takes few halvings.
"""

from typing import NamedTuple

import numpy as np

from app.quant.arrays import FloatArray
from app.quant.compiled import compiled
from app.quant.margin import OPTION_MAINTENANCE_RATE
from app.quant.solvency.books import Books, is_put
from app.quant.solvency.positions import option_at, option_sign, option_units

NO_CROSSING = -1.0
_HALVINGS = 120  # intervals that wait at once; a float64 has no more than about 60 halvings
_STEPS = 100
_ROUNDING = 4.0 * np.finfo(np.float64).eps
_FARTHEST = 2.0**40  # what has not crossed by then is given up as flat


class Curves(NamedTuple):
    """The options that move, in one row each; what lies beyond `count` of the owner is not used."""

    units: FloatArray  # signed, so that units x value is in quote currency
    forwards: FloatArray
    strikes: FloatArray
    total_volatilities: FloatArray
    signs: FloatArray
    margins: FloatArray  # short puts: the requirement per factor, before their value is what counts


def room_for_curves(count: int) -> Curves:
    return Curves(*np.empty((6, count)))


@compiled
def put_curve(curves: Curves, row: int, books: Books, i: int, price: float, total_volatility: float) -> float:
    """Fills a row; answers the requirement of a short call, which is a straight line: its slope."""
    kind = books.kinds[i]
    curves.units[row] = option_units(books, i)
    curves.forwards[row] = books.price_ratios[i] * price
    curves.strikes[row] = books.strikes[i]
    curves.total_volatilities[row] = total_volatility
    curves.signs[row] = option_sign(kind)
    coins = max(-books.quantities[i], 0.0) * books.multipliers[i]
    margin = OPTION_MAINTENANCE_RATE * coins * price
    curves.margins[row] = margin if is_put(kind) else 0.0
    return 0.0 if is_put(kind) else margin


@compiled
def parts(curves: Curves, count: int, s: float) -> tuple[float, float, float, float]:
    """Value and slope of what is long, and of what is short with its requirement, as positive figures."""
    long_value = long_slope = short_value = short_slope = 0.0
    for row in range(count):
        forward, units = curves.forwards[row], curves.units[row]
        value, delta = option_at(
            s * forward, curves.strikes[row], curves.total_volatilities[row], curves.signs[row]
        )
        worth, gain = abs(units) * value, abs(units) * delta * forward
        if units >= 0.0:
            long_value += worth
            long_slope += gain
            continue
        short_value += worth
        short_slope += gain
        margin = curves.margins[row]
        if margin > 0.0:
            valued = OPTION_MAINTENANCE_RATE * worth
            short_value += max(margin * s, valued)
            short_slope += margin if margin * s >= valued else OPTION_MAINTENANCE_RATE * gain
    return long_value, long_slope, short_value, short_slope


@compiled
def excess(level: float, slope: float, curves: Curves, count: int, s: float) -> tuple[float, float]:
    """The value of f, and its slope."""
    long_value, long_slope, short_value, short_slope = parts(curves, count, s)
    return level + slope * s + long_value - short_value, slope + long_slope - short_slope


@compiled
def _straight_crossing(level: float, slope: float, near: float, far: float, tolerance: float) -> float:
    if level + slope * far >= -tolerance:
        return NO_CROSSING
    root: float = min(max(-level / slope, min(near, far)), max(near, far))
    return root


@compiled
def _judged(
    level: float, slope: float, curves: Curves, count: int, start: float, end: float, tolerance: float
) -> tuple[bool, bool]:
    """Whether f is certainly not negative between the two, and certainly falls from start to end."""
    low, high = min(start, end), max(start, end)
    middle = 0.5 * (low + high)
    _, long_slope_low, short_low, short_slope_low = parts(curves, count, low)
    _, long_slope_high, short_high, short_slope_high = parts(curves, count, high)
    long_value, long_slope, _, _ = parts(curves, count, middle)
    bound_low = level + slope * low + long_value + long_slope * (low - middle) - short_low
    bound_high = level + slope * high + long_value + long_slope * (high - middle) - short_high
    if end > start:
        falls = slope + long_slope_high - short_slope_low < 0.0
    else:
        falls = slope + long_slope_low - short_slope_high > 0.0
    return min(bound_low, bound_high) >= -tolerance, falls


@compiled
def _root(level: float, slope: float, curves: Curves, count: int, above: float, below: float) -> float:
    """Between a place where f is not negative and one where it is, f falling from one to the other."""
    s = 0.5 * (above + below)
    for _ in range(_STEPS):
        value, gain = excess(level, slope, curves, count, s)
        if value == 0.0:
            return s
        if value > 0.0:
            above = s
        else:
            below = s
        step: float = s - value / gain if gain != 0.0 else above
        inside = min(above, below) < step < max(above, below)
        moved = step if inside else 0.5 * (above + below)
        if abs(moved - s) <= 0.5 * _ROUNDING * s:
            return moved
        s = moved
    return s


@compiled
def _first_crossing_between(
    level: float, slope: float, curves: Curves, count: int, near: float, far: float, tolerance: float
) -> float:
    ends = np.empty(_HALVINGS)
    ends[0] = far
    waiting, start = 1, near
    while waiting > 0:
        end: float = ends[waiting - 1]
        clear, falls = _judged(level, slope, curves, count, start, end, tolerance)
        at_end, _ = excess(level, slope, curves, count, end)
        if falls and at_end < -tolerance:
            return _root(level, slope, curves, count, start, end)
        split = 0.5 * (start + end)
        narrow = abs(end - start) <= _ROUNDING * max(start, end) or waiting == _HALVINGS
        if narrow and at_end < -tolerance:
            return end
        if clear or narrow:
            start = end
            waiting -= 1
        else:
            ends[waiting] = split
            waiting += 1
    return NO_CROSSING


@compiled
def _crossing_towards_infinity(
    level: float, slope: float, curves: Curves, count: int, near: float, tolerance: float
) -> float:
    """Doubling intervals, until what lies beyond is a line that does not fall."""
    if count == 0:
        straight: float = -level / slope
        return straight if slope < 0.0 else NO_CROSSING
    steepest = 0.0  # that what is short can rise
    for row in range(count):
        if curves.units[row] < 0.0:
            call = curves.signs[row] > 0.0
            steepest += abs(curves.units[row]) * curves.forwards[row] if call else curves.margins[row]
    start = near
    while start < _FARTHEST:
        _, long_slope, _, _ = parts(curves, count, start)
        if slope + long_slope - steepest >= -_ROUNDING * (abs(slope) + abs(long_slope) + steepest):
            return NO_CROSSING
        found = _first_crossing_between(level, slope, curves, count, start, 2.0 * start, tolerance)
        if found != NO_CROSSING:
            return found
        start *= 2.0
    return NO_CROSSING


@compiled
def first_crossing(
    level: float, slope: float, curves: Curves, count: int, near: float, far: float, tolerance: float
) -> float:
    """The crossing nearest to ``near``, where f is not negative, up to ``far``; or `NO_CROSSING`."""
    if far == np.inf:
        return _crossing_towards_infinity(level, slope, curves, count, near, tolerance)
    if count == 0:
        return _straight_crossing(level, slope, near, far, tolerance)
    return _first_crossing_between(level, slope, curves, count, near, far, tolerance)
