"""The registry of sources, as a file says it: who speaks of what, how much it counts, what makes a consensus.

The file is the whole of it. What it leaves out is what everybody has (`oracle.declared`); a source named `*`
stands for all that the file does not name.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Self, cast

from pydantic import Field, field_validator, model_validator

from app.domain.market import MAXIMUM_NAME, SOURCE_NAME, TickKind
from app.oracle.declared import (
    CONVERTED,
    EVERYBODY_ELSE,
    SECOND_NS,
    Declared,
    LadderTerms,
    QuorumTerms,
    Source,
    Standard,
)
from app.oracle.kinds import STANDARDS, completed_ladder
from app.oracle.signatures import PUBLIC_KEY_BYTES
from app.ports.management import UnitOfWork
from app.services.documents import Base64, Document
from app.services.parse_document import parse_document

_Name = Annotated[str, Field(min_length=1, max_length=MAXIMUM_NAME)]
SourceName = Annotated[_Name, Field(pattern=rf"^({SOURCE_NAME.pattern}|{re.escape(EVERYBODY_ELSE)})$")]
_Currency = Annotated[str, Field(min_length=1, max_length=MAXIMUM_NAME)]
_Seconds = Annotated[float, Field(gt=0, le=30 * 86_400)]
_Fraction = Annotated[float, Field(gt=0, le=1_000)]
_Tenant = Annotated[str, Field(min_length=1, max_length=200)]
_PublicKey = Annotated[Base64, Field(min_length=PUBLIC_KEY_BYTES, max_length=PUBLIC_KEY_BYTES)]


class SourceDocument(Document):
    weight: Annotated[float, Field(ge=0.001, le=1_000)] = 1.0
    kind: TickKind | None = None
    base: _Currency | None = None
    quote: _Currency | None = None
    maximum_age_seconds: _Seconds | None = None
    heartbeat_seconds: Annotated[float, Field(ge=0, le=30 * 86_400)] = 0.0
    public_key: _PublicKey | None = None
    publisher: _Tenant | None = None
    enabled: bool = True

    def declared(self) -> Source:
        return Source(
            weight=self.weight,
            kind=self.kind,
            base=self.base,
            quote=self.quote,
            maximum_age_ns=_nanoseconds(self.maximum_age_seconds),
            heartbeat_ns=round(self.heartbeat_seconds * SECOND_NS),
            public_key=self.public_key,
            publisher=self.publisher,
            enabled=self.enabled,
        )


class TermsDocument(Document):
    """A quorum, and thresholds of the ladder."""

    least_sources: Annotated[int, Field(ge=1, le=1_000)] | None = None
    least_weight: Annotated[float, Field(ge=0, le=1_000_000)] | None = None
    volatile_ratio: Annotated[float, Field(gt=1, le=1_000_000)] | None = None
    uncertain_fraction: _Fraction | None = None
    dispersed_fraction: _Fraction | None = None
    diverging_fraction: _Fraction | None = None
    stale_for_margin_seconds: _Seconds | None = None
    stale_for_trading_seconds: _Seconds | None = None

    @model_validator(mode="after")
    def _trading_ends_first(self) -> Self:
        trading, margin = self.stale_for_trading_seconds, self.stale_for_margin_seconds
        if trading is not None and margin is not None and trading > margin:
            raise ValueError(
                f"it would be stale for margin after {margin:g} s, and for trading only after {trading:g} s"
            )
        return self

    def quorum(self) -> QuorumTerms:
        """What is said of it."""
        said = {"sources": self.least_sources, "weight": self.least_weight}
        return cast("QuorumTerms", _given(said))

    def ladder(self) -> LadderTerms:
        """The same."""
        said = {
            "volatile_ratio": self.volatile_ratio,
            "uncertain_fraction": self.uncertain_fraction,
            "dispersed_fraction": self.dispersed_fraction,
            "diverging_fraction": self.diverging_fraction,
            "stale_for_margin_ns": _nanoseconds(self.stale_for_margin_seconds),
            "stale_for_trading_ns": _nanoseconds(self.stale_for_trading_seconds),
        }
        return cast("LadderTerms", _given(said))


class ConsensusDocument(TermsDocument):
    """Of an instrument, an index, a chain or a depth; what is left out is what its kind has."""


class KindDocument(TermsDocument):
    """Of all values of a kind that do not declare their own; what is left out is the kind's default."""

    tolerance: Annotated[float, Field(ge=0, le=1_000)] | None = None

    def standard(self, kind: TickKind) -> Standard:
        """ValueError for what no such kind has."""
        if kind not in STANDARDS:
            raise ValueError(f"nobody agrees on a {kind}")
        of_averages = self.volatile_ratio is not None or self.diverging_fraction is not None
        if of_averages and kind not in CONVERTED:
            raise ValueError(
                f"a {kind} is not held against its average: leave out volatile_ratio and diverging_fraction"
            )
        usual = STANDARDS[kind]
        return Standard(
            ladder=completed_ladder(usual.ladder, self.ladder()),
            quorum=replace(usual.quorum, **self.quorum()),
            tolerance=usual.tolerance if self.tolerance is None else self.tolerance,
        )


def _given(said: Mapping[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in said.items() if value is not None}


def _nanoseconds(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * SECOND_NS)


class Registry(Document):
    sources: dict[SourceName, SourceDocument] = Field(default_factory=dict)
    kinds: dict[TickKind, KindDocument] = Field(default_factory=dict)
    instruments: dict[_Name, ConsensusDocument] = Field(default_factory=dict)

    @field_validator("kinds")
    @classmethod
    def _kinds_have_that(cls, kinds: dict[TickKind, KindDocument]) -> dict[TickKind, KindDocument]:
        for kind, each in kinds.items():
            each.standard(kind)
        return kinds

    def declared(self) -> Declared:
        quorums = {name: each.quorum() for name, each in self.instruments.items()}
        ladders = {name: each.ladder() for name, each in self.instruments.items()}
        return Declared(
            sources={name: each.declared() for name, each in self.sources.items()},
            quorums={name: quorum for name, quorum in quorums.items() if quorum},
            ladders={name: ladder for name, ladder in ladders.items() if ladder},
            kinds={kind: each.standard(kind) for kind, each in self.kinds.items()},
        )


def parse_registry(text: str) -> Registry:
    return parse_document(text, Registry, called="the registry")


@dataclass(frozen=True, slots=True)
class Difference:
    """Sources, kinds and instruments by name."""

    added: Collection[str]
    changed: Collection[str]
    removed: Collection[str]

    @classmethod
    def between(cls, before: Mapping[str, object], after: Mapping[str, object]) -> "Difference":
        return cls(
            sorted(after.keys() - before.keys()),
            sorted(name for name in after.keys() & before.keys() if after[name] != before[name]),
            sorted(before.keys() - after.keys()),
        )


async def declare_sources(unit: UnitOfWork, declared: Declared) -> Difference:
    """The registry becomes what is declared, in one step; the oracle follows within seconds."""
    before = await unit.sources.declared()
    await unit.sources.declare(declared)
    return Difference.between(_by_name(before), _by_name(declared))


def _by_name(declared: Declared) -> dict[str, object]:
    named = declared.quorums.keys() | declared.ladders.keys()
    terms = {name: (declared.quorums.get(name), declared.ladders.get(name)) for name in named}
    return {
        **{f"source {name}": source for name, source in declared.sources.items()},
        **{f"kind {kind}": standard for kind, standard in declared.kinds.items()},
        **{f"instrument {name}": each for name, each in terms.items()},
    }
