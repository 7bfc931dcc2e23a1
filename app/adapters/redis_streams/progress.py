"""How far the oracle and the shards have come; waiting is by message, and by looking again if one is lost."""

from typing import Any

from redis.asyncio import Redis

from app.adapters.redis_streams.keys import PROGRESS, PROGRESS_CHANNEL, STATE
from app.domain.market import StreamPosition

LOOK_AGAIN_SECONDS = 0.2


class RedisProgress:
    def __init__(self, redis: "Redis") -> None:
        self._redis = redis
        self._messages = redis.pubsub()

    async def cursor(self) -> tuple[str, StreamPosition | None]:
        """The last tick entry that was taken, and the frame the market stands at."""
        reply: list[Any] = await self._redis.hmget(STATE, ["cursor", "generation", "sequence"])
        cursor, generation, sequence = reply
        if cursor is None or generation is None or sequence is None:
            return "0-0", None
        return cursor.decode(), StreamPosition(int(generation), int(sequence))

    async def shards(self) -> dict[int, StreamPosition]:
        stored: dict[Any, Any] = await self._redis.hgetall(PROGRESS)
        return {int(shard): StreamPosition.parse(at.decode()) for shard, at in stored.items()}

    async def wait(self) -> None:
        if not self._messages.subscribed:
            await self._messages.subscribe(PROGRESS_CHANNEL)
        await self._messages.get_message(ignore_subscribe_messages=True, timeout=LOOK_AGAIN_SECONDS)
