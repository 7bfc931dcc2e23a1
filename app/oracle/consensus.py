"""Consensus of sources: Pyth's published aggregation in its equal-weight float form.

Each fresh source votes three times (value - confidence, value, value + confidence). The consensus is the
median of all votes; its confidence the larger distance from there to the 25th or 75th percentile.
Reference: Pyth Network, "Pyth price aggregation", 2021; index rule as in pyth-client's upd_aggregate.h.
"""

from collections.abc import Iterable, Sequence

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
    *, kind: TickKind, instrument: str, quotes: Iterable[Tick], now_ns: int, maximum_age_ns: int
) -> Change:
    """From every source's last quote; those older than `maximum_age_ns` by the market clock do not vote.

    One entry may carry the clock past its own first ticks. Where no quote is fresh then, the newest one
    stands, and its quality says that it is stale.
    """
    known = list(quotes)
    fresh = [quote for quote in known if now_ns - quote.time_ns <= maximum_age_ns]
    if not fresh:
        newest = max(known, key=lambda quote: (quote.time_ns, quote.source))
        return Change(
            kind=kind,
            instrument=instrument,
            value=newest.value,
            confidence=newest.confidence,
            sources=0,
            quality=Quality.STALE,
            time_ns=newest.time_ns,
        )
    value, confidence = aggregate([q.value for q in fresh], [q.confidence for q in fresh])
    uncertain = kind in _PRICES and confidence > UNCERTAIN_FRACTION * value
    return Change(
        kind=kind,
        instrument=instrument,
        value=value,
        confidence=confidence,
        sources=len(fresh),
        quality=Quality.UNCERTAIN if uncertain else Quality.VALID,
        time_ns=max(q.time_ns for q in fresh),
    )


_PRICES = frozenset({TickKind.PRICE, TickKind.MARK})
