"""What carries events to clients needs: the log in PostgreSQL, the stream in Redis, and somebody to send."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from app.domain.identifiers import EndpointId, PortfolioId, TenantId


class LoggedEvent(Protocol):
    """An event as it travels. `body` is the envelope, exactly as clients receive it."""

    @property
    def tenant_id(self) -> UUID: ...
    @property
    def portfolio_id(self) -> UUID: ...
    @property
    def sequence(self) -> int: ...
    @property
    def body(self) -> bytes: ...


class EventFeed(Protocol):
    """The `events` stream: fast, and allowed to lose, repeat or go back."""

    async def tail(self) -> str:
        """The newest entry's id, `0-0` for an empty stream."""
        ...

    async def read(
        self, after: str, *, block_ms: int | None = ..., count: int = ...
    ) -> Sequence[tuple[str, LoggedEvent]]: ...

    async def publish(self, events: Iterable[Any]) -> None:
        """Takes what `Outbox.undispatched` gave."""
        ...


def is_before(entry_id: str, other: str) -> bool:
    """In the order of a Redis stream. A tail before one's cursor: the stream was flushed or went back."""
    return tuple(map(int, entry_id.split("-"))) < tuple(map(int, other.split("-")))


class Head(NamedTuple):
    """Where a log ends, a portfolio's or (of the tenant's id) the tenant's own."""

    tenant_id: TenantId
    portfolio_id: PortfolioId
    sequence: int


class Snapshot(NamedTuple):
    """A portfolio's open adjustments, as of one place in its log."""

    sequence: int
    adjustments: list[dict[str, Any]]


class EventHistory(Protocol):
    """The truth about every log."""

    async def head(self, tenant_id: TenantId, portfolio_id: PortfolioId) -> int | None:
        """None: no such portfolio, or not this tenant's."""
        ...

    async def heads(
        self, tenant_ids: Sequence[TenantId], portfolio_ids: Sequence[PortfolioId]
    ) -> Sequence[Head]:
        """Of the tenants' own logs and all their portfolios', and of these."""
        ...

    async def after(
        self, portfolio_id: PortfolioId, sequence: int, *, limit: int
    ) -> Sequence[LoggedEvent]: ...
    async def snapshot(self, portfolio_id: PortfolioId) -> Snapshot: ...


class OutboxEntry(Protocol):
    """A committed event that nobody has dispatched, with its place in the outbox."""

    @property
    def created_at(self) -> datetime: ...
    @property
    def event(self) -> LoggedEvent: ...


class Outbox(Protocol):
    async def undispatched(
        self, *, older_than: timedelta, after: OutboxEntry | None, limit: int
    ) -> Sequence[OutboxEntry]:
        """The oldest first, behind `after`."""
        ...

    async def dispatch(self, events: Sequence[tuple[UUID, int]], *, published: bool) -> int:
        """Creates what must be delivered, and how many that was; `published` also ends their waiting."""
        ...


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event for one endpoint, claimed. `attempts` counts the earlier ones."""

    id: int
    endpoint_id: EndpointId
    url: str
    secret: bytes
    attempts: int
    event_id: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Delivered:
    status: int


@dataclass(frozen=True, slots=True)
class Retryable:
    """It may succeed later. `status` is absent where no answer came."""

    reason: str
    status: int | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """It will never succeed: trying again is no use."""

    reason: str
    status: int | None = None


Outcome = Delivered | Retryable | Rejected


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of one. `retry_after` is absent where it was the last one."""

    delivery: Delivery
    outcome: Outcome
    retry_after: timedelta | None = None


class DeliveryQueue(Protocol):
    async def claim(
        self, *, limit: int, per_endpoint: int, in_flight: Mapping[EndpointId, int], lease: timedelta
    ) -> Sequence[Delivery]:
        """Due ones that nobody else holds, at most `per_endpoint` of one endpoint with those in flight."""
        ...

    async def record(self, attempts: Sequence[Attempt]) -> None: ...
    async def release(self, deliveries: Sequence[Delivery]) -> None:
        """Gives claims back untried, due at once."""
        ...

    async def forget_deleted(self) -> int:
        """Ends what waits for endpoints that were deleted."""
        ...


class WebhookSender(Protocol):
    @property
    def timeout(self) -> timedelta:
        """No attempt takes longer."""
        ...

    async def send(self, delivery: Delivery) -> Outcome: ...
