"""Answers kept for `Idempotency-Key`, in the transaction of the work they answer for."""

from hashlib import blake2b

import msgspec
from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.adapters.postgres.tables.tenants import idempotency_keys
from app.domain.errors import IdempotencyConflict
from app.domain.identifiers import TenantId
from app.ports.management import StoredAnswer


class IdempotencyRows:
    """In flight is whoever holds the key's transaction lock: a process that dies leaves nothing behind."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def claim(self, tenant_id: TenantId, key: str, fingerprint: bytes) -> StoredAnswer | None:
        lock = int.from_bytes(blake2b(f"{tenant_id}/{key}".encode(), digest_size=8).digest(), signed=True)
        if not await self._connection.scalar(select(func.pg_try_advisory_xact_lock(lock))):
            raise IdempotencyConflict(
                "in_flight", "a request with this Idempotency-Key is still being served"
            )
        table = idempotency_keys
        found = await self._connection.execute(
            select(table.c.fingerprint, table.c.status, table.c.response, table.c.headers).where(
                table.c.tenant_id == tenant_id, table.c.key == key
            )
        )
        row = found.one_or_none()
        if row is None:
            return None
        if bytes(row.fingerprint) != fingerprint:
            raise IdempotencyConflict(
                "other_body",
                "this Idempotency-Key was used for another request; a new request needs a new key",
            )
        return StoredAnswer(row.status, bytes(row.response), msgspec.json.decode(row.headers))

    async def store(self, tenant_id: TenantId, key: str, fingerprint: bytes, answer: StoredAnswer) -> None:
        await self._connection.execute(
            insert(idempotency_keys).values(
                tenant_id=tenant_id,
                key=key,
                fingerprint=fingerprint,
                status=answer.status,
                response=answer.body,
                headers=answer.headers,
            )
        )
