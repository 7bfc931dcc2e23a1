"""Puts many ticks into the stream in one step, so that publishing takes nothing from those who read."""

import time
from collections.abc import Sequence

import msgspec

from bench.drivers.ticks import packed, single
from bench.floors.redis_wire import BlockingRedis, command

INSTRUMENTS = 1_000
PACK = 100
_TOGETHER = 500


class Batch(msgspec.Struct, frozen=True):
    """`ticks` over `INSTRUMENTS` instruments, one in an entry or `PACK`; prices move a little."""

    ticks: int
    packed: bool

    @property
    def entries(self) -> int:
        return self.ticks // PACK if self.packed else self.ticks


SINGLE = Batch(ticks=20_000, packed=False)
PACKED = Batch(ticks=400_000, packed=True)


def publish_at_once(redis_path: str, batch: Batch, *, first_sequence: int = 1) -> float:
    return write_at_once(
        redis_path, [_entry(batch, number, first_sequence) for number in range(batch.entries)]
    )


def write_at_once(redis_path: str, commands: Sequence[bytes]) -> float:
    """One MULTI … EXEC: readers see everything together, at the time that is returned."""
    redis = BlockingRedis(redis_path)
    redis.call(b"MULTI")
    for at in range(0, len(commands), _TOGETHER):
        chunk = commands[at : at + _TOGETHER]
        redis.send(b"".join(chunk))
        for _ in chunk:
            redis.reply()
    redis.send(command(b"EXEC"))
    redis.reply()
    return time.perf_counter()


def _entry(batch: Batch, number: int, first_sequence: int) -> bytes:
    width = PACK if batch.packed else 1
    turn, at = divmod(number * width, INSTRUMENTS)
    value, sequence = 60_000 + turn % 50 + 0.5, first_sequence + turn
    if batch.packed:
        return packed(instruments=range(at, at + PACK), sequence=sequence, value=value)
    return single(instrument=at, sequence=sequence, value=value)
