"""One expiry's slice while a surface is being calibrated: its quotes, and the best slice so far."""

import math
from dataclasses import dataclass, field

import numpy as np

from app.quant.arrays import FloatArray
from app.quant.surface.loss import PARAMETERS, PRIOR
from app.quant.surface.quotes import in_units_of, variance_at_forward
from app.quant.surface.slice_fit import fit_point, point_of, slice_of, start_point
from app.quant.surface.svi import variance_at

_ITERATIONS = 100  # at most, of one fit
_ITERATIONS_BETWEEN = 20  # there are many of these, each from where the last one ended
_DOUBTFUL = 0.3  # loss per quote from which on the last surface may have been a bad start
_NOBODY = np.empty((0, PARAMETERS))
_NOWHERE = np.empty(0)


@dataclass(slots=True)
class FittedSlice:
    """`row` is the slice (a, b, ρ, m, s); `quotes` are in units of the variance `scale`."""

    quotes: FloatArray
    scale: float
    row: FloatArray
    loss: float
    passes: int
    repaired: bool = False
    watched: list[float] = field(default_factory=list)  # where arbitrage was found, in units of x

    def watch(self, log_moneyness: float) -> None:
        """From now on, look at this place too; where wings cross, at infinity, is looked at anyway."""
        if math.isfinite(log_moneyness):
            self.watched.append(log_moneyness / math.sqrt(self.scale))

    def fit_between(self, below: FloatArray | None, above: FloatArray | None, *, penalty: float) -> None:
        """Fit again from where it is, penalised for butterflies and for crossing the neighbouring slices."""
        point = point_of(self.row, self.scale)
        self.loss, self.passes = fit_point(
            point,
            self.quotes,
            self.scale,
            PRIOR,
            self._in_units(below),
            self._in_units(above),
            np.array(self.watched),
            penalty,
            _ITERATIONS_BETWEEN,
        )
        self.row = slice_of(point, self.scale)

    def _in_units(self, neighbour: FloatArray | None) -> FloatArray:
        return _NOBODY if neighbour is None else point_of(neighbour, self.scale)[None, :]


def fit_alone(rows: FloatArray, start: FloatArray | None) -> FittedSlice:
    """Fit a slice to its quotes, unconstrained, from `start` if that leads somewhere, else from a search."""
    scale = variance_at_forward(rows)
    quotes = in_units_of(rows, scale)
    if start is not None:
        fitted = _fit(quotes, scale, point_of(start, variance_at(start, 0.0)))
        if fitted.loss < _DOUBTFUL * len(quotes):
            return fitted
    point = np.empty(PARAMETERS)
    start_point(quotes, scale, PRIOR, point)
    return _fit(quotes, scale, point)


def _fit(quotes: FloatArray, scale: float, point: FloatArray) -> FittedSlice:
    loss, passes = fit_point(point, quotes, scale, PRIOR, _NOBODY, _NOBODY, _NOWHERE, 0.0, _ITERATIONS)
    return FittedSlice(quotes, scale, slice_of(point, scale), loss, passes)
