"""Webhook endpoints and the log of their deliveries."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.adapters.postgres.tables import webhook_deliveries, webhook_endpoints
from app.domain.errors import NotFound
from app.domain.identifiers import EndpointId, TenantId
from app.ports.management import Delivery, Endpoint

_SHOWN = (
    webhook_endpoints.c.id,
    webhook_endpoints.c.url,
    webhook_endpoints.c.description,
    webhook_endpoints.c.event_types,
    webhook_endpoints.c.enabled,
    webhook_endpoints.c.created_at,
)


class WebhookRows:
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def add(
        self,
        tenant_id: TenantId,
        endpoint_id: EndpointId,
        *,
        url: str,
        description: str,
        event_types: Sequence[str],
        secret: bytes,
    ) -> Endpoint:
        done = await self._connection.execute(
            insert(webhook_endpoints)
            .values(
                id=endpoint_id,
                tenant_id=tenant_id,
                url=url,
                description=description,
                event_types=list(event_types),
                secret=secret,
            )
            .returning(*_SHOWN)
        )
        return _endpoint(done.one())

    async def all(self, tenant_id: TenantId) -> list[Endpoint]:
        table = webhook_endpoints
        found = await self._connection.execute(
            select(*_SHOWN)
            .where(table.c.tenant_id == tenant_id, table.c.deleted_at.is_(None))
            .order_by(table.c.created_at, table.c.id)
        )
        return [_endpoint(row) for row in found]

    async def get(self, tenant_id: TenantId, endpoint_id: EndpointId) -> Endpoint:
        table = webhook_endpoints
        found = await self._connection.execute(
            select(*_SHOWN).where(
                table.c.tenant_id == tenant_id, table.c.id == endpoint_id, table.c.deleted_at.is_(None)
            )
        )
        return _one(found.one_or_none(), endpoint_id)

    async def set_enabled(self, tenant_id: TenantId, endpoint_id: EndpointId, *, enabled: bool) -> Endpoint:
        return await self._change(tenant_id, endpoint_id, enabled=enabled)

    async def delete(self, tenant_id: TenantId, endpoint_id: EndpointId) -> None:
        await self._change(tenant_id, endpoint_id, enabled=False, deleted_at=func.now())

    async def deliveries(
        self, tenant_id: TenantId, endpoint_id: EndpointId, *, before: int | None, limit: int
    ) -> list[Delivery]:
        """Newest first."""
        table = webhook_deliveries
        query = select(table).where(table.c.tenant_id == tenant_id, table.c.endpoint_id == endpoint_id)
        if before is not None:
            query = query.where(table.c.id < before)
        found = await self._connection.execute(query.order_by(table.c.id.desc()).limit(limit))
        return [_delivery(row) for row in found]

    async def _change(self, tenant_id: TenantId, endpoint_id: EndpointId, **values: Any) -> Endpoint:
        table = webhook_endpoints
        done = await self._connection.execute(
            update(table)
            .where(table.c.tenant_id == tenant_id, table.c.id == endpoint_id, table.c.deleted_at.is_(None))
            .values(**values)
            .returning(*_SHOWN)
        )
        return _one(done.one_or_none(), endpoint_id)


def _one(row: Any, endpoint_id: EndpointId) -> Endpoint:
    if row is None:
        raise NotFound("webhook", endpoint_id)
    return _endpoint(row)


def _endpoint(row: Any) -> Endpoint:
    return Endpoint(row.id, row.url, row.description, tuple(row.event_types), row.enabled, row.created_at)


def _delivery(row: Any) -> Delivery:
    return Delivery(
        id=row.id,
        endpoint_id=row.endpoint_id,
        portfolio_id=row.portfolio_id,
        sequence=row.sequence,
        state=row.state,
        attempts=row.attempts,
        next_attempt_at=row.next_attempt_at,
        last_status=row.last_status,
        last_error=row.last_error,
        delivered_at=row.delivered_at,
        created_at=row.created_at,
    )
