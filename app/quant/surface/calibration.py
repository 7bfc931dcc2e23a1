"""Calibrates a surface from quotes: every slice by itself, then together where they would allow arbitrage.

Each expiry's slice is fitted to its quotes, from the last surface's slice where one is given, else from a
search (`app.quant.surface.slice_fit`). Then `app.quant.surface.repair` sees to it that no calibration ends
with a butterfly or a calendar spread, whatever the quotes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import ArrayLike

from app.quant.arrays import FloatArray, IntArray, StatusArray
from app.quant.surface.fitted_slice import FittedSlice, fit_alone
from app.quant.surface.quotes import quotes_by_expiry
from app.quant.surface.repair import remove_arbitrage
from app.quant.surface.slice_loss import ASK, BID, PARAMETERS, TARGET, X
from app.quant.surface.svi import RawSvi, total_variances
from app.quant.surface.volatility_surface import VolatilitySurface


class SliceStatus(IntEnum):
    """How the slice of an expiry came about."""

    FITTED = 0
    FEW_QUOTES = 1  # fewer two-sided quotes than parameters: a weak prior decides the rest
    REPAIRED = 2  # drawn towards a slice that is free of arbitrage
    NO_QUOTES = 3  # no two-sided quote: no slice


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """A surface, and how each of the expiries asked for was met: arrays of one per expiry."""

    surface: VolatilitySurface  # without the expiries of `NO_QUOTES`
    statuses: StatusArray
    two_sided: IntArray  # how many quotes had both sides
    inside: IntArray  # at how many of them the volatility lies within bid-ask
    losses: FloatArray  # of the quotes, in units of half a spread, see `app.quant.surface.slice_loss`
    passes: IntArray  # how many times the quotes were gone through from the start on


def calibrate_surface(
    *,
    years_to_expiry: ArrayLike,
    forwards: ArrayLike,
    expiry_indices: ArrayLike,
    strikes: ArrayLike,
    bid_volatilities: ArrayLike,
    ask_volatilities: ArrayLike,
    weights: ArrayLike = 1.0,
    quote_forwards: ArrayLike | None = None,
    last_surface: VolatilitySurface | None = None,
) -> Calibration:
    """Fit SVI slices without static arbitrage to the quotes of one underlying.

    Parameters
    ----------
    years_to_expiry, forwards : array_like, shape (n,)
        The expiries, ascending from above zero, and their forwards.
    expiry_indices : array_like of int, shape (q,)
        Which expiry each quote belongs to.
    strikes, bid_volatilities, ask_volatilities : array_like, shape (q,)
        A volatility of 0 is a missing side. Quotes that are not finite, crossed, or without a positive strike
        are left out.
    weights : array_like, optional
        Beside the weight that its spread gives a quote.
    quote_forwards : array_like, shape (q,), optional
        The forward each quote was made at, where quotes were collected over time.
    last_surface : VolatilitySurface, optional
        Where to start. It changes how long the fit takes, not what it looks for.

    Returns
    -------
    Calibration

    Raises
    ------
    ValueError
        Expiries that do not ascend, forwards that are not positive, indices of no expiry.
    """
    years, centres = (np.array(each, dtype=np.float64, ndmin=1) for each in (years_to_expiry, forwards))
    VolatilitySurface(years, centres, np.zeros((len(years), PARAMETERS)))  # refuses what no surface can have
    indices = np.asarray(expiry_indices, dtype=np.int64)
    if np.any((indices < 0) | (indices >= len(years))):
        raise ValueError("a quote's expiry index names none of the expiries")
    made_at = centres[indices] if quote_forwards is None else np.asarray(quote_forwards, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):  # such quotes are left out
        log_moneyness = np.log(np.asarray(strikes, dtype=np.float64) / made_at)
    quoted = quotes_by_expiry(
        years_to_expiry=years,
        expiry_indices=indices,
        log_moneyness=log_moneyness,
        bid_volatilities=bid_volatilities,
        ask_volatilities=ask_volatilities,
        weights=weights,
    )
    slices = [
        fit_alone(rows, start) if len(rows) > 0 and rows[0, TARGET] > 0.0 else None
        for rows, start in zip(quoted, _starts(years, last_surface), strict=True)
    ]
    remove_arbitrage([each for each in slices if each is not None])
    return _calibration(years, centres, slices)


def _starts(years: FloatArray, last_surface: VolatilitySurface | None) -> Sequence[FloatArray | None]:
    """For each expiry the last surface's slice nearest in time: its shape serves even another expiry."""
    if last_surface is None or len(last_surface.years_to_expiry) == 0:
        return [None] * len(years)
    ratios = np.abs(np.log(last_surface.years_to_expiry[None, :] / years[:, None]))
    return list(last_surface.parameters[np.argmin(ratios, axis=1)])


def _calibration(
    years: FloatArray, forwards: FloatArray, slices: Sequence[FittedSlice | None]
) -> Calibration:
    known = np.array([each is not None for each in slices], dtype=np.bool_)
    fitted = [each for each in slices if each is not None]
    surface = VolatilitySurface(
        years[known], forwards[known], np.array([each.row for each in fitted]).reshape(-1, PARAMETERS)
    )
    statuses = np.full(len(slices), SliceStatus.NO_QUOTES, dtype=np.int8)
    counts = np.zeros((3, len(slices)), dtype=np.int64)
    losses = np.zeros(len(slices))
    counts[:2, known] = _counts(fitted).T
    counts[2, known] = [each.passes for each in fitted]
    statuses[counts[0] > 0] = SliceStatus.FITTED
    statuses[(counts[0] > 0) & (counts[0] < PARAMETERS)] = SliceStatus.FEW_QUOTES
    repaired = np.array([each is not None and each.repaired for each in slices], dtype=np.bool_)
    statuses[repaired] = SliceStatus.REPAIRED
    losses[known] = [each.loss for each in fitted]
    return Calibration(surface, statuses, counts[0], counts[1], losses, counts[2])


def _counts(fitted: Sequence[FittedSlice]) -> IntArray:
    """Rows of how many quotes have two sides, and at how many of them the slice lies between the two."""
    if not fitted:
        return np.zeros((0, 2), dtype=np.int64)
    sizes = [len(each.quotes) for each in fitted]
    quotes = np.concatenate([each.quotes for each in fitted])
    scales = np.repeat([each.scale for each in fitted], sizes)
    slices = RawSvi(*np.repeat([each.row for each in fitted], sizes, axis=0).T)
    k = quotes[:, X] * np.sqrt(scales)
    levels = total_variances(log_moneyness=k, slices=slices) / scales
    two_sided = quotes[:, TARGET] > 0.0
    inside = two_sided & (levels >= quotes[:, BID]) & (levels <= quotes[:, ASK])
    starts = np.cumsum([0, *sizes[:-1]])
    return np.add.reduceat(np.stack([two_sided, inside], axis=1).astype(np.int64), starts, axis=0)
