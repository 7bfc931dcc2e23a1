"""What a delivery carries: the event's envelope, or a link to it where that is too large for receivers."""

from typing import Any

import msgspec

from app.adapters.postgres.event_log import streamed
from app.domain.identifiers import EndpointId, derived_id
from app.ports.delivery import Delivery

LARGEST_BODY_BYTES = 20_000 - 1
_json = msgspec.json.Encoder()


def delivery_of(row: Any) -> Delivery:
    """From a row of a claim."""
    if row["test_event"] is None:
        event_id = f"evt_{derived_id('event', row['portfolio_id'], row['sequence']).hex}"
        body = _within_limit(
            streamed(row).body, f"/v1/portfolios/{row['portfolio_id']}/events/{row['sequence']}"
        )
    else:
        body = row["test_event"]
        event_id = msgspec.json.decode(body)["id"]
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
