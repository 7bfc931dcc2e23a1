"""What a policy is doing, and what one would do: by the evaluator's own code on the market as it stands."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from app.domain.conflicts import Conflict, conflicts_of
from app.domain.identifiers import PolicyId, PortfolioId, TenantId
from app.domain.policies import AnyPolicy, StoredPolicy
from app.domain.portfolios import Portfolio
from app.engine.inspection import Preview, Standing, preview, standing_of
from app.engine.market_view import MarketView
from app.engine.memory import PolicyMemory, unpacked
from app.engine.risk import market_view
from app.ports.management import MarketNow, PolicyRecord, UnitOfWork, UnitsOfWork
from app.services.check_policy import check_policy


@dataclass(frozen=True, slots=True)
class PolicyPreview:
    portfolio: Portfolio
    preview: Preview
    warnings: list[Conflict]


@dataclass(frozen=True, slots=True)
class PolicyStatus:
    """`instruments` names the rows of the market."""

    portfolio: Portfolio
    record: PolicyRecord
    standing: Standing
    instruments: Sequence[str]


async def preview_policy(
    units: UnitsOfWork,
    market: MarketNow,
    tenant_id: TenantId,
    portfolio_id: PortfolioId,
    policy: AnyPolicy,
    *,
    policy_id: PolicyId,
) -> PolicyPreview:
    """Nothing is stored. `policy_id`: of a stored policy that it would replace, or a new one."""
    async with units() as unit:
        portfolio = await unit.portfolios.get(tenant_id, portfolio_id)
        await check_policy(unit, portfolio, policy)
        memories = await memories_of(unit, portfolio_id)
        warnings = await warnings_of(unit, tenant_id, portfolio_id, policy_id, policy)
        view = await _market(unit, market)
    stored = StoredPolicy(policy_id, 1, policy.model_copy(update={"enabled": True}))
    return PolicyPreview(portfolio, preview(portfolio, stored, memories, view), warnings)


async def show_status(
    units: UnitsOfWork, market: MarketNow, tenant_id: TenantId, policy_id: PolicyId
) -> PolicyStatus:
    async with units() as unit:
        record = await unit.policies.get(tenant_id, policy_id)
        portfolio = await unit.portfolios.get(tenant_id, record.portfolio_id)
        memories = await memories_of(unit, record.portfolio_id)
        view = await _market(unit, market)
    others = tuple(stored for stored in portfolio.policies if stored.id != policy_id)
    with_it = replace(portfolio, policies=(*others, StoredPolicy(policy_id, record.version, record.policy)))
    return PolicyStatus(
        portfolio, record, standing_of(with_it, policy_id, memories, view), view.universe.names
    )


async def warnings_of(
    unit: UnitOfWork,
    tenant_id: TenantId,
    portfolio_id: PortfolioId,
    policy_id: PolicyId,
    policy: AnyPolicy,
) -> list[Conflict]:
    """Beside the portfolio's other policies as they are now."""
    records = await unit.policies.of_portfolio(tenant_id, portfolio_id)
    return conflicts_of(policy, [record.policy for record in records if record.id != policy_id])


async def memories_of(unit: UnitOfWork, *portfolio_ids: PortfolioId) -> Mapping[PolicyId, PolicyMemory]:
    packed = await unit.policies.memories(portfolio_ids)
    return {policy_id: unpacked(memory) for policy_id, memory in packed.items()}


async def _market(unit: UnitOfWork, market: MarketNow) -> MarketView:
    instruments = await unit.instruments.all()
    position, time_ns = await market.clock()
    return market_view(instruments, await market.everything(), position=position, time_ns=time_ns)
