"""Into `oracle:ticks`, as anybody may: a single tick as flat fields, many packed in one entry."""

from collections.abc import Sequence
from typing import Any

import msgspec

from app.adapters.redis_streams.keys import TICKS
from app.adapters.redis_streams.wire import Wire
from app.domain.market import Tick

KEEP_TICKS = 1_000_000

_encode = msgspec.msgpack.Encoder().encode


class RedisTickPublisher:
    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def publish(self, ticks: Sequence[Tick], signature: bytes = b"") -> str:
        """One entry, and its id."""
        body = flat_fields(ticks[0]) if len(ticks) == 1 else ["packed", _encode(ticks)]
        if signature:
            body = [*body, "signature", signature]
        entry: bytes = await self._wire.execute_command("XADD", TICKS, "MAXLEN", "~", KEEP_TICKS, "*", *body)
        return entry.decode()


def flat_fields(tick: Tick) -> list[Any]:
    return [
        "kind", tick.kind.value, "source", tick.source, "instrument", tick.instrument,
        "sequence", tick.sequence, "time_ns", tick.time_ns,
        "value", repr(tick.value), "confidence", repr(tick.confidence),
    ]  # fmt: skip
