"""Routes of adjustments: seen, approved, rejected."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import ConfigDict, Field
from starlette.responses import Response

from app.domain.adjustments import AdjustmentState
from app.domain.identifiers import AdjustmentId, PolicyId, PortfolioId
from app.entrypoints.api.consent import approval, rejection
from app.entrypoints.api.cursors import Cursor, Limit, decode_place, encode_place
from app.entrypoints.api.dependencies import Deps, Reader, Trader
from app.entrypoints.api.schemas import Id, Listing, ShownAdjustment
from app.entrypoints.api.strict_json import StrictRoute
from app.entrypoints.api.writes import WritingOnce
from app.services.documents import Document

router = APIRouter(prefix="/v1/adjustments", tags=["adjustments"], route_class=StrictRoute)


class RejectionDocument(Document):
    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "hedged elsewhere"}]})

    reason: Annotated[str, Field(max_length=400)] = ""


@router.get("")
async def list_page(
    *,
    caller: Reader,
    deps: Deps,
    portfolio: Annotated[Id | None, Query(description="Only of this portfolio.")] = None,
    policy: Annotated[Id | None, Query(description="Only those that serve this policy.")] = None,
    state: Annotated[AdjustmentState | None, Query(description="Only in this state.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Listing[ShownAdjustment]:
    """Newest first."""
    async with deps.units() as unit:
        page = await unit.adjustments.page(
            caller.tenant_id,
            portfolio_id=None if portfolio is None else PortfolioId(portfolio),
            policy_id=None if policy is None else PolicyId(policy),
            state=state,
            after=decode_place(cursor),
            limit=limit,
        )
    return Listing(
        items=[ShownAdjustment.of(record) for record in page.items],
        next_cursor=encode_place(page.following),
    )


@router.get("/{adjustment_id}")
async def read(adjustment_id: Id, caller: Reader, deps: Deps) -> ShownAdjustment:
    async with deps.units() as unit:
        return ShownAdjustment.of(await unit.adjustments.get(caller.tenant_id, AdjustmentId(adjustment_id)))


@router.post("/{adjustment_id}/approve", response_model=ShownAdjustment)
async def approve(adjustment_id: Id, caller: Trader, deps: Deps, writes: WritingOnce) -> Response:
    """Re-checked on the market of this moment, then queued."""
    wanted = AdjustmentId(adjustment_id)
    return await writes.run(caller, await approval(deps.units, deps.market, caller.tenant_id, wanted))


@router.post("/{adjustment_id}/reject", response_model=ShownAdjustment)
async def reject(
    adjustment_id: Id,
    caller: Trader,
    deps: Deps,
    writes: WritingOnce,
    document: RejectionDocument | None = None,
) -> Response:
    """While no executor has taken it."""
    because = "" if document is None else document.reason
    wanted = AdjustmentId(adjustment_id)
    return await writes.run(caller, await rejection(deps.market, caller.tenant_id, wanted, because=because))
