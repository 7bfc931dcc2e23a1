"""Policies: checked against the portfolio they are for, kept in versions."""

from dataclasses import replace
from typing import assert_never

from app.domain.errors import InvalidInput, VersionMoved
from app.domain.identifiers import InstrumentId, PolicyId, PortfolioId, TenantId
from app.domain.instruments import Instrument, InstrumentKind
from app.domain.policies import DeltaNeutral, LiquidationGuard
from app.domain.portfolios import Portfolio
from app.ports.management import AnyPolicy, PolicyRecord, UnitOfWork
from app.services.documents import check_decimals
from app.services.manage_portfolios import account_named
from app.services.supersede_adjustments import NOT_STARTED, supersede_adjustments


async def create_policy(
    unit: UnitOfWork, tenant_id: TenantId, portfolio_id: PortfolioId, policy_id: PolicyId, policy: AnyPolicy
) -> PolicyRecord:
    portfolio = await unit.portfolios.lock(tenant_id, portfolio_id)
    await check_policy(unit, portfolio, policy)
    record = await unit.policies.add(tenant_id, portfolio_id, policy_id, policy)
    await unit.portfolios.touch(portfolio_id)
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
    return await _edit(unit, portfolio, stored, policy, because="its policy was changed", time_ns=time_ns)


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
    because = f"its policy was {'enabled' if enabled else 'disabled'}"
    return await _edit(unit, portfolio, stored, policy, because=because, time_ns=time_ns)


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


async def check_policy(unit: UnitOfWork, portfolio: Portfolio, policy: AnyPolicy) -> None:
    """InvalidInput with the place, when the policy speaks of what the portfolio or the market has not."""
    check_decimals(policy)
    match policy:
        case DeltaNeutral():
            await _check_hedge(unit, portfolio, policy)
        case LiquidationGuard():
            if policy.account is not None:
                account_named(portfolio, policy.account, "/account")
        case _:
            assert_never(policy)


async def _check_hedge(unit: UnitOfWork, portfolio: Portfolio, policy: DeltaNeutral) -> None:
    wanted = InstrumentId(policy.hedge_instrument)
    instrument = (await unit.instruments.some([wanted])).get(wanted)
    if instrument is None:
        raise InvalidInput(f"no instrument {wanted}", path="/hedge_instrument")
    if instrument.kind not in (InstrumentKind.PERPETUAL, InstrumentKind.FUTURE):
        raise InvalidInput(
            f"{wanted} is of kind {instrument.kind}; a hedge is a perpetual or a future",
            path="/hedge_instrument",
        )
    if instrument.underlying != policy.underlying:
        raise InvalidInput(
            f"{wanted} is on {instrument.underlying}, not on {policy.underlying}", path="/hedge_instrument"
        )
    _check_hedge_account(portfolio, policy, instrument)


def _check_hedge_account(portfolio: Portfolio, policy: DeltaNeutral, instrument: Instrument) -> None:
    if policy.hedge_account is None:
        if all(account.venue != instrument.venue for account in portfolio.accounts):
            raise InvalidInput(
                f"{instrument.id} trades on {instrument.venue!r}, where no account of the portfolio is",
                path="/hedge_instrument",
            )
        return
    account = account_named(portfolio, policy.hedge_account, "/hedge_account")
    if account.venue != instrument.venue:
        raise InvalidInput(
            f"{account.name!r} is on {account.venue!r}, but {instrument.id} trades on {instrument.venue!r}",
            path="/hedge_account",
        )


async def _locked(
    unit: UnitOfWork, tenant_id: TenantId, policy_id: PolicyId, expected_version: int | None
) -> tuple[Portfolio, PolicyRecord]:
    """The portfolio first, then the policy as it stands under that lock."""
    record = await unit.policies.get(tenant_id, policy_id)
    portfolio = await unit.portfolios.lock(tenant_id, record.portfolio_id)
    record = await unit.policies.get(tenant_id, policy_id)
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
    *,
    because: str,
    time_ns: int,
) -> PolicyRecord:
    edited = replace(stored, version=stored.version + 1, policy=policy)
    await unit.policies.replace(edited)
    await _supersede(unit, portfolio, stored, because=because, time_ns=time_ns)
    await unit.portfolios.touch(portfolio.id)
    return edited


async def _supersede(
    unit: UnitOfWork, portfolio: Portfolio, record: PolicyRecord, *, because: str, time_ns: int
) -> None:
    await supersede_adjustments(
        unit, portfolio, states=NOT_STARTED, policy_id=record.id, because=because, time_ns=time_ns
    )
