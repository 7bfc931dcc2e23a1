"""What evaluators said of themselves lately; who is gone is silent, and what it said expires."""

from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis

from app.adapters.redis_streams.keys import FIGURES, PROGRESS
from app.ports.figures import EvaluatorFigures, unpacked


async def read_figures(redis: "Redis") -> Sequence[EvaluatorFigures]:
    """Each is kept under the lowest of its shards."""
    shards = sorted(int(shard) for shard in await redis.hkeys(PROGRESS))
    if not shards:
        return []
    said: list[Any] = await redis.mget([f"{FIGURES}{shard}" for shard in shards])
    return [unpacked(packed) for packed in said if packed is not None]
