"""What is told of a trader's policy: that it was created, changed, switched or deleted."""

from app.domain.events import EventType, NewEvent
from app.domain.identifiers import PolicyId, PortfolioId, TenantId
from app.domain.policies import AnyPolicy


def policy_event(
    kind: EventType,
    tenant_id: TenantId,
    portfolio_id: PortfolioId,
    policy_id: PolicyId,
    *,
    version: int,
    policy: AnyPolicy,
    time_ns: int,
) -> NewEvent:
    """Of the version that it has now. What it says in full is read where policies are."""
    data = {
        "portfolio_id": str(portfolio_id),
        "policy_id": str(policy_id),
        "policy_version": version,
        "policy": policy.name,
        "kind": policy.kind,
        "mode": policy.mode.value,
        "enabled": policy.enabled,
    }
    return NewEvent(kind, tenant_id, portfolio_id, time_ns, data)
