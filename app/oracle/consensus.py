"""Consensus of sources: Pyth's published aggregation, of integer quotes and of weighted floats.

Each source votes three times (value - confidence, value, value + confidence). The consensus is the median of
all votes; its confidence the larger distance from there to the 25th or 75th percentile.
Reference: Pyth Network, "Pyth price aggregation", 2021; index rule as in pyth-client's upd_aggregate.h.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from app.oracle.records import VOTER, weight_units
from app.oracle.votes import poll

_INT64 = 1 << 63
_TRADING = 1
_PUBLISHED_SLOT, _PRESENT_SLOT, _MAXIMUM_AGE_SLOTS = 1_000, 1_001, 25


class Aggregate(NamedTuple):
    """Of integer quotes. `unknown` has no price: both figures are then the zeros that pyth-client writes."""

    price: int
    confidence: int
    status: Literal["trading", "unknown"]


def aggregate_quotes(quotes: Sequence[Mapping[str, int]], exponent: int) -> Aggregate:
    """Pyth's aggregation in its exact integers, of a document of pyth-client's test vectors.

    A quote has `price`, `conf`, `status` and perhaps `slot_diff`: it was published so many slots after slot
    1000, and it is slot 1001. It counts when it is trading, its confidence is above zero, its three votes fit
    64 bits, and it is 0 to 25 slots old. The mean of the middle two votes is rounded down. Prices are in
    units of 10^`exponent`, as the result is, which therefore does not depend on it.

    ValueError: an exponent beyond the 32 bits that an account has for it.
    """
    if not -(1 << 31) <= exponent < 1 << 31:
        raise ValueError(f"no account has the exponent {exponent}")
    votes = sorted(
        vote
        for quote in quotes
        if _counts(quote)
        for vote in (quote["price"] - quote["conf"], quote["price"], quote["price"] + quote["conf"])
    )
    count = len(votes)
    if not count:
        return Aggregate(0, 0, "unknown")
    quarter, middle = count >> 2, count >> 1
    median = votes[middle] if count & 1 else (votes[middle - 1] + votes[middle]) >> 1
    return Aggregate(median, max(median - votes[quarter], votes[count - 1 - quarter] - median), "trading")


def _counts(quote: Mapping[str, int]) -> bool:
    price, confidence = quote["price"], quote["conf"]
    age_slots = _PRESENT_SLOT - _PUBLISHED_SLOT - quote.get("slot_diff", 0)
    return (
        quote["status"] == _TRADING
        and confidence > 0
        and price - confidence >= -_INT64
        and price + confidence < _INT64
        and 0 <= age_slots <= _MAXIMUM_AGE_SLOTS
    )


class Consensus(NamedTuple):
    """`dispersion` is the distance between the quartiles of the sources' values alone."""

    value: float
    confidence: float
    dispersion: float


def aggregate(
    values: ArrayLike,
    confidences: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    doubts: ArrayLike | None = None,
) -> Consensus:
    """Of at least one source: the same rule for floats and weights, as the oracle computes it (see `votes`).

    Parameters
    ----------
    values, confidences : shape (n,), in one unit; a confidence is a half width, and at least 0
    weights : shape (n,), 0.001 to 1000, counted in millionths (2^-20); equal when absent
    doubts : shape (n,), how often each weight is halved for the value; the confidence goes by the whole ones
    """
    ones = np.ones(np.shape(values))
    declared = weight_units(ones if weights is None else weights)
    halvings = np.zeros_like(declared) if doubts is None else np.asarray(doubts, dtype=np.int64)
    voters = np.zeros(declared.size, dtype=VOTER)
    voters["value"], voters["confidence"] = values, confidences
    voters["declared"], voters["weight"] = declared, np.maximum(1, declared >> halvings)
    room = 3 * voters.size
    return Consensus(*poll(voters, voters.size, np.empty(room), np.empty(room, dtype=np.int64)))
