"""Webhook endpoints, as their owners see and change them."""

from collections.abc import Collection
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.adapters.postgres.tables.webhooks import webhook_endpoints
from app.domain.errors import Conflict, NotFound
from app.domain.identifiers import EndpointId, PortfolioId, TenantId
from app.ports.webhooks import Endpoint, EndpointTerms

MOST_OLD_SECRETS = 4

_SHOWN = """id, version, url, description, event_types, portfolios, rate_limit, ordered, enabled,
    disabled_reason, created_at,
    (SELECT max(until) FROM unnest(old_secrets_until) AS until WHERE until > now()) AS rotated_until"""
_MINE = "id = $1 AND tenant_id = $2 AND deleted_at IS NULL"
_ALL = f"""
SELECT {_SHOWN} FROM webhook_endpoints WHERE tenant_id = $1 AND deleted_at IS NULL ORDER BY created_at, id
"""  # noqa: S608 - constants only
_GET = f"SELECT {_SHOWN} FROM webhook_endpoints WHERE {_MINE}"  # noqa: S608 - constants only
_REPLACE = f"""
UPDATE webhook_endpoints SET version = version + 1, url = $3, description = $4, event_types = $5,
    portfolios = $6, rate_limit = $7, ordered = $8
WHERE {_MINE} RETURNING {_SHOWN}
"""  # noqa: S608 - constants only
_SIGNING = f"""
SELECT array_agg(s.secret) AS secrets, array_agg(s.until) AS until
FROM webhook_endpoints, unnest(old_secrets, old_secrets_until) AS s(secret, until)
WHERE {_MINE} AND s.until > now()
"""  # noqa: S608 - constants only
_ROTATE = f"""
UPDATE webhook_endpoints SET version = version + 1, secret = $3,
    old_secrets = secret || $4::bytea[], old_secrets_until = (now() + $6::interval) || $5::timestamptz[]
WHERE {_MINE} RETURNING {_SHOWN}
"""  # noqa: S608 - constants only
_SET_ENABLED = f"""
UPDATE webhook_endpoints SET version = version + 1, enabled = $3, disabled_reason = '', operator_told = true
WHERE {_MINE} RETURNING {_SHOWN}
"""  # noqa: S608 - constants only
_DELETE = f"""
UPDATE webhook_endpoints SET version = version + 1, enabled = false, deleted_at = now()
WHERE {_MINE} RETURNING {_SHOWN}
"""  # noqa: S608 - constants only
# With a clean sheet: what was held is due, and it is not one that fails.
_OPEN_QUEUE = """
INSERT INTO webhook_queues (endpoint_id) VALUES ($1) ON CONFLICT (endpoint_id) DO UPDATE SET
    due_at = now(), paused_until = '-infinity', failures = 0, failing_since = NULL
"""


class WebhookRows:
    def __init__(self, connection: AsyncConnection, raw: Any) -> None:
        self._connection = connection
        self._raw = raw

    async def add(
        self, tenant_id: TenantId, endpoint_id: EndpointId, terms: EndpointTerms, secret: bytes
    ) -> Endpoint:
        values = {"id": endpoint_id, "tenant_id": tenant_id, "secret": secret} | asdict(terms)
        await self._connection.execute(insert(webhook_endpoints).values(values))
        return await self.get(tenant_id, endpoint_id)

    async def all(self, tenant_id: TenantId) -> list[Endpoint]:
        return [_endpoint(row, row["id"]) for row in await self._raw.fetch(_ALL, tenant_id)]

    async def get(self, tenant_id: TenantId, endpoint_id: EndpointId) -> Endpoint:
        return await self._one(_GET, endpoint_id, tenant_id)

    async def lock(self, tenant_id: TenantId, endpoint_id: EndpointId) -> Endpoint:
        return await self._one(f"{_GET} FOR NO KEY UPDATE", endpoint_id, tenant_id)

    async def replace(self, tenant_id: TenantId, endpoint_id: EndpointId, terms: EndpointTerms) -> Endpoint:
        endpoint = await self._one(_REPLACE, endpoint_id, tenant_id, *_columns(terms))
        await self._raw.execute(
            "UPDATE webhook_queues SET due_at = now() WHERE endpoint_id = $1", endpoint_id
        )
        return endpoint

    async def rotate(
        self, tenant_id: TenantId, endpoint_id: EndpointId, secret: bytes, overlap: timedelta
    ) -> Endpoint:
        await self.lock(tenant_id, endpoint_id)
        signing = await self._raw.fetchrow(_SIGNING, endpoint_id, tenant_id)
        secrets, until = (signing["secrets"] or [], signing["until"] or []) if overlap else ([], [])
        if len(secrets) >= MOST_OLD_SECRETS:
            raise Conflict(
                f"{MOST_OLD_SECRETS} old secrets sign still: wait until the first of them has ended, "
                "or end all of them with an overlap of 0"
            )
        return await self._one(_ROTATE, endpoint_id, tenant_id, secret, secrets, until, overlap)

    async def set_enabled(self, tenant_id: TenantId, endpoint_id: EndpointId, *, enabled: bool) -> Endpoint:
        endpoint = await self._one(_SET_ENABLED, endpoint_id, tenant_id, enabled)
        if enabled:
            await self._raw.execute(_OPEN_QUEUE, endpoint_id)
        return endpoint

    async def delete(self, tenant_id: TenantId, endpoint_id: EndpointId) -> None:
        await self._one(_DELETE, endpoint_id, tenant_id)

    async def unknown(self, tenant_id: TenantId, portfolios: Collection[PortfolioId]) -> set[PortfolioId]:
        rows = await self._raw.fetch(
            "SELECT id FROM portfolios WHERE id = ANY($1::uuid[]) AND tenant_id = $2 AND deleted_at IS NULL",
            list(portfolios),
            tenant_id,
        )
        return set(portfolios) - {row["id"] for row in rows}

    async def _one(
        self, statement: str, endpoint_id: EndpointId, tenant_id: TenantId, *values: Any
    ) -> Endpoint:
        return _endpoint(await self._raw.fetchrow(statement, endpoint_id, tenant_id, *values), endpoint_id)


def _columns(terms: EndpointTerms) -> tuple[Any, ...]:
    return (
        terms.url,
        terms.description,
        list(terms.event_types),
        list(terms.portfolios),
        terms.rate_limit,
        terms.ordered,
    )


def _endpoint(row: Any, endpoint_id: EndpointId) -> Endpoint:
    if row is None:
        raise NotFound("webhook", endpoint_id)
    terms = EndpointTerms(
        row["url"],
        row["description"],
        tuple(row["event_types"]),
        tuple(row["portfolios"]),
        row["rate_limit"],
        row["ordered"],
    )
    return Endpoint(
        id=row["id"],
        version=row["version"],
        terms=terms,
        enabled=row["enabled"],
        disabled_reason=row["disabled_reason"],
        rotated_until=row["rotated_until"],
        created_at=row["created_at"],
    )
