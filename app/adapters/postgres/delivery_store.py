"""The outbox: committed events become deliveries, one for each endpoint that wants them. One statement.

Of one portfolio nothing is dispatched before what came earlier in its log: whoever dispatches an event takes
along what is still undispatched below it, and waits for others who are at that. So the deliveries of an
ordered endpoint become visible in the order of the log.
"""

from collections.abc import Sequence
from uuid import UUID

from app.adapters.postgres.event_log import PostgresEventLog

WANTED = """w.enabled AND w.deleted_at IS NULL
        AND (w.event_types = '{}' OR e.type = ANY(w.event_types))
        AND (w.portfolios = '{}' OR e.portfolio_id = ANY(w.portfolios))"""
"""Whether endpoint `w` wants event `e` of its tenant."""

WAKE = """
    INSERT INTO webhook_queues AS q (endpoint_id)
    SELECT endpoint_id FROM {source} GROUP BY endpoint_id ORDER BY endpoint_id
    ON CONFLICT (endpoint_id) DO UPDATE SET due_at = least(q.due_at, greatest(now(), q.paused_until))
"""
"""Rows of queues are locked in the order of their ids, by everybody who waits for them."""

_WAITING = """
WITH RECURSIVE wanted AS (
    SELECT * FROM unnest($1::uuid[], $2::bigint[]) AS b(portfolio_id, sequence)
    UNION
    SELECT e.portfolio_id, e.sequence FROM wanted
    JOIN events e ON e.portfolio_id = wanted.portfolio_id AND e.sequence = wanted.sequence - 1
    WHERE NOT e.dispatched
), waiting AS (
    SELECT e.portfolio_id, e.sequence, e.tenant_id, e.type FROM events e
    JOIN wanted USING (portfolio_id, sequence)
    WHERE NOT e.dispatched
    ORDER BY e.portfolio_id, e.sequence FOR UPDATE OF e
)"""
# Only who turns `dispatched` creates deliveries, so an event that the stream repeats costs nothing.
_CREATED = f"""created AS (
    INSERT INTO webhook_deliveries (endpoint_id, portfolio_id, sequence)
    SELECT w.id, e.portfolio_id, e.sequence FROM {{source}} e
    JOIN webhook_endpoints w ON w.tenant_id = e.tenant_id AND {WANTED.replace("{}", "{{}}")}
    ORDER BY e.portfolio_id, e.sequence, w.id
    ON CONFLICT DO NOTHING RETURNING endpoint_id
), woken AS ({WAKE.format(source="created")})
SELECT count(*) FROM created
"""  # noqa: S608 - constants only
_DISPATCH = f"""
{_WAITING}, marked AS (
    UPDATE events e SET dispatched = true FROM waiting
    WHERE e.portfolio_id = waiting.portfolio_id AND e.sequence = waiting.sequence
    RETURNING e.portfolio_id, e.sequence, e.tenant_id, e.type
), {_CREATED.format(source="marked")}"""  # noqa: S608 - constants only
_FAN_OUT_ONLY = f"{_WAITING}, {_CREATED.format(source='waiting')}"


class PostgresOutbox(PostgresEventLog):
    """The events table as what is still to be dispatched. On an asyncpg pool."""

    async def dispatch(self, events: Sequence[tuple[UUID, int]], *, published: bool) -> int:
        statement = _DISPATCH if published else _FAN_OUT_ONLY
        created: int = await self._pool.fetchval(
            statement, [portfolio_id for portfolio_id, _ in events], [sequence for _, sequence in events]
        )
        return created
