"""The registry of sources, as a file says it: who speaks of what, how much it counts, what makes a consensus.

The file is the whole of it. What it leaves out is what everybody has (`oracle.declared`); a source named `*`
stands for all that the file does not name.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from app.domain.market import MAXIMUM_NAME, TickKind
from app.oracle.declared import SECOND_NS, Declared, Ladder, Quorum, Source
from app.oracle.signatures import PUBLIC_KEY_BYTES
from app.ports.management import UnitOfWork
from app.services.documents import Base64, Document
from app.services.parse_document import parse_document

SourceName = Annotated[str, Field(min_length=1, max_length=MAXIMUM_NAME)]
_Currency = Annotated[str, Field(min_length=1, max_length=MAXIMUM_NAME)]
_Seconds = Annotated[float, Field(gt=0, le=30 * 86_400)]
_Fraction = Annotated[float, Field(gt=0, le=1_000)]
_Tenant = Annotated[str, Field(min_length=1, max_length=200)]
_PublicKey = Annotated[Base64, Field(min_length=PUBLIC_KEY_BYTES, max_length=PUBLIC_KEY_BYTES)]
_USUAL_QUORUM, _USUAL_LADDER = Quorum(), Ladder()
_OF_QUORUM = frozenset({"least_sources", "least_weight"})


class SourceDocument(Document):
    weight: Annotated[float, Field(ge=0.001, le=1_000)] = 1.0
    kind: TickKind | None = None
    base: _Currency | None = None
    quote: _Currency | None = None
    maximum_age_seconds: _Seconds | None = None
    public_key: _PublicKey | None = None
    publisher: _Tenant | None = None
    enabled: bool = True

    def declared(self) -> Source:
        age = self.maximum_age_seconds
        return Source(
            weight=self.weight,
            kind=self.kind,
            base=self.base,
            quote=self.quote,
            maximum_age_ns=None if age is None else round(age * SECOND_NS),
            public_key=self.public_key,
            publisher=self.publisher,
            enabled=self.enabled,
        )


class ConsensusDocument(Document):
    """Of an instrument, an index, a chain or a depth: its quorum, and its thresholds of the ladder.

    Where one threshold is said, those left out are what prices have; where none is, the kind's own hold.
    """

    least_sources: Annotated[int, Field(ge=1, le=1_000)] = _USUAL_QUORUM.sources
    least_weight: Annotated[float, Field(ge=0, le=1_000_000)] = _USUAL_QUORUM.weight
    volatile_ratio: Annotated[float, Field(gt=1, le=1_000_000)] = _USUAL_LADDER.volatile_ratio
    uncertain_fraction: _Fraction = _USUAL_LADDER.uncertain_fraction
    dispersed_fraction: _Fraction = _USUAL_LADDER.dispersed_fraction
    diverging_fraction: _Fraction = _USUAL_LADDER.diverging_fraction
    stale_for_margin_seconds: _Seconds = _USUAL_LADDER.stale_for_margin_ns / SECOND_NS
    stale_for_trading_seconds: _Seconds = _USUAL_LADDER.stale_for_trading_ns / SECOND_NS

    def quorum(self) -> Quorum | None:
        if not self.model_fields_set & _OF_QUORUM:
            return None
        return Quorum(self.least_sources, self.least_weight)

    def ladder(self) -> Ladder | None:
        if not self.model_fields_set - _OF_QUORUM:
            return None
        return Ladder(
            volatile_ratio=self.volatile_ratio,
            uncertain_fraction=self.uncertain_fraction,
            dispersed_fraction=self.dispersed_fraction,
            diverging_fraction=self.diverging_fraction,
            stale_for_margin_ns=round(self.stale_for_margin_seconds * SECOND_NS),
            stale_for_trading_ns=round(self.stale_for_trading_seconds * SECOND_NS),
        )


class Registry(Document):
    sources: dict[SourceName, SourceDocument] = Field(default_factory=dict)
    instruments: dict[SourceName, ConsensusDocument] = Field(default_factory=dict)

    def declared(self) -> Declared:
        return Declared(
            sources={name: each.declared() for name, each in self.sources.items()},
            quorums={name: quorum for name, each in self.instruments.items() if (quorum := each.quorum())},
            ladders={name: ladder for name, each in self.instruments.items() if (ladder := each.ladder())},
        )


def parse_registry(text: str) -> Registry:
    return parse_document(text, Registry, called="the registry")


@dataclass(frozen=True, slots=True)
class Difference:
    """Sources and instruments by name."""

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
        **{f"instrument {name}": each for name, each in terms.items()},
    }
