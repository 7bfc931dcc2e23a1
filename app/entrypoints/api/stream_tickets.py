"""Route of tickets for the stream."""

from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.security import HTTPAuthorizationCredentials
from pydantic import Field
from starlette.responses import Response

from app.entrypoints.api.dependencies import Deps, Reader, bearer
from app.entrypoints.api.schemas import Shown
from app.entrypoints.api.strict_json import StrictRoute
from app.services.admit_client import TICKET_LIFETIME, TICKET_SECRET_BYTES, issue_ticket

router = APIRouter(prefix="/v1/stream/tickets", tags=["stream"], route_class=StrictRoute)


class ShownTicket(Shown):
    ticket: str = Field(examples=["blstt_Qm3x9aZ0b1c2d3e4f5g6h7i8j9k0l1m2n3o4p5q6r7s"])
    expires_in_seconds: int = Field(examples=[30])


@router.post("", status_code=201)
async def create(
    _: Reader,
    deps: Deps,
    key: Annotated[HTTPAuthorizationCredentials, Depends(bearer)],
    response: Response,
) -> ShownTicket:
    """Opens `/v1/stream?ticket=…` once, for browsers, which cannot send a key there. Each is another one."""
    ticket = await issue_ticket(deps.tickets, key.credentials, deps.new_secret(TICKET_SECRET_BYTES))
    response.headers["Cache-Control"] = "no-store"
    return ShownTicket(ticket=ticket, expires_in_seconds=int(TICKET_LIFETIME.total_seconds()))
