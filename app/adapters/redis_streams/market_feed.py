"""A reader of the `market` stream: frames in order, hints beside them, and how far the shards have come."""

from collections.abc import Mapping, Sequence

import msgspec

from app.adapters.redis_streams.client import Entry, newest_entry, newest_id, read_range, read_stream
from app.adapters.redis_streams.events import announced, streamed_event
from app.adapters.redis_streams.keys import FIGURES, HINTS, MARKET, PROGRESS, PROGRESS_CHANNEL, STATE
from app.adapters.redis_streams.wire import Wire
from app.domain.events import Event
from app.domain.identifiers import ShardId
from app.domain.market import ORIGIN, Frame, StreamPosition
from app.ports.market import MarketNews

FIGURES_SECONDS = 15
_FRAMES_AT_ONCE = 500

_frame = msgspec.msgpack.Decoder(Frame)


class RedisMarketFeed:
    """Reading waits, so what is published goes over a connection of its own."""

    def __init__(self, *, reading: Wire, writing: Wire) -> None:
        self._reading = reading
        self._writing = writing
        self._cursors = {MARKET: ORIGIN.entry_id, HINTS: "0-0"}

    async def seek(self, after: StreamPosition) -> None:
        """From here on; hints only those still to come, for a sweep has found the older ones."""
        self._cursors[MARKET] = after.entry_id
        self._cursors[HINTS] = await newest_entry(self._reading, HINTS)

    async def read(self, *, count: int, block_ms: int) -> MarketNews:
        reply = await read_stream(self._reading, self._cursors, count=count, block_ms=block_ms)
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
            entries = await read_range(self._reading, MARKET, start, upto.entry_id, count=5_000)
            if not entries:
                break
            frames += _decoded(entries)
            after = frames[-1].position
        return frames

    async def newest(self) -> StreamPosition:
        """Where the stream ends; its origin where there is none."""
        generation, sequence = await self._writing.execute_command("HMGET", STATE, "generation", "sequence")
        return ORIGIN if sequence is None else StreamPosition(int(generation), int(sequence))

    async def publish(self, events: Sequence[Event], progress: Mapping[int, StreamPosition]) -> None:
        """What was committed, and how far that brought the shards: one round trip, events first."""
        commands = announced([streamed_event(event) for event in events])
        flat: list[str | int] = []
        for shard, position in progress.items():
            flat += (shard, position.entry_id)
        if flat:
            commands.append(("HSET", PROGRESS, *flat))
            commands.append(("PUBLISH", PROGRESS_CHANNEL, flat[1]))
        await self._writing.execute_many(commands)

    async def report(self, shard: ShardId, packed: bytes) -> None:
        await self._writing.execute_command("SET", f"{FIGURES}{shard}", packed, "EX", FIGURES_SECONDS)

    async def close(self) -> None:
        await self._reading.aclose()


class RedisFrameStream:
    """Frames from anywhere on, for whoever keeps only what is newest. On a wire of its own: reading waits."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def tail(self) -> str:
        return await newest_entry(self._wire, MARKET)

    async def read(self, after: str) -> Sequence[tuple[str, Frame]]:
        reply = await read_stream(self._wire, {MARKET: after}, count=_FRAMES_AT_ONCE)
        return [(entry_id.decode(), _frame.decode(flat[1])) for entry_id, flat in reply.get(MARKET, ())]


def _decoded(entries: Sequence[Entry]) -> list[Frame]:
    return [_frame.decode(flat[1]) for _, flat in entries]
