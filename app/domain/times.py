"""Market times: int64 nanoseconds inside, RFC 3339 UTC outside, and nothing lost between them."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache

NS_PER_SECOND = 1_000_000_000
NS_PER_HOUR = 3_600 * NS_PER_SECOND
NS_PER_YEAR = 365 * 86_400 * NS_PER_SECOND


def rfc3339(time_ns: int) -> str:
    """With nine digits of a second, so that the nanoseconds survive the trip."""
    seconds, nanoseconds = divmod(time_ns, NS_PER_SECOND)
    return f"{_whole_seconds(seconds)}.{nanoseconds:09d}Z"


@lru_cache(maxsize=1024)
def _whole_seconds(seconds: int) -> str:
    """The times that are printed together are few and near each other."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"


def to_ns(moment: datetime) -> int:
    """Of an aware datetime (microsecond precision), exactly."""
    if moment.tzinfo is None:
        raise ValueError("a time without a zone has no place here")
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000
