"""What is declared: pairs that are listed, sources, quorums, and the ladder of qualities with its thresholds.

A source that nobody declared is what `EVERYBODY_ELSE` is declared to be. Where that is nothing, it has the
weight 1, speaks of anything, and quotes in the instrument's currency.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypedDict

from app.domain.errors import InvalidTick
from app.domain.market import SOURCE_NAME, Rejection, Tick, TickKind
from app.oracle.signatures import PUBLIC_KEY_BYTES, Seal

SECOND_NS = 1_000_000_000
CONVERTED = frozenset({TickKind.PRICE, TickKind.MARK})
EVERYBODY_ELSE = "*"
"""In place of an id: sources that have no declaration of their own."""


class OptionTerms(NamedTuple):
    """`forward` names the instrument whose price is the option's forward."""

    strike: float
    expiry_ns: int
    forward: str


class Pair(NamedTuple):
    """Of a listed instrument. A currency is converted by spot markets only: all else has a basis."""

    base: str
    quote: str
    is_spot: bool
    option: OptionTerms | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """`weight` is relative to others', 0.001 to 1000. None: anything, or what everybody has.

    `quote` is the currency of its prices, whatever the instrument's is: where the two differ, its price is
    converted by the consensus of the spot market between them. With a `public_key` (Ed25519, 32 bytes) it is
    heard only in entries that are signed by it, and it is not heard at all unless `enabled`. The tenant named
    as `publisher`, and no other, may send its ticks over HTTP; without one whoever has them signed.

    `heartbeat_ns` is of a source that is silent while its price moves little, and speaks again after so long
    at the latest: until then its word is as good as new, and every age begins thereafter.
    """

    weight: float = 1.0
    kind: TickKind | None = None
    base: str | None = None
    quote: str | None = None
    maximum_age_ns: int | None = None
    heartbeat_ns: int = 0
    public_key: bytes | None = None
    publisher: str | None = None
    enabled: bool = True

    def __post_init__(self) -> None:
        if not 0.001 <= self.weight <= 1_000.0:
            raise ValueError(f"a weight is 0.001 to 1000, not {self.weight}")
        if self.public_key is not None and len(self.public_key) != PUBLIC_KEY_BYTES:
            raise ValueError(
                f"an Ed25519 public key has {PUBLIC_KEY_BYTES} bytes, not {len(self.public_key)}"
            )


_ANYTHING = Source()


@dataclass(frozen=True, slots=True)
class Quorum:
    """How many sources, and of which weight together, make a consensus. Below it the last one stands."""

    sources: int = 1
    weight: float = 0.0


@dataclass(frozen=True, slots=True)
class Ladder:
    """Thresholds of `domain.market.Quality`. Those of an average are of prices alone.

    The defaults are of prices, and Drift's: five times the time-weighted average, a confidence of 2 %, a
    minute for margin, 5 seconds for trading, half from the average. Too uncertain is also where the quartiles
    of the sources' prices are 2 % apart: two halves that disagree have a confidence of half of that only.
    """

    volatile_ratio: float = 5.0
    uncertain_fraction: float = 0.02
    dispersed_fraction: float = 0.02
    diverging_fraction: float = 0.5
    stale_for_margin_ns: int = 60 * SECOND_NS
    stale_for_trading_ns: int = 5 * SECOND_NS


class QuorumTerms(TypedDict, total=False):
    """What is said of a quorum; what is not, is the kind's."""

    sources: int
    weight: float


class LadderTerms(TypedDict, total=False):
    """What is said of a ladder; what is not, is the kind's."""

    volatile_ratio: float
    uncertain_fraction: float
    dispersed_fraction: float
    diverging_fraction: float
    stale_for_margin_ns: int
    stale_for_trading_ns: int


@dataclass(frozen=True, slots=True)
class Standard:
    """Of a kind. `tolerance`: how far from the consensus is no reason to doubt anybody, as a share of it; 0:
    nobody is doubted.
    """

    ladder: Ladder = Ladder()
    quorum: Quorum = Quorum()
    tolerance: float = 0.0


@dataclass(frozen=True, slots=True)
class Declared:
    """By the id of the source, by the instrument or by what else is spoken of, and by the kind of value."""

    sources: Mapping[str, Source] = field(default_factory=dict)
    quorums: Mapping[str, QuorumTerms] = field(default_factory=dict)
    ladders: Mapping[str, LadderTerms] = field(default_factory=dict)
    kinds: Mapping[TickKind, Standard] = field(default_factory=dict)

    def source(self, name: str) -> Source:
        return self.sources.get(name) or self.sources.get(EVERYBODY_ELSE, _ANYTHING)

    def names(self, name: str) -> bool:
        """Whether it declares something of that instrument, index, chain or depth."""
        return name in self.quorums or name in self.ladders


class Conversion(NamedTuple):
    """By the consensus of that spot market; None where none between the two currencies is listed."""

    spot: str | None
    divides: bool


Spots = Mapping[tuple[str, str], str]


def spots_of(instruments: Mapping[str, Pair]) -> Spots:
    """The spot market of each two currencies; of several, the first by name."""
    spots: dict[tuple[str, str], str] = {}
    for name, pair in sorted(instruments.items()):
        if pair.is_spot:
            spots.setdefault(pair[:2], name)
    return spots


def conversion(
    kind: TickKind, instrument: str, source: Source, *, instruments: Mapping[str, Pair], spots: Spots
) -> Conversion | None:
    """How a source's currency becomes the line's own; None where it is that already."""
    pair = instruments.get(instrument)
    if pair is None or kind not in CONVERTED or source.quote in (None, pair.quote):
        return None
    for currencies, divides in (((source.quote, pair.quote), False), ((pair.quote, source.quote), True)):
        if (spot := spots.get(currencies)) is not None and spot != instrument:
            return Conversion(spot, divides)
    return Conversion(None, divides=False)


def check_speaker(tick: Tick, source: Source, seal: Seal) -> None:
    """Raises InvalidTick for who may not speak, or may have been spoken for by somebody else."""
    if not SOURCE_NAME.fullmatch(tick.source):
        raise InvalidTick(Rejection.MALFORMED, f"no source is named {tick.source!r}")
    if not source.enabled:
        raise InvalidTick(Rejection.UNDECLARED, f"{tick.source} is not enabled")
    if source.public_key is None:
        return
    if not seal.signature:
        raise InvalidTick(Rejection.UNSIGNED, f"{tick.source} has a public key, and signs its entries")
    if not seal.is_by(source.public_key):
        raise InvalidTick(Rejection.BAD_SIGNATURE, f"the entry is not signed by the key of {tick.source}")


def check_source(tick: Tick, source: Source, pair: Pair | None) -> None:
    """Raises InvalidTick for what its source does not speak of. What need not be listed is no pair."""
    if source.kind is not None and tick.kind is not source.kind:
        raise InvalidTick(Rejection.UNDECLARED, f"{tick.source} declares {source.kind}, not {tick.kind}")
    if pair is None:
        return
    if source.base is not None and source.base != pair.base:
        raise InvalidTick(
            Rejection.UNDECLARED,
            f"{tick.source} declares {source.base}, and {tick.instrument} is {pair.base}",
        )
    if tick.kind not in CONVERTED and source.quote not in (None, pair.quote):
        raise InvalidTick(Rejection.UNDECLARED, f"a {tick.kind} is not converted from {source.quote}")
