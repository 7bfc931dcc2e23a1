"""One expiry's slice while a surface is being calibrated: its quotes, and the best slice so far."""

import math
from dataclasses import dataclass, field

import numpy as np

from app.quant.arrays import FloatArray
from app.quant.surface.quotes import in_units_of, variance_at_forward
from app.quant.surface.slice_fit import fit_point, start_point
from app.quant.surface.slice_loss import PARAMETERS, PRIOR, add_quotes

_ITERATIONS = 100  # at most, of one fit
_ITERATIONS_BETWEEN = 20  # there are many of these, each from where the last one ended
_BOUND = 5.0  # of the loss of one quote, see `app.quant.surface.slice_loss`
_DOUBTFUL = 0.3  # loss per quote from which on the last surface may have been a bad start
_NOBODY = np.empty((0, PARAMETERS))
_NOWHERE = np.empty(0)


@dataclass(slots=True)
class FittedSlice:
    """`row` is the slice (a, b, ρ, m, s); `quotes` are in units of the variance `scale`."""

    quotes: FloatArray
    scale: float
    row: FloatArray
    passes: int
    repaired: bool = False
    watched: list[float] = field(default_factory=list)  # where arbitrage was found, in units of x

    @property
    def loss(self) -> float:
        """Of the quotes alone, without prior and constraints."""
        gradient, matrix = np.zeros(PARAMETERS), np.zeros((PARAMETERS, PARAMETERS))
        return add_quotes(_point_of(self.row, self.scale), self.quotes, _BOUND, gradient, matrix)

    def watch(self, log_moneyness: float) -> None:
        """From now on, look at this place too; where wings cross, at infinity, is looked at anyway."""
        if math.isfinite(log_moneyness):
            self.watched.append(log_moneyness / math.sqrt(self.scale))

    def fit(self, point: FloatArray, bound: float) -> None:
        """Fit without constraints from a point, which is moved."""
        _, passes = fit_point(
            point, self.quotes, self.scale, PRIOR, _NOBODY, _NOBODY, _NOWHERE, bound, 0.0, _ITERATIONS
        )
        self.passes += passes
        self.row = _slice_of(point, self.scale)

    def fit_between(self, below: FloatArray | None, above: FloatArray | None, *, penalty: float) -> None:
        """Fit again from where it is, penalised for butterflies and for crossing the neighbouring slices."""
        point = _point_of(self.row, self.scale)
        _, passes = fit_point(
            point,
            self.quotes,
            self.scale,
            PRIOR,
            self._in_units(below),
            self._in_units(above),
            np.array(self.watched),
            _BOUND,
            penalty,
            _ITERATIONS_BETWEEN,
        )
        self.passes += passes
        self.row = _slice_of(point, self.scale)

    def _in_units(self, neighbour: FloatArray | None) -> FloatArray:
        return _NOBODY if neighbour is None else _point_of(neighbour, self.scale)[None, :]


def fit_alone(rows: FloatArray, start: FloatArray | None) -> FittedSlice:
    """Fit a slice to its quotes, unconstrained, from `start` if that leads somewhere, else from a search."""
    scale = variance_at_forward(rows)
    quotes = in_units_of(rows, scale)
    if start is not None:
        point = _point_of(start, level_of(start))
        fitted = FittedSlice(quotes, scale, start, 0)
        fitted.fit(point, _BOUND)
        if fitted.loss < _DOUBTFUL * len(quotes):
            return fitted
    point = np.empty(PARAMETERS)
    start_point(quotes, scale, PRIOR, point)
    fitted = FittedSlice(quotes, scale, point, 0)
    fitted.fit(point, math.inf)
    fitted.fit(point, _BOUND)
    return fitted


def level_of(row: FloatArray) -> float:
    """The slice's total variance at the forward."""
    a, b, rho, m, s = row.tolist()
    return float(a + b * (math.hypot(m, s) - rho * m))


def _point_of(row: FloatArray, scale: float) -> FloatArray:
    """A slice (a, b, ρ, m, s) as a point in units of the variance `scale`."""
    root = math.sqrt(scale)
    point = np.empty(PARAMETERS)
    point[0] = level_of(row) / scale
    point[1], point[2] = row[1] * (1.0 - row[2]) / root, row[1] * (1.0 + row[2]) / root
    point[3], point[4] = row[3] / root, math.log(row[4] / root)
    return point


def _slice_of(point: FloatArray, scale: float) -> FloatArray:
    """The inverse of `_point_of`."""
    root = math.sqrt(scale)
    row = np.empty(PARAMETERS)
    row[1] = 0.5 * (point[1] + point[2]) * root
    row[2] = (point[2] - point[1]) / (point[2] + point[1]) if row[1] > 0.0 else 0.0
    row[3], row[4] = point[3] * root, math.exp(point[4]) * root
    row[0] = point[0] * scale + row[1] * (row[2] * row[3] - math.sqrt(row[3] * row[3] + row[4] * row[4]))
    return row
