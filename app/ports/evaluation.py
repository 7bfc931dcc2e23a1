"""What the evaluator needs of the truth: books to load, changes to learn of, and one commit."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from app.domain.events import Event
from app.domain.identifiers import PolicyId, PortfolioId, ShardId
from app.domain.instruments import Instrument
from app.domain.market import StreamPosition
from app.domain.portfolios import Portfolio
from app.engine.book import StoredPortfolios
from app.engine.verdicts import Verdict


class StoredMemory(NamedTuple):
    """Packed."""

    policy_id: PolicyId
    portfolio_id: PortfolioId
    memory: bytes


@dataclass(frozen=True, slots=True)
class Loaded:
    """`unevaluated` are those whose present revision no commit has seen yet.

    `instruments` are what the portfolios hold and hedge with, as their terms are now. `stored` are those
    that are rows and no objects yet; of them, `portfolios` has those in whom something is in flight.
    """

    portfolios: Sequence[Portfolio]
    instruments: Sequence[Instrument]
    unevaluated: frozenset[PortfolioId]
    memories: Sequence[StoredMemory]
    stored: StoredPortfolios | None = None


@dataclass(frozen=True, slots=True)
class Commit:
    """One transaction of all shards that stand at `position`, given by their epochs.

    `verdicts` are committed where the portfolio's revision is still the one decided on. `memories` are of
    policies that no verdict here remembers.
    """

    epochs: Mapping[ShardId, int]
    position: StreamPosition
    time_ns: int
    verdicts: Sequence[Verdict] = ()
    memories: Sequence[tuple[PortfolioId, PolicyId, bytes]] = ()
    snapshot: bytes | None = None


@dataclass(frozen=True, slots=True)
class Committed:
    """Which shards were still held, which portfolios went in, and their events as numbered."""

    shards: frozenset[ShardId]
    portfolios: frozenset[PortfolioId]
    events: Sequence[Event] = field(default=())


class EvaluationStore(Protocol):
    async def instruments(self) -> Sequence[Instrument]: ...

    async def shards(self) -> int: ...

    async def load_shards(self, shards: Iterable[ShardId]) -> Loaded: ...

    async def load(self, portfolio_ids: Iterable[PortfolioId], shards: Iterable[ShardId]) -> Loaded:
        """Those of the given portfolios that belong to the shards."""

    async def changed(self, shards: Iterable[ShardId]) -> Sequence[PortfolioId]:
        """Portfolios whose revision no commit has seen, those deleted a moment ago included."""

    async def commit(self, commit: Commit) -> Committed: ...

    async def report_lost_market(self, generation: int) -> None:
        """The stream of this generation ends before what was committed from it: another has to begin."""
