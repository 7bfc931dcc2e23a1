"""The event logs: sequences taken on locked rows, in id order, inside the caller's transaction.

A portfolio's log is numbered in its row, what belongs to no portfolio in the row of its tenant.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import msgspec

from app.domain.events import EVENTS, Event, NewEvent, event_id
from app.domain.times import rfc3339

_TAKE_SEQUENCES: Final = """
WITH wanted AS (
    SELECT * FROM unnest($1::uuid[], $2::bigint[]) AS w(id, events)
), locked AS (
    SELECT o.id, w.events FROM {owners} o JOIN wanted w USING (id) ORDER BY o.id FOR NO KEY UPDATE OF o
)
UPDATE {owners} o SET event_sequence = o.event_sequence + l.events
FROM locked l WHERE o.id = l.id
RETURNING o.id, o.event_sequence - l.events
"""
_OF_PORTFOLIOS: Final = _TAKE_SEQUENCES.format(owners="portfolios")
_OF_TENANTS: Final = _TAKE_SEQUENCES.format(owners="tenants")

_INSERT = """
INSERT INTO events (portfolio_id, sequence, tenant_id, type, version, time_ns, data)
SELECT * FROM unnest(
    $1::uuid[], $2::bigint[], $3::uuid[], $4::text[], $5::smallint[], $6::bigint[], $7::jsonb[]
)
"""

_json = msgspec.json.Encoder()


def to_json(document: Any) -> str:
    return _json.encode(document).decode()


async def append_events(connection: Any, events: Sequence[NewEvent]) -> list[Event]:
    """Numbers and stores the events, in the order given within each log."""
    if not events:
        return []
    last: dict[UUID, int] = {}
    for statement, own in ((_OF_PORTFOLIOS, False), (_OF_TENANTS, True)):
        counts = Counter(event.portfolio_id for event in events if event.is_tenants_own is own)
        if counts:
            rows = await connection.fetch(statement, list(counts), list(counts.values()))
            last |= dict(map(tuple, rows))
    numbered = []
    for event in events:
        last[event.portfolio_id] += 1
        numbered.append(numbered_event(event, last[event.portfolio_id]))
    await connection.execute(
        _INSERT,
        [e.portfolio_id for e in numbered],
        [e.sequence for e in numbered],
        [e.tenant_id for e in numbered],
        [e.type.value for e in numbered],
        [e.version for e in numbered],
        [e.time_ns for e in numbered],
        [to_json(e.data) for e in numbered],
    )
    return numbered


def numbered_event(event: NewEvent, sequence: int) -> Event:
    return Event(
        type=event.type,
        version=EVENTS[event.type].version,
        tenant_id=event.tenant_id,
        portfolio_id=event.portfolio_id,
        sequence=sequence,
        time_ns=event.time_ns,
        data=event.data,
    )


def encode_event(event: Event) -> bytes:
    return encode_envelope(
        event.type.value,
        event.version,
        tenant_id=event.tenant_id,
        portfolio_id=event.portfolio_id,
        sequence=event.sequence,
        time_ns=event.time_ns,
        data=event.data,
    )


def encode_envelope(
    event_type: str,
    version: int,
    *,
    tenant_id: UUID,
    portfolio_id: UUID,
    sequence: int,
    time_ns: int,
    data: Mapping[str, Any],
) -> bytes:
    """What WebSocket clients and webhooks receive."""
    return _json.encode(
        {
            "id": event_id(portfolio_id, sequence),
            "type": event_type,
            "version": version,
            "portfolio_id": None if portfolio_id == tenant_id else str(portfolio_id),
            "sequence": sequence,
            "previous_sequence": sequence - 1,
            "time": rfc3339(time_ns),
            "data": data,
        }
    )
