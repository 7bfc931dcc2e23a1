"""How far the oracle and the shards have come; waiting is by message, and by looking again if one is lost."""

from redis.asyncio import Redis

from app.adapters.redis_streams.keys import PROGRESS, PROGRESS_CHANNEL, STATE
from app.domain.market import StreamPosition

LOOK_AGAIN_SECONDS = 0.2


class RedisProgress:
    def __init__(self, redis: "Redis") -> None:
        self._redis = redis
        self._messages = redis.pubsub()

    async def standing(self) -> tuple[str, StreamPosition | None, dict[int, StreamPosition]]:
        """The last tick entry that was taken, the frame the market stands at, and where each shard is."""
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.hmget(STATE, ["cursor", "generation", "sequence"])
        pipeline.hgetall(PROGRESS)
        (cursor, generation, sequence), stored = await pipeline.execute()
        shards = {int(shard): StreamPosition.parse(at.decode()) for shard, at in stored.items()}
        if cursor is None or generation is None or sequence is None:
            return "0-0", None, shards
        return cursor.decode(), StreamPosition(int(generation), int(sequence)), shards

    async def listen(self) -> None:
        """From here on no word is missed by `wait`."""
        await self._messages.subscribe(PROGRESS_CHANNEL)
        await self._messages.get_message(timeout=None)

    async def wait(self) -> None:
        await self._messages.get_message(ignore_subscribe_messages=True, timeout=LOOK_AGAIN_SECONDS)
