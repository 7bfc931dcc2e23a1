"""Every portfolio's log, read from PostgreSQL: for clients that were away, and for what the stream lost."""

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec

from app.adapters.postgres.adjustment_rows import adjustment_of
from app.adapters.postgres.event_rows import encode_envelope
from app.adapters.redis_streams.events import StreamedEvent
from app.domain.adjustment_json import adjustment_data
from app.domain.identifiers import PortfolioId, TenantId
from app.ports.delivery import End, Head, Heads, Horizon, OutboxEntry, Snapshot, TenantSnapshot

# A restored dump is another database, a cluster restored to a point in time another timeline.
_EPOCH = """
md5(concat_ws('/', (SELECT system_identifier FROM pg_control_system()),
    (SELECT oid FROM pg_database WHERE datname = current_database()),
    left(pg_walfile_name(pg_current_wal_insert_lsn()), 8)))
"""
_END = f"""
SELECT {_EPOCH}, event_sequence FROM portfolios WHERE id = $1 AND tenant_id = $2 AND deleted_at IS NULL
"""  # noqa: S608 - constants only
_NOW = f"SELECT {_EPOCH}, pg_current_snapshot()::text"
_ENDS = """
SELECT tenant_id, id, event_sequence FROM portfolios
WHERE deleted_at IS NULL AND tenant_id = ANY($1::uuid[])
UNION
SELECT tenant_id, id, event_sequence FROM portfolios WHERE id = ANY($4::uuid[])
UNION
SELECT e.tenant_id, e.portfolio_id, max(e.sequence)
FROM unnest($1::uuid[], $2::bigint[], $3::text[]) AS t(id, horizon, running)
JOIN events e ON e.tenant_id = t.id AND (e.transaction_id >= t.horizon
    OR e.transaction_id = ANY(string_to_array(t.running, '-')::bigint[]))
GROUP BY e.tenant_id, e.portfolio_id
UNION
SELECT id, id, event_sequence FROM tenants
WHERE event_sequence > 0 AND (id = ANY($1::uuid[]) OR id = ANY($4::uuid[]))
"""
_BEFORE = """
SELECT portfolio_id, min(sequence) - 1 FROM events
WHERE tenant_id = $1 AND (transaction_id >= $2 OR transaction_id = ANY($3::bigint[]))
GROUP BY portfolio_id
"""
_SEQUENCE = "SELECT event_sequence FROM portfolios WHERE id = $1"
COLUMNS = "e.portfolio_id, e.sequence, e.tenant_id, e.type, e.version, e.time_ns, e.data"
_AFTER = f"""
SELECT {COLUMNS} FROM events e
WHERE e.portfolio_id = $1 AND e.sequence > $2 ORDER BY e.sequence LIMIT $3
"""  # noqa: S608 - constants only
_AFTER_EACH = f"""
SELECT e.* FROM unnest($1::uuid[], $2::bigint[]) AS p(id, sequence) CROSS JOIN LATERAL (
    SELECT {COLUMNS} FROM events e
    WHERE e.portfolio_id = p.id AND e.sequence > p.sequence ORDER BY e.sequence LIMIT $3
) e ORDER BY e.portfolio_id, e.sequence
"""  # noqa: S608 - constants only
_OPEN_ADJUSTMENTS = """
SELECT * FROM adjustments
WHERE portfolio_id = $1 AND state IN ('recommended', 'approved', 'queued', 'executing')
ORDER BY decided_at_ns, id
"""
_OPEN_OF_TENANT = """
SELECT a.* FROM portfolios p JOIN adjustments a ON a.portfolio_id = p.id
WHERE p.tenant_id = $1 AND p.deleted_at IS NULL
    AND a.state IN ('recommended', 'approved', 'queued', 'executing')
ORDER BY a.decided_at_ns, a.id
"""
_UNDISPATCHED = f"""
SELECT e.created_at, {COLUMNS} FROM events e
WHERE NOT e.dispatched AND e.created_at < now() - $1::interval
  AND (e.created_at, e.portfolio_id, e.sequence) > ($2, $3, $4)
ORDER BY e.created_at, e.portfolio_id, e.sequence LIMIT $5
"""  # noqa: S608 - constants only
_UNDISPATCHED_FROM_START = f"""
SELECT e.created_at, {COLUMNS} FROM events e
WHERE NOT e.dispatched AND e.created_at < now() - $1::interval
ORDER BY e.created_at, e.portfolio_id, e.sequence LIMIT $2
"""  # noqa: S608 - constants only


@dataclass(frozen=True, slots=True)
class Undispatched:
    created_at: datetime
    event: StreamedEvent


class PostgresEventLog:
    """On an asyncpg pool. Reads only."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    async def end(self, tenant_id: TenantId, portfolio_id: PortfolioId) -> End | None:
        row = await self._pool.fetchrow(_END, portfolio_id, tenant_id)
        return None if row is None else End(*row)

    async def heads(
        self, horizons: Mapping[TenantId, Horizon], portfolio_ids: Collection[PortfolioId]
    ) -> Heads:
        async with self._one_moment() as connection:
            return await _heads(connection, horizons, portfolio_ids)

    async def before(self, tenant_id: TenantId, horizon: Horizon) -> dict[PortfolioId, int]:
        """Sequences are taken on locked rows, so what had committed is the beginning of every log."""
        rows = await self._pool.fetch(_BEFORE, tenant_id, horizon.end, horizon.running)
        return {PortfolioId(portfolio_id): sequence for portfolio_id, sequence in rows}

    async def after(self, portfolio_id: PortfolioId, sequence: int, *, limit: int) -> list[StreamedEvent]:
        return [streamed(row) for row in await self._pool.fetch(_AFTER, portfolio_id, sequence, limit)]

    async def after_each(self, positions: Mapping[PortfolioId, int], *, limit: int) -> list[StreamedEvent]:
        rows = await self._pool.fetch(_AFTER_EACH, list(positions), list(positions.values()), limit)
        return [streamed(row) for row in rows]

    async def snapshot(self, portfolio_id: PortfolioId) -> Snapshot:
        async with self._one_moment() as connection:
            sequence = await connection.fetchval(_SEQUENCE, portfolio_id)
            rows = await connection.fetch(_OPEN_ADJUSTMENTS, portfolio_id)
        return Snapshot(sequence or 0, list(map(_adjustment, rows)))

    async def tenant_snapshot(
        self, tenant_id: TenantId, since: Horizon, portfolio_ids: Collection[PortfolioId]
    ) -> TenantSnapshot:
        async with self._one_moment() as connection:
            heads = await _heads(connection, {tenant_id: since}, portfolio_ids)
            rows = await connection.fetch(_OPEN_OF_TENANT, tenant_id)
        return TenantSnapshot(heads, list(map(_adjustment, rows)))

    @asynccontextmanager
    async def _one_moment(self) -> AsyncIterator[Any]:
        """A connection on which all statements see the same."""
        async with (
            self._pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            yield connection

    async def undispatched(
        self, *, older_than: timedelta, after: OutboxEntry | None, limit: int
    ) -> list[Undispatched]:
        if after is None:
            rows = await self._pool.fetch(_UNDISPATCHED_FROM_START, older_than, limit)
        else:
            event = after.event
            rows = await self._pool.fetch(
                _UNDISPATCHED, older_than, after.created_at, event.portfolio_id, event.sequence, limit
            )
        return [Undispatched(row["created_at"], streamed(row)) for row in rows]


async def _heads(
    connection: Any, horizons: Mapping[TenantId, Horizon], portfolio_ids: Collection[PortfolioId]
) -> Heads:
    epoch, snapshot = await connection.fetchrow(_NOW)
    _, end, running = snapshot.split(":")
    horizon = Horizon(int(end), tuple(map(int, filter(None, running.split(",")))))
    ends = [horizon.end for horizon in horizons.values()]
    in_doubt = ["-".join(map(str, horizon.running)) for horizon in horizons.values()]
    rows = await connection.fetch(_ENDS, list(horizons), ends, in_doubt, list(portfolio_ids))
    return Heads(epoch, horizon, [Head(*row) for row in rows])


def streamed(row: Any) -> StreamedEvent:
    """From a row with the columns of `events`, to what the committer published or would have.

    Of whatever type: while a new version takes over, this one passes on what it does not know yet.
    """
    place = {name: row[name] for name in ("tenant_id", "portfolio_id", "sequence")}
    body = encode_envelope(
        row["type"], row["version"], **place, time_ns=row["time_ns"], data=msgspec.json.decode(row["data"])
    )
    return StreamedEvent(**place, type=row["type"], body=body)


def _adjustment(row: Any) -> dict[str, Any]:
    """As the `data` of adjustment.* events, and what of its legs is still unfilled."""
    return adjustment_data(adjustment_of(row)) | {"remaining": msgspec.json.decode(row["remaining"])}
