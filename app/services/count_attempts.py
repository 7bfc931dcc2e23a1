"""Count what came of attempts to deliver, for whoever runs the service. Never by endpoint."""

import asyncio
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta

import structlog

from app.ports.delivery import Attempt, Delivered
from app.ports.webhook_figures import (
    BEYOND,
    GIVEN_UP,
    LATENCY,
    LATENCY_BOUNDS_MS,
    LATENCY_MS,
    OUTCOME,
    AttemptCounts,
    Count,
)

_log = structlog.get_logger()

PERIOD = timedelta(seconds=1)


class AttemptTally:
    """Counted here at once, and now and then added to what all couriers counted. What cannot be waits."""

    def __init__(self, counts: AttemptCounts, *, period: timedelta = PERIOD) -> None:
        self._counts = counts
        self._period = period
        self._counted: Counter[Count] = Counter()

    def count(self, attempts: Sequence[Attempt]) -> None:
        for attempt in attempts:
            latency_ms = round(attempt.latency / timedelta(milliseconds=1))
            self._counted[Count(OUTCOME, outcome_of(attempt))] += 1
            self._counted[Count(LATENCY, _bound_of(latency_ms))] += 1
            self._counted[Count(LATENCY_MS)] += latency_ms
            if not isinstance(attempt.outcome, Delivered) and attempt.retry_after is None:
                self._counted[Count(GIVEN_UP)] += 1

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                async with asyncio.timeout(self._period.total_seconds()):
                    await stop.wait()
            except TimeoutError:
                pass
            await self.add()

    async def add(self) -> None:
        counted, self._counted = self._counted, Counter()
        if not counted:
            return
        try:
            await self._counts.add(counted)
        except Exception as error:  # noqa: BLE001 - whatever ails Redis, webhooks go out without it
            _log.warning("attempts_uncounted", attempts=counted.total(), error=repr(error))
            self._counted.update(counted)


def outcome_of(attempt: Attempt) -> str:
    """By class of status: of those there are a few."""
    status = attempt.outcome.status
    if status is None:
        return "no_answer"
    return f"{status // 100}xx" if 200 <= status < 600 else "other"


def _bound_of(latency_ms: int) -> str:
    place = bisect_left(LATENCY_BOUNDS_MS, latency_ms)
    return str(LATENCY_BOUNDS_MS[place]) if place < len(LATENCY_BOUNDS_MS) else BEYOND
