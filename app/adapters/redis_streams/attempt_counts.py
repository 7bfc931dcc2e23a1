"""What couriers counted of their attempts, summed in Redis. Where that is emptied it begins anew."""

from collections.abc import Mapping
from typing import Any

from redis.asyncio import Redis

from app.adapters.redis_streams.keys import ATTEMPTS
from app.adapters.redis_streams.wire import Wire
from app.ports.webhook_figures import GIVEN_UP, LATENCY, LATENCY_MS, OUTCOME, AttemptFigures, Count


class RedisAttemptCounts:
    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def add(self, counted: Mapping[Count, int]) -> None:
        await self._wire.execute_many(
            [("HINCRBY", ATTEMPTS, "|".join(count), number) for count, number in counted.items()]
        )


async def read_attempt_counts(redis: "Redis") -> AttemptFigures:
    counted: dict[Any, Any] = await redis.hgetall(ATTEMPTS)
    counts = {Count(*name.decode().split("|")): int(number) for name, number in counted.items()}
    return AttemptFigures(
        outcomes={count.kind: number for count, number in counts.items() if count.what == OUTCOME},
        latencies={count.kind: number for count, number in counts.items() if count.what == LATENCY},
        latency_ms=counts.get(Count(LATENCY_MS), 0),
        given_up=counts.get(Count(GIVEN_UP), 0),
    )
