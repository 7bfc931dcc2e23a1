"""What carries events to clients needs: the log in PostgreSQL, the stream in Redis, and somebody to send."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple, Protocol
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


class Horizon(NamedTuple):
    """What had committed at one moment: the transactions before `end` but for those still `running`.

    As text it is the cursor of a channel that spans portfolios. "0" is the beginning.
    """

    end: int
    running: tuple[int, ...] = ()

    @classmethod
    def of(cls, cursor: str) -> "Horizon":
        """ValueError for what is no cursor."""
        if not _HORIZON.fullmatch(cursor):
            raise ValueError(cursor)
        end, *running = map(int, cursor.split("-"))
        return cls(end, tuple(running))

    @property
    def cursor(self) -> str:
        return "-".join(map(str, (self.end, *self.running)))

    def covers(self, other: "Horizon") -> bool:
        """Whatever had committed by the other one had by this one."""
        earlier = {number for number in self.running if number < other.end}
        return self.end >= other.end and earlier <= set(other.running)


NOTHING_SINCE: Final = Horizon((1 << 63) - 1)
"""Covers whatever there may be."""
_HORIZON: Final = re.compile(r"[0-9]{1,18}(-[0-9]{1,18}){0,1000}")


class Head(NamedTuple):
    """Where a log ends, a portfolio's or (of the tenant's id) the tenant's own."""

    tenant_id: TenantId
    portfolio_id: PortfolioId
    sequence: int


class Heads(NamedTuple):
    """Where logs end, all as of one moment. The epoch names the database that the logs are in."""

    epoch: str
    horizon: Horizon
    heads: Sequence[Head]


class End(NamedTuple):
    """Where one portfolio's log ends, in which epoch."""

    epoch: str
    sequence: int


class Snapshot(NamedTuple):
    """A portfolio's open adjustments, as of one place in its log."""

    sequence: int
    adjustments: list[dict[str, Any]]


class TenantSnapshot(NamedTuple):
    """The open adjustments of all portfolios of a tenant, as of the moment of `heads`."""

    heads: Heads
    adjustments: list[dict[str, Any]]


class EventHistory(Protocol):
    """The truth about every log."""

    async def end(self, tenant_id: TenantId, portfolio_id: PortfolioId) -> End | None:
        """None: no such portfolio, or not this tenant's."""
        ...

    async def heads(
        self, horizons: Mapping[TenantId, Horizon], portfolio_ids: Collection[PortfolioId]
    ) -> Heads:
        """Of the tenants' own logs and all their portfolios', and of these.

        Of portfolios that were deleted only of those with events that the tenant's horizon does not cover.
        """
        ...

    async def before(self, tenant_id: TenantId, horizon: Horizon) -> Mapping[PortfolioId, int]:
        """The last sequence that had committed by then, of every portfolio with events since."""
        ...

    async def after(
        self, portfolio_id: PortfolioId, sequence: int, *, limit: int
    ) -> Sequence[LoggedEvent]: ...
    async def after_each(self, positions: Mapping[PortfolioId, int], *, limit: int) -> Sequence[LoggedEvent]:
        """So many of each portfolio at most, in order within it."""
        ...

    async def snapshot(self, portfolio_id: PortfolioId) -> Snapshot: ...
    async def tenant_snapshot(
        self, tenant_id: TenantId, since: Horizon, portfolio_ids: Collection[PortfolioId]
    ) -> TenantSnapshot:
        """With the heads for that horizon, and of these."""
        ...


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
    """One event for one endpoint, claimed until then. `retries` counts what failed since it was asked for."""

    id: int
    endpoint_id: EndpointId
    url: str
    secret: bytes
    retries: int
    event_id: str
    body: bytes
    old_secrets: tuple[bytes, ...] = ()
    claimed_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Delivered:
    """`response` is how the answer began."""

    status: int
    response: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Retryable:
    """It may succeed later. `status` is absent where no answer came; `wait` is what the answer asked for."""

    reason: str
    status: int | None = None
    wait: timedelta | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Rejected:
    """It will never succeed: trying again is no use. `gone`: nor will anything else that is sent there."""

    reason: str
    status: int | None = None
    gone: bool = field(default=False, compare=False)


Outcome = Delivered | Retryable | Rejected


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of one. `retry_after` is absent where it was the last one."""

    delivery: Delivery
    outcome: Outcome
    retry_after: timedelta | None = None
    latency: timedelta = timedelta()


@dataclass(frozen=True, slots=True)
class Breaker:
    """After `failures` in a row an endpoint is left alone for `pause`, then asked with one delivery.

    Each further failure doubles the pause, up to `longest`. After `hopeless` without success it is disabled.
    """

    failures: int = 5
    pause: timedelta = timedelta(seconds=30)
    longest: timedelta = timedelta(minutes=10)
    hopeless: timedelta = timedelta(days=5)


@dataclass(frozen=True, slots=True)
class Retention:
    """How long deliveries are kept: those that ended, and those that wait for a disabled endpoint."""

    ended: timedelta = timedelta(days=30)
    held: timedelta = timedelta(days=5)


@dataclass(frozen=True, slots=True)
class DisabledEndpoint:
    """One that the service switched off."""

    id: EndpointId
    tenant_id: TenantId
    url: str
    reason: str


class DeliveryQueue(Protocol):
    async def claim(
        self,
        *,
        limit: int,
        per_endpoint: int,
        in_flight: Mapping[EndpointId, int],
        lease: timedelta,
        passed_over: Collection[EndpointId] = (),
    ) -> Sequence[Delivery]:
        """Due ones that nobody else holds, at most `per_endpoint` of one endpoint with those in flight.

        Of an ordered endpoint only what is the first of its portfolio; no more than its rate allows.
        """
        ...

    async def record(self, attempts: Sequence[Attempt]) -> Sequence[EndpointId]:
        """The endpoints that have failed for too long."""
        ...

    async def release(self, deliveries: Sequence[Delivery]) -> None:
        """Gives claims back untried, due at once."""
        ...

    async def disable(self, endpoint_id: EndpointId, reason: str, *, time_ns: int) -> None:
        """Tells its tenant, in the same commit; the courier's sweep publishes that. Once."""
        ...

    async def forget(self) -> int:
        """Ends what waits for endpoints that are deleted, or disabled for long, and drops what is old."""
        ...

    async def untold(self) -> Sequence[DisabledEndpoint]:
        """Endpoints that were disabled and of which the operator has not been told."""
        ...

    async def told(self, endpoints: Sequence[DisabledEndpoint]) -> None: ...


class WebhookSender(Protocol):
    @property
    def timeout(self) -> timedelta:
        """No attempt takes longer."""
        ...

    async def send(self, delivery: Delivery) -> Outcome: ...


class OperatorMail(Protocol):
    async def send(self, subject: str, text: str) -> None: ...
