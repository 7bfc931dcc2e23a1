"""Routes of the operator's policies, which bind portfolios of any tenant. They need the scope `operator`."""

from fastapi import APIRouter
from pydantic import Field
from starlette.responses import Response
from typing_extensions import Unpack

from app.domain.identifiers import OperatorPolicyId
from app.domain.policies import Policy
from app.entrypoints.api.cursors import Cursor, Limit, decode_number, encode_number
from app.entrypoints.api.dependencies import Deps, Operator
from app.entrypoints.api.policy_edits import (
    OptionalVersion,
    RequiredVersion,
    SetEnabled,
    Setting,
    Switching,
)
from app.entrypoints.api.schemas import Id, Listing, Shown
from app.entrypoints.api.strict_json import StrictRoute
from app.entrypoints.api.writes import Answer, Writing, WritingOnce
from app.ports.management import UnitOfWork
from app.ports.operator_policies import OperatorPolicyRecord
from app.services.documents import OperatorPolicyDocument
from app.services.manage_operator_policies import (
    create_operator_policy,
    delete_operator_policy,
    replace_operator_policy,
    set_operator_policy_enabled,
)

router = APIRouter(prefix="/v1/operator/policies", tags=["operator"], route_class=StrictRoute)


class ShownOperatorPolicy(Shown):
    """Whom it binds is said in one of three ways, as it was when it was written."""

    id: Id
    version: int = Field(description="Also its ETag, and the version of every copy.", examples=[3])
    policy: Policy
    portfolios: list[Id]
    tenant: str | None = Field(examples=[None])
    all: bool = Field(examples=[True])
    bound: int = Field(description="Portfolios that have this version.", examples=[1250])
    in_line: bool = Field(
        description="False while portfolios have still to follow this version, or to be released.",
        examples=[True],
    )

    @classmethod
    def of(cls, record: OperatorPolicyRecord) -> "ShownOperatorPolicy":
        return cls(
            id=record.id,
            version=record.version,
            policy=record.policy,
            portfolios=list(record.binding.portfolios),
            tenant=record.binding.tenant,
            all=record.binding.all,
            bound=record.bound,
            in_line=record.in_line,
        )


def _answer(record: OperatorPolicyRecord) -> Answer:
    return Answer(ShownOperatorPolicy.of(record), headers={"ETag": f'"{record.version}"'})


@router.post("", status_code=201, response_model=ShownOperatorPolicy)
async def create(
    document: OperatorPolicyDocument, caller: Operator, deps: Deps, writes: WritingOnce
) -> Response:
    """Every portfolio bound has a copy among its policies, which comes before all of the trader's.

    The first thousand have it with the answer, the others soon after.
    """
    time_ns = await deps.market.time_ns()

    async def work(unit: UnitOfWork) -> Answer:
        policy_id = OperatorPolicyId(deps.new_id())
        record = await create_operator_policy(unit, policy_id, document, time_ns=time_ns)
        headers = {"ETag": f'"{record.version}"', "Location": f"/v1/operator/policies/{record.id}"}
        return Answer(ShownOperatorPolicy.of(record), 201, headers)

    return await writes.run(caller, work)


@router.get("")
async def list_page(
    _caller: Operator, deps: Deps, limit: Limit = 50, cursor: Cursor = None
) -> Listing[ShownOperatorPolicy]:
    """In the order of their creation."""
    async with deps.units() as unit:
        found = await unit.operator_policies.page(after=decode_number(cursor) or 0, limit=limit + 1)
    following = encode_number(found[limit - 1].ordinal) if len(found) > limit else None
    return Listing(items=[ShownOperatorPolicy.of(record) for record in found[:limit]], next_cursor=following)


@router.get("/{operator_policy_id}")
async def read(
    operator_policy_id: Id, _caller: Operator, deps: Deps, response: Response
) -> ShownOperatorPolicy:
    async with deps.units() as unit:
        record = await unit.operator_policies.get(OperatorPolicyId(operator_policy_id))
    response.headers["ETag"] = f'"{record.version}"'
    return ShownOperatorPolicy.of(record)


@router.put("/{operator_policy_id}", response_model=ShownOperatorPolicy)
async def put(
    *,
    operator_policy_id: Id,
    document: OperatorPolicyDocument,
    caller: Operator,
    version: RequiredVersion,
    deps: Deps,
    writes: Writing,
) -> Response:
    """A new version, also of whom it binds; what the old one still had open is superseded."""
    time_ns = await deps.market.time_ns()

    async def work(unit: UnitOfWork) -> Answer:
        record = await replace_operator_policy(
            unit,
            OperatorPolicyId(operator_policy_id),
            document,
            expected_version=version,
            time_ns=time_ns,
        )
        return _answer(record)

    return await writes.run(caller, work)


@router.post("/{operator_policy_id}/enable", response_model=ShownOperatorPolicy)
async def enable(operator_policy_id: Id, caller: Operator, switch: Switching) -> Response:
    return await switch.turn(caller, _set_enabled(operator_policy_id), enabled=True)


@router.post("/{operator_policy_id}/disable", response_model=ShownOperatorPolicy)
async def disable(operator_policy_id: Id, caller: Operator, switch: Switching) -> Response:
    return await switch.turn(caller, _set_enabled(operator_policy_id), enabled=False)


def _set_enabled(operator_policy_id: Id) -> SetEnabled:
    async def work(unit: UnitOfWork, **setting: Unpack[Setting]) -> Answer:
        return _answer(
            await set_operator_policy_enabled(unit, OperatorPolicyId(operator_policy_id), **setting)
        )

    return work


@router.delete("/{operator_policy_id}", status_code=204)
async def delete(
    operator_policy_id: Id, caller: Operator, version: OptionalVersion, deps: Deps, writes: Writing
) -> Response:
    """It binds nobody any more; what was decided from it stays on record."""
    time_ns = await deps.market.time_ns()

    async def work(unit: UnitOfWork) -> Answer:
        await delete_operator_policy(
            unit, OperatorPolicyId(operator_policy_id), expected_version=version, time_ns=time_ns
        )
        return Answer(status=204)

    return await writes.run(caller, work)
