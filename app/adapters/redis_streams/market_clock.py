"""The one market clock, read where the oracle writes it."""

from redis.asyncio import Redis

from app.adapters.redis_streams.market_reader import read_clock


class RedisMarketClock:
    def __init__(self, redis: "Redis") -> None:
        self._redis = redis

    async def now_ns(self) -> int:
        """Raises `Unavailable` before the first frame."""
        _, time_ns = await read_clock(self._redis)
        return time_ns
