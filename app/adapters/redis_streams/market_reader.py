"""The market as it stands: what the API and the executor read, within the age of the last frame."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from redis.asyncio import Redis

from app.adapters.redis_streams.keys import CONSENSUS, MEMORY, REJECTIONS, STATE
from app.domain.errors import Unavailable
from app.domain.market import Change, StreamPosition, TickKind, line_name
from app.oracle.memory import Memory
from app.ports.sources import OracleNow

_change = msgspec.msgpack.Decoder(Change)
_memory = msgspec.msgpack.Decoder(Memory)


async def read_consensus(
    redis: "Redis", keys: Iterable[tuple[TickKind, str]]
) -> dict[tuple[TickKind, str], Change]:
    """Unknown ones are absent."""
    wanted = list(keys)
    if not wanted:
        return {}
    values: list[Any] = await redis.hmget(CONSENSUS, [line_name(kind, name) for kind, name in wanted])
    return {
        key: _change.decode(value) for key, value in zip(wanted, values, strict=True) if value is not None
    }


async def read_whole_consensus(redis: "Redis") -> list[Change]:
    values: list[Any] = await redis.hvals(CONSENSUS)
    return sorted((_change.decode(value) for value in values), key=lambda c: (c.instrument, c.kind))


async def read_clock(redis: "Redis") -> tuple[StreamPosition, int]:
    """The newest frame's position and the market clock."""
    generation, sequence, time_ns = await redis.hmget(STATE, ["generation", "sequence", "time_ns"])
    if generation is None or sequence is None or time_ns is None:
        raise Unavailable("the market has not started: no frame was written yet")
    return StreamPosition(int(generation), int(sequence)), int(time_ns)


def decoded_memory(log: Sequence[bytes]) -> Memory:
    """Of a snapshot and what followed it."""
    return Memory.joined(map(_memory.decode, log))


async def read_oracle(redis: "Redis") -> OracleNow:
    """What the oracle remembers, as of its last write, and what it refused."""
    log: Any = await redis.lrange(MEMORY, 0, -1)
    return OracleNow(decoded_memory(log), await read_rejections(redis))


async def read_rejections(redis: "Redis") -> dict[str, dict[str, int]]:
    """By source and reason."""
    counts: dict[Any, Any] = await redis.hgetall(REJECTIONS)
    rejections: dict[str, dict[str, int]] = {}
    for name, count in counts.items():
        reason, _, source = name.decode().partition("|")
        rejections.setdefault(source, {})[reason] = int(count)
    return rejections
