"""Fits one slice: a start where there is none, then Levenberg-Marquardt with bounds, compiled.

What is fitted, in which units, and what is lost where: see `slice_loss`.

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
from app.quant.surface.slice_loss import (
    ASK,
    BID,
    PARAMETERS,
    PER_SCALE,
    TARGET,
    WEIGHT,
    X,
    add_prior,
    add_quotes,
    constraint_nodes,
    penalised_loss,
    shape_of,
    variance_and_slopes,
)

_CENTRES = (-2.0, 0.0, 2.0)
_WIDTHS = (0.5, 2.0)
_START_PASSES = 2  # the second with outliers weighed down
_STEEPEST = 1.99  # Lee's bound of 2 on the slopes of the wings, in k and w
_LEAST = (0.01, 0.0, 0.0, -20.0, math.log(0.05))
_GREATEST = (100.0, math.inf, math.inf, 20.0, math.log(20.0))
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
            loss += add_prior(candidate, prior, gradient, matrix)
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
    nodes = constraint_nodes(point, below, above, watched) if penalty > 0.0 else watched
    loss = penalised_loss(point, quotes, scale, prior, below, above, nodes, bound, penalty, gradient, matrix)
    damping, passes = _FIRST_DAMPING, 1
    while passes < iterations and damping < _LARGEST_DAMPING:
        if not _step(point, scale, gradient, matrix, damping, trial):
            damping *= 10.0
            continue
        passes += 1
        reached = penalised_loss(
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
def _fit_linear(quotes: FloatArray, robust: bool, point: FloatArray) -> None:
    """Level and wings by weighted least squares on the targets, with a weak pull to the wings as given."""
    moments, right = np.zeros((3, 3)), np.zeros(3)
    slopes, shape = np.empty(PARAMETERS), shape_of(point)
    for wing in range(1, 3):
        moments[wing, wing], right[wing] = 0.05, 0.05 * point[wing]
    for row in range(quotes.shape[0]):
        if quotes[row, TARGET] <= 0.0:
            continue
        y = variance_and_slopes(shape, quotes[row, X], slopes)
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
