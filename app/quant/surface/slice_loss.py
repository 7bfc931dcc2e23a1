"""What a slice loses against its quotes, against a prior and where it would allow arbitrage, compiled.

A slice is fitted in units of its own variance at the forward θ: x = k / √θ and y = w / θ, where smiles of all
expiries look alike. With the slopes of the wings p and q, tilt = (q - p) / 2 and angle = (q + p) / 2::

    y = l + tilt x + angle (√((x - m)² + s²) - √(m² + s²))

The five numbers fitted, the "point", are (l, p, q, m, ln s). y is linear in the first three, and bounds on
the wings are bounds on single numbers. The level l is the one at the forward, which quotes determine best:
with Gatheral's a in its place, Gauss-Newton steps follow a long curved valley of (a, m, s) and take ten times
as many.

Quotes are rows of (x, y bid, y ask, y target, 1 / scale, weight). Inside bid-ask a quote pulls gently to its
target, and no harder than at the edge when outside; there, in units of its scale (half its spread), being
outside counts quadratically and from one scale on linearly (Huber). Of the loss h of a quote h / (1 + h /
bound) counts, so that what is far off pulls ever less; an infinite bound leaves Huber's loss, which has fewer
minima to get stuck in. A target of 0.0 is a quote of one side.

Each `add_…` adds gradient and Gauss-Newton matrix (lower triangle) to what is there, and returns its loss.
"""

import math

import numpy as np

from app.quant.arrays import FloatArray
from app.quant.compiled import compiled

PARAMETERS = 5
X, BID, ASK, TARGET, PER_SCALE, WEIGHT = range(6)
"""Columns of the quotes."""

Shape = tuple[float, float, float, float, float, float, float, float]

PRIOR = np.array([1.0, 0.9, 0.9, 0.0, math.log(2.0)])
"""What smiles look like in these units where quotes say nothing."""

_PRIOR_WEIGHTS = (1e-4, 0.005, 0.005, 0.0025, 0.005)
_PULL = 0.1  # of a quote inside its spread, beside 1.0 outside
_HUBER = 1.0  # scales from which on the pull no longer grows
_LEAST_DENSITY = 1e-3  # margins of the constraints, so that what is fitted to them also keeps them
_LEAST_VARIANCE = 0.02
_LEAST_RISE = 1e-4
_NODES = 21  # of one slice, evenly in arsinh((x - m) / s)
_REACH = 4.5


@compiled
def penalised_loss(
    point: FloatArray,
    quotes: FloatArray,
    scale: float,
    prior: FloatArray,
    below: FloatArray,
    above: FloatArray,
    nodes: FloatArray,
    bound: float,
    penalty: float,
    gradient: FloatArray,
    matrix: FloatArray,
) -> float:
    """All of it at `point`; sets gradient, shape (5,), and matrix, (5, 5). `nodes` are `constraint_nodes`.

    With a `penalty` of 0.0 the constraints are left out.
    """
    gradient[:], matrix[:] = 0.0, 0.0
    loss = add_quotes(point, quotes, bound, gradient, matrix)
    loss += add_prior(point, prior, gradient, matrix)
    if penalty > 0.0:
        loss += _add_density(point, scale, nodes, penalty, gradient, matrix)
        for neighbour in below:
            loss += _add_order(point, neighbour, 1.0, nodes, penalty, gradient, matrix)
        for neighbour in above:
            loss += _add_order(point, neighbour, -1.0, nodes, penalty, gradient, matrix)
    return loss


@compiled
def constraint_nodes(
    point: FloatArray, below: FloatArray, above: FloatArray, watched: FloatArray
) -> FloatArray:
    """Where the constraints are looked at: spread over this slice and over its neighbours."""
    count = _NODES * (1 + below.shape[0] + above.shape[0])
    nodes = np.empty(count + watched.size)
    nodes[count:] = watched
    for index in range(_NODES):
        height = math.sinh(_REACH * (2.0 * index / (_NODES - 1.0) - 1.0))
        nodes[index] = point[3] + math.exp(point[4]) * height
        place = index
        for neighbour in below:
            place += _NODES
            nodes[place] = neighbour[3] + math.exp(neighbour[4]) * height
        for neighbour in above:
            place += _NODES
            nodes[place] = neighbour[3] + math.exp(neighbour[4]) * height
    return nodes


@compiled
def shape_of(point: FloatArray) -> Shape:
    """(l, p, q, m, s², r, 1 / r, m / r) with r = √(m² + s²): what does not depend on x, computed once."""
    m, squared_width = point[3], math.exp(2.0 * point[4])
    root = math.sqrt(m * m + squared_width)
    return point[0], point[1], point[2], m, squared_width, root, 1.0 / root, m / root


@compiled
def variance_and_slopes(shape: Shape, x: float, slopes: FloatArray) -> float:
    """Returns y at x and sets its derivatives by the point."""
    level, p, q, m, squared_width, root_at_forward, per_root_at_forward, sine_at_forward = shape
    root = math.sqrt((x - m) * (x - m) + squared_width)
    angle = 0.5 * (q + p)
    slopes[0] = 1.0
    slopes[1] = 0.5 * (root - root_at_forward - x)
    slopes[2] = 0.5 * (root - root_at_forward + x)
    per_root = 1.0 / root
    slopes[3] = -angle * ((x - m) * per_root + sine_at_forward)
    slopes[4] = angle * squared_width * (per_root - per_root_at_forward)
    return float(level + p * slopes[1] + q * slopes[2])


@compiled
def add_quotes(
    point: FloatArray, quotes: FloatArray, bound: float, gradient: FloatArray, matrix: FloatArray
) -> float:
    """Curvatures are those of reweighted squares."""
    slopes, shape = np.empty(PARAMETERS), shape_of(point)
    loss = 0.0
    for row in range(quotes.shape[0]):
        y = variance_and_slopes(shape, quotes[row, X], slopes)
        per_scale = quotes[row, PER_SCALE]
        nearest = min(max(y, quotes[row, BID]), quotes[row, ASK])
        missed, within = (y - nearest) * per_scale, (nearest - quotes[row, TARGET]) * per_scale
        pull = _PULL if quotes[row, TARGET] > 0.0 else 0.0
        far, off_target = max(abs(missed), _HUBER), abs(missed) + abs(within)
        lost = 0.5 * missed * missed if far == _HUBER else _HUBER * (far - 0.5 * _HUBER)
        if pull > 0.0:
            lost += pull * abs(within) * (0.5 * abs(within) + abs(missed))
        share = 1.0 / (1.0 + lost / bound)
        weight = quotes[row, WEIGHT]
        loss += weight * share * lost
        weight *= share * share * per_scale
        force, curvature = 0.0, 0.0
        if missed != 0.0:
            force, curvature = missed * _HUBER / far, _HUBER / far
        if pull > 0.0 and off_target > 0.0:
            force, curvature = force + pull * within, curvature + pull * abs(within) / off_target
        _add(gradient, matrix, slopes, weight * force, weight * per_scale * curvature)
    return loss


@compiled
def add_prior(point: FloatArray, prior: FloatArray, gradient: FloatArray, matrix: FloatArray) -> float:
    """A weak pull, which decides only what the quotes leave open."""
    loss = 0.0
    for index in range(PARAMETERS):
        away = point[index] - prior[index]
        weight = _PRIOR_WEIGHTS[index]
        loss += 0.5 * weight * away * away
        gradient[index] += weight * away
        matrix[index, index] += weight
    return loss


@compiled
def _add_density(
    point: FloatArray,
    scale: float,
    nodes: FloatArray,
    penalty: float,
    gradient: FloatArray,
    matrix: FloatArray,
) -> float:
    """Durrleman's g and the variance itself at the nodes, as penalties where they fall below their margins.

    In these units, with θ for `scale`, g = (1 - x y' / 2y)² - y'² (1/y + θ/4) / 4 + y'' / 2.
    """
    slopes, shape = np.empty(PARAMETERS), shape_of(point)
    p, q, m, squared_width = shape[1], shape[2], shape[3], shape[4]
    tilt, angle = 0.5 * (q - p), 0.5 * (q + p)
    loss = 0.0
    for x in nodes:
        y = variance_and_slopes(shape, x, slopes)
        if y < _LEAST_VARIANCE:
            loss += _penalise(y - _LEAST_VARIANCE, slopes, penalty, gradient, matrix)
            continue
        offset = x - m
        squared_root = offset * offset + squared_width
        sine = offset / math.sqrt(squared_root)
        bend = squared_width / (squared_root * math.sqrt(squared_root))
        first, second = tilt + angle * sine, angle * bend
        inner = 1.0 - x * first / (2.0 * y)
        density = inner * inner - 0.25 * first * first * (1.0 / y + 0.25 * scale) + 0.5 * second
        if density >= _LEAST_DENSITY:
            continue
        by_y = (inner * x * first + 0.25 * first * first) / (y * y)
        by_first = -inner * x / y - 0.5 * first * (1.0 / y + 0.25 * scale)
        for index in range(PARAMETERS):
            slopes[index] *= by_y
        slopes[1] += 0.5 * by_first * (sine - 1.0) + 0.25 * bend
        slopes[2] += 0.5 * by_first * (sine + 1.0) + 0.25 * bend
        slopes[3] += -by_first * second + 1.5 * second * offset / squared_root
        slopes[4] += -by_first * second * offset + second * (1.0 - 1.5 * squared_width / squared_root)
        loss += _penalise(density - _LEAST_DENSITY, slopes, penalty, gradient, matrix)
    return loss


@compiled
def _add_order(
    point: FloatArray,
    neighbour: FloatArray,
    sign: float,
    nodes: FloatArray,
    penalty: float,
    gradient: FloatArray,
    matrix: FloatArray,
) -> float:
    """Total variance above (`sign` 1.0) or below (-1.0) a neighbour's at the nodes and in both wings.

    In units of the neighbour's variance there, so that far nodes do not outweigh near ones.
    """
    slopes, own, others = np.empty(PARAMETERS), shape_of(point), shape_of(neighbour)
    loss = 0.0
    for x in nodes:
        other = max(variance_and_slopes(others, x, slopes), _LEAST_VARIANCE)
        slack = sign * (variance_and_slopes(own, x, slopes) - other) / other - _LEAST_RISE
        if slack < 0.0:
            for index in range(PARAMETERS):
                slopes[index] *= sign / other
            loss += _penalise(slack, slopes, penalty, gradient, matrix)
    for wing in range(1, 3):
        slack = sign * (point[wing] - neighbour[wing]) - _LEAST_RISE
        if slack < 0.0:
            slopes[:] = 0.0
            slopes[wing] = sign
            loss += _penalise(slack, slopes, penalty, gradient, matrix)
    return loss


@compiled
def _penalise(
    slack: float, slopes: FloatArray, penalty: float, gradient: FloatArray, matrix: FloatArray
) -> float:
    _add(gradient, matrix, slopes, penalty * slack, penalty)
    return 0.5 * penalty * slack * slack


@compiled
def _add(gradient: FloatArray, matrix: FloatArray, slopes: FloatArray, pull: float, curvature: float) -> None:
    for row in range(PARAMETERS):
        gradient[row] += pull * slopes[row]
        for column in range(row + 1):
            matrix[row, column] += curvature * slopes[row] * slopes[column]
