"""What managing webhooks needs: a store of endpoints, and one of what was and will be delivered to them."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from app.domain.identifiers import EndpointId, PortfolioId, TenantId
from app.ports.webhook_figures import QueueFigures


@dataclass(frozen=True, slots=True)
class EndpointTerms:
    """What its owner says of an endpoint. No event types: all of them, and the same of portfolios."""

    url: str
    description: str = ""
    event_types: tuple[str, ...] = ()
    portfolios: tuple[PortfolioId, ...] = ()
    rate_limit: int | None = None
    ordered: bool = False


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`disabled_reason` is empty unless the service did it; old secrets sign too until `rotated_until`."""

    id: EndpointId
    version: int
    terms: EndpointTerms
    enabled: bool
    disabled_reason: str
    rotated_until: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class LoggedAttempt:
    """`response` is how the answer began, or why none came, where there is no status."""

    number: int
    at: datetime
    status: int | None
    latency_ms: int
    response: str


@dataclass(frozen=True, slots=True)
class LoggedDelivery:
    """Of a test event portfolio and sequence are absent."""

    id: int
    event_id: str
    portfolio_id: PortfolioId | None
    sequence: int | None
    state: str
    next_attempt_at: datetime
    delivered_at: datetime | None
    created_at: datetime
    attempts: tuple[LoggedAttempt, ...]


@dataclass(frozen=True, slots=True)
class EndpointStatistics:
    """Of the attempts since then; latencies are absent where there was none."""

    since: datetime
    attempts: int
    succeeded: int
    p50_ms: int | None
    p95_ms: int | None
    p99_ms: int | None
    last_failure: LoggedAttempt | None
    pending: int
    failures_in_a_row: int
    failing_since: datetime | None
    paused_until: datetime | None


@dataclass(frozen=True, slots=True)
class Recovered:
    """`complete` is False where more is left than is taken at once."""

    deliveries: int
    complete: bool


class WebhookStore(Protocol):
    async def add(
        self, tenant_id: TenantId, endpoint_id: EndpointId, terms: EndpointTerms, secret: bytes
    ) -> Endpoint: ...
    async def all(self, tenant_id: TenantId) -> list[Endpoint]: ...
    async def get(self, tenant_id: TenantId, endpoint_id: EndpointId) -> Endpoint: ...
    async def lock(self, tenant_id: TenantId, endpoint_id: EndpointId) -> Endpoint:
        """For update."""
        ...

    async def replace(self, tenant_id: TenantId, endpoint_id: EndpointId, terms: EndpointTerms) -> Endpoint:
        """The next version."""
        ...

    async def rotate(
        self, tenant_id: TenantId, endpoint_id: EndpointId, secret: bytes, overlap: timedelta
    ) -> Endpoint:
        """The next version. What signed until now does so for `overlap`; a Conflict where too many do.

        Without an overlap only the new one signs.
        """
        ...

    async def set_enabled(
        self, tenant_id: TenantId, endpoint_id: EndpointId, *, enabled: bool
    ) -> Endpoint: ...
    async def delete(self, tenant_id: TenantId, endpoint_id: EndpointId) -> None: ...
    async def unknown(self, tenant_id: TenantId, portfolios: Collection[PortfolioId]) -> set[PortfolioId]: ...


class DeliveryLog(Protocol):
    """Of endpoints that are known to be the tenant's; `standing` is of everybody's."""

    async def page(
        self, endpoint_id: EndpointId, *, state: str | None, before: int | None, limit: int
    ) -> list[LoggedDelivery]:
        """Newest first."""
        ...

    async def resend(self, endpoint_id: EndpointId, delivery_id: int) -> LoggedDelivery:
        """Due at once, with a schedule of retries of its own; what is under way just now is left alone."""
        ...

    async def recover(
        self, endpoint_id: EndpointId, *, since: datetime, until: datetime, limit: int
    ) -> Recovered:
        """Deliveries of the events logged in that time that were not delivered and do not wait to be."""
        ...

    async def add_test(self, endpoint_id: EndpointId, event: Mapping[str, Any]) -> LoggedDelivery: ...
    async def statistics(self, endpoint_id: EndpointId, *, since: timedelta) -> EndpointStatistics: ...
    async def standing(self) -> QueueFigures: ...
    async def event(self, tenant_id: TenantId, portfolio_id: PortfolioId, sequence: int) -> bytes:
        """The envelope."""
        ...
