"""Ticks as a publisher writes them: one with flat fields, or many packed in one entry."""

import time

import msgspec

from bench.floors.redis_wire import command

INSTRUMENT = "BENCH-{:08d}"
SOURCE = "bench"
PRICE = 60_000.5
_TICKS = b"oracle:ticks"
_encode = msgspec.msgpack.Encoder().encode


def single(
    *, instrument: int, sequence: int, value: float = PRICE, source: str = SOURCE, time_ns: int = 0
) -> bytes:
    """The XADD of one tick, stamped now where it has no time of its own."""
    return command(
        *(b"XADD", _TICKS, b"*", b"kind", b"price", b"source", source.encode()),
        *(b"instrument", INSTRUMENT.format(instrument).encode(), b"sequence", b"%d" % sequence),
        *(b"time_ns", b"%d" % (time_ns or time.time_ns()), b"value", b"%r" % value, b"confidence", b"0"),
    )


def packed(*, instruments: range, sequence: int, value: float = PRICE, source: str = SOURCE) -> bytes:
    """The XADD of one entry with a tick for each instrument, stamped now."""
    now = time.time_ns()
    ticks = [
        ("price", source, INSTRUMENT.format(instrument), sequence, now, value, 0.0)
        for instrument in instruments
    ]
    return command(b"XADD", _TICKS, b"*", b"packed", _encode(ticks))
