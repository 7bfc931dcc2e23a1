"""What the management services need of the outside: one unit of work with a store per kind of thing.

Every method that takes a tenant answers only about that tenant: another tenant's thing is not there.
"""

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Generic, Protocol, TypeVar
from uuid import UUID

from msgspec import Struct

from app.domain.adjustments import Adjustment, AdjustmentState, Decision, Fill, Leg
from app.domain.errors import Unavailable
from app.domain.events import NewEvent
from app.domain.identifiers import (
    AccountId,
    AdjustmentId,
    ApiKeyId,
    FillId,
    InstrumentId,
    OperatorPolicyId,
    PolicyId,
    PortfolioId,
    TenantId,
)
from app.domain.instruments import Instrument
from app.domain.market import Change, StreamPosition, TickKind
from app.domain.policies import AnyPolicy
from app.domain.portfolios import Portfolio, PortfolioState
from app.ports.operator_policies import OperatorPolicyStore
from app.ports.sources import SourceStore
from app.ports.webhooks import DeliveryLog, WebhookStore

Item = TypeVar("Item")


class Scope(StrEnum):
    """What a key may do. No scope implies another; `operator` reaches over all tenants."""

    READ = "read"
    TRADE = "trade"
    ADMIN = "admin"
    TICKS = "ticks"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Caller:
    tenant_id: TenantId
    key_id: ApiKeyId
    scopes: frozenset[Scope]


@dataclass(frozen=True, slots=True)
class ApiKey:
    id: ApiKeyId
    name: str
    prefix: str
    scopes: tuple[Scope, ...]
    created_at: datetime
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page ended: the sort key of its last item."""

    created_at: datetime
    id: UUID


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """`following` is where the next page starts; absent on the last one."""

    items: tuple[Item, ...]
    following: Place | None = None


@dataclass(frozen=True, slots=True)
class PolicyRecord:
    id: PolicyId
    portfolio_id: PortfolioId
    version: int
    policy: AnyPolicy
    operator_policy_id: OperatorPolicyId | None = None

    @property
    def operator(self) -> bool:
        return self.operator_policy_id is not None


@dataclass(frozen=True, slots=True)
class PolicyVersion:
    version: int
    policy: AnyPolicy
    created_at: datetime


class AdjustmentRecord(Struct, frozen=True):
    """An adjustment with what execution has left of it; `outcome` says in words why it ended."""

    tenant_id: TenantId
    adjustment: Adjustment
    remaining: tuple[Leg, ...]
    outcome: str


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    status: int
    body: bytes
    headers: dict[str, str]


class KeyStore(Protocol):
    async def caller_of(self, digest: bytes) -> Caller | None: ...
    async def callers_of(self, digests: Collection[bytes]) -> dict[bytes, Caller]:
        """By the digests of the keys that are valid."""
        ...

    async def ensure_tenant(self, tenant_id: TenantId, name: str) -> None: ...
    async def add(
        self, tenant_id: TenantId, key_id: ApiKeyId, *, name: str, digest: bytes, prefix: str,
        scopes: Iterable[Scope],
    ) -> ApiKey: ...  # fmt: skip
    async def all(self, tenant_id: TenantId) -> list[ApiKey]: ...
    async def revoke(self, tenant_id: TenantId, key_id: ApiKeyId) -> ApiKey: ...


class InstrumentStore(Protocol):
    async def all(self) -> list[Instrument]: ...
    async def some(self, ids: Collection[str]) -> dict[InstrumentId, Instrument]: ...
    async def get(self, instrument_id: str) -> Instrument: ...
    async def add(self, instrument: Instrument) -> bool:
        """False when the id is taken; then nothing is written."""
        ...

    async def replace(self, instrument: Instrument) -> None: ...


class PortfolioStore(Protocol):
    async def create(self, portfolio: Portfolio) -> None: ...
    async def exists(self, portfolio_id: PortfolioId) -> bool: ...
    async def get(self, tenant_id: TenantId, portfolio_id: PortfolioId) -> Portfolio: ...
    async def lock(self, tenant_id: TenantId, portfolio_id: PortfolioId) -> Portfolio:
        """For update: first of all locks, so that no two writers wait for each other."""
        ...

    async def page(self, tenant_id: TenantId, *, after_name: str | None, limit: int) -> list[Portfolio]: ...
    async def revisions(self, portfolio_ids: Collection[PortfolioId]) -> dict[PortfolioId, int]:
        """Of any tenant's; deleted and unknown ones are left out."""
        ...

    async def some(self, portfolio_ids: Sequence[PortfolioId]) -> list[Portfolio]:
        """The same, whole. Whose they are is the caller's to know."""
        ...

    async def touch(self, portfolio_id: PortfolioId) -> int: ...
    async def touch_all_using(self, instrument_id: str) -> None:
        """Of every tenant: those that hold the instrument or may trade it."""
        ...

    async def write_holdings(self, before: Portfolio, after: Portfolio) -> None: ...
    async def positions_as_of_ns(self, account_id: AccountId) -> int:
        """Market time that the account's last position snapshot was of; 0 without one."""
        ...

    async def set_positions_as_of(self, account_id: AccountId, as_of_ns: int) -> None: ...
    async def set_state(self, portfolio_id: PortfolioId, state: PortfolioState) -> None: ...
    async def delete(self, portfolio_id: PortfolioId) -> None: ...


class FillStore(Protocol):
    async def add(self, tenant_id: TenantId, fill: Fill) -> bool:
        """False when that fill is stored already."""
        ...

    async def get(self, tenant_id: TenantId, fill_id: FillId) -> Fill: ...
    async def page(
        self, tenant_id: TenantId, *, portfolio_id: PortfolioId | None, after: Place | None, limit: int
    ) -> Page[Fill]: ...
    async def newest_ns(self, account_id: AccountId) -> int:
        """Market time of the account's newest fill; 0 without one."""
        ...


class PolicyStore(Protocol):
    async def get(self, tenant_id: TenantId, policy_id: PolicyId) -> PolicyRecord: ...
    async def of_portfolio(self, tenant_id: TenantId, portfolio_id: PortfolioId) -> list[PolicyRecord]: ...
    async def add(
        self, tenant_id: TenantId, portfolio_id: PortfolioId, policy_id: PolicyId, policy: AnyPolicy
    ) -> PolicyRecord: ...
    async def replace(self, record: PolicyRecord) -> None:
        """Writes the record and keeps it as a version of its own."""
        ...

    async def delete(self, policy_id: PolicyId) -> None: ...
    async def memories(self, portfolio_ids: Collection[PortfolioId]) -> Mapping[PolicyId, bytes]:
        """What is remembered of the portfolios' policies, packed, as of the last commit."""
        ...

    async def versions(
        self, tenant_id: TenantId, policy_id: PolicyId, *, before: int | None, limit: int
    ) -> list[PolicyVersion]: ...
    async def decisions(
        self,
        tenant_id: TenantId,
        policy_id: PolicyId,
        *,
        before: tuple[StreamPosition, UUID] | None,
        limit: int,
    ) -> list[Decision]: ...


class AdjustmentStore(Protocol):
    async def get(self, tenant_id: TenantId, adjustment_id: AdjustmentId) -> AdjustmentRecord: ...
    async def lock(self, tenant_id: TenantId, adjustment_id: AdjustmentId) -> AdjustmentRecord:
        """After its portfolio. A Conflict when an executor is just taking it."""
        ...

    async def lock_open(
        self,
        portfolio_id: PortfolioId,
        states: Collection[AdjustmentState],
        policy_id: PolicyId | None = None,
    ) -> list[AdjustmentRecord]:
        """Those in `states` (that serve the policy) that nobody else is working on, oldest first."""
        ...

    async def lock_open_of_operator(
        self,
        operator_policy_id: OperatorPolicyId,
        portfolio_ids: Collection[PortfolioId],
        states: Collection[AdjustmentState],
    ) -> list[AdjustmentRecord]:
        """The same of the operator's policy in those portfolios, which are locked."""
        ...

    async def end(self, ids: Collection[AdjustmentId], state: AdjustmentState, outcome: str) -> None: ...
    async def save(self, record: AdjustmentRecord, *, fill_time_ns: int | None = None) -> None:
        """State, legs, remaining legs and outcome. Only approval changes legs, by their reference prices."""
        ...

    async def page(
        self, tenant_id: TenantId, *, portfolio_id: PortfolioId | None, policy_id: PolicyId | None,
        state: AdjustmentState | None, after: Place | None, limit: int,
    ) -> Page[AdjustmentRecord]: ...  # fmt: skip
    async def any_in(self, portfolio_id: PortfolioId, state: AdjustmentState) -> bool: ...


class IdempotencyStore(Protocol):
    async def claim(self, tenant_id: TenantId, key: str, fingerprint: bytes) -> StoredAnswer | None:
        """The answer given before, or nothing and the key is ours until the transaction ends.

        IdempotencyConflict when somebody else is at it now, or the key came with another body.
        """
        ...

    async def store(
        self, tenant_id: TenantId, key: str, fingerprint: bytes, answer: StoredAnswer
    ) -> None: ...


class UnitOfWork(Protocol):
    """One transaction. What it appends is published, and whom it touches is hinted, after the commit."""

    @property
    def keys(self) -> KeyStore: ...
    @property
    def instruments(self) -> InstrumentStore: ...
    @property
    def sources(self) -> SourceStore: ...
    @property
    def portfolios(self) -> PortfolioStore: ...
    @property
    def fills(self) -> FillStore: ...
    @property
    def policies(self) -> PolicyStore: ...
    @property
    def operator_policies(self) -> OperatorPolicyStore: ...
    @property
    def adjustments(self) -> AdjustmentStore: ...
    @property
    def webhooks(self) -> WebhookStore: ...
    @property
    def deliveries(self) -> DeliveryLog: ...
    @property
    def idempotency(self) -> IdempotencyStore: ...
    async def append(self, events: Sequence[NewEvent]) -> None: ...


class UnitsOfWork(Protocol):
    """Commits when the block ends, rolls back when it raises."""

    def __call__(self) -> AbstractAsyncContextManager[UnitOfWork]: ...


@dataclass(frozen=True, slots=True)
class MarketNow:
    """The market as it stands, within the age of the last frame.

    `clock` gives the newest frame's position and the market clock, and is Unavailable before the first.
    """

    clock: Callable[[], Awaitable[tuple[StreamPosition, int]]]
    values: Callable[[Iterable[tuple[TickKind, str]]], Awaitable[Mapping[tuple[TickKind, str], Change]]]
    everything: Callable[[], Awaitable[Sequence[Change]]]

    async def time_ns(self) -> int:
        """The market clock; 0 before the market's first frame."""
        try:
            _, time_ns = await self.clock()
        except Unavailable:
            return 0
        return time_ns
