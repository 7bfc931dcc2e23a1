from datetime import timedelta

import pytest

from app.domain.errors import ConfigurationError
from app.services.deliver_event import Deliverer, retry_after


def test_the_schedule_is_the_one_receivers_know():
    waits = [retry_after(attempts, draw=0.0) for attempts in range(1, 9)]
    hours, minutes = (lambda n: timedelta(hours=n)), (lambda n: timedelta(minutes=n))
    assert waits == [
        timedelta(seconds=5),
        minutes(5),
        minutes(30),
        hours(2),
        hours(5),
        hours(10),
        hours(10),
        None,
    ]


def test_jitter_only_lengthens():
    assert timedelta(seconds=5) < retry_after(1, draw=0.999) < timedelta(seconds=6)


@pytest.mark.parametrize("lease_seconds", [14, 15])
def test_f31_a_claim_not_longer_than_a_request_is_refused(lease_seconds):
    class Sender:
        timeout = timedelta(seconds=15)

    with pytest.raises(ConfigurationError, match="must outlast"):
        Deliverer(queue=None, sender=Sender(), lease=timedelta(seconds=lease_seconds))
