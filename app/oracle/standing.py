"""How a line stands, for people: who said what with which weight, and what came of it."""

from dataclasses import dataclass
from math import sqrt

from app.domain.market import Change, Tick
from app.oracle.records import WEIGHT_ONE, Record


@dataclass(frozen=True, slots=True)
class Voice:
    """A source's last word, its declared weight, and how often that is halved since when."""

    tick: Tick
    weight: float
    halvings: int
    since_ns: int

    @classmethod
    def of(cls, tick: Tick, place: Record) -> "Voice":
        return cls(tick, int(place["weight"]) / WEIGHT_ONE, int(place["doubt"]), int(place["doubted_ns"]))


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
    def of(cls, change: Change | None, estimate: Record, sources: tuple[Voice, ...]) -> "Standing":
        return cls(
            change,
            dispersion=float(estimate["dispersion"]),
            twap=float(estimate["twap"]),
            twap_confidence=float(estimate["twap_confidence"]),
            ewma=float(estimate["ewma"]),
            ewma_confidence=float(estimate["ewma_confidence"]),
            volatility=sqrt(float(estimate["variance"])),
            sources=sources,
        )
