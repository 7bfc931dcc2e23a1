"""The queues of webhook deliveries, one for each endpoint: claims with a lease, and what came of attempts.

A courier looks at queues, not at deliveries: those that are due, the longest waiting first. It locks them,
takes a few deliveries of each, and says when each is due again. So a backlog costs only its own endpoint, and
an endpoint that fails is one row that is not due. Locked queues are passed over, never waited for.

A claim has a lease: whoever holds it may die, and the delivery is free again by itself. The end of the lease
is also what tells one claim from another: a failure that is told too late, when somebody else has the
delivery, changes nothing. No index knows of claims, so that a claim is written in place.
"""

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, assert_never

from app.adapters.postgres.delivery_bodies import deliveries_of
from app.adapters.postgres.delivery_store import WAKE
from app.adapters.postgres.event_rows import append_events
from app.domain.identifiers import EndpointId, TenantId
from app.domain.webhook_events import disabled_event
from app.ports.delivery import (
    Attempt,
    Breaker,
    Delivered,
    Delivery,
    DisabledEndpoint,
    Rejected,
    Retention,
    Retryable,
)

_FAILING_SHARE = 4  # of all places: those that fail must not be in the way, and must not be forgotten
_DROPPED_AT_ONCE = 5_000
_KEPT_CHARACTERS = 1_024

_FREE = "(claimed_until IS NULL OR claimed_until <= now())"

_LOCK = """
WITH failing AS (
    SELECT endpoint_id FROM webhook_queues
    WHERE failures > 0 AND due_at <= now() AND endpoint_id <> ALL($3::uuid[])
    ORDER BY due_at LIMIT $2 FOR UPDATE SKIP LOCKED
), working AS (
    SELECT endpoint_id FROM webhook_queues
    WHERE failures = 0 AND due_at <= now() AND endpoint_id <> ALL($3::uuid[])
    ORDER BY due_at LIMIT $1 - (SELECT count(*) FROM failing) FOR UPDATE SKIP LOCKED
)
SELECT endpoint_id FROM failing UNION ALL SELECT endpoint_id FROM working
"""

# The first of each portfolio, found by stepping from one to the next: the backlog behind it costs nothing.
_FIRST_OF_EACH = """
    WITH RECURSIVE firsts AS (
        (SELECT id, portfolio_id, next_attempt_at, claimed_until FROM webhook_deliveries
         WHERE endpoint_id = {endpoint} AND state = 'pending' AND portfolio_id IS NOT NULL
         ORDER BY portfolio_id DESC, sequence LIMIT 1)
        UNION ALL
        SELECT following.* FROM firsts CROSS JOIN LATERAL (
            SELECT id, portfolio_id, next_attempt_at, claimed_until FROM webhook_deliveries
            WHERE endpoint_id = {endpoint} AND state = 'pending' AND portfolio_id < firsts.portfolio_id
            ORDER BY portfolio_id DESC, sequence LIMIT 1
        ) following
    )
    SELECT id, next_attempt_at, claimed_until FROM firsts
    UNION ALL
    SELECT id, next_attempt_at, claimed_until FROM webhook_deliveries
    WHERE endpoint_id = {endpoint} AND state = 'pending' AND portfolio_id IS NULL
"""

# An endpoint's rate lets a tenth of a second's worth through at once (one, if that is more).
_TOLERANCE = "greatest(1.0 / w.rate_limit, 0.1)"
_CLAIM = f"""
WITH looked_at AS (
    SELECT q.endpoint_id, w.ordered, least(
        $2, $3 - coalesce(b.busy, 0),
        CASE WHEN q.failures >= $7 THEN 1 - coalesce(b.busy, 0) END,
        floor(1e-6 + w.rate_limit
            * ({_TOLERANCE} - extract(epoch FROM greatest(q.rate_spent_until, now()) - now())))
    ) AS room
    FROM webhook_queues q
    JOIN webhook_endpoints w ON w.id = q.endpoint_id AND w.enabled AND w.deleted_at IS NULL
    LEFT JOIN unnest($5::uuid[], $6::bigint[]) AS b(endpoint_id, busy) ON b.endpoint_id = q.endpoint_id
    WHERE q.endpoint_id = ANY($1::uuid[])
), due AS (
    SELECT l.endpoint_id, l.room, d.id, d.next_attempt_at FROM looked_at l CROSS JOIN LATERAL (
        SELECT id, next_attempt_at FROM webhook_deliveries
        WHERE endpoint_id = l.endpoint_id AND state = 'pending' AND next_attempt_at <= now() AND {_FREE}
        ORDER BY next_attempt_at LIMIT $3
    ) d WHERE NOT l.ordered
    UNION ALL
    SELECT l.endpoint_id, l.room, d.id, d.next_attempt_at
    FROM looked_at l CROSS JOIN LATERAL ({_FIRST_OF_EACH.format(endpoint="l.endpoint_id")}) d
    WHERE l.ordered AND d.next_attempt_at <= now() AND {_FREE}
), ranked AS (
    SELECT id, room, row_number() OVER (PARTITION BY endpoint_id ORDER BY next_attempt_at, id) AS rank
    FROM due
), taken AS (
    SELECT d.id FROM ranked JOIN webhook_deliveries d USING (id)
    WHERE rank <= room AND d.state = 'pending' AND {_FREE}
    FOR UPDATE OF d SKIP LOCKED
), claimed AS (
    UPDATE webhook_deliveries d SET claimed_until = now() + $4::interval FROM taken WHERE d.id = taken.id
    RETURNING d.id, d.endpoint_id, d.retries, d.claimed_until, d.portfolio_id, d.sequence, d.test_event
)
SELECT c.id, c.endpoint_id, c.retries, c.claimed_until, c.test_event,
       w.url, w.secret, w.old_secrets, w.old_secrets_until, now(),
       e.portfolio_id, e.sequence, e.tenant_id, e.type, e.version, e.time_ns, e.data
FROM claimed c
JOIN webhook_endpoints w ON w.id = c.endpoint_id
LEFT JOIN events e ON e.portfolio_id = c.portfolio_id AND e.sequence = c.sequence
ORDER BY c.id
"""  # noqa: S608 - constants only

# Claimed ones are the first of those that are due: the first one's lease says when to look for the dead. A
# queue of which more is due goes behind those that wait already, so a backlog takes its turn like the others.
_SETTLE = f"""
WITH settled AS (
    SELECT q.endpoint_id, coalesce(a.claimed, 0) AS claimed, w.rate_limit,
        greatest(q.rate_spent_until, now())
            + make_interval(secs => coalesce(a.claimed, 0) / w.rate_limit::float) AS spent_until,
        CASE WHEN NOT w.enabled OR w.deleted_at IS NOT NULL THEN 'infinity'
             WHEN w.ordered THEN (
                 SELECT min(greatest(next_attempt_at, claimed_until))
                 FROM ({_FIRST_OF_EACH.format(endpoint="q.endpoint_id")}) first
             )
             ELSE least(
                 (SELECT next_attempt_at FROM webhook_deliveries
                  WHERE endpoint_id = q.endpoint_id AND state = 'pending' AND {_FREE}
                  ORDER BY next_attempt_at LIMIT 1),
                 (SELECT greatest(next_attempt_at, claimed_until) FROM webhook_deliveries
                  WHERE endpoint_id = q.endpoint_id AND state = 'pending' ORDER BY next_attempt_at LIMIT 1)
             )
        END AS next_at,
        make_interval(secs => 1.0 / w.rate_limit - {_TOLERANCE}) AS rate_pause
    FROM webhook_queues q
    JOIN webhook_endpoints w ON w.id = q.endpoint_id
    LEFT JOIN unnest($2::uuid[], $3::bigint[]) AS a(endpoint_id, claimed) ON a.endpoint_id = q.endpoint_id
    WHERE q.endpoint_id = ANY($1::uuid[])
), paused AS (
    SELECT s.*, greatest(
        CASE WHEN q.failures >= $5 AND s.claimed > 0 THEN now() + $4::interval ELSE q.paused_until END,
        s.spent_until + s.rate_pause
    ) AS paused_until
    FROM settled s JOIN webhook_queues q USING (endpoint_id)
)
UPDATE webhook_queues q SET
    paused_until = p.paused_until,
    due_at = greatest(coalesce(p.next_at, 'infinity'), p.paused_until, now()),
    rate_spent_until = coalesce(p.spent_until, q.rate_spent_until)
FROM paused p WHERE q.endpoint_id = p.endpoint_id
"""  # noqa: S608 - constants only

# A queue is told of failures and of their end, and an ordered one that its next is free. What was under way
# together opens the breaker and no more. The pause grows by probes: their lease is the pause (`_SETTLE`), and
# only what came of the probe ends it. Whatever else comes of what was sent before leaves a pause as it is.
_RECORD = """
WITH moved AS (
    UPDATE webhook_deliveries d SET
        state = r.state, attempts = d.attempts + 1, last_status = r.status,
        retries = CASE WHEN r.state = 'delivered' THEN d.retries ELSE d.retries + 1 END,
        last_error = CASE WHEN r.state = 'delivered' THEN '' ELSE r.said END,
        claimed_until = NULL, next_attempt_at = coalesce(now() + r.retry_after, d.next_attempt_at),
        delivered_at = CASE WHEN r.state = 'delivered' THEN now() END
    FROM unnest($1::bigint[], $2::text[], $3::int[], $4::text[], $5::interval[], $6::timestamptz[], $7::int[])
        AS r(id, state, status, said, retry_after, claimed_until, latency_ms)
    WHERE d.id = ANY($1::bigint[]) AND d.id = r.id AND d.state = 'pending'
        AND (r.state = 'delivered' OR d.claimed_until IS NOT DISTINCT FROM r.claimed_until)
    RETURNING d.id, d.attempts, d.endpoint_id, r.status, r.latency_ms, r.said
), logged AS (
    INSERT INTO webhook_attempts (delivery_id, number, endpoint_id, status, latency_ms, response)
    SELECT id, attempts, endpoint_id, status, latency_ms, said FROM moved
), judged AS (
    SELECT q.endpoint_id, r.succeeded, r.pause, r.failures,
        CASE WHEN r.claimed_until IS DISTINCT FROM q.paused_until THEN q.paused_until END AS still_until,
        CASE WHEN NOT r.succeeded AND q.failures >= $12
            THEN q.failures + (r.claimed_until IS NOT DISTINCT FROM q.paused_until)::int
            ELSE least($12, r.failures + CASE WHEN r.succeeded THEN 0 ELSE q.failures END) END AS in_a_row
    FROM webhook_queues q
    JOIN webhook_endpoints w ON w.id = q.endpoint_id
    JOIN unnest($8::uuid[], $9::boolean[], $10::int[], $11::interval[], $16::timestamptz[])
        AS r(endpoint_id, succeeded, failures, pause, claimed_until) ON r.endpoint_id = q.endpoint_id
    WHERE w.ordered OR q.failures > 0 OR r.failures > 0 OR q.paused_until > now()
    ORDER BY q.endpoint_id FOR UPDATE OF q
), paused AS (
    SELECT *, greatest(
        still_until,
        now() + pause,
        CASE WHEN in_a_row >= $12
            THEN now() + least($14::interval, $13::interval * 2 ^ least(in_a_row - $12, 20)) END,
        '-infinity'
    ) AS until FROM judged
)
UPDATE webhook_queues q SET
    failures = p.in_a_row,
    failing_since = CASE WHEN p.in_a_row = 0 THEN NULL WHEN p.succeeded THEN now()
        ELSE coalesce(q.failing_since, now()) END,
    paused_until = p.until,
    due_at = greatest(least(q.due_at, now()), p.until)
FROM paused p WHERE q.endpoint_id = p.endpoint_id
RETURNING q.endpoint_id, q.failing_since <= now() - $15::interval AS hopeless
"""
_RELEASE = f"""
WITH released AS (
    UPDATE webhook_deliveries d SET claimed_until = NULL
    FROM unnest($1::bigint[], $2::timestamptz[]) AS r(id, claimed_until)
    WHERE d.id = r.id AND d.state = 'pending' AND d.claimed_until IS NOT DISTINCT FROM r.claimed_until
    RETURNING d.endpoint_id
)
{WAKE.format(source="released")}
"""  # noqa: S608 - constants only
_DISABLE = """
UPDATE webhook_endpoints
SET enabled = false, version = version + 1, disabled_reason = $2, operator_told = false
WHERE id = $1 AND enabled AND deleted_at IS NULL
RETURNING tenant_id, url
"""
_END_HELD = """
UPDATE webhook_deliveries d
SET state = 'failed', claimed_until = NULL,
    last_error = 'the endpoint was ' || CASE WHEN w.deleted_at IS NULL THEN 'disabled' ELSE 'deleted' END
FROM webhook_endpoints w
WHERE w.id = d.endpoint_id AND d.state = 'pending'
    AND (w.deleted_at IS NOT NULL OR (NOT w.enabled AND d.created_at < now() - $1::interval))
"""
_DROP_OLD = """
DELETE FROM webhook_deliveries WHERE id = ANY(ARRAY(
    SELECT id FROM (SELECT * FROM webhook_deliveries ORDER BY id LIMIT $2) AS oldest
    WHERE state <> 'pending' AND created_at < now() - $1::interval
))
"""
_UNTOLD = """
SELECT id, tenant_id, url, disabled_reason FROM webhook_endpoints
WHERE NOT operator_told AND NOT enabled AND deleted_at IS NULL ORDER BY id LIMIT 100
"""


class PostgresDeliveryQueue:
    """On an asyncpg pool."""

    def __init__(
        self,
        pool: Any,
        *,
        breaker: Breaker | None = None,
        retention: Retention | None = None,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._pool = pool
        self._draw = draw
        self._breaker = breaker or Breaker()
        self._retention = retention or Retention()

    async def claim(
        self,
        *,
        limit: int,
        per_endpoint: int,
        in_flight: Mapping[EndpointId, int],
        lease: timedelta,
        passed_over: Collection[EndpointId] = (),
    ) -> list[Delivery]:
        full = [*passed_over, *(endpoint for endpoint, count in in_flight.items() if count >= per_endpoint)]
        failing = int(limit / _FAILING_SHARE + self._draw())  # a single place is theirs one time in four
        # Three statements, so that what is looked at is as of when the queues were locked.
        async with self._pool.acquire() as connection, connection.transaction():
            locked = [row[0] for row in await connection.fetch(_LOCK, limit, failing, full)]
            if not locked:
                return []
            share = max(1, limit // len(locked))
            busy = (list(in_flight), list(in_flight.values()))
            rows = await connection.fetch(
                _CLAIM, locked, share, per_endpoint, lease, *busy, self._breaker.failures
            )
            claimed: dict[EndpointId, int] = {}
            for row in rows:
                claimed[row["endpoint_id"]] = claimed.get(row["endpoint_id"], 0) + 1
            counts = (list(claimed), list(claimed.values()))
            await connection.execute(_SETTLE, locked, *counts, lease, self._breaker.failures)
        return deliveries_of(rows)

    async def record(self, attempts: Sequence[Attempt]) -> list[EndpointId]:
        if not attempts:
            return []
        told = zip(*map(_told, attempts), strict=True)
        *queues, claims = zip(*_by_endpoint(attempts), strict=True)
        breaker = self._breaker
        rows = await self._pool.fetch(
            _RECORD,
            *map(list, told),
            *map(list, queues),
            breaker.failures,
            breaker.pause,
            breaker.longest,
            breaker.hopeless,
            list(claims),
        )
        return [EndpointId(row["endpoint_id"]) for row in rows if row["hopeless"]]

    async def release(self, deliveries: Sequence[Delivery]) -> None:
        await self._pool.execute(
            _RELEASE, [delivery.id for delivery in deliveries], [d.claimed_until for d in deliveries]
        )

    async def disable(self, endpoint_id: EndpointId, reason: str, *, time_ns: int) -> None:
        async with self._pool.acquire() as connection, connection.transaction():
            row = await connection.fetchrow(_DISABLE, endpoint_id, reason)
            if row is not None:
                tenant_id = TenantId(row["tenant_id"])
                event = disabled_event(tenant_id, endpoint_id, row["url"], reason, time_ns)
                await append_events(connection, [event])

    async def forget(self) -> int:
        ended = await self._pool.execute(_END_HELD, self._retention.held)
        while _rows(await self._pool.execute(_DROP_OLD, self._retention.ended, _DROPPED_AT_ONCE)):
            pass
        return _rows(ended)

    async def untold(self) -> list[DisabledEndpoint]:
        return [DisabledEndpoint(*row) for row in await self._pool.fetch(_UNTOLD)]

    async def told(self, endpoints: Sequence[DisabledEndpoint]) -> None:
        ids = [endpoint.id for endpoint in endpoints]
        await self._pool.execute(
            "UPDATE webhook_endpoints SET operator_told = true WHERE id = ANY($1::uuid[])", ids
        )


def _rows(status: str) -> int:
    """That a statement changed, of what the driver says of it."""
    return int(status.rpartition(" ")[2])


def _told(attempt: Attempt) -> tuple[Any, ...]:
    match attempt.outcome:
        case Delivered(status, said):
            state = "delivered"
        case Retryable(said, status):
            state = "failed" if attempt.retry_after is None else "pending"
        case Rejected(said, status):
            state = "failed"
        case _:
            assert_never(attempt.outcome)
    latency_ms = round(attempt.latency / timedelta(milliseconds=1))
    delivery = attempt.delivery
    kept = _kept(said)
    return delivery.id, state, status, kept, attempt.retry_after, delivery.claimed_until, latency_ms


def _kept(said: str) -> str:
    """What PostgreSQL takes as text, whoever said it: no answer must keep others from being noted."""
    text = said[:_KEPT_CHARACTERS].replace("\x00", "\N{REPLACEMENT CHARACTER}")
    return text.encode(errors="replace").decode()


def _by_endpoint(attempts: Sequence[Attempt]) -> list[tuple[Any, ...]]:
    """Of each: whether something succeeded, what failed after that, and how long it asks to wait; and until
    when the last that was told of had been claimed.
    """
    told: dict[EndpointId, tuple[bool, int, timedelta | None]] = {}
    claims: dict[EndpointId, datetime | None] = {}
    for attempt in attempts:
        endpoint_id = attempt.delivery.endpoint_id
        claims[endpoint_id] = attempt.delivery.claimed_until
        succeeded, failures, pause = told.get(endpoint_id, (False, 0, None))
        match attempt.outcome:
            case Delivered():
                told[endpoint_id] = (True, 0, pause)
            case Retryable(wait=wait):
                told[endpoint_id] = (succeeded, failures + 1, max(filter(None, (pause, wait)), default=None))
            case Rejected():
                told[endpoint_id] = (succeeded, failures + 1, pause)
    return [(endpoint_id, *values, claims[endpoint_id]) for endpoint_id, values in told.items()]
