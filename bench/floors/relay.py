"""Hop one: XREAD the ticks, decode, encode a frame, XADD it. `python -m bench.floors.relay SOCKET`.

The frames of everything that one XREAD gave, and the next XREAD, leave in one write.
"""

import sys
import time

import msgspec

from bench.floors.records import KEEP_FRAMES, MARKET, READ_COUNT, TICKS, Change, Frame, Tick, change_of
from bench.floors.redis_wire import BlockingRedis, command

_encode = msgspec.msgpack.Encoder().encode
_ticks = msgspec.msgpack.Decoder(tuple[Tick, ...])


def changes_of(flat: list[bytes]) -> tuple[Change, ...]:
    if len(flat) == 2:  # one field and its value: a packed entry
        return tuple(
            Change(tick.kind, tick.instrument, tick.value, tick.confidence, 1, 0, tick.time_ns)
            for tick in _ticks.decode(flat[1])
        )
    return (change_of(flat),)


def relay(redis: BlockingRedis) -> None:
    sequence, cursor = 0, b"0"
    pending = 0
    redis.send(_read(cursor))
    while True:
        for _ in range(pending):
            redis.reply()
        [[_, entries]] = redis.reply()
        out = []
        for entry_id, flat in entries:
            sequence += 1
            changes = changes_of(flat)
            frame = Frame(1, sequence, changes[0].time_ns, entry_id.decode(), time.time_ns(), changes)
            out.append(
                command(
                    b"XADD", MARKET, b"MAXLEN", b"~", KEEP_FRAMES, b"1-%d" % sequence, b"f", _encode(frame)
                )
            )
        pending = len(out)
        out.append(_read(entries[-1][0]))
        redis.send(b"".join(out))


def _read(cursor: bytes) -> bytes:
    return command(b"XREAD", b"COUNT", READ_COUNT, b"BLOCK", b"0", b"STREAMS", TICKS, cursor)


if __name__ == "__main__":
    connected = BlockingRedis(sys.argv[1])
    print("ready", flush=True)
    relay(connected)
