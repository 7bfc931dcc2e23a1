"""Golden: what the package that receivers use makes of our signatures."""

import time
from base64 import b64decode, b64encode
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from app.adapters.webhooks.signing import sign

SECRET = bytes(range(32))


def test_the_vector_that_the_libraries_of_standard_webhooks_share():
    """`test_sign_function` in standard-webhooks/standard-webhooks, libraries/python."""
    signature = sign(
        b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1_614_265_330,
        b'{"test": 2432232314}',
    )
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@given(
    secret=st.binary(min_size=24, max_size=64),
    event_id=st.from_regex(r"evt_[0-9a-f]{32}", fullmatch=True),
    seconds=st.integers(0, 4_000_000_000),
    text=st.text(),
)
def test_signs_as_the_standardwebhooks_package_does(secret, event_id, seconds, text):
    expected = Webhook(secret).sign(event_id, datetime.fromtimestamp(seconds, UTC), text)
    assert sign(secret, event_id, seconds, text.encode()) == expected


@pytest.mark.parametrize("tamper", ["body", "id", "secret", "age"])
def test_f36_what_was_tampered_with_does_not_verify(tamper):
    now = int(time.time()) - (301 if tamper == "age" else 0)
    body = b'{"n":1}'
    headers = {
        "webhook-id": "evt_2" if tamper == "id" else "evt_1",
        "webhook-timestamp": str(now),
        "webhook-signature": sign(SECRET, "evt_1", now, body),
    }
    receiver = Webhook("whsec_" + b64encode(bytes(32) if tamper == "secret" else SECRET).decode())
    with pytest.raises(WebhookVerificationError):
        receiver.verify(b'{"n":2}' if tamper == "body" else body, headers)
