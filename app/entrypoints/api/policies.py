"""Routes of policies."""

from fastapi import APIRouter
from starlette.responses import Response
from typing_extensions import Unpack

from app.domain.conflicts import conflicts_of
from app.domain.identifiers import PolicyId, PortfolioId
from app.domain.policies import Policy
from app.entrypoints.api.cursors import (
    Cursor,
    Limit,
    decode_decision,
    decode_number,
    encode_decision,
    encode_number,
)
from app.entrypoints.api.dependencies import Deps, Reader, Trader
from app.entrypoints.api.policy_edits import (
    OptionalVersion,
    RequiredVersion,
    SetEnabled,
    Setting,
    Switching,
)
from app.entrypoints.api.schemas import Id, Listing, ShownDecision, ShownPolicy, ShownPolicyVersion
from app.entrypoints.api.strict_json import StrictRoute
from app.entrypoints.api.writes import Answer, Writing, WritingOnce
from app.ports.management import Caller, PolicyRecord, UnitOfWork
from app.services.manage_policies import (
    create_policy,
    delete_policy,
    replace_policy,
    set_policy_enabled,
)
from app.services.preview_policy import warnings_of

router = APIRouter(prefix="/v1", tags=["policies"], route_class=StrictRoute)


async def _shown(unit: UnitOfWork, caller: Caller, record: PolicyRecord) -> ShownPolicy:
    """With what it would fight."""
    place = (caller.tenant_id, record.portfolio_id, record.id)
    return ShownPolicy.of(record, await warnings_of(unit, *place, record.policy))


async def _answer(unit: UnitOfWork, caller: Caller, record: PolicyRecord) -> Answer:
    return Answer(await _shown(unit, caller, record), headers={"ETag": f'"{record.version}"'})


@router.post("/portfolios/{portfolio_id}/policies", status_code=201, response_model=ShownPolicy)
async def create(
    portfolio_id: Id, policy: Policy, caller: Trader, deps: Deps, writes: WritingOnce
) -> Response:
    time_ns = await deps.market.time_ns()

    async def work(unit: UnitOfWork) -> Answer:
        policy_id = PolicyId(deps.new_id())
        place = (caller.tenant_id, PortfolioId(portfolio_id), policy_id)
        record = await create_policy(unit, *place, policy, time_ns=time_ns)
        headers = {"ETag": f'"{record.version}"', "Location": f"/v1/policies/{record.id}"}
        return Answer(await _shown(unit, caller, record), 201, headers)

    return await writes.run(caller, work)


@router.get("/portfolios/{portfolio_id}/policies")
async def list_of_portfolio(portfolio_id: Id, caller: Reader, deps: Deps) -> Listing[ShownPolicy]:
    async with deps.units() as unit:
        await unit.portfolios.get(caller.tenant_id, PortfolioId(portfolio_id))
        records = await unit.policies.of_portfolio(caller.tenant_id, PortfolioId(portfolio_id))
    conflicts = (
        conflicts_of(record.policy, [other.policy for other in records if other is not record])
        for record in records
    )
    return Listing(items=[ShownPolicy.of(*each) for each in zip(records, conflicts, strict=True)])


@router.get("/policies/{policy_id}")
async def read(policy_id: Id, caller: Reader, deps: Deps, response: Response) -> ShownPolicy:
    async with deps.units() as unit:
        record = await unit.policies.get(caller.tenant_id, PolicyId(policy_id))
        shown = await _shown(unit, caller, record)
    response.headers["ETag"] = f'"{record.version}"'
    return shown


@router.put("/policies/{policy_id}", response_model=ShownPolicy)
async def put(
    *,
    policy_id: Id,
    policy: Policy,
    caller: Trader,
    version: RequiredVersion,
    deps: Deps,
    writes: Writing,
) -> Response:
    """A new version; what the old one still had open is superseded. 412 when `If-Match` is not current."""
    time_ns = await deps.market.time_ns()

    async def work(unit: UnitOfWork) -> Answer:
        record = await replace_policy(
            unit,
            caller.tenant_id,
            PolicyId(policy_id),
            policy,
            expected_version=version,
            time_ns=time_ns,
        )
        return await _answer(unit, caller, record)

    return await writes.run(caller, work)


@router.post("/policies/{policy_id}/enable", response_model=ShownPolicy)
async def enable(policy_id: Id, caller: Trader, switch: Switching) -> Response:
    return await switch.turn(caller, _set_enabled(policy_id, caller), enabled=True)


@router.post("/policies/{policy_id}/disable", response_model=ShownPolicy)
async def disable(policy_id: Id, caller: Trader, switch: Switching) -> Response:
    return await switch.turn(caller, _set_enabled(policy_id, caller), enabled=False)


def _set_enabled(policy_id: Id, caller: Caller) -> SetEnabled:
    async def work(unit: UnitOfWork, **setting: Unpack[Setting]) -> Answer:
        record = await set_policy_enabled(unit, caller.tenant_id, PolicyId(policy_id), **setting)
        return await _answer(unit, caller, record)

    return work


@router.delete("/policies/{policy_id}", status_code=204)
async def delete(
    policy_id: Id, caller: Trader, version: OptionalVersion, deps: Deps, writes: Writing
) -> Response:
    time_ns = await deps.market.time_ns()

    async def work(unit: UnitOfWork) -> Answer:
        await delete_policy(
            unit, caller.tenant_id, PolicyId(policy_id), expected_version=version, time_ns=time_ns
        )
        return Answer(status=204)

    return await writes.run(caller, work)


@router.get("/policies/{policy_id}/versions")
async def list_versions(
    policy_id: Id, caller: Reader, deps: Deps, limit: Limit = 50, cursor: Cursor = None
) -> Listing[ShownPolicyVersion]:
    """Newest first."""
    async with deps.units() as unit:
        found = await unit.policies.versions(
            caller.tenant_id, PolicyId(policy_id), before=decode_number(cursor), limit=limit + 1
        )
    following = encode_number(found[limit - 1].version) if len(found) > limit else None
    return Listing(items=[ShownPolicyVersion.of(version) for version in found[:limit]], next_cursor=following)


@router.get("/policies/{policy_id}/decisions")
async def list_decisions(
    policy_id: Id, caller: Reader, deps: Deps, limit: Limit = 50, cursor: Cursor = None
) -> Listing[ShownDecision]:
    """What was concluded whenever it fired, newest first, suppressions with their reason included."""
    async with deps.units() as unit:
        await unit.policies.get(caller.tenant_id, PolicyId(policy_id))
        found = await unit.policies.decisions(
            caller.tenant_id, PolicyId(policy_id), before=decode_decision(cursor), limit=limit + 1
        )
    last = found[limit - 1] if len(found) > limit else None
    return Listing(
        items=[ShownDecision.of(decision) for decision in found[:limit]],
        next_cursor=None if last is None else encode_decision(last.position, last.id),
    )
