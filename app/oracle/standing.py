"""How lines stand, for people: who said what with which weight, and what came of it."""

from collections.abc import Container, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from app.domain.market import Change, Quality, Tick, TickKind
from app.oracle.declared import Declared
from app.oracle.kinds import voting_age_ns
from app.oracle.memory import Memory
from app.oracle.records import ESTIMATE, Record

_QUALITIES = tuple(Quality)


@dataclass(frozen=True, slots=True)
class Voice:
    """A source's last word, how long it counts, its declared weight, and how often that is halved since when.

    The weight of who is not enabled is 0.
    """

    tick: Tick
    maximum_age_ns: int
    weight: float
    halvings: int
    since_ns: int

    def is_fresh(self, now_ns: int) -> bool:
        return now_ns - self.tick.time_ns <= self.maximum_age_ns


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
    memory: Memory, declared: Declared, *, of_prices_ns: int, instruments: Container[str] | None = None
) -> dict[tuple[TickKind, str], Standing]:
    """Of all lines, or of those instruments' only, as the memory of a writer has them.

    `of_prices_ns` is how old a price may be whose source declares nothing of that. It is the last word that
    counts, so a snapshot may be followed by what was new after it.
    """
    doubts = {(doubt.kind, doubt.instrument, doubt.source): doubt for doubt in memory.doubts}
    estimates = {(each.kind, each.instrument): each.packed for each in memory.estimates}
    last = {
        (tick.kind, tick.instrument, tick.source): tick
        for tick in memory.quotes
        if instruments is None or tick.instrument in instruments
    }
    voices: dict[tuple[TickKind, str], list[Voice]] = {}
    for (kind, instrument, name), tick in last.items():
        source, doubt = declared.source(name), doubts.get((kind, instrument, name))
        halvings, since_ns = (doubt.halvings, doubt.since_ns) if doubt is not None else (0, 0)
        weight = source.weight if source.enabled else 0.0
        age_ns = voting_age_ns(kind, source, declared, of_prices_ns)
        voice = Voice(tick, age_ns, weight, halvings, since_ns)
        voices.setdefault((kind, instrument), []).append(voice)
    nothing = np.zeros(1, dtype=ESTIMATE)
    found = {}
    for line, said in voices.items():
        packed = estimates.get(line, b"")
        known = np.frombuffer(packed, dtype=ESTIMATE) if len(packed) == ESTIMATE.itemsize else nothing
        found[line] = Standing.of(*line, known[0], said)
    return found


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
