"""What was and will be delivered to webhook endpoints, with every attempt; and asking for it again."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from app.adapters.postgres.delivery_store import WANTED
from app.adapters.postgres.event_log import COLUMNS, streamed
from app.domain.errors import NotFound
from app.domain.events import event_id
from app.domain.identifiers import EndpointId, PortfolioId, TenantId
from app.ports.delivery import Breaker
from app.ports.webhook_figures import QueueFigures
from app.ports.webhooks import EndpointStatistics, LoggedAttempt, LoggedDelivery, Recovered

_PAGE = """
SELECT * FROM webhook_deliveries
WHERE endpoint_id = $1 AND id < coalesce($2, 9223372036854775807) AND state = coalesce($3, state)
ORDER BY id DESC LIMIT $4
"""
_ONE = "SELECT * FROM webhook_deliveries WHERE id = $2 AND endpoint_id = $1"
_ATTEMPTS = (
    "SELECT * FROM webhook_attempts WHERE delivery_id = ANY($1::bigint[]) ORDER BY delivery_id, number"
)
# With order nothing may go beside what is under way, though it comes before that in the log. Whoever asks
# has woken the queue, which holds off claims until the end of the transaction.
_UNDER_WAY = """
WITH under_way AS (
    SELECT d.portfolio_id, max(d.claimed_until) AS until FROM webhook_deliveries d
    JOIN webhook_endpoints w ON w.id = d.endpoint_id AND w.ordered
    WHERE d.endpoint_id = $1 AND d.state = 'pending' AND d.claimed_until > now() GROUP BY d.portfolio_id
)"""
_RESEND = f"""
{_UNDER_WAY}
UPDATE webhook_deliveries d
SET state = 'pending', retries = 0, claimed_until = NULL, delivered_at = NULL, next_attempt_at = greatest(
    now(), (SELECT until FROM under_way u WHERE u.portfolio_id = d.portfolio_id)
)
WHERE id = $2 AND endpoint_id = $1 AND (state <> 'pending' OR claimed_until IS NULL OR claimed_until < now())
"""  # noqa: S608 - constants only
_RECOVER = f"""
{_UNDER_WAY}, missing AS (
    SELECT e.portfolio_id, e.sequence FROM webhook_endpoints w
    JOIN events e ON e.tenant_id = w.tenant_id AND {WANTED}
    LEFT JOIN webhook_deliveries d
        ON d.portfolio_id = e.portfolio_id AND d.sequence = e.sequence AND d.endpoint_id = w.id
    WHERE w.id = $1 AND e.created_at >= $2 AND e.created_at < $3 AND coalesce(d.state = 'failed', true)
    ORDER BY e.created_at, e.portfolio_id, e.sequence LIMIT $4
)
INSERT INTO webhook_deliveries AS d (endpoint_id, portfolio_id, sequence, next_attempt_at)
SELECT $1, portfolio_id, sequence, greatest(now(), until)
FROM missing LEFT JOIN under_way USING (portfolio_id)
ON CONFLICT (portfolio_id, sequence, endpoint_id) DO UPDATE
SET state = 'pending', retries = 0, next_attempt_at = EXCLUDED.next_attempt_at, claimed_until = NULL
WHERE d.state = 'failed'
RETURNING id
"""  # noqa: S608 - constants only
_ADD_TEST = "INSERT INTO webhook_deliveries (endpoint_id, test_event) VALUES ($1, $2) RETURNING *"
_WAKE = """
INSERT INTO webhook_queues AS q (endpoint_id) VALUES ($1)
ON CONFLICT (endpoint_id) DO UPDATE SET due_at = least(q.due_at, greatest(now(), q.paused_until))
"""
_COUNTED = """
SELECT now() - $2::interval AS since, count(*) AS attempts,
    count(*) FILTER (WHERE status BETWEEN 200 AND 299) AS succeeded,
    percentile_disc(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY latency_ms) AS latencies
FROM webhook_attempts WHERE endpoint_id = $1 AND at >= now() - $2::interval
"""
_LAST_FAILURE = """
SELECT * FROM webhook_attempts
WHERE endpoint_id = $1 AND at >= now() - $2::interval AND (status BETWEEN 200 AND 299) IS NOT true
ORDER BY at DESC LIMIT 1
"""
_QUEUE = """
SELECT failures, failing_since, CASE WHEN paused_until > now() THEN paused_until END AS paused_until,
    (SELECT count(*) FROM webhook_deliveries WHERE endpoint_id = $1 AND state = 'pending') AS pending
FROM (SELECT) AS always LEFT JOIN webhook_queues ON endpoint_id = $1
"""
_STANDING = """
WITH pending AS (
    SELECT endpoint_id, count(*) AS deliveries, min(created_at) AS oldest FROM webhook_deliveries
    WHERE state = 'pending' GROUP BY endpoint_id
), standing AS (
    SELECT w.enabled, w.disabled_reason, q.failures, q.due_at, p.deliveries, p.oldest
    FROM webhook_endpoints w LEFT JOIN webhook_queues q ON q.endpoint_id = w.id
    LEFT JOIN pending p ON p.endpoint_id = w.id
    WHERE w.deleted_at IS NULL
)
SELECT coalesce(sum(deliveries) FILTER (WHERE enabled), 0)::bigint AS waiting,
    coalesce(sum(deliveries) FILTER (WHERE NOT enabled), 0)::bigint AS held,
    coalesce(now() - min(oldest) FILTER (WHERE enabled), '0') AS oldest_waiting,
    coalesce(now() - min(due_at) FILTER (WHERE enabled AND due_at < now()), '0') AS overdue,
    (SELECT coalesce(now() - min(created_at), '0') FROM events WHERE NOT dispatched) AS undispatched,
    count(*) FILTER (WHERE enabled) AS enabled,
    count(*) FILTER (WHERE NOT enabled AND disabled_reason = '') AS disabled_by_owner,
    count(*) FILTER (WHERE NOT enabled AND disabled_reason <> '') AS disabled_by_service,
    count(*) FILTER (WHERE enabled AND failures >= $1) AS open_breakers
FROM standing
"""
_STANDING_SECONDS = 2
_EVENT = f"""
SELECT {COLUMNS} FROM events e WHERE e.portfolio_id = $1 AND e.sequence = $2 AND e.tenant_id = $3
"""  # noqa: S608 - constants only


class DeliveryRows:
    """On the driver's own connection."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw

    async def page(
        self, endpoint_id: EndpointId, *, state: str | None, before: int | None, limit: int
    ) -> list[LoggedDelivery]:
        return await self._with_attempts(await self._raw.fetch(_PAGE, endpoint_id, before, state, limit))

    async def resend(self, endpoint_id: EndpointId, delivery_id: int) -> LoggedDelivery:
        await self._raw.execute(_WAKE, endpoint_id)
        await self._raw.execute(_RESEND, endpoint_id, delivery_id)
        found = await self._with_attempts(await self._raw.fetch(_ONE, endpoint_id, delivery_id))
        if not found:
            raise NotFound("delivery", delivery_id)
        return found[0]

    async def recover(
        self, endpoint_id: EndpointId, *, since: datetime, until: datetime, limit: int
    ) -> Recovered:
        await self._raw.execute(_WAKE, endpoint_id)
        rows = await self._raw.fetch(_RECOVER, endpoint_id, since, until, limit)
        return Recovered(len(rows), complete=len(rows) < limit)

    async def add_test(self, endpoint_id: EndpointId, event: Mapping[str, Any]) -> LoggedDelivery:
        row = await self._raw.fetchrow(_ADD_TEST, endpoint_id, msgspec.json.encode(event))
        await self._raw.execute(_WAKE, endpoint_id)
        return _delivery(row, [])

    async def statistics(self, endpoint_id: EndpointId, *, since: timedelta) -> EndpointStatistics:
        counted = await self._raw.fetchrow(_COUNTED, endpoint_id, since)
        failure = await self._raw.fetchrow(_LAST_FAILURE, endpoint_id, since)
        queue = await self._raw.fetchrow(_QUEUE, endpoint_id)
        p50_ms, p95_ms, p99_ms = counted["latencies"] or (None, None, None)
        return EndpointStatistics(
            since=counted["since"],
            attempts=counted["attempts"],
            succeeded=counted["succeeded"],
            p50_ms=p50_ms,
            p95_ms=p95_ms,
            p99_ms=p99_ms,
            last_failure=None if failure is None else _attempt(failure),
            pending=queue["pending"],
            failures_in_a_row=queue["failures"] or 0,
            failing_since=queue["failing_since"],
            paused_until=queue["paused_until"],
        )

    async def standing(self) -> QueueFigures:
        """No great backlog is counted for long: a monitor asks again."""
        await self._raw.execute(f"SET LOCAL statement_timeout = '{_STANDING_SECONDS}s'")
        return QueueFigures(*await self._raw.fetchrow(_STANDING, Breaker().failures))

    async def event(self, tenant_id: TenantId, portfolio_id: PortfolioId, sequence: int) -> bytes:
        row = await self._raw.fetchrow(_EVENT, portfolio_id, sequence, tenant_id)
        if row is None:
            raise NotFound("event", sequence)
        return streamed(row).body

    async def _with_attempts(self, deliveries: Sequence[Any]) -> list[LoggedDelivery]:
        attempts: dict[int, list[Any]] = defaultdict(list)
        for row in await self._raw.fetch(_ATTEMPTS, [delivery["id"] for delivery in deliveries]):
            attempts[row["delivery_id"]].append(row)
        return [_delivery(delivery, attempts[delivery["id"]]) for delivery in deliveries]


def _delivery(row: Any, attempts: Sequence[Any]) -> LoggedDelivery:
    if row["test_event"] is None:
        its_event = event_id(row["portfolio_id"], row["sequence"])
    else:
        its_event = msgspec.json.decode(row["test_event"])["id"]
    return LoggedDelivery(
        id=row["id"],
        event_id=its_event,
        portfolio_id=row["portfolio_id"],
        sequence=row["sequence"],
        state=row["state"],
        next_attempt_at=row["next_attempt_at"],
        delivered_at=row["delivered_at"],
        created_at=row["created_at"],
        attempts=tuple(map(_attempt, attempts)),
    )


def _attempt(row: Any) -> LoggedAttempt:
    return LoggedAttempt(row["number"], row["at"], row["status"], row["latency_ms"], row["response"])
