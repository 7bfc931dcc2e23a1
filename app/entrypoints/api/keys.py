"""Routes of API keys."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import ConfigDict, Field
from starlette.responses import Response

from app.domain.errors import Denied
from app.domain.identifiers import ApiKeyId
from app.entrypoints.api.dependencies import Administrator, Deps
from app.entrypoints.api.schemas import Id, Listing, Shown, WallTime
from app.entrypoints.api.strict_json import StrictRoute
from app.entrypoints.api.writes import Answer, Writing, WritingOnce
from app.ports.management import ApiKey, Scope, UnitOfWork
from app.services.documents import Document, Name
from app.services.manage_keys import SECRET_BYTES, create_key

router = APIRouter(prefix="/v1/keys", tags=["keys"], route_class=StrictRoute)


class KeyDocument(Document):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "dashboard", "scopes": ["read", "trade"]}]}
    )

    name: Name
    scopes: Annotated[tuple[Scope, ...], Field(min_length=1, max_length=len(Scope))]


class ShownKey(Shown):
    id: Id
    name: str = Field(examples=["dashboard"])
    prefix: str = Field(description="How the key begins, to recognise it by.", examples=["blst_Qm3x9aZ"])
    scopes: list[Scope]
    created_at: WallTime
    revoked_at: WallTime | None = None

    @classmethod
    def of(cls, key: ApiKey) -> "ShownKey":
        return cls(
            id=key.id,
            name=key.name,
            prefix=key.prefix,
            scopes=list(key.scopes),
            created_at=key.created_at,
            revoked_at=key.revoked_at,
        )


class CreatedKey(ShownKey):
    """`key` is shown here and never again: only its hash is stored, so a repeated request answers null."""

    key: str | None = Field(examples=["blst_Qm3x9aZ0b1c2d3e4f5g6h7i8j9k0l1m2n3o4p5q6r7s"])


@router.post("", status_code=201, response_model=CreatedKey)
async def create(document: KeyDocument, caller: Administrator, deps: Deps, writes: WritingOnce) -> Response:
    """The only answer that shows the key."""
    if Scope.OPERATOR in document.scopes and Scope.OPERATOR not in caller.scopes:
        raise Denied("whoever runs the service gives out the scope 'operator'; a tenant cannot")

    async def work(unit: UnitOfWork) -> Answer:
        key, token = await create_key(
            unit,
            tenant_id=caller.tenant_id,
            key_id=ApiKeyId(deps.new_id()),
            name=document.name,
            scopes=document.scopes,
            secret=deps.new_secret(SECRET_BYTES),
        )
        shown = ShownKey.of(key).model_dump()
        told, kept = CreatedKey(**shown, key=token), CreatedKey(**shown, key=None)
        return Answer(told, 201, {"Cache-Control": "no-store"}, kept)

    return await writes.run(caller, work)


@router.get("")
async def list_all(caller: Administrator, deps: Deps) -> Listing[ShownKey]:
    async with deps.units() as unit:
        return Listing(items=[ShownKey.of(key) for key in await unit.keys.all(caller.tenant_id)])


@router.delete("/{key_id}", response_model=ShownKey)
async def revoke(key_id: Id, caller: Administrator, writes: Writing) -> Response:
    """From its commit on, the key opens nothing."""

    async def work(unit: UnitOfWork) -> Answer:
        return Answer(ShownKey.of(await unit.keys.revoke(caller.tenant_id, ApiKeyId(key_id))))

    return await writes.run(caller, work)
