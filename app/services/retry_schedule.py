"""When a webhook that failed is sent again: the schedule that receivers know from others, with jitter."""

from collections.abc import Sequence
from datetime import timedelta

RETRIES = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=10),
)
_JITTER = 0.2  # an endpoint that comes back is not met by everything at once


def retry_after(
    failures: int,
    *,
    draw: float,
    wait: timedelta | None = None,
    schedule: Sequence[timedelta] = RETRIES,
) -> timedelta | None:
    """How long to wait after so many failures, and no less than the receiver asks for; None: no more.

    `draw` is uniform in [0, 1).
    """
    if failures > len(schedule):
        return None
    return max(schedule[failures - 1] * (1 + _JITTER * draw), wait or timedelta())
