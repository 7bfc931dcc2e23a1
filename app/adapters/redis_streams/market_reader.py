"""The market as it stands: what the API and the executor read, within the age of the last frame."""

from collections.abc import Iterable
from typing import Any

import msgspec
from redis.asyncio import Redis

from app.adapters.redis_streams.keys import CONSENSUS, STATE
from app.domain.errors import Unavailable
from app.domain.market import Change, StreamPosition, TickKind

_change = msgspec.msgpack.Decoder(Change)


def consensus_field(kind: TickKind, instrument: str) -> str:
    return kind + "|" + instrument


async def read_consensus(
    redis: "Redis", keys: Iterable[tuple[TickKind, str]]
) -> dict[tuple[TickKind, str], Change]:
    """Unknown ones are absent."""
    wanted = list(keys)
    if not wanted:
        return {}
    values: list[Any] = await redis.hmget(CONSENSUS, [consensus_field(kind, name) for kind, name in wanted])
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
