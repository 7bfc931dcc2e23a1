"""Which ticks are let in. Every refusal has a reason from `domain.market.Rejection`."""

from collections.abc import Collection, Container, Mapping
from math import inf, isfinite, nextafter

from app.domain.errors import InvalidTick
from app.domain.market import UNLISTED, Rejection, Tick, TickKind
from app.oracle.declared import Declared, Pair, check_source, check_speaker
from app.oracle.signatures import Seal

LATEST_NS = 7_258_118_400_000_000_000  # 2200-01-01
LAST_SEQUENCE = (1 << 63) - 1
POSITIVE = frozenset({TickKind.PRICE, TickKind.MARK, TickKind.IMPLIED_VOL})
_NOT_NEGATIVE = frozenset(UNLISTED)
MAXIMUM_UNLISTED = 1_000  # of a kind: their names are the publishers' own, and each is kept for good
MAXIMUM_STRANGERS = 1_000  # sources that nobody declared: so are theirs
_LARGEST = {
    TickKind.PRICE: 1e15,
    TickKind.MARK: 1e15,
    TickKind.IMPLIED_VOL: 50.0,
    TickKind.FUNDING_RATE: 1.0,
    TickKind.STRESS: 1e6,
    TickKind.SENTIMENT: 100.0,
    TickKind.GAS_PRICE: 1e6,
    TickKind.BOOK_DEPTH: 1e15,
    TickKind.POOL_DEPTH: 1e15,
}
_LEAST_POSITIVE = 1e-30
"""Below it no coin is priced in any other; ratios, logarithms and squares of what is above it are numbers."""


def _above(kind: TickKind) -> float:
    """What a value is above."""
    if kind in POSITIVE:
        return nextafter(_LEAST_POSITIVE, 0.0)
    return nextafter(0.0 if kind in _NOT_NEGATIVE else -_LARGEST[kind], -inf)


# The same in one comparison, for ticks as they should be: a value is above the first and at most the second.
BOUNDS = {kind: (_above(kind), largest) for kind, largest in _LARGEST.items()}


def check_value(tick: Tick) -> None:
    """Raises InvalidTick for a value that no market can have."""
    if not (isfinite(tick.value) and isfinite(tick.confidence)):
        raise InvalidTick(Rejection.NOT_FINITE, "value and confidence must be finite numbers")
    if tick.kind in POSITIVE and tick.value <= 0.0:
        raise InvalidTick(Rejection.NOT_POSITIVE, f"a {tick.kind} must be above zero, not {tick.value}")
    if tick.kind in _NOT_NEGATIVE and tick.value < 0.0:
        raise InvalidTick(Rejection.NOT_POSITIVE, f"a {tick.kind} cannot be negative, as {tick.value} is")
    if tick.confidence < 0.0:
        raise InvalidTick(Rejection.NOT_POSITIVE, "a confidence cannot be negative")
    too_small = tick.kind in POSITIVE and tick.value < _LEAST_POSITIVE
    if too_small or abs(tick.value) > _LARGEST.get(tick.kind, 0.0):
        raise InvalidTick(Rejection.OUT_OF_RANGE, f"{tick.value} is no believable {tick.kind}")


def check_name(
    tick: Tick, *, instruments: Container[str], heard: Collection[str], declared: Declared
) -> None:
    """Raises InvalidTick for what nobody listed. Of kinds that need not be, these were `heard` of.

    Whoever thinks up names until there are no more keeps nobody from what the registry names.
    """
    name, form = tick.instrument, UNLISTED.get(tick.kind)
    if form is None:
        if name not in instruments:
            raise InvalidTick(Rejection.UNKNOWN_INSTRUMENT, f"no instrument {name!r}")
    elif not form.fullmatch(name):
        raise InvalidTick(Rejection.UNKNOWN_INSTRUMENT, f"there is no {tick.kind} of what is named {name!r}")
    elif len(heard) >= MAXIMUM_UNLISTED and name not in heard and not declared.names(name):
        raise InvalidTick(Rejection.UNKNOWN_INSTRUMENT, f"{len(heard)} have a {tick.kind} already")


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


def check_word(
    tick: Tick,
    declared: Declared,
    seal: Seal,
    *,
    instruments: Mapping[str, Pair],
    heard: Collection[str],
) -> None:
    """Raises InvalidTick for what cannot be said by whom it is said of, at whatever time."""
    if abs(tick.sequence) > LAST_SEQUENCE:
        raise InvalidTick(Rejection.OUT_OF_RANGE, f"a sequence is at most {LAST_SEQUENCE}")
    source = declared.source(tick.source)
    check_speaker(tick, source, seal)
    if tick.kind is not TickKind.HEARTBEAT:
        check_name(tick, instruments=instruments, heard=heard, declared=declared)
        check_source(tick, source, None if tick.kind in UNLISTED else instruments.get(tick.instrument))
        check_value(tick)
