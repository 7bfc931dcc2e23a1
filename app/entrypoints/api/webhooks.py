"""Routes of webhook endpoints and their deliveries."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import ConfigDict, Field
from starlette.responses import Response

from app.domain.events import EventType
from app.domain.identifiers import EndpointId, derived_id
from app.entrypoints.api.cursors import Cursor, Limit, decode_number, encode_number
from app.entrypoints.api.dependencies import Administrator, Deps, Reader
from app.entrypoints.api.schemas import Id, Listing, Shown, WallTime
from app.entrypoints.api.strict_json import StrictRoute
from app.entrypoints.api.writes import Answer, Writing, WritingOnce
from app.ports.management import Delivery, Endpoint, UnitOfWork
from app.services.documents import Document
from app.services.manage_webhooks import SECRET_BYTES, create_endpoint

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"], route_class=StrictRoute)


class EndpointDocument(Document):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "url": "https://example.com/hooks/ballast",
                    "event_types": ["adjustment.recommended"],
                    "description": "desk alerts",
                }
            ]
        }
    )

    url: Annotated[str, Field(min_length=1, max_length=2048, description="http:// or https://")]
    event_types: Annotated[
        tuple[EventType, ...], Field(max_length=len(EventType), description="Empty: all.")
    ] = ()
    description: Annotated[str, Field(max_length=400)] = ""


class ShownEndpoint(Shown):
    id: Id
    url: str = Field(examples=["https://example.com/hooks/ballast"])
    description: str = Field(examples=["desk alerts"])
    event_types: list[EventType] = Field(description="Empty: all.")
    enabled: bool
    created_at: WallTime

    @classmethod
    def of(cls, endpoint: Endpoint) -> "ShownEndpoint":
        return cls(
            id=endpoint.id,
            url=endpoint.url,
            description=endpoint.description,
            event_types=[EventType(t) for t in endpoint.event_types],
            enabled=endpoint.enabled,
            created_at=endpoint.created_at,
        )


class CreatedEndpoint(ShownEndpoint):
    """`secret` signs every delivery (Standard Webhooks); it is shown here only, null when repeated."""

    secret: str | None = Field(examples=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])


class ShownDelivery(Shown):
    id: int = Field(examples=[91])
    event_id: str = Field(examples=["evt_5f0d3c5e7b8a4f6e9d2c1b0a99887766"])
    portfolio_id: Id
    sequence: int = Field(description="Of the event in its portfolio's log.", examples=[12])
    state: str = Field(examples=["delivered"], pattern="^(pending|delivered|failed)$")
    attempts: int = Field(examples=[1])
    next_attempt_at: WallTime
    last_status: int | None = Field(examples=[200])
    last_error: str = Field(examples=[""])
    delivered_at: WallTime | None = None
    created_at: WallTime

    @classmethod
    def of(cls, delivery: Delivery) -> "ShownDelivery":
        return cls(
            id=delivery.id,
            event_id=f"evt_{derived_id('event', delivery.portfolio_id, delivery.sequence).hex}",
            portfolio_id=delivery.portfolio_id,
            sequence=delivery.sequence,
            state=delivery.state,
            attempts=delivery.attempts,
            next_attempt_at=delivery.next_attempt_at,
            last_status=delivery.last_status,
            last_error=delivery.last_error,
            delivered_at=delivery.delivered_at,
            created_at=delivery.created_at,
        )


@router.post("", status_code=201, response_model=CreatedEndpoint)
async def create(
    document: EndpointDocument, caller: Administrator, deps: Deps, writes: WritingOnce
) -> Response:
    """The only answer that shows the signing secret."""

    async def work(unit: UnitOfWork) -> Answer:
        endpoint, secret = await create_endpoint(
            unit,
            caller.tenant_id,
            EndpointId(deps.new_id()),
            url=document.url,
            description=document.description,
            event_types=document.event_types,
            secret=deps.new_secret(SECRET_BYTES),
        )
        shown = ShownEndpoint.of(endpoint).model_dump()
        told, kept = CreatedEndpoint(**shown, secret=secret), CreatedEndpoint(**shown, secret=None)
        headers = {"Location": f"/v1/webhooks/{endpoint.id}", "Cache-Control": "no-store"}
        return Answer(told, 201, headers, kept)

    return await writes.run(caller, work)


@router.get("")
async def list_all(caller: Reader, deps: Deps) -> Listing[ShownEndpoint]:
    async with deps.units() as unit:
        return Listing(items=[ShownEndpoint.of(e) for e in await unit.webhooks.all(caller.tenant_id)])


@router.get("/{endpoint_id}")
async def read(endpoint_id: Id, caller: Reader, deps: Deps) -> ShownEndpoint:
    async with deps.units() as unit:
        return ShownEndpoint.of(await unit.webhooks.get(caller.tenant_id, EndpointId(endpoint_id)))


@router.delete("/{endpoint_id}", status_code=204)
async def delete(endpoint_id: Id, caller: Administrator, writes: Writing) -> Response:
    async def work(unit: UnitOfWork) -> Answer:
        await unit.webhooks.delete(caller.tenant_id, EndpointId(endpoint_id))
        return Answer(status=204)

    return await writes.run(caller, work)


@router.post("/{endpoint_id}/enable", response_model=ShownEndpoint)
async def enable(endpoint_id: Id, caller: Administrator, writes: WritingOnce) -> Response:
    return await _switch(endpoint_id, caller, writes, enabled=True)


@router.post("/{endpoint_id}/disable", response_model=ShownEndpoint)
async def disable(endpoint_id: Id, caller: Administrator, writes: WritingOnce) -> Response:
    return await _switch(endpoint_id, caller, writes, enabled=False)


async def _switch(endpoint_id: Id, caller: Administrator, writes: Writing, *, enabled: bool) -> Response:
    async def work(unit: UnitOfWork) -> Answer:
        endpoint = await unit.webhooks.set_enabled(caller.tenant_id, EndpointId(endpoint_id), enabled=enabled)
        return Answer(ShownEndpoint.of(endpoint))

    return await writes.run(caller, work)


@router.get("/{endpoint_id}/deliveries")
async def list_deliveries(
    endpoint_id: Id, caller: Reader, deps: Deps, limit: Limit = 50, cursor: Cursor = None
) -> Listing[ShownDelivery]:
    """Newest first."""
    async with deps.units() as unit:
        await unit.webhooks.get(caller.tenant_id, EndpointId(endpoint_id))
        found = await unit.webhooks.deliveries(
            caller.tenant_id, EndpointId(endpoint_id), before=decode_number(cursor), limit=limit + 1
        )
    following = encode_number(found[limit - 1].id) if len(found) > limit else None
    return Listing(
        items=[ShownDelivery.of(d) for d in found[:limit]],
        next_cursor=following,
    )
