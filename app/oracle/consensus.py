"""Consensus of sources: Pyth's published aggregation in its equal-weight float form.

Each fresh source votes three times (value - confidence, value, value + confidence). The consensus is the
median of all votes; its confidence the larger distance from there to the 25th or 75th percentile.
Reference: Pyth Network, "Pyth price aggregation", 2021; index rule as in pyth-client's upd_aggregate.h.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Literal, NamedTuple

from app.domain.market import Change, Quality, Tick, TickKind

DEFAULT_MAXIMUM_AGE_NS = 60 * 1_000_000_000
UNCERTAIN_FRACTION = 0.02

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


def aggregate(values: Sequence[float], confidences: Sequence[float]) -> tuple[float, float]:
    """(value, confidence) of at least one quote."""
    if len(values) == 1:
        return values[0], confidences[0]
    votes = sorted(
        vote
        for value, confidence in zip(values, confidences, strict=True)
        for vote in (value - confidence, value, value + confidence)
    )
    count = len(votes)
    middle = count >> 1
    median = votes[middle] if count & 1 else 0.5 * (votes[middle - 1] + votes[middle])
    low, high = votes[count >> 2], votes[count - 1 - (count >> 2)]
    return median, max(median - low, high - median)


def consensus(
    kind: TickKind, instrument: str, quotes: Collection[Tick], *, now_ns: int, maximum_age_ns: int
) -> Change:
    """From every source's last quote; those older than `maximum_age_ns` by the market clock do not vote.

    One entry may carry the clock past its own first ticks. Where no quote is fresh then, the newest one
    stands, and its quality says that it is stale.
    """
    oldest_ns = now_ns - maximum_age_ns
    fresh: Collection[Tick] = quotes
    if len(quotes) > 1:
        fresh = [quote for quote in quotes if quote.time_ns >= oldest_ns] or [max(quotes, key=_newness)]
    if len(fresh) == 1:
        (only,) = fresh
        value, confidence, time_ns = only.value, only.confidence, only.time_ns
    else:
        value, confidence = aggregate([q.value for q in fresh], [q.confidence for q in fresh])
        time_ns = max([q.time_ns for q in fresh])
    if time_ns < oldest_ns:
        return Change(kind, instrument, value, confidence, 0, Quality.STALE, time_ns)
    uncertain = confidence > UNCERTAIN_FRACTION * value and kind in _PRICES
    return Change(
        kind, instrument, value, confidence, len(fresh), _UNCERTAIN if uncertain else _VALID, time_ns
    )


def _newness(quote: Tick) -> tuple[int, str]:
    return quote.time_ns, quote.source


_PRICES = frozenset({TickKind.PRICE, TickKind.MARK})
# Looking a member up in its class costs as much as the rest of a line.
_VALID, _UNCERTAIN = Quality.VALID, Quality.UNCERTAIN
