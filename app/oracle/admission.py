"""Which ticks are let in. Every refusal has a reason from `domain.market.Rejection`."""

import re
from collections.abc import Collection, Container
from math import inf, isfinite, nextafter

from app.domain.errors import InvalidTick
from app.domain.market import Rejection, Tick, TickKind

LATEST_NS = 7_258_118_400_000_000_000  # 2200-01-01
_POSITIVE = frozenset({TickKind.PRICE, TickKind.MARK, TickKind.IMPLIED_VOL})
_NOT_NEGATIVE = frozenset({TickKind.STRESS})
MAXIMUM_INDICES = 1_000  # of stress: their names are the publishers' own, and each is kept for good
_INDEX = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,63}")
_LARGEST = {
    TickKind.PRICE: 1e15,
    TickKind.MARK: 1e15,
    TickKind.IMPLIED_VOL: 50.0,
    TickKind.FUNDING_RATE: 1.0,
    TickKind.STRESS: 1e6,
}
# The same in one comparison, for ticks as they should be: a value is above the first and at most the second.
BOUNDS = {
    kind: (
        0.0 if kind in _POSITIVE else nextafter(0.0 if kind in _NOT_NEGATIVE else -largest, -inf),
        largest,
    )
    for kind, largest in _LARGEST.items()
}


def check_value(tick: Tick) -> None:
    """Raises InvalidTick for a value that no market can have."""
    if not (isfinite(tick.value) and isfinite(tick.confidence)):
        raise InvalidTick(Rejection.NOT_FINITE, "value and confidence must be finite numbers")
    if tick.kind in _POSITIVE and tick.value <= 0.0:
        raise InvalidTick(Rejection.NOT_POSITIVE, f"a {tick.kind} must be above zero, not {tick.value}")
    if tick.kind in _NOT_NEGATIVE and tick.value < 0.0:
        raise InvalidTick(Rejection.NOT_POSITIVE, f"a {tick.kind} cannot be negative, as {tick.value} is")
    if tick.confidence < 0.0:
        raise InvalidTick(Rejection.NOT_POSITIVE, "a confidence cannot be negative")
    if abs(tick.value) > _LARGEST.get(tick.kind, 0.0):
        raise InvalidTick(Rejection.OUT_OF_RANGE, f"{tick.value} is no believable {tick.kind}")


def check_name(tick: Tick, *, instruments: Container[str], indices: Collection[str]) -> None:
    """Raises InvalidTick for what nobody listed. An index of stress need not be: `indices` were heard of."""
    if tick.kind is not TickKind.STRESS:
        if tick.instrument not in instruments:
            raise InvalidTick(Rejection.UNKNOWN_INSTRUMENT, f"no instrument {tick.instrument!r}")
    elif not _INDEX.fullmatch(tick.instrument):
        raise InvalidTick(Rejection.UNKNOWN_INSTRUMENT, f"{tick.instrument!r} cannot be the name of an index")
    elif len(indices) >= MAXIMUM_INDICES and tick.instrument not in indices:
        raise InvalidTick(Rejection.UNKNOWN_INSTRUMENT, f"there are {len(indices)} indices of stress already")


def check_time(tick: Tick, *, now_ns: int, maximum_age_ns: int, maximum_lead_ns: int) -> None:
    """Raises InvalidTick for a tick from too long ago or from the future, by the market clock.

    A replay's first tick finds no clock yet (`now_ns` 0) and sets it.
    """
    if not 0 < tick.time_ns < LATEST_NS:
        raise InvalidTick(Rejection.OUT_OF_RANGE, "time_ns is no time between 1970 and 2200")
    if now_ns == 0:
        return
    if now_ns - tick.time_ns > maximum_age_ns:
        raise InvalidTick(Rejection.STALE, f"{(now_ns - tick.time_ns) / 1e9:.3f} s older than the market")
    if tick.time_ns - now_ns > maximum_lead_ns:
        raise InvalidTick(Rejection.FUTURE, f"{(tick.time_ns - now_ns) / 1e9:.3f} s ahead of the market")
