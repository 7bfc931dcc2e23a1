"""Tickets for the stream in Redis: each expires, and is taken by one only."""

from datetime import timedelta

from app.adapters.redis_streams.keys import TICKET
from app.adapters.redis_streams.wire import Wire


class RedisTickets:
    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def keep(self, digest: bytes, key_digest: bytes, lifetime: timedelta) -> None:
        milliseconds = int(lifetime.total_seconds() * 1_000)
        await self._wire.execute_command("SET", TICKET + digest.hex(), key_digest, "PX", milliseconds)

    async def take(self, digest: bytes) -> bytes | None:
        taken: bytes | None = await self._wire.execute_command("GETDEL", TICKET + digest.hex())
        return taken
