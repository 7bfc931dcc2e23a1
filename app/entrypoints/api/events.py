"""One event of a log: where a webhook links to that is too large to carry it."""

from typing import Annotated, Any

from fastapi import APIRouter, Path
from starlette.responses import Response

from app.domain.identifiers import PortfolioId
from app.entrypoints.api.dependencies import Deps, Reader
from app.entrypoints.api.event_documents import Heading
from app.entrypoints.api.schemas import Id
from app.entrypoints.api.strict_json import StrictRoute

router = APIRouter(prefix="/v1/portfolios/{portfolio_id}/events", tags=["events"], route_class=StrictRoute)


class ShownEvent(Heading):
    """Its envelope; `data` is described for each type among the webhooks."""

    data: dict[str, Any]


@router.get("/{sequence}", response_model=ShownEvent)
async def read(
    portfolio_id: Id, sequence: Annotated[int, Path(ge=1, lt=2**63)], caller: Reader, deps: Deps
) -> Response:
    async with deps.units() as unit:
        envelope = await unit.deliveries.event(caller.tenant_id, PortfolioId(portfolio_id), sequence)
    return Response(envelope, media_type="application/json")
