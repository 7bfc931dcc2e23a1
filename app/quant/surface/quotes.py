"""Quotes of volatility as a fit wants them: total variances, how much each may be missed by, sorted by
expiry.

What counts in a fit is the distance to bid-ask in units of half the spread. A spread in volatility is the
spread in price over vega, so that this weighs a quote by its vega over what its price is uncertain by.
`_RESOLUTION`, divided by vega too, keeps a locked quote from counting as certain; quotes without spread are
so weighed by vega alone. A missing side leaves a bound without a target.
"""

from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from app.quant.arrays import FloatArray, IntArray
from app.quant.surface.slice_loss import PER_SCALE, TARGET, WEIGHT, X

_RESOLUTION = 0.002  # in volatility at the forward: half a spread is at least this over relative vega
_LEAST_RELATIVE_VEGA = 0.02
_ONE_SIDED = 0.05  # the scale of a quote of one side, relative to its volatility
_NEAREST = 5  # quotes whose median says how high the smile is at the forward


def quotes_by_expiry(
    *,
    years_to_expiry: FloatArray,
    expiry_indices: IntArray,
    log_moneyness: FloatArray,
    bid_volatilities: ArrayLike,
    ask_volatilities: ArrayLike,
    weights: ArrayLike,
) -> list[FloatArray]:
    """For each expiry rows of (k, w bid, w ask, w target, 1 / scale of w, weight), as `slice_loss` has them.

    Two-sided quotes come first, nearest to the forward first. What is not a quote is left out: not finite,
    negative, crossed, without a side, without weight.
    """
    given = (np.asarray(each, np.float64) for each in (bid_volatilities, ask_volatilities, weights))
    k, bids, asks, weighed = np.broadcast_arrays(log_moneyness, *given)
    sound = np.isfinite(k) & np.isfinite(bids) & np.isfinite(asks) & (bids >= 0.0) & (weighed > 0.0)
    sound &= np.isfinite(weighed) & ((asks >= bids) | (asks == 0.0)) & (np.maximum(bids, asks) > 0.0)
    one_sided = ~((bids > 0.0) & (asks > 0.0))
    order = np.lexsort((asks, bids, k, np.abs(k), one_sided, expiry_indices))
    order = order[sound[order]]
    rows = _rows(k[order], bids[order], asks[order], weighed[order], years_to_expiry[expiry_indices[order]])
    bounds = np.searchsorted(expiry_indices[order], np.arange(len(years_to_expiry) + 1))
    return [rows[start:end] for start, end in pairwise(bounds)]


def _rows(
    k: FloatArray, bids: FloatArray, asks: FloatArray, weights: FloatArray, years: FloatArray
) -> FloatArray:
    two_sided = (bids > 0.0) & (asks > 0.0)
    middles = np.where(two_sided, 0.5 * (bids + asks), np.maximum(bids, asks))
    totals = middles * np.sqrt(years)
    relative_vegas = np.exp(-0.5 * (0.5 * totals - k / totals) ** 2)
    halves = np.where(two_sided, 0.5 * (asks - bids), _ONE_SIDED * middles)
    halves = np.maximum(halves, _RESOLUTION / np.maximum(relative_vegas, _LEAST_RELATIVE_VEGA))
    return np.stack(
        [
            k,
            bids * bids * years,
            np.where(asks > 0.0, asks * asks * years, np.inf),
            np.where(two_sided, totals * totals, 0.0),
            1.0 / (2.0 * middles * halves * years),
            weights,
        ],
        axis=1,
    )


def variance_at_forward(rows: FloatArray) -> float:
    """About how high the smile is at the forward: the median target of the two-sided quotes nearest to it."""
    targets = sorted(rows[:_NEAREST, TARGET][rows[:_NEAREST, TARGET] > 0.0].tolist())
    return float(targets[len(targets) // 2])


def in_units_of(rows: FloatArray, variance: float) -> FloatArray:
    """The quotes in units of a variance: x = k / √θ and w / θ."""
    scaled = rows / variance
    scaled[:, X] = rows[:, X] / np.sqrt(variance)
    scaled[:, PER_SCALE] = rows[:, PER_SCALE] * variance
    scaled[:, WEIGHT] = rows[:, WEIGHT]
    return scaled
