"""Hop two without a database: XREAD the frames and decode them until so many ticks were seen.

`python -m bench.floors.read_frames SOCKET TICKS`; prints `ready`, then the time at which it was through.
"""

import sys
import time

import msgspec

from bench.floors.records import MARKET, READ_COUNT, Frame
from bench.floors.redis_wire import BlockingRedis, command

_frames = msgspec.msgpack.Decoder(Frame)


def read(redis: BlockingRedis, *, ticks: int) -> None:
    seen, cursor = 0, b"0"
    while seen < ticks:
        redis.send(command(b"XREAD", b"COUNT", READ_COUNT, b"BLOCK", b"0", b"STREAMS", MARKET, cursor))
        [[_, entries]] = redis.reply()
        for _, (_, packed) in entries:
            seen += len(_frames.decode(packed).changes)
        cursor = entries[-1][0]


if __name__ == "__main__":
    connected = BlockingRedis(sys.argv[1])
    print("ready", flush=True)
    read(connected, ticks=int(sys.argv[2]))
    print(time.perf_counter(), flush=True)
