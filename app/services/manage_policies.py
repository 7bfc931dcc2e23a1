"""Policies: checked against the portfolio they are for, kept in versions."""

from dataclasses import replace

from app.domain.errors import OperatorsOwn, VersionMoved
from app.domain.events import EventType
from app.domain.identifiers import PolicyId, PortfolioId, TenantId
from app.domain.policies import AnyPolicy
from app.domain.policy_events import policy_event
from app.domain.portfolios import Portfolio
from app.ports.management import PolicyRecord, UnitOfWork
from app.services.check_policy import check_policy
from app.services.supersede_adjustments import NOT_STARTED, supersede_adjustments


async def create_policy(
    unit: UnitOfWork,
    tenant_id: TenantId,
    portfolio_id: PortfolioId,
    policy_id: PolicyId,
    policy: AnyPolicy,
    *,
    time_ns: int,
) -> PolicyRecord:
    """`time_ns` is the market clock; 0 where that is not known."""
    portfolio = await unit.portfolios.lock(tenant_id, portfolio_id)
    await check_policy(unit, portfolio, policy)
    record = await unit.policies.add(tenant_id, portfolio_id, policy_id, policy)
    await unit.portfolios.touch(portfolio_id)
    await _tell(unit, portfolio, record, EventType.POLICY_CREATED, time_ns)
    return record


async def replace_policy(
    unit: UnitOfWork,
    tenant_id: TenantId,
    policy_id: PolicyId,
    policy: AnyPolicy,
    *,
    expected_version: int | None,
    time_ns: int,
) -> PolicyRecord:
    """The next version. What the old one still had open is superseded: it must not silence the new one."""
    portfolio, stored = await _locked(unit, tenant_id, policy_id, expected_version)
    await check_policy(unit, portfolio, policy)
    kind, because = EventType.POLICY_CHANGED, "its policy was changed"
    return await _edit(unit, portfolio, stored, policy, kind, because=because, time_ns=time_ns)


async def set_policy_enabled(
    unit: UnitOfWork,
    tenant_id: TenantId,
    policy_id: PolicyId,
    *,
    enabled: bool,
    expected_version: int | None,
    time_ns: int,
) -> PolicyRecord:
    """A version of its own, unless it is so already."""
    portfolio, stored = await _locked(unit, tenant_id, policy_id, expected_version)
    if stored.policy.enabled is enabled:
        return stored
    policy = stored.policy.model_copy(update={"enabled": enabled})
    kind = EventType.POLICY_ENABLED if enabled else EventType.POLICY_DISABLED
    because = f"its policy was {'enabled' if enabled else 'disabled'}"
    return await _edit(unit, portfolio, stored, policy, kind, because=because, time_ns=time_ns)


async def delete_policy(
    unit: UnitOfWork,
    tenant_id: TenantId,
    policy_id: PolicyId,
    *,
    expected_version: int | None,
    time_ns: int,
) -> None:
    portfolio, stored = await _locked(unit, tenant_id, policy_id, expected_version)
    await unit.policies.delete(policy_id)
    await _supersede(unit, portfolio, stored, because="its policy was deleted", time_ns=time_ns)
    await unit.portfolios.touch(portfolio.id)
    await _tell(unit, portfolio, stored, EventType.POLICY_DELETED, time_ns)


async def _locked(
    unit: UnitOfWork, tenant_id: TenantId, policy_id: PolicyId, expected_version: int | None
) -> tuple[Portfolio, PolicyRecord]:
    """The portfolio first, then the policy as it stands under that lock."""
    record = await unit.policies.get(tenant_id, policy_id)
    portfolio = await unit.portfolios.lock(tenant_id, record.portfolio_id)
    record = await unit.policies.get(tenant_id, policy_id)
    if record.operator:
        raise OperatorsOwn(
            f"policy {policy_id} is the operator's: it binds this portfolio until whoever runs the service "
            "changes it, and can be neither edited nor switched off nor deleted here"
        )
    if expected_version is not None and record.version != expected_version:
        raise VersionMoved(
            f"the policy is at version {record.version}, not {expected_version}; read it again"
        )
    return portfolio, record


async def _edit(
    unit: UnitOfWork,
    portfolio: Portfolio,
    stored: PolicyRecord,
    policy: AnyPolicy,
    kind: EventType,
    *,
    because: str,
    time_ns: int,
) -> PolicyRecord:
    edited = replace(stored, version=stored.version + 1, policy=policy)
    await unit.policies.replace(edited)
    await _supersede(unit, portfolio, stored, because=because, time_ns=time_ns)
    await unit.portfolios.touch(portfolio.id)
    await _tell(unit, portfolio, edited, kind, time_ns)
    return edited


async def _supersede(
    unit: UnitOfWork, portfolio: Portfolio, record: PolicyRecord, *, because: str, time_ns: int
) -> None:
    await supersede_adjustments(
        unit, portfolio, states=NOT_STARTED, policy_id=record.id, because=because, time_ns=time_ns
    )


async def _tell(
    unit: UnitOfWork, portfolio: Portfolio, record: PolicyRecord, kind: EventType, time_ns: int
) -> None:
    event = policy_event(
        kind,
        portfolio.tenant_id,
        portfolio.id,
        record.id,
        version=record.version,
        policy=record.policy,
        time_ns=time_ns,
    )
    await unit.append([event])
