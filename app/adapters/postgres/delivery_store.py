"""The queue of webhook deliveries: fan-out, claims with a lease, outcomes. Each is one statement.

A claim moves `next_attempt_at` to the end of its lease: whoever holds it may die, and it comes due again by
itself. Rows that another courier has locked are passed over, never waited for.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from app.adapters.postgres.event_log import PostgresEventLog, streamed
from app.domain.identifiers import EndpointId, derived_id
from app.ports.delivery import Attempt, Delivered, Delivery, Rejected, Retryable

# Only who turns `dispatched` creates deliveries, so an event that the stream repeats costs nothing.
_MATCHING = """
    SELECT e.tenant_id, w.id, e.portfolio_id, e.sequence FROM {source} e
    JOIN webhook_endpoints w ON w.tenant_id = e.tenant_id AND w.enabled AND w.deleted_at IS NULL
        AND (w.event_types = '{{}}' OR e.type = ANY(w.event_types))
    ORDER BY e.portfolio_id, e.sequence, w.id
    ON CONFLICT DO NOTHING RETURNING 1
"""
_WAITING = """
WITH waiting AS (
    SELECT e.portfolio_id, e.sequence, e.tenant_id, e.type FROM events e
    JOIN unnest($1::uuid[], $2::bigint[]) AS b(portfolio_id, sequence) USING (portfolio_id, sequence)
    WHERE NOT e.dispatched
    FOR UPDATE OF e SKIP LOCKED
)"""
_INSERT = "INSERT INTO webhook_deliveries (tenant_id, endpoint_id, portfolio_id, sequence)"
_DISPATCH = f"""
{_WAITING}, marked AS (
    UPDATE events e SET dispatched = true FROM waiting
    WHERE e.portfolio_id = waiting.portfolio_id AND e.sequence = waiting.sequence
    RETURNING e.portfolio_id, e.sequence, e.tenant_id, e.type
), created AS ({_INSERT} {_MATCHING.format(source="marked")})
SELECT count(*) FROM created
"""  # noqa: S608 - constants only
_FAN_OUT_ONLY = f"""
{_WAITING}, created AS ({_INSERT} {_MATCHING.format(source="waiting")})
SELECT count(*) FROM created
"""  # noqa: S608 - constants only

_CLAIM = """
WITH due AS (
    SELECT d.id, d.endpoint_id, d.next_attempt_at FROM webhook_deliveries d
    JOIN webhook_endpoints w ON w.id = d.endpoint_id AND w.enabled AND w.deleted_at IS NULL
    WHERE d.state = 'pending' AND d.next_attempt_at <= now() AND d.endpoint_id <> ALL($5::uuid[])
    ORDER BY d.next_attempt_at, d.id LIMIT $1 FOR UPDATE OF d SKIP LOCKED
), ranked AS (
    SELECT id, endpoint_id, row_number() OVER (PARTITION BY endpoint_id ORDER BY next_attempt_at, id) AS rank
    FROM due
), fair AS (
    SELECT id FROM ranked
    LEFT JOIN unnest($6::uuid[], $7::bigint[]) AS r(endpoint_id, room) USING (endpoint_id)
    WHERE rank <= coalesce(room, $2)
    ORDER BY rank, id LIMIT $3
), claimed AS (
    UPDATE webhook_deliveries d
    SET claimed_until = now() + $4::interval, next_attempt_at = now() + $4::interval
    FROM fair WHERE d.id = fair.id
    RETURNING d.id, d.endpoint_id, d.attempts, d.portfolio_id, d.sequence
)
SELECT c.id, c.endpoint_id, c.attempts, w.url, w.secret,
       e.portfolio_id, e.sequence, e.tenant_id, e.type, e.version, e.time_ns, e.data
FROM claimed c
JOIN webhook_endpoints w ON w.id = c.endpoint_id
JOIN events e ON e.portfolio_id = c.portfolio_id AND e.sequence = c.sequence
ORDER BY c.id
"""
_CANDIDATES_PER_SLOT = 4  # looked at for each one claimed, so that one endpoint's backlog hides nobody

_RECORD = """
UPDATE webhook_deliveries d SET
    state = r.state, attempts = d.attempts + 1, last_status = r.status, last_error = r.error,
    claimed_until = NULL, next_attempt_at = now() + coalesce(r.retry_after, '0'::interval),
    delivered_at = CASE WHEN r.state = 'delivered' THEN now() END
FROM unnest($1::bigint[], $2::text[], $3::int[], $4::text[], $5::interval[])
    AS r(id, state, status, error, retry_after)
WHERE d.id = r.id AND d.state = 'pending'
"""
_RELEASE = """
UPDATE webhook_deliveries SET claimed_until = NULL, next_attempt_at = now()
WHERE id = ANY($1::bigint[]) AND state = 'pending'
"""
_FORGET_DELETED = """
UPDATE webhook_deliveries d
SET state = 'failed', last_error = 'the endpoint was deleted', claimed_until = NULL
FROM webhook_endpoints w
WHERE w.id = d.endpoint_id AND w.deleted_at IS NOT NULL AND d.state = 'pending'
"""


class PostgresOutbox(PostgresEventLog):
    """The events table as what is still to be dispatched. On an asyncpg pool."""

    async def dispatch(self, events: Sequence[tuple[UUID, int]], *, published: bool) -> int:
        statement = _DISPATCH if published else _FAN_OUT_ONLY
        created: int = await self._pool.fetchval(
            statement, [portfolio_id for portfolio_id, _ in events], [sequence for _, sequence in events]
        )
        return created


class PostgresDeliveryQueue:
    """On an asyncpg pool."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    async def claim(
        self, *, limit: int, per_endpoint: int, in_flight: Mapping[EndpointId, int], lease: timedelta
    ) -> list[Delivery]:
        room = {endpoint: per_endpoint - count for endpoint, count in in_flight.items()}
        partly = {endpoint: left for endpoint, left in room.items() if left > 0}
        rows = await self._pool.fetch(
            _CLAIM,
            limit * _CANDIDATES_PER_SLOT,
            per_endpoint,
            limit,
            lease,
            [endpoint for endpoint in room if endpoint not in partly],
            list(partly),
            list(partly.values()),
        )
        return list(map(_delivery, rows))

    async def record(self, attempts: Sequence[Attempt]) -> None:
        rows = [(a.delivery.id, *_described(a), a.retry_after) for a in attempts]
        if rows:
            await self._pool.execute(_RECORD, *map(list, zip(*rows, strict=True)))

    async def release(self, deliveries: Sequence[Delivery]) -> None:
        await self._pool.execute(_RELEASE, [delivery.id for delivery in deliveries])

    async def forget_deleted(self) -> int:
        return int((await self._pool.execute(_FORGET_DELETED)).rpartition(" ")[2])


def _delivery(row: Any) -> Delivery:
    return Delivery(
        id=row["id"],
        endpoint_id=EndpointId(row["endpoint_id"]),
        url=row["url"],
        secret=row["secret"],
        attempts=row["attempts"],
        event_id=f"evt_{derived_id('event', row['portfolio_id'], row['sequence']).hex}",
        body=streamed(row).body,
    )


def _described(attempt: Attempt) -> tuple[str, int | None, str]:
    match attempt.outcome:
        case Delivered(status):
            return "delivered", status, ""
        case Retryable(reason, status):
            return ("failed" if attempt.retry_after is None else "pending"), status, reason
        case Rejected(reason, status):
            return "failed", status, reason
