"""Fits one slice: a start where there is none, then Levenberg-Marquardt with bounds, compiled.

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

The start is the quasi-explicit one: for a few centres and widths the best level and wings solve a linear
problem of three unknowns, and the best of these candidates is taken. From there all five numbers move.
(Zeliade Systems stay with the linear problem and search centre and width by simplex; with analytic
derivatives the joint iteration needs a fraction of the passes over the quotes.)

References: Zeliade Systems, Quasi-explicit calibration of Gatheral's SVI model (2009); D. Marquardt, An
algorithm for least-squares estimation of nonlinear parameters, SIAM Journal 11 (1963).
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
_CENTRES = (-2.0, 0.0, 2.0)
_WIDTHS = (0.5, 2.0)
_START_PASSES = 2  # the second with outliers weighed down
_STEEPEST = 1.99  # Lee's bound of 2 on the slopes of the wings, in k and w
_LEAST = (0.01, 0.0, 0.0, -20.0, math.log(0.05))
_GREATEST = (100.0, math.inf, math.inf, 20.0, math.log(20.0))
_NODES = 21  # of one slice, evenly in arsinh((x - m) / s)
_REACH = 4.5
_CONVERGED = 1e-7  # relative decrease of the loss
_FIRST_DAMPING = 1e-3
_LARGEST_DAMPING = 1e9


@compiled
def start_point(quotes: FloatArray, scale: float, prior: FloatArray, point: FloatArray) -> None:
    """Sets `point` to the best candidate of the quasi-explicit search."""
    candidate, gradient = np.empty(PARAMETERS), np.empty(PARAMETERS)
    matrix = np.empty((PARAMETERS, PARAMETERS))
    best = math.inf
    for centre in _CENTRES:
        for width in _WIDTHS:
            candidate[:] = prior
            candidate[3], candidate[4] = centre, math.log(width)
            for turn in range(_START_PASSES):
                _fit_linear(quotes, turn > 0, candidate)
            _into_bounds(candidate, scale)
            loss = add_quotes(candidate, quotes, math.inf, gradient, matrix)
            loss += _add_prior(candidate, prior, gradient, matrix)
            if loss < best:
                best = loss
                point[:] = candidate


@compiled
def fit_point(
    point: FloatArray,
    quotes: FloatArray,
    scale: float,
    prior: FloatArray,
    below: FloatArray,
    above: FloatArray,
    watched: FloatArray,
    bound: float,
    penalty: float,
    iterations: int,
) -> tuple[float, int]:
    """Moves `point` to a local minimum; returns its loss and how many times the quotes were gone through.

    `below` and `above` are the neighbours in this slice's units, shape (1, 5), or (0, 5) for none. With a
    `penalty` of 0.0 the constraints are not looked at; else on a grid and at the `watched` x.
    """
    trial, gradient, next_gradient = np.empty(PARAMETERS), np.empty(PARAMETERS), np.empty(PARAMETERS)
    matrix, next_matrix = np.empty((PARAMETERS, PARAMETERS)), np.empty((PARAMETERS, PARAMETERS))
    _into_bounds(point, scale)
    nodes = _nodes(point, below, above, watched) if penalty > 0.0 else watched
    loss = _loss(point, quotes, scale, prior, below, above, nodes, bound, penalty, gradient, matrix)
    damping, passes = _FIRST_DAMPING, 1
    while passes < iterations and damping < _LARGEST_DAMPING:
        if not _step(point, scale, gradient, matrix, damping, trial):
            damping *= 10.0
            continue
        passes += 1
        reached = _loss(
            trial, quotes, scale, prior, below, above, nodes, bound, penalty, next_gradient, next_matrix
        )
        if reached >= loss:
            damping *= 3.0
            continue
        done = loss - reached <= _CONVERGED * loss
        point[:], gradient[:], matrix[:], loss = trial, next_gradient, next_matrix, reached
        if done:
            break
        damping /= 3.0
    return loss, passes


@compiled
def _loss(
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
    gradient[:], matrix[:] = 0.0, 0.0
    loss = add_quotes(point, quotes, bound, gradient, matrix)
    loss += _add_prior(point, prior, gradient, matrix)
    if penalty > 0.0:
        loss += _add_density(point, scale, nodes, penalty, gradient, matrix)
        for neighbour in below:
            loss += _add_order(point, neighbour, 1.0, nodes, penalty, gradient, matrix)
        for neighbour in above:
            loss += _add_order(point, neighbour, -1.0, nodes, penalty, gradient, matrix)
    return loss


@compiled
def _step(
    point: FloatArray,
    scale: float,
    gradient: FloatArray,
    matrix: FloatArray,
    damping: float,
    trial: FloatArray,
) -> bool:
    """The damped Gauss-Newton step; a number that its bound holds stays. False where it has no solution."""
    held, damped = np.empty(PARAMETERS), np.empty((PARAMETERS, PARAMETERS))
    for row in range(PARAMETERS):
        at_least = point[row] <= _LEAST[row] and gradient[row] > 0.0
        at_greatest = point[row] >= _greatest(row, scale) and gradient[row] < 0.0
        held[row] = 0.0 if at_least or at_greatest else 1.0
        trial[row] = -held[row] * gradient[row]
        for column in range(row + 1):
            damped[row, column] = held[row] * held[column] * matrix[row, column]
        damped[row, row] = damped[row, row] * (1.0 + damping) + 1e-14 + (1.0 - held[row])
    if not _solve(damped, trial):
        return False
    for row in range(PARAMETERS):
        trial[row] += point[row]
    _into_bounds(trial, scale)
    return True


@compiled
def _solve(lower: FloatArray, right: FloatArray) -> bool:
    """Cholesky in place of the lower triangle; `right` becomes the solution. False: not positive definite."""
    for row in range(PARAMETERS):
        for column in range(row + 1):
            value = lower[row, column]
            for index in range(column):
                value -= lower[row, index] * lower[column, index]
            if row != column:
                lower[row, column] = value / lower[column, column]
            elif value > 0.0:
                lower[row, row] = math.sqrt(value)
            else:
                return False
        for index in range(row):
            right[row] -= lower[row, index] * right[index]
        right[row] /= lower[row, row]
    for row in range(PARAMETERS - 1, -1, -1):
        for index in range(row + 1, PARAMETERS):
            right[row] -= lower[index, row] * right[index]
        right[row] /= lower[row, row]
    return True


@compiled
def _greatest(index: int, scale: float) -> float:
    return _STEEPEST / math.sqrt(scale) if index in (1, 2) else _GREATEST[index]


@compiled
def _into_bounds(point: FloatArray, scale: float) -> None:
    for index in range(PARAMETERS):
        point[index] = min(max(point[index], _LEAST[index]), _greatest(index, scale))


@compiled
def _nodes(point: FloatArray, below: FloatArray, above: FloatArray, watched: FloatArray) -> FloatArray:
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
def _fit_linear(quotes: FloatArray, robust: bool, point: FloatArray) -> None:
    """Level and wings by weighted least squares on the targets, with a weak pull to the wings as given."""
    moments, right = np.zeros((3, 3)), np.zeros(3)
    slopes, shape = np.empty(PARAMETERS), _shape_of(point)
    for wing in range(1, 3):
        moments[wing, wing], right[wing] = 0.05, 0.05 * point[wing]
    for row in range(quotes.shape[0]):
        if quotes[row, TARGET] <= 0.0:
            continue
        y = _variance_and_slopes(shape, quotes[row, X], slopes)
        weight = quotes[row, WEIGHT] * quotes[row, PER_SCALE] * quotes[row, PER_SCALE]
        if robust:
            missed = abs(y - min(max(y, quotes[row, BID]), quotes[row, ASK])) * quotes[row, PER_SCALE]
            weight /= max(1.0, missed)
        for index in range(3):
            right[index] += weight * slopes[index] * quotes[row, TARGET]
            for other in range(3):
                moments[index, other] += weight * slopes[index] * slopes[other]
    _solve_nonnegative(moments, right, point)


@compiled
def _solve_nonnegative(moments: FloatArray, right: FloatArray, point: FloatArray) -> None:
    """Eliminates the level, then the wings; a wing that comes out negative is held at zero."""
    if moments[0, 0] <= 0.0:
        return
    mean_p, mean_q = moments[0, 1] / moments[0, 0], moments[0, 2] / moments[0, 0]
    pp, qq = moments[1, 1] - mean_p * moments[0, 1], moments[2, 2] - mean_q * moments[0, 2]
    pq = moments[1, 2] - mean_p * moments[0, 2]
    p0, q0 = right[1] - mean_p * right[0], right[2] - mean_q * right[0]
    determinant = pp * qq - pq * pq
    if pp <= 0.0 or qq <= 0.0 or determinant <= 1e-14 * pp * qq:
        return
    p, q = (p0 * qq - q0 * pq) / determinant, (q0 * pp - p0 * pq) / determinant
    if p < 0.0:
        p, q = 0.0, max(q0 / qq, 0.0)
    elif q < 0.0:
        p, q = max(p0 / pp, 0.0), 0.0
    point[0], point[1], point[2] = right[0] / moments[0, 0] - mean_p * p - mean_q * q, p, q


@compiled
def _shape_of(point: FloatArray) -> Shape:
    """(l, p, q, m, s², r, 1 / r, m / r) with r = √(m² + s²): what does not depend on x, computed once."""
    m, squared_width = point[3], math.exp(2.0 * point[4])
    root = math.sqrt(m * m + squared_width)
    return point[0], point[1], point[2], m, squared_width, root, 1.0 / root, m / root


@compiled
def _variance_and_slopes(shape: Shape, x: float, slopes: FloatArray) -> float:
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
    slopes, shape = np.empty(PARAMETERS), _shape_of(point)
    loss = 0.0
    for row in range(quotes.shape[0]):
        y = _variance_and_slopes(shape, quotes[row, X], slopes)
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
def _add_prior(point: FloatArray, prior: FloatArray, gradient: FloatArray, matrix: FloatArray) -> float:
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
    slopes, shape = np.empty(PARAMETERS), _shape_of(point)
    p, q, m, squared_width = shape[1], shape[2], shape[3], shape[4]
    tilt, angle = 0.5 * (q - p), 0.5 * (q + p)
    loss = 0.0
    for x in nodes:
        y = _variance_and_slopes(shape, x, slopes)
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
    slopes, own, others = np.empty(PARAMETERS), _shape_of(point), _shape_of(neighbour)
    loss = 0.0
    for x in nodes:
        other = max(_variance_and_slopes(others, x, slopes), _LEAST_VARIANCE)
        slack = sign * (_variance_and_slopes(own, x, slopes) - other) / other - _LEAST_RISE
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
