"""What every estimator answers."""

from enum import IntEnum
from typing import NamedTuple

import numpy as np

from app.quant.arrays import BoolArray, FloatArray, StatusArray


class EstimateStatus(IntEnum):
    """Whether there is an answer; anything but `VALID` comes with the volatility 0.0."""

    VALID = 0
    NOT_ENOUGH_DATA = 1
    NOISE_PREVAILS = 2  # two scales: the estimate of the variance is negative, the noise hides it


class Estimates(NamedTuple):
    """Of each instrument, as of its last bar or tick."""

    volatilities: FloatArray  # annualised decimals
    effective_observations: FloatArray  # (Σ w)² / Σ w²: how many equally weighted ones would say as much
    statuses: StatusArray

    @property
    def usable(self) -> BoolArray:
        """Where the volatility means something."""
        return self.statuses <= EstimateStatus.VALID


def annualised(
    variances: FloatArray, years: FloatArray, effective: FloatArray, *, is_enough: BoolArray
) -> Estimates:
    """The volatility of a variance that accrued over some years, where there is enough data."""
    enough = is_enough & (years > 0.0)
    rates = np.where(enough, variances, 0.0) / np.where(enough, years, 1.0)
    statuses = np.where(enough, np.int8(EstimateStatus.VALID), np.int8(EstimateStatus.NOT_ENOUGH_DATA))
    return Estimates(np.sqrt(np.maximum(rates, 0.0)), effective, statuses)


def effective_observations(weights: FloatArray, squared_weights: FloatArray) -> FloatArray:
    """Kish's effective size of a weighted sample."""
    return weights * weights / np.where(squared_weights > 0.0, squared_weights, 1.0)


def over_buckets(sums: FloatArray) -> FloatArray:
    """The sums of each instrument over its buckets, added in the order in which they stand."""
    total = sums[:, 0].copy()
    for bucket in range(1, sums.shape[1]):
        total += sums[:, bucket]
    return total
