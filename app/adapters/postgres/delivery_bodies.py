"""What a delivery carries: the event's envelope, or a link to it where that is too large for receivers."""

from collections.abc import Sequence
from typing import Any

import msgspec

from app.adapters.postgres.event_log import streamed
from app.domain.events import event_id
from app.domain.identifiers import EndpointId
from app.ports.delivery import Delivery

LARGEST_BODY_BYTES = 20_000 - 1
_json = msgspec.json.Encoder()


def deliveries_of(rows: Sequence[Any]) -> list[Delivery]:
    """From the rows of a claim. What goes to many endpoints is written once."""
    written: dict[tuple[Any, int], tuple[str, bytes]] = {}
    deliveries = []
    for row in rows:
        place = (row["portfolio_id"], row["sequence"])
        if row["test_event"] is not None:
            carried = msgspec.json.decode(row["test_event"])["id"], row["test_event"]
        elif place in written:
            carried = written[place]
        else:
            carried = written[place] = _carried(row)
        deliveries.append(_delivery(row, *carried))
    return deliveries


def _carried(row: Any) -> tuple[str, bytes]:
    portfolio_id, sequence = row["portfolio_id"], row["sequence"]
    body = _within_limit(streamed(row).body, f"/v1/portfolios/{portfolio_id}/events/{sequence}")
    return event_id(portfolio_id, sequence), body


def _delivery(row: Any, event_id: str, body: bytes) -> Delivery:
    now, secrets = row["now"], zip(row["old_secrets"], row["old_secrets_until"], strict=True)
    return Delivery(
        id=row["id"],
        endpoint_id=EndpointId(row["endpoint_id"]),
        url=row["url"],
        secret=row["secret"],
        retries=row["retries"],
        event_id=event_id,
        body=body,
        old_secrets=tuple(secret for secret, until in secrets if until > now),
        claimed_until=row["claimed_until"],
    )


def _within_limit(body: bytes, link: str) -> bytes:
    if len(body) <= LARGEST_BODY_BYTES:
        return body
    envelope = msgspec.json.decode(body)
    del envelope["data"]
    return _json.encode(envelope | {"link": link})
