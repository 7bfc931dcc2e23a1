"""A surface of SVI slices: any strike and time, interpolated in total variance.

- Between two expiries total variance is linear in time at the same log-moneyness k = ln(K / F(T)), and ln F
  is linear in time. Total variance so never falls with time. That a smile between two smiles without
  butterflies has none either is not a theorem, only what is usually seen.
- Before the first expiry the volatilities are those of the first expiry at the same k: w(k, T) = w₁(k) T /
  T₁.
- After the last one the smile is lifted by the last variance rate at the forward: w(k, T) = wₙ(k) + (T - Tₙ)
  wₙ(0) / Tₙ. The volatility at the forward stays; skew and wings flatten. Both keep the absence of arbitrage
  (the latter unless the smile's minimum lies far from the forward).
- Beyond the quoted strikes SVI's wings go on as lines in total variance, within Lee's bound.
- Outside the expiries the forward is that of the nearest one.
"""

import math
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from app.quant.arrays import BoolArray, FloatArray, StatusArray, as_columns
from app.quant.compiled import compiled
from app.quant.surface.svi import RawSvi


class SurfaceStatus(IntEnum):
    """How one element was found. Above `AFTER_LAST_EXPIRY` it is an error, and its figures are 0.0."""

    INTERPOLATED = 0
    BEFORE_FIRST_EXPIRY = 1
    AFTER_LAST_EXPIRY = 2
    NOT_FINITE = 3
    STRIKE_NOT_POSITIVE = 4
    FORWARD_NOT_POSITIVE = 5
    TIME_NEGATIVE = 6
    NO_SLICES = 7
    VARIANCE_NOT_POSITIVE = 8  # only where the slices have a butterfly


class SurfaceValues(NamedTuple):
    """What a surface says, in the broadcast shape of what it was asked."""

    volatilities: FloatArray
    total_variances: FloatArray  # σ² T
    skews: FloatArray  # dσ/dk: the slope of the smile in log-moneyness
    statuses: StatusArray

    @property
    def usable(self) -> BoolArray:
        """Where the figures mean something: no error."""
        return self.statuses <= SurfaceStatus.AFTER_LAST_EXPIRY


@dataclass(frozen=True, slots=True, eq=False)
class VolatilitySurface:
    """All there is to a surface; keep these three arrays to restart from them.

    `years_to_expiry` of shape (n,) ascends from above zero, `forwards` (n,) are positive, and `parameters`
    (n, 5) has the slices as rows of (a, b, ρ, m, s), as in `app.quant.surface.svi`.
    """

    years_to_expiry: FloatArray
    forwards: FloatArray
    parameters: FloatArray

    def __post_init__(self) -> None:
        """Refuse what cannot be a surface; for arbitrage there is `arbitrage_report`."""
        count = len(self.years_to_expiry)
        if self.forwards.shape != (count,) or self.parameters.shape != (count, 5):
            raise ValueError("a surface needs a forward and five parameters for each expiry")
        if not np.all(np.diff(self.years_to_expiry, prepend=0.0) > 0.0):
            raise ValueError("the expiries of a surface ascend from above zero")
        if not (np.all(self.forwards > 0.0) and np.all(np.isfinite(self.parameters))):
            raise ValueError("a surface's forwards are positive and its parameters finite")

    @property
    def slices(self) -> RawSvi:
        """The slices by name, arrays of one element per expiry."""
        return RawSvi(*self.parameters.T)

    def evaluate(
        self, *, strikes: ArrayLike, years_to_expiry: ArrayLike, forwards: ArrayLike | None = None
    ) -> SurfaceValues:
        """Volatilities for strikes and times, broadcast together; bad input is named in ``statuses``.

        Parameters
        ----------
        strikes : array_like
            Positive, in quote currency.
        years_to_expiry : array_like
            Zero and above. At zero the volatility is the first expiry's and the total variance is zero.
        forwards : array_like, optional
            Where the smile is centred, instead of the surface's own forward for that time.
        """
        given = 0.0 if forwards is None else forwards
        shape, (strike_column, years, centres) = as_columns(strikes, years_to_expiry, given)
        figures = np.zeros((3, len(years)))
        statuses = np.zeros(len(years), dtype=np.int8)
        _evaluate(
            strike_column,
            years,
            centres,
            forwards is None,
            self.years_to_expiry,
            np.log(self.forwards),
            self.parameters,
            figures,
            statuses,
        )
        volatilities, variances, skews = (figure.reshape(shape) for figure in figures)
        return SurfaceValues(volatilities, variances, skews, statuses.reshape(shape))

    def forwards_at(self, years_to_expiry: ArrayLike) -> FloatArray:
        """The surface's forwards: ln F linear in time between the expiries, the nearest one's outside."""
        logs = np.interp(
            np.asarray(years_to_expiry, dtype=np.float64), self.years_to_expiry, np.log(self.forwards)
        )
        return np.asarray(np.exp(logs))

    def centred_on(self, forwards: ArrayLike) -> "VolatilitySurface":
        """The same smiles around other forwards, one per expiry."""
        centres = np.broadcast_to(np.asarray(forwards, dtype=np.float64), self.forwards.shape)
        return replace(self, forwards=np.array(centres))


@compiled
def _evaluate(
    strikes: FloatArray,
    years: FloatArray,
    forwards: FloatArray,
    own_forwards: bool,
    expiries: FloatArray,
    log_forwards: FloatArray,
    rows: FloatArray,
    figures: FloatArray,
    statuses: StatusArray,
) -> None:
    last = expiries.size - 1
    for index in range(strikes.size):
        strike, time, forward = strikes[index], years[index], forwards[index]
        statuses[index] = _status(strike, time, forward, own_forwards, expiries)
        if statuses[index] > SurfaceStatus.AFTER_LAST_EXPIRY:
            continue
        place = np.searchsorted(expiries, time)
        earlier, later = max(place - 1, 0), min(place, last)
        span = expiries[later] - expiries[earlier]
        part = (time - expiries[earlier]) / span if later > earlier else 0.0
        centre = (1.0 - part) * log_forwards[earlier] + part * log_forwards[later]
        k = math.log(strike) - (centre if own_forwards else math.log(forward))
        variance = (1.0 - part) * _variance_at(rows[earlier], k) + part * _variance_at(rows[later], k)
        slope = (1.0 - part) * _slope_at(rows[earlier], k) + part * _slope_at(rows[later], k)
        if time > expiries[last]:
            variance += (time - expiries[last]) * _variance_at(rows[last], 0.0) / expiries[last]
        if variance <= 0.0:
            statuses[index] = SurfaceStatus.VARIANCE_NOT_POSITIVE
            continue
        counted = max(time, expiries[0])  # before the first expiry the variance is the first expiry's
        volatility = math.sqrt(variance / counted)
        figures[0, index], figures[1, index] = volatility, variance * (time / counted)
        figures[2, index] = slope / (2.0 * volatility * counted)


@compiled
def _status(strike: float, time: float, forward: float, own_forwards: bool, expiries: FloatArray) -> int:
    if expiries.size == 0:
        return SurfaceStatus.NO_SLICES
    if not (math.isfinite(strike) and math.isfinite(time) and math.isfinite(forward)):
        return SurfaceStatus.NOT_FINITE
    if strike <= 0.0:
        return SurfaceStatus.STRIKE_NOT_POSITIVE
    if not own_forwards and forward <= 0.0:
        return SurfaceStatus.FORWARD_NOT_POSITIVE
    if time < 0.0:
        return SurfaceStatus.TIME_NEGATIVE
    if time < expiries[0]:
        return SurfaceStatus.BEFORE_FIRST_EXPIRY
    return SurfaceStatus.AFTER_LAST_EXPIRY if time > expiries[-1] else SurfaceStatus.INTERPOLATED


@compiled
def _variance_at(row: FloatArray, k: float) -> float:
    """w(k) of one slice, a row of (a, b, ρ, m, s)."""
    offset = k - row[3]
    return float(row[0] + row[1] * (row[2] * offset + math.sqrt(offset * offset + row[4] * row[4])))


@compiled
def _slope_at(row: FloatArray, k: float) -> float:
    """w'(k) of one slice."""
    offset = k - row[3]
    return float(row[1] * (row[2] + offset / math.sqrt(offset * offset + row[4] * row[4])))
