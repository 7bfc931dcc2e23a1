"""The Standard Webhooks signature: HMAC-SHA256 over `id.timestamp.body`, as header `webhook-signature`."""

import hmac
from base64 import b64encode


def sign(secret: bytes, event_id: str, timestamp_seconds: int, body: bytes, *older: bytes) -> str:
    """A secret is what follows `whsec_`, decoded; the timestamp is Unix time.

    While secrets are exchanged the `older` ones sign too: receivers take what one of the signatures fits.
    """
    signed = b"%b.%d.%b" % (event_id.encode(), timestamp_seconds, body)
    return " ".join(
        f"v1,{b64encode(hmac.digest(each, signed, 'sha256')).decode()}" for each in (secret, *older)
    )
