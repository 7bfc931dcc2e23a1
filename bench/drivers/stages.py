"""Where a recommendation's time went, read afterwards from the streams that it passed through."""

import statistics
from uuid import UUID

import msgspec

from bench.floors.redis_wire import BlockingRedis

_decode = msgspec.msgpack.Decoder().decode
_MILLISECOND_NS = 1_000_000


def stages_ms(redis_path: str, latencies: list[float], *, skipped: int) -> dict[str, float]:
    """Means in milliseconds: publisher to the oracle's stamp, to the event in Redis, to the client.

    An event's entry id has whole milliseconds: half of one is added, so its mean is right. The last stage is
    below zero where clients got events from PostgreSQL before the stream had them, as under overload.
    """
    redis = BlockingRedis(redis_path)
    published: dict[int, int] = {}
    stamped: dict[int, int] = {}
    for _, (_, packed) in redis.call(b"XRANGE", b"market", b"-", b"+"):
        _, _, _, _, stamp_ns, changes, *_ = _decode(packed)
        for _, instrument, _, _, _, _, time_ns in changes:
            number = int(instrument.rpartition("-")[2])
            published[number], stamped[number] = time_ns, stamp_ns
    announced: dict[int, int] = {}
    for entry_id, flat in redis.call(b"XRANGE", b"events", b"-", b"+"):
        fields = dict(zip(flat[::2], flat[1::2], strict=True))
        number = int(str(UUID(bytes=fields[b"p"]))[:8])
        announced.setdefault(
            number, int(entry_id.partition(b"-")[0]) * _MILLISECOND_NS + _MILLISECOND_NS // 2
        )
    numbers = [number for number in sorted(announced) if number in stamped and number >= skipped]
    if not numbers:
        return {}
    to_frame = statistics.fmean(stamped[n] - published[n] for n in numbers) / _MILLISECOND_NS
    to_event = statistics.fmean(announced[n] - stamped[n] for n in numbers) / _MILLISECOND_NS
    whole = statistics.fmean(latencies) * 1e3
    return {
        "tick to oracle, mean ms": to_frame,
        "oracle to event stream (decide, commit), mean ms": to_event,
        "event stream to client, mean ms": whole - to_frame - to_event,
    }
