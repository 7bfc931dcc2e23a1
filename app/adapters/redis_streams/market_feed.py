"""A reader of the `market` stream: frames in order, hints beside them, and how far the shards have come."""

from collections.abc import Mapping, Sequence

import msgspec
from redis.asyncio import Redis

from app.adapters.redis_streams.client import Entry, newest_id, read_range, read_stream
from app.adapters.redis_streams.events import KEEP_ENTRIES, streamed_event
from app.adapters.redis_streams.keys import EVENTS, HINTS, MARKET, PROGRESS, PROGRESS_CHANNEL
from app.domain.events import Event
from app.domain.market import ORIGIN, Frame, StreamPosition
from app.ports.market import MarketNews

_frame = msgspec.msgpack.Decoder(Frame)


class RedisMarketFeed:
    def __init__(self, redis: "Redis") -> None:
        self._redis = redis
        self._cursors = {MARKET: ORIGIN.entry_id, HINTS: "0-0"}

    async def seek(self, after: StreamPosition) -> None:
        """From here on; hints only those still to come, for a sweep has found the older ones."""
        self._cursors[MARKET] = after.entry_id
        newest = await self._redis.execute_command("XREVRANGE", HINTS, "+", "-", "COUNT", 1)
        self._cursors[HINTS] = newest[0][0].decode() if newest else "0-0"

    async def read(self, *, count: int, block_ms: int) -> MarketNews:
        reply = await read_stream(self._redis, self._cursors, count=count, block_ms=block_ms)
        frames = reply.get(MARKET, [])
        hints = reply.get(HINTS, [])
        for stream, entries in reply.items():
            self._cursors[stream] = newest_id(entries[-1:], self._cursors[stream])
        return MarketNews(frames=_decoded(frames), changed=frozenset(flat[1] for _, flat in hints))

    async def between(self, after: StreamPosition, upto: StreamPosition) -> Sequence[Frame]:
        """Frames after one position up to and with another, all of them."""
        frames: list[Frame] = []
        while after < upto:
            start = f"({after.entry_id}"
            entries = await read_range(self._redis, MARKET, start, upto.entry_id, count=5_000)
            if not entries:
                break
            frames += _decoded(entries)
            after = frames[-1].position
        return frames

    async def publish(self, events: Sequence[Event], progress: Mapping[int, StreamPosition]) -> None:
        """What was committed, and how far that brought the shards: one round trip, events first."""
        pipeline = self._redis.pipeline(transaction=False)
        for event in events:
            streamed = streamed_event(event)
            pipeline.execute_command("XADD", EVENTS, "MAXLEN", "~", KEEP_ENTRIES, "*", *streamed.fields())
        flat: list[str | int] = []
        for shard, position in progress.items():
            flat += (shard, position.entry_id)
        if flat:
            pipeline.execute_command("HSET", PROGRESS, *flat)
            pipeline.execute_command("PUBLISH", PROGRESS_CHANNEL, flat[1])
        await pipeline.execute()


def _decoded(entries: Sequence[Entry]) -> list[Frame]:
    return [_frame.decode(flat[1]) for _, flat in entries]
