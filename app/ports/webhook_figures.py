"""What couriers counted, and how the queues stand: for whoever runs the service."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, NamedTuple, Protocol

LATENCY_BOUNDS_MS: Final = (25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 15_000)


class Count(NamedTuple):
    """What is counted, and of which kind it was."""

    what: str
    kind: str = ""


OUTCOME: Final = "outcome"
LATENCY: Final = "latency"  # by the least bound that it kept to
LATENCY_MS: Final = "latency_ms"
GIVEN_UP: Final = "given_up"
BEYOND: Final = "beyond"  # all bounds


@dataclass(frozen=True, slots=True)
class AttemptFigures:
    """Of all couriers together, since Redis began. `latencies` are by bound in milliseconds, or BEYOND."""

    outcomes: Mapping[str, int] = field(default_factory=dict)
    latencies: Mapping[str, int] = field(default_factory=dict)
    latency_ms: int = 0
    given_up: int = 0


@dataclass(frozen=True, slots=True)
class QueueFigures:
    """Of all tenants together. Durations are zero where nothing is there that could have waited.

    `waiting` deliveries are of endpoints that are enabled, `held` ones of those that are not. `overdue` is
    how long ago a courier should have looked at a queue, and `undispatched` how old an event is of which
    nobody has made deliveries: both grow when couriers are behind, or gone.
    """

    waiting: int
    held: int
    oldest_waiting: timedelta
    overdue: timedelta
    undispatched: timedelta
    enabled: int
    disabled_by_owner: int
    disabled_by_service: int
    open_breakers: int


class AttemptCounts(Protocol):
    async def add(self, counted: Mapping[Count, int]) -> None: ...


ReadAttempts = Callable[[], Awaitable[AttemptFigures]]
ReadQueues = Callable[[], Awaitable[QueueFigures]]
