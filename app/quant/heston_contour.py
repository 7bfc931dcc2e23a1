"""The Fourier integral of the Heston model, one option at a time, compiled.

With F = 1, k = ln(K/F), φ the characteristic function of ln(F_T/F) and p = ξ² + iξ::

    I(a) = -(1/2π) ∫ φ(ξ) e^{k (1 - iξ)} / p dξ   along a line through -ia
         = call (a > 1),  call - 1 = put - e^k (0 < a < 1),  put (a < 0)

- ln φ = v₀ B(ξ) + θ G(ξ) in the "little trap" form (H. Albrecher, P. Mayer, W. Schoutens, J. Tistaert, The
  little Heston trap, Wilmott, January 2007), arranged so that nothing cancels as the volatility of variance
  goes to 0, where it becomes Black-Scholes. Its logarithm stays on the principal branch (R. Lord and C. Kahl,
  Complex logarithms in Heston-like models, Mathematical Finance 20, 2010), as it did on each of 20,000
  random contours.
- The line crosses the axis near the saddle of the integrand, on the side of the out-of-the-money option, so
  that its value keeps its digits however small it is (R. Lord and C. Kahl, Optimal Fourier inversion in
  semi-analytical option pricing, Journal of Computational Finance 10, 2007). How far a may go before the
  moment explodes: L. Andersen and V. Piterbarg, Moment explosions in stochastic volatility models, Finance
  and Stochastics 11 (2007). Where there is little room beyond the edge, 0 < a < 1 is taken.
- ξ(y) = ic + b sinh(y + iw) bends the line towards the steepest descent of the tail and stretches it (S.
  Boyarchenko and S. Levendorskii, Sinh-acceleration, International Journal of Theoretical and Applied
  Finance 22, 2019; L. Andersen and M. Lake, Robust high-precision option pricing by Fourier transforms,
  Wilmott, 2019). The trapezoidal rule in y converges geometrically: halving the step squares the error. All
  singularities are on the imaginary axis (V. Lucic, On singularities in the Heston model, 2007), so the
  bend crosses none.
"""

import cmath
import math
from enum import IntEnum
from typing import NamedTuple

import numpy as np

from app.quant.arrays import FloatArray, StatusArray
from app.quant.compiled import compiled

VALUE, DELTA, GAMMA, VARIANCE_VEGA, LONG_RUN_VEGA, VANNA, VOLGA, THETA, MINIMUM_VARIANCE_DELTA = range(9)
FIGURES = 9
_INTEGRALS = 7
_EPSILON = 2.0**-52
_AGREEMENT = 1e-8  # of two steps, the finer half the other: its error is about the square
_NEGLIGIBLE = 1e-18
_UNDERFLOW = -760.0  # as a logarithm
_NOTHING = 1e-20  # κT, σ and the expected variance ∫E[v]dt below it count as 0
_FURTHEST_STRIKE = 300.0  # as |ln(K/F)|: beyond, out of range
_MOST = 1e8  # of any parameter but the prices: beyond, out of range
_HALVINGS = 6
_MOST_NODES = 4_000
_FURTHEST = 1e12  # order of a moment
_NARROW = 0.05  # room beyond the edge below which the strip between 0 and 1 is taken


class HestonStatus(IntEnum):
    """What became of one element. Above `AT_KINK` it is an error, and every figure of it is 0.0."""

    VALID = 0
    FELLER_VIOLATED = 1  # 2 κ θ < σ²: the variance reaches zero; the figures hold
    AT_KINK = 2  # no time value, forward at the strike: delta is the midpoint, gamma (infinite) is given as 0
    NOT_FINITE = 3
    FORWARD_NOT_POSITIVE = 4
    STRIKE_NOT_POSITIVE = 5
    TIME_NEGATIVE = 6
    VARIANCE_NEGATIVE = 7  # the initial or the long-run one
    SPEED_NEGATIVE = 8
    VOLATILITY_OF_VARIANCE_NEGATIVE = 9
    CORRELATION_OUTSIDE = 10  # of (-1, 1)
    NOT_CONVERGED = 11
    OUT_OF_RANGE = 12  # each input is fine, a figure does not fit into a float64


class Model(NamedTuple):
    """Of one option: dv = speed (long_run - v) dt + volatility √v dW, d<W, ln F> = correlation dt."""

    initial: float
    speed: float
    long_run: float
    volatility: float
    correlation: float
    years: float


class Contour(NamedTuple):
    """``ξ(y) = i centre + scale sinh(y + i tilt)``, crossing the axis at ``-i order``; ``step`` of y."""

    order: float
    centre: float
    scale: float
    tilt: float
    step: float
    log_height: float  # ln of the moment of that order


@compiled
def _expected_variance(model: Model) -> float:
    """``∫ E[v] dt`` over the option's life."""
    decay = model.speed * model.years
    mean_life = model.years if decay == 0.0 else -math.expm1(-decay) / model.speed
    return model.long_run * model.years + (model.initial - model.long_run) * mean_life


@compiled
def _exponents(xi: complex, model: Model) -> tuple[complex, complex]:
    """B and G of ``ln φ(ξ) = v₀ B + θ G``."""
    variance = model.volatility * model.volatility
    p = xi * (xi + 1j)
    beta = model.speed - 1j * (model.correlation * model.volatility) * xi
    root = cmath.sqrt(beta * beta + variance * p)
    if root == 0.0:
        half = complex(-0.5 * model.years, 0.0)
    else:  # (e^{-DT} - 1) / 2D without cancelling
        exponent = -model.years * root
        size, sine = math.exp(exponent.real), math.sin(0.5 * exponent.imag)
        real = math.expm1(exponent.real) * math.cos(exponent.imag) - 2.0 * sine * sine
        half = complex(real, size * math.sin(exponent.imag)) / (2.0 * root)
    if beta.real >= 0.0:  # q = (D - β) / σ², from D² - β² = σ² p or directly, whichever does not cancel
        q = p / (beta + root) if beta + root != 0.0 else 0j
        excess = variance * q * half
    else:
        q = (root - beta) / variance
        excess = (root - beta) * half
    if excess == -1.0:  # the moment explodes at this very order
        excess = complex(-1.0 + _EPSILON, 0.0)
    b = p * half / (1.0 + excess)
    if model.speed == 0.0:
        return b, 0j
    x, y = excess.real, excess.imag
    ratio = 1.0 + 0j  # ln(1 + excess) / excess
    if excess != 0.0:
        ratio = complex(0.5 * math.log1p(2.0 * x + x * x + y * y), math.atan2(y, 1.0 + x)) / excess
    return b, -model.speed * q * (model.years + 2.0 * half * ratio)


@compiled
def _explodes(order: float, model: Model) -> bool:
    """E[(F_T/F)^order] is infinite, for an order outside [0, 1]."""
    beta = model.speed - model.correlation * model.volatility * order
    square = beta * beta - model.volatility * model.volatility * order * (order - 1.0)
    root = math.sqrt(abs(square))
    if square < 0.0:
        return 2.0 * math.atan2(root, -beta) <= root * model.years
    if beta >= 0.0 or root >= -beta:
        return False
    if root == 0.0:
        return -beta * model.years >= 2.0
    return math.log((beta - root) / (beta + root)) <= root * model.years


@compiled
def _reach(edge: float, direction: float, model: Model) -> float:
    """How far from the edge moments are finite, from below, within 1e-3."""
    if model.volatility == 0.0:
        return _FURTHEST
    near = 1.0
    while near > 0.1 * _NARROW and _explodes(edge + direction * near, model):
        near *= 0.5
    while near < _FURTHEST and not _explodes(edge + direction * 2.0 * near, model):
        near *= 2.0
    far = 2.0 * near
    for _ in range(10):
        middle = 0.5 * (near + far)
        if _explodes(edge + direction * middle, model):
            far = middle
        else:
            near = middle
    return near


@compiled
def _slope(order: float, offset: float, k: float, wall: float, model: Model) -> float:
    """Of ``ln E[(F_T/F)^a] - a k - ln|a (a - 1)| - ln|a - wall|`` at the order, by a complex step."""
    b, g = _exponents(complex(offset, -order), model)
    slope = (model.initial * b.imag + model.long_run * g.imag) / offset - k
    slope -= 1.0 / order + 1.0 / (order - 1.0)
    return slope - 1.0 / (order - wall) if wall != 0.0 else slope


@compiled
def _saddle(
    order: float, low: float, high: float, k: float, wall: float, model: Model
) -> tuple[float, float]:
    """Where that slope vanishes between two walls, within a few per cent of the nearer, and its slope there.

    The function is convex and rises at both ends, so there is one such order. Newton, kept in the bracket.
    """
    left, right, curvature = low, high, 0.0
    for _ in range(60):
        near = min(order - low, high - order)
        slope = _slope(order, 1e-6 * near, k, wall, model)
        nearby = order + 1e-3 * near
        curvature = (_slope(nearby, 1e-6 * near, k, wall, model) - slope) / (nearby - order)
        if slope > 0.0:
            right = order
        else:
            left = order
        found = order - slope / curvature if curvature > 0.0 else low
        if not left < found < right:
            found = 0.5 * (left + right)
        settled = abs(found - order) <= 0.05 * near
        order = found
        if settled:
            break
    return order, curvature


@compiled
def _bend(k: float, curvature: float, model: Model) -> tuple[float, float]:
    """The tilt of the contour and the half-width of the strip of y in which the integrand is tame.

    Far out ``ln φ - iξk ~ -(A + iB) ξ``: half-way to its steepest descent, unless the integrand is Gaussian
    and over before that.
    """
    if model.volatility == 0.0:
        return 0.0, 0.7 * math.pi / 4.0
    pull = (model.initial + model.speed * model.long_run * model.years) / model.volatility
    decay = pull * math.sqrt(1.0 - model.correlation * model.correlation)
    turn = model.correlation * pull + k
    angle = math.atan2(turn, decay)
    tail = 1.0 / (1.0 + 0.1 * (decay * decay + turn * turn) / curvature)
    width = tail * (0.5 * math.pi - 0.5 * abs(angle)) + (1.0 - tail) * 0.25 * math.pi
    return -0.5 * angle * tail, 0.7 * width


@compiled
def _contour(k: float, model: Model) -> tuple[Contour, bool]:
    """For the strike e^k; and whether the contour is between 0 and 1."""
    edge, direction = (1.0, 1.0) if k >= 0.0 else (0.0, -1.0)
    reach = _reach(edge, direction, model)
    total = _expected_variance(model)
    drift = abs(k) - 0.5 * total
    spread = math.sqrt(drift * drift + 6.0 * total)  # begins nearly at the saddle of a Gaussian
    distance = (drift + spread) / (2.0 * total) if drift > 0.0 else 3.0 / (spread - drift)
    between = min(reach, distance) < _NARROW
    if between:
        order, low, high, wall = 0.5, 0.0, 1.0, 0.0
    else:
        order, wall = edge + direction * min(distance, 0.6 * reach), edge + direction * reach
        low, high = min(edge, wall), max(edge, wall)
    order, curvature = _saddle(order, low, high, k, wall, model)
    tilt, width = _bend(k, curvature, model)
    down = math.sin(tilt + width) - math.sin(tilt)
    up = math.sin(tilt) - math.sin(tilt - width)
    scale = min(
        1.5 / (math.sqrt(curvature) * max(down, up)), 0.9 * (order - low) / down, 0.9 * (high - order) / up
    )
    b, g = _exponents(complex(0.0, -order), model)
    log_height = model.initial * b.real + model.long_run * g.real
    centre = -order - scale * math.sin(tilt)
    return Contour(order, centre, scale, tilt, math.pi * width / 19.0, log_height), between


@compiled
def _integrals(
    k: float, step: float, contour: Contour, model: Model, sums: FloatArray
) -> tuple[float, float]:
    """The sums for every figure, over their largest factor; value and gamma at twice the step."""
    sums[:] = 0.0
    coarse_value, coarse_gamma, first = 0.0, 0.0, 0.0
    cosine, sine = math.cos(contour.tilt), math.sin(contour.tilt)
    for j in range(_MOST_NODES):
        growth = math.exp(j * step)
        wide, high = 0.5 * (growth - 1.0 / growth), 0.5 * (growth + 1.0 / growth)
        xi = complex(contour.scale * wide * cosine, contour.centre + contour.scale * high * sine)
        b, g = _exponents(xi, model)
        exponent = (
            model.initial * b + model.long_run * g - 1j * k * xi - contour.log_height + k * contour.order
        )
        density = cmath.exp(exponent) * complex(high * cosine, wide * sine) * (contour.scale * step / math.pi)
        if j == 0:
            first = abs(density)
            density = complex(0.5 * density.real, 0.0)
        price = -density / (xi * (xi + 1j))
        sums[VALUE] += price.real
        sums[DELTA] += (1j * xi * price).real
        sums[GAMMA] += density.real
        sums[VARIANCE_VEGA] += (b * price).real
        sums[LONG_RUN_VEGA] += (g * price).real
        sums[VANNA] += (1j * xi * b * price).real
        sums[VOLGA] += (b * b * price).real
        if j % 2 == 0:
            coarse_value += 2.0 * price.real
            coarse_gamma += 2.0 * density.real
        if abs(density) <= _NEGLIGIBLE * first and j > 3:
            break
    return coarse_value, coarse_gamma


@compiled
def _out_of_the_money(k: float, model: Model, figures: FloatArray) -> tuple[bool, bool]:
    """Figures of the call (k >= 0) or the put on a forward of 1 with strike e^k, undiscounted.

    Returns whether they converged, and whether the delta written is the call's (else the put's).
    """
    contour, between = _contour(k, model)
    log_height = contour.log_height - k * contour.order + k
    if log_height + 2.0 * math.log(1.0 + abs(contour.order)) < _UNDERFLOW:
        figures[:] = 0.0
        return True, k >= 0.0
    step, converged = contour.step, False
    for _ in range(_HALVINGS):
        value, gamma = _integrals(k, step, contour, model, figures)
        apart = abs(value - figures[VALUE]) + abs(gamma - figures[GAMMA]) * abs(
            figures[VALUE] / figures[GAMMA]
        )
        converged = apart <= _AGREEMENT * abs(figures[VALUE])
        if converged:
            break
        step *= 0.5
    figures *= math.exp(log_height)
    if between:
        figures[VALUE] += min(1.0, math.exp(k))
    return converged, k >= 0.0 and not between


@compiled
def price(rows: FloatArray, figures: FloatArray, statuses: StatusArray) -> None:
    for i in range(rows.shape[0]):
        status = _input_status(rows[i])
        if status == HestonStatus.VALID:
            status = _price_one(rows[i], figures[i])
        if status <= HestonStatus.AT_KINK and not np.all(np.isfinite(figures[i])):
            status = HestonStatus.OUT_OF_RANGE
        if status > HestonStatus.AT_KINK:
            figures[i] = 0.0
        statuses[i] = status


@compiled
def _input_status(row: FloatArray) -> int:
    forward, strike, years, initial, speed, long_run, volatility, correlation = row[:8]
    if not np.all(np.isfinite(row[:10])):
        return HestonStatus.NOT_FINITE
    if forward <= 0.0:
        return HestonStatus.FORWARD_NOT_POSITIVE
    if strike <= 0.0:
        return HestonStatus.STRIKE_NOT_POSITIVE
    if years < 0.0:
        return HestonStatus.TIME_NEGATIVE
    if initial < 0.0 or long_run < 0.0:
        return HestonStatus.VARIANCE_NEGATIVE
    if speed < 0.0:
        return HestonStatus.SPEED_NEGATIVE
    if volatility < 0.0:
        return HestonStatus.VOLATILITY_OF_VARIANCE_NEGATIVE
    if not -1.0 < correlation < 1.0:
        return HestonStatus.CORRELATION_OUTSIDE
    return HestonStatus.VALID


@compiled
def _model(row: FloatArray) -> Model:
    speed = row[4] if row[4] * row[2] > _NOTHING else 0.0
    volatility = row[6] if row[6] > _NOTHING else 0.0
    return Model(row[3], speed, row[5], volatility, row[7], row[2])


@compiled
def _price_one(row: FloatArray, figures: FloatArray) -> int:
    forward, strike, rate, is_call = row[0], row[1], row[8], row[9] != 0.0
    model = _model(row)
    sign = 1.0 if is_call else -1.0
    intrinsic = max(sign * (forward - strike), 0.0)
    status = HestonStatus.VALID
    if 2.0 * row[4] * model.long_run < model.volatility * model.volatility:
        status = HestonStatus.FELLER_VIOLATED
    discount = math.exp(-rate * model.years)
    if max(row[2], row[3], row[4], row[5], row[6]) > _MOST:
        return HestonStatus.OUT_OF_RANGE
    if _expected_variance(model) <= _NOTHING:
        figures[VALUE] = discount * intrinsic
        figures[DELTA] = figures[MINIMUM_VARIANCE_DELTA] = (
            discount * sign * (0.5 + 0.5 * np.sign(sign * (forward - strike)))
        )
        figures[THETA] = rate * figures[VALUE]
        return HestonStatus.AT_KINK if forward == strike else status
    k = -row[10]
    if not abs(k) < _FURTHEST_STRIKE:
        return HestonStatus.OUT_OF_RANGE
    converged, is_calls_delta = _out_of_the_money(k, model, figures[:_INTEGRALS])
    if not converged:
        return HestonStatus.NOT_CONVERGED
    figures[VALUE] = max(figures[VALUE], 0.0) * forward + intrinsic
    figures[DELTA] += (1.0 if is_call else 0.0) - (1.0 if is_calls_delta else 0.0)
    figures[GAMMA] /= forward
    figures[VARIANCE_VEGA] *= forward
    figures[LONG_RUN_VEGA] *= forward
    figures[VOLGA] *= forward
    _complete(forward, rate, discount, model, figures)
    return status


@compiled
def _complete(forward: float, rate: float, discount: float, model: Model, figures: FloatArray) -> None:
    """Theta from the pricing equation, the minimum-variance delta, and the discount on all."""
    v, sigma, rho = model.initial, model.volatility, model.correlation
    vega = figures[VARIANCE_VEGA]
    decay = 0.5 * v * forward * forward * figures[GAMMA] + rho * sigma * v * forward * figures[VANNA]
    decay += 0.5 * sigma * sigma * v * figures[VOLGA] + model.speed * (model.long_run - v) * vega
    figures[THETA] = rate * figures[VALUE] - decay
    figures[MINIMUM_VARIANCE_DELTA] = figures[DELTA] + rho * sigma * vega / forward
    figures *= discount
