"""The `events` stream with its end, for readers that start now and notice when it went back."""

from app.adapters.redis_streams.events import EventStream
from app.adapters.redis_streams.keys import EVENTS


class EventFeed(EventStream):
    async def tail(self) -> str:
        """The newest entry's id, `0-0` for a stream that is empty or was flushed."""
        newest = await self._redis.execute_command("XREVRANGE", EVENTS, "+", "-", "COUNT", 1)
        return str(newest[0][0].decode()) if newest else "0-0"
