"""How lines stand, for people: who said what with which weight, and what came of it."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import sqrt
from typing import NamedTuple

import numpy as np

from app.domain.market import Change, Quality, Tick, TickKind
from app.oracle.declared import Conversion, Declared, Ladder, Pair, conversion, spots_of
from app.oracle.kinds import ladder_of, voting_age_ns
from app.oracle.memory import Memory
from app.oracle.records import ESTIMATE, Record
from app.oracle.settling import converts

_QUALITIES = tuple(Quality)


class Silence(StrEnum):
    """Why a word does not vote, the first of these that is true.

    `away`: it is older than its source may be, whose heartbeat is over as well. `no_market`: no spot market
    between its currency and the instrument's is listed. `no_rate`: that market has no consensus that
    converts now.
    """

    DISABLED = "disabled"
    NO_MARKET = "no_market"
    AWAY = "away"
    NO_RATE = "no_rate"


class Rate(NamedTuple):
    """The consensus that turns a source's currency into the line's, and its ladder."""

    of: Conversion
    estimate: Record
    ladder: Ladder

    def converts(self, now_ns: int) -> bool:
        ladder = self.ladder
        known, _ = converts(self.estimate, ladder.stale_for_margin_ns, ladder.stale_for_trading_ns, now_ns)
        return bool(known)


@dataclass(frozen=True, slots=True)
class Voice:
    """A source's last word, how long it counts, its declared weight, and how often that is halved since when.

    The age it may have includes the heartbeat. The weight of who is not enabled is 0. The rate is of who is
    converted.
    """

    tick: Tick
    maximum_age_ns: int
    heartbeat_ns: int
    weight: float
    halvings: int
    since_ns: int
    rate: Rate | None = None

    def is_fresh(self, now_ns: int) -> bool:
        return now_ns - self.tick.time_ns <= self.maximum_age_ns

    def stands_by_heartbeat(self, now_ns: int) -> bool:
        """Whether it would be too old if its source had none."""
        own_ns = self.maximum_age_ns - self.heartbeat_ns
        return self.is_fresh(now_ns) and now_ns - self.tick.time_ns > own_ns

    @property
    def away_ns(self) -> int:
        """From when on its source counts as away, where it says nothing else until then."""
        return self.tick.time_ns + self.maximum_age_ns

    def silence(self, now_ns: int) -> Silence | None:
        """Why it does not vote, if it does not."""
        if not self.weight:
            return Silence.DISABLED
        if self.rate is not None and self.rate.of.spot is None:
            return Silence.NO_MARKET
        if not self.is_fresh(now_ns):
            return Silence.AWAY
        return None if self.rate is None or self.rate.converts(now_ns) else Silence.NO_RATE


@dataclass(frozen=True, slots=True)
class Standing:
    """`change` is None until something was agreed on.

    `twap` is a time-weighted average over 5 minutes, in Drift's recursive form; `ewma` has a time constant
    of one minute. Each has an average confidence, and goes up to when the line last moved. `volatility` is
    of the logarithm, per square root of a second.
    """

    change: Change | None
    dispersion: float
    twap: float
    twap_confidence: float
    ewma: float
    ewma_confidence: float
    volatility: float
    sources: tuple[Voice, ...]

    @classmethod
    def of(cls, kind: TickKind, instrument: str, estimate: Record, sources: Sequence[Voice]) -> "Standing":
        return cls(
            _change(kind, instrument, estimate),
            dispersion=float(estimate["dispersion"]),
            twap=float(estimate["twap"]),
            twap_confidence=float(estimate["twap_confidence"]),
            ewma=float(estimate["ewma"]),
            ewma_confidence=float(estimate["ewma_confidence"]),
            volatility=sqrt(float(estimate["variance"])),
            sources=tuple(sources),
        )


def standings(
    memory: Memory,
    declared: Declared,
    *,
    of_prices_ns: int,
    instruments: Mapping[str, Pair],
    only: Container[str] | None = None,
) -> dict[tuple[TickKind, str], Standing]:
    """Of all lines, or of `only` these instruments', as the memory of a writer has them.

    `of_prices_ns` is how old a price may be whose source declares nothing of that. It is the last word that
    counts, so a snapshot may be followed by what was new after it.
    """
    doubts = {(doubt.kind, doubt.instrument, doubt.source): doubt for doubt in memory.doubts}
    estimates = {(each.kind, each.instrument): each.packed for each in memory.estimates}
    last = {
        (tick.kind, tick.instrument, tick.source): tick
        for tick in memory.quotes
        if only is None or tick.instrument in only
    }
    spots = spots_of(instruments)
    voices: dict[tuple[TickKind, str], list[Voice]] = {}
    for (kind, instrument, name), tick in last.items():
        source, doubt = declared.source(name), doubts.get((kind, instrument, name))
        found = conversion(kind, instrument, source, instruments=instruments, spots=spots)
        voice = Voice(
            tick,
            maximum_age_ns=voting_age_ns(kind, source, declared, of_prices_ns),
            heartbeat_ns=source.heartbeat_ns,
            weight=source.weight if source.enabled else 0.0,
            halvings=doubt.halvings if doubt is not None else 0,
            since_ns=doubt.since_ns if doubt is not None else 0,
            rate=None if found is None else _rate(found, estimates, declared),
        )
        voices.setdefault((kind, instrument), []).append(voice)
    return {line: Standing.of(*line, _estimate(estimates.get(line)), said) for line, said in voices.items()}


def _rate(found: Conversion, estimates: Mapping[tuple[TickKind, str], bytes], declared: Declared) -> Rate:
    spot = found.spot or ""
    estimate = _estimate(estimates.get((TickKind.PRICE, spot)))
    return Rate(found, estimate, ladder_of(TickKind.PRICE, spot, declared))


def _estimate(packed: bytes | None) -> Record:
    """Without samples where nothing was agreed on, or in a form that is no longer known."""
    if packed is None or len(packed) != ESTIMATE.itemsize:
        packed = bytes(ESTIMATE.itemsize)
    return np.frombuffer(packed, dtype=ESTIMATE).view(np.recarray)[0]


def _change(kind: TickKind, instrument: str, estimate: Record) -> Change | None:
    if not estimate["samples"]:
        return None
    return Change(
        kind,
        instrument,
        float(estimate["value"]),
        float(estimate["confidence"]),
        int(estimate["sources"]),
        _QUALITIES[estimate["quality"]],
        int(estimate["time_ns"]),
    )
