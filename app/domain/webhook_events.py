"""What is told of a tenant's webhook endpoints, in the tenant's own log."""

from app.domain.events import EventType, NewEvent
from app.domain.identifiers import EndpointId, PortfolioId, TenantId


def disabled_event(
    tenant_id: TenantId, endpoint_id: EndpointId, url: str, reason: str, time_ns: int
) -> NewEvent:
    data = {"endpoint_id": str(endpoint_id), "url": url, "reason": reason}
    return NewEvent(EventType.WEBHOOK_DISABLED, tenant_id, PortfolioId(tenant_id), time_ns, data)
