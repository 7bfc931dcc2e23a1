"""Routes of webhook endpoints."""

from dataclasses import replace
from datetime import timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter
from pydantic import ConfigDict, Field
from starlette.responses import Response

from app.domain.events import EventType
from app.domain.identifiers import EndpointId, PortfolioId
from app.entrypoints.api.dependencies import Administrator, Deps, Reader
from app.entrypoints.api.policy_edits import OptionalVersion, RequiredVersion
from app.entrypoints.api.schemas import Id, Listing, Shown, WallTime
from app.entrypoints.api.strict_json import StrictRoute
from app.entrypoints.api.writes import Answer, Writing, WritingOnce
from app.ports.management import UnitOfWork
from app.ports.webhooks import Endpoint, EndpointTerms
from app.services.documents import Document
from app.services.manage_webhooks import (
    SECRET_BYTES,
    change_endpoint,
    create_endpoint,
    rotate_secret,
    seen_endpoint,
)

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"], route_class=StrictRoute)

_LONGEST_OVERLAP_SECONDS = 7 * 86_400

Url = Annotated[str, Field(min_length=1, max_length=2048, description="https:// with a host.")]
EventTypes = Annotated[tuple[EventType, ...], Field(max_length=len(EventType), description="Empty: all.")]
Portfolios = Annotated[tuple[UUID, ...], Field(max_length=500, description="Empty: all of the tenant's.")]
Description = Annotated[str, Field(max_length=400)]
RateLimit = Annotated[
    int | None, Field(ge=1, le=1000, description="Attempts a second; null: as fast as they are answered.")
]
Ordered = Annotated[
    bool,
    Field(
        description="One at a time per portfolio, in the order of its log: what fails blocks its portfolio."
    ),
]


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

    url: Url
    event_types: EventTypes = ()
    portfolios: Portfolios = ()
    description: Description = ""
    rate_limit: RateLimit = None
    ordered: Ordered = False


class EndpointChanges(Document):
    """What is absent stays."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"rate_limit": 50, "ordered": True}]})

    url: Url = Field(default_factory=str)
    event_types: EventTypes = ()
    portfolios: Portfolios = ()
    description: Description = ""
    rate_limit: RateLimit = None
    ordered: Ordered = False


class RotationDocument(Document):
    overlap_seconds: Annotated[
        int,
        Field(
            ge=0,
            le=_LONGEST_OVERLAP_SECONDS,
            description="How long old secrets sign too; with 0 none does any more.",
            examples=[3600],
        ),
    ] = 86_400


class ShownEndpoint(Shown):
    id: Id
    version: int = Field(description="Also its ETag.", examples=[3])
    url: str = Field(examples=["https://example.com/hooks/ballast"])
    description: str = Field(examples=["desk alerts"])
    event_types: list[EventType] = Field(description="Empty: all.")
    portfolios: list[Id] = Field(description="Empty: all.")
    rate_limit: int | None = Field(examples=[None])
    ordered: bool
    enabled: bool
    disabled_reason: str = Field(
        description="Why the service disabled it; empty unless it did.", examples=[""]
    )
    rotated_until: WallTime | None = Field(description="Until then deliveries carry old signatures too.")
    created_at: WallTime

    @classmethod
    def of(cls, endpoint: Endpoint) -> "ShownEndpoint":
        terms = endpoint.terms
        return cls(
            id=endpoint.id,
            version=endpoint.version,
            url=terms.url,
            description=terms.description,
            event_types=[EventType(t) for t in terms.event_types],
            portfolios=list(terms.portfolios),
            rate_limit=terms.rate_limit,
            ordered=terms.ordered,
            enabled=endpoint.enabled,
            disabled_reason=endpoint.disabled_reason,
            rotated_until=endpoint.rotated_until,
            created_at=endpoint.created_at,
        )


class CreatedEndpoint(ShownEndpoint):
    """`secret` signs every delivery (Standard Webhooks); it is shown here only, null when repeated."""

    secret: str | None = Field(examples=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])


def _terms(members: dict[str, Any]) -> dict[str, Any]:
    """As they are stored: each type and portfolio once, in order."""
    kept = dict(members)
    if "event_types" in kept:
        kept["event_types"] = tuple(sorted({type_.value for type_ in kept["event_types"]}))
    if "portfolios" in kept:
        kept["portfolios"] = tuple(sorted({PortfolioId(id_) for id_ in kept["portfolios"]}))
    return kept


def _with_secret(endpoint: Endpoint, secret: str, status: int) -> Answer:
    """What is kept for a repeated request has no secret."""
    shown = ShownEndpoint.of(endpoint).model_dump()
    headers = _tag(endpoint) | {"Location": f"/v1/webhooks/{endpoint.id}", "Cache-Control": "no-store"}
    told, kept = CreatedEndpoint(**shown, secret=secret), CreatedEndpoint(**shown, secret=None)
    return Answer(told, status, headers, kept)


def _tag(endpoint: Endpoint) -> dict[str, str]:
    return {"ETag": f'"{endpoint.version}"'}


@router.post("", status_code=201, response_model=CreatedEndpoint)
async def create(
    document: EndpointDocument, caller: Administrator, deps: Deps, writes: WritingOnce
) -> Response:
    """The only answer, beside that of a rotation, that shows the signing secret."""

    async def work(unit: UnitOfWork) -> Answer:
        endpoint, secret = await create_endpoint(
            unit,
            caller.tenant_id,
            EndpointId(deps.new_id()),
            EndpointTerms(**_terms(dict(document))),
            secret=deps.new_secret(SECRET_BYTES),
            reach=deps.webhook_reach,
        )
        return _with_secret(endpoint, secret, 201)

    return await writes.run(caller, work)


@router.get("")
async def list_all(caller: Reader, deps: Deps) -> Listing[ShownEndpoint]:
    async with deps.units() as unit:
        return Listing(items=[ShownEndpoint.of(e) for e in await unit.webhooks.all(caller.tenant_id)])


@router.get("/{endpoint_id}")
async def read(endpoint_id: Id, caller: Reader, deps: Deps, response: Response) -> ShownEndpoint:
    async with deps.units() as unit:
        endpoint = await unit.webhooks.get(caller.tenant_id, EndpointId(endpoint_id))
    response.headers.update(_tag(endpoint))
    return ShownEndpoint.of(endpoint)


@router.patch("/{endpoint_id}", response_model=ShownEndpoint)
async def change(
    *,
    endpoint_id: Id,
    document: EndpointChanges,
    caller: Administrator,
    version: RequiredVersion,
    deps: Deps,
    writes: Writing,
) -> Response:
    """What is queued already goes to the endpoint as it is then. 412 when `If-Match` is not current."""
    changes = _terms({name: getattr(document, name) for name in document.model_fields_set})

    async def work(unit: UnitOfWork) -> Answer:
        place = (caller.tenant_id, EndpointId(endpoint_id))
        before = await seen_endpoint(unit, *place, version)
        terms = replace(before.terms, **changes)
        endpoint = await change_endpoint(unit, *place, terms, reach=deps.webhook_reach)
        return Answer(ShownEndpoint.of(endpoint), headers=_tag(endpoint))

    return await writes.run(caller, work)


@router.delete("/{endpoint_id}", status_code=204)
async def delete(
    endpoint_id: Id, caller: Administrator, version: OptionalVersion, writes: Writing
) -> Response:
    """What was queued for it is not sent any more."""

    async def work(unit: UnitOfWork) -> Answer:
        place = (caller.tenant_id, EndpointId(endpoint_id))
        await seen_endpoint(unit, *place, version)
        await unit.webhooks.delete(*place)
        return Answer(status=204)

    return await writes.run(caller, work)


@router.post("/{endpoint_id}/rotate-secret", response_model=CreatedEndpoint)
async def rotate(
    endpoint_id: Id, document: RotationDocument, caller: Administrator, deps: Deps, writes: WritingOnce
) -> Response:
    """A new secret. Until the overlap ends, deliveries carry a signature by each of them."""

    async def work(unit: UnitOfWork) -> Answer:
        endpoint, secret = await rotate_secret(
            unit,
            caller.tenant_id,
            EndpointId(endpoint_id),
            secret=deps.new_secret(SECRET_BYTES),
            overlap=timedelta(seconds=document.overlap_seconds),
        )
        return _with_secret(endpoint, secret, 200)

    return await writes.run(caller, work)


@router.post("/{endpoint_id}/enable", response_model=ShownEndpoint)
async def enable(endpoint_id: Id, caller: Administrator, writes: WritingOnce) -> Response:
    """What was held meanwhile is sent; what happened while it was disabled can be recovered."""
    return await _switch(endpoint_id, caller, writes, enabled=True)


@router.post("/{endpoint_id}/disable", response_model=ShownEndpoint)
async def disable(endpoint_id: Id, caller: Administrator, writes: WritingOnce) -> Response:
    """Events are no longer queued for it, and what is queued is held, for five days."""
    return await _switch(endpoint_id, caller, writes, enabled=False)


async def _switch(endpoint_id: Id, caller: Administrator, writes: Writing, *, enabled: bool) -> Response:
    async def work(unit: UnitOfWork) -> Answer:
        endpoint = await unit.webhooks.set_enabled(caller.tenant_id, EndpointId(endpoint_id), enabled=enabled)
        return Answer(ShownEndpoint.of(endpoint), headers=_tag(endpoint))

    return await writes.run(caller, work)
