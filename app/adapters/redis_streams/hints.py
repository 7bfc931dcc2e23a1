"""Hints that a portfolio changed. Losing one costs at most a sweep's period."""

from collections.abc import Iterable
from uuid import UUID

from redis.asyncio import Redis

from app.adapters.redis_streams.keys import HINTS

KEEP_ENTRIES = 10_000


async def hint(redis: "Redis", portfolio_ids: Iterable[UUID]) -> None:
    pipeline = redis.pipeline(transaction=False)
    for portfolio_id in portfolio_ids:
        pipeline.execute_command("XADD", HINTS, "MAXLEN", "~", KEEP_ENTRIES, "*", "p", portfolio_id.bytes)
    if len(pipeline):
        await pipeline.execute()
