"""Tenants and their API keys. Only a key's digest is ever stored."""

from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import RowMapping, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.adapters.postgres.tables.tenants import api_keys, tenants
from app.domain.errors import NotFound
from app.domain.identifiers import ApiKeyId, TenantId
from app.ports.management import ApiKey, Caller, Scope

_SHOWN = (
    api_keys.c.id,
    api_keys.c.name,
    api_keys.c.prefix,
    api_keys.c.scopes,
    api_keys.c.created_at,
    api_keys.c.revoked_at,
)


class KeyRows:
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def caller_of(self, digest: bytes) -> Caller | None:
        return (await self.callers_of([digest])).get(digest)

    async def callers_of(self, digests: Collection[bytes]) -> dict[bytes, Caller]:
        found = await self._connection.execute(
            select(api_keys.c.hash, api_keys.c.tenant_id, api_keys.c.id, api_keys.c.scopes).where(
                api_keys.c.hash.in_(digests), api_keys.c.revoked_at.is_(None)
            )
        )
        return {row.hash: Caller(row.tenant_id, row.id, frozenset(map(Scope, row.scopes))) for row in found}

    async def ensure_tenant(self, tenant_id: TenantId, name: str) -> None:
        await self._connection.execute(
            upsert(tenants).values(id=tenant_id, name=name).on_conflict_do_nothing()
        )

    async def add(
        self,
        tenant_id: TenantId,
        key_id: ApiKeyId,
        *,
        name: str,
        digest: bytes,
        prefix: str,
        scopes: Iterable[Scope],
    ) -> ApiKey:
        values = {
            "id": key_id,
            "tenant_id": tenant_id,
            "name": name,
            "hash": digest,
            "prefix": prefix,
            "scopes": [scope.value for scope in scopes],
        }
        found = await self._connection.execute(insert(api_keys).values(values).returning(*_SHOWN))
        return _key(found.mappings().one())

    async def all(self, tenant_id: TenantId) -> list[ApiKey]:
        found = await self._connection.execute(
            select(*_SHOWN)
            .where(api_keys.c.tenant_id == tenant_id)
            .order_by(api_keys.c.created_at, api_keys.c.id)
        )
        return [_key(row) for row in found.mappings()]

    async def revoke(self, tenant_id: TenantId, key_id: ApiKeyId) -> ApiKey:
        found = await self._connection.execute(
            select(*_SHOWN)
            .where(api_keys.c.tenant_id == tenant_id, api_keys.c.id == key_id)
            .with_for_update()
        )
        row = found.mappings().one_or_none()
        if row is None:
            raise NotFound("key", key_id)
        if row["revoked_at"] is not None:
            return _key(row)
        changed = await self._connection.execute(
            update(api_keys)
            .where(api_keys.c.id == key_id)
            .values(revoked_at=datetime.now(UTC))
            .returning(*_SHOWN)
        )
        return _key(changed.mappings().one())


def _key(row: RowMapping) -> ApiKey:
    values: dict[str, Any] = dict(row)
    return ApiKey(**values | {"scopes": tuple(map(Scope, row["scopes"]))})
