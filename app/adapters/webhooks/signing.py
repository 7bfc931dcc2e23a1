"""The Standard Webhooks signature: HMAC-SHA256 over `id.timestamp.body`, as header `webhook-signature`."""

import hmac
from base64 import b64encode


def sign(secret: bytes, event_id: str, timestamp_seconds: int, body: bytes) -> str:
    """`secret` is what follows `whsec_`, decoded; the timestamp is Unix time."""
    signed = b"%b.%d.%b" % (event_id.encode(), timestamp_seconds, body)
    return f"v1,{b64encode(hmac.digest(secret, signed, 'sha256')).decode()}"
