"""Consensus of sources: Pyth's published aggregation in its equal-weight float form.

Each fresh source votes three times (value - confidence, value, value + confidence). The consensus is the
median of all votes; its confidence the larger distance from there to the 25th or 75th percentile.
Reference: Pyth Network, "Pyth price aggregation", 2021; index rule as in pyth-client's upd_aggregate.h.
"""

from collections.abc import Collection, Sequence

from app.domain.market import Change, Quality, Tick, TickKind

DEFAULT_MAXIMUM_AGE_NS = 60 * 1_000_000_000
UNCERTAIN_FRACTION = 0.02


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
