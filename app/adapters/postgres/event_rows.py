"""The event log: sequences taken on locked portfolio rows, in id order, inside the caller's transaction."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from app.domain.events import EVENTS, Event, NewEvent
from app.domain.times import rfc3339

_TAKE_SEQUENCES = """
WITH wanted AS (
    SELECT * FROM unnest($1::uuid[], $2::bigint[]) AS w(id, events)
), locked AS (
    SELECT p.id, w.events FROM portfolios p JOIN wanted w USING (id) ORDER BY p.id FOR NO KEY UPDATE OF p
)
UPDATE portfolios p SET event_sequence = p.event_sequence + l.events
FROM locked l WHERE p.id = l.id
RETURNING p.id, p.event_sequence - l.events
"""

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
    """Numbers and stores the events, in the order given within each portfolio."""
    if not events:
        return []
    counts = Counter(event.portfolio_id for event in events)
    rows = await connection.fetch(_TAKE_SEQUENCES, list(counts), list(counts.values()))
    last = dict(map(tuple, rows))
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
    """The envelope that WebSocket clients and webhooks receive."""
    return _json.encode(
        {
            "id": event.id,
            "type": event.type.value,
            "version": event.version,
            "portfolio_id": str(event.portfolio_id),
            "sequence": event.sequence,
            "previous_sequence": event.sequence - 1,
            "time": rfc3339(event.time_ns),
            "data": event.data,
        }
    )
