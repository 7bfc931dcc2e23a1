"""The operator's policies: rules of whoever runs the service, which bind portfolios of any tenant.

Each portfolio bound has a copy among its policies, so that it is evaluated, remembered and explained like any
other. A write takes a batch of portfolios along, in its transaction; those that are left follow in batches of
their own (`follow_operator_policies.py`). What a copy had open is superseded.
"""

from collections.abc import Sequence
from dataclasses import replace

from app.domain.errors import InvalidInput, VersionMoved
from app.domain.identifiers import OperatorPolicyId, PortfolioId
from app.domain.policies import AnyPolicy
from app.domain.portfolios import Portfolio
from app.ports.management import UnitOfWork
from app.ports.operator_policies import Binding, OperatorPolicyRecord
from app.services.check_policy import check_policy, check_policy_of_any
from app.services.documents import OperatorPolicyDocument
from app.services.supersede_adjustments import NOT_STARTED, supersede

BATCH = 1_000
"""Portfolios that a transaction holds at once, and that may be named one by one. Evaluators wait for it."""


async def create_operator_policy(
    unit: UnitOfWork,
    operator_policy_id: OperatorPolicyId,
    document: OperatorPolicyDocument,
    *,
    time_ns: int,
) -> OperatorPolicyRecord:
    binding = await _checked_binding(unit, document)
    return await _write(unit, OperatorPolicyRecord(operator_policy_id, 1, document.policy, binding), time_ns)


async def replace_operator_policy(
    unit: UnitOfWork,
    operator_policy_id: OperatorPolicyId,
    document: OperatorPolicyDocument,
    *,
    expected_version: int | None,
    time_ns: int,
) -> OperatorPolicyRecord:
    """The next version, of whom it binds too."""
    stored = await _locked(unit, operator_policy_id, expected_version)
    binding = await _checked_binding(unit, document)
    edited = replace(stored, version=stored.version + 1, policy=document.policy, binding=binding)
    return await _write(unit, edited, time_ns)


async def set_operator_policy_enabled(
    unit: UnitOfWork,
    operator_policy_id: OperatorPolicyId,
    *,
    enabled: bool,
    expected_version: int | None,
    time_ns: int,
) -> OperatorPolicyRecord:
    """A version of its own, unless it is so already."""
    stored = await _locked(unit, operator_policy_id, expected_version)
    if stored.policy.enabled is enabled:
        return stored
    policy = stored.policy.model_copy(update={"enabled": enabled})
    edited = replace(stored, version=stored.version + 1, policy=policy)
    return await _write(unit, edited, time_ns)


async def delete_operator_policy(
    unit: UnitOfWork, operator_policy_id: OperatorPolicyId, *, expected_version: int | None, time_ns: int
) -> None:
    stored = await _locked(unit, operator_policy_id, expected_version)
    await unit.operator_policies.delete(operator_policy_id)
    await bring_in_line(unit, operator_policy_id, stored.policy, time_ns=time_ns)


async def bring_in_line(
    unit: UnitOfWork,
    operator_policy_id: OperatorPolicyId,
    policy: AnyPolicy,
    named: Sequence[PortfolioId] = (),
    *,
    limit: int = BATCH,
    time_ns: int,
) -> None:
    """The next portfolios take the version over, or let go of it; what the copy had open is superseded."""
    batch = await unit.operator_policies.bring_in_line(operator_policy_id, policy, named, limit=limit)
    records = await unit.adjustments.lock_open_of_operator(operator_policy_id, batch, NOT_STARTED)
    await supersede(unit, records, because="the operator changed its policy", time_ns=time_ns)


async def _write(unit: UnitOfWork, record: OperatorPolicyRecord, time_ns: int) -> OperatorPolicyRecord:
    await unit.operator_policies.write(record)
    await bring_in_line(unit, record.id, record.policy, record.binding.portfolios, time_ns=time_ns)
    return await unit.operator_policies.get(record.id)


async def _locked(
    unit: UnitOfWork, operator_policy_id: OperatorPolicyId, expected_version: int | None
) -> OperatorPolicyRecord:
    record = await unit.operator_policies.lock(operator_policy_id)
    if expected_version is not None and record.version != expected_version:
        raise VersionMoved(
            f"the policy is at version {record.version}, not {expected_version}; read it again"
        )
    return record


async def _checked_binding(unit: UnitOfWork, document: OperatorPolicyDocument) -> Binding:
    """InvalidInput with the place, when there is nobody to bind, or the policy does not fit them."""
    ids = tuple(PortfolioId(each) for each in document.portfolios)
    named = await unit.operator_policies.portfolios(ids)
    known = {portfolio.id for portfolio in named}
    for number, portfolio_id in enumerate(ids):
        if portfolio_id not in known:
            raise InvalidInput(f"no portfolio {portfolio_id}", path=f"/portfolios/{number}")
    await _check(unit, document.policy, named)
    if document.tenant is None:
        return Binding(all=document.all, portfolios=ids)
    tenant_id = await unit.operator_policies.tenant_named(document.tenant)
    if tenant_id is None:
        raise InvalidInput(f"no tenant {document.tenant!r}", path="/tenant")
    return Binding(tenant_id=tenant_id, tenant=document.tenant)


async def _check(unit: UnitOfWork, policy: AnyPolicy, named: Sequence[Portfolio]) -> None:
    """Against the portfolios named, or for any when none is."""
    try:
        for portfolio in named:
            await check_policy(unit, portfolio, policy)
        if not named:
            await check_policy_of_any(unit, policy)
    except InvalidInput as error:
        raise InvalidInput(str(error), path=f"/policy{error.path}") from error
