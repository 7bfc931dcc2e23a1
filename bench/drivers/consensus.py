"""Ticks of many sources through the oracle alone, and how long one takes at a steady rate.

The latency of a tick counts from when it was due: `python -m bench.drivers.consensus SOCKET` publishes on
that schedule, reads the frames that follow, and prints the latencies in seconds as JSON.
"""

import asyncio
import ctypes
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from app.adapters.embedded.servers import EmbeddedServers
from bench.drivers.book import store_book
from bench.drivers.ingest_publisher import PACK, Batch, write_at_once
from bench.drivers.ours import RESTS
from bench.drivers.pipeline import percentiles
from bench.drivers.service import ballast
from bench.drivers.ticks import packed, single
from bench.floors.records import MARKET, READ_COUNT, Frame
from bench.floors.redis_wire import BlockingRedis, command
from bench.measurement import Sample
from bench.processes import Child, children

SOURCES, INSTRUMENTS = 10, 200
SINGLE, PACKED = Batch(ticks=40_000, packed=False), Batch(ticks=400_000, packed=True)
RATE_PER_SECOND, STEADY_SECONDS, WARM_SECONDS = 10_000, 3.0, 0.5
_MOST_SECONDS, _POLL_SECONDS = 120.0, 0.002
_PR_SET_TIMERSLACK = 29
_frames = msgspec.msgpack.Decoder(Frame)

Passed = Callable[[BlockingRedis, int], bool]
"""Whether so many entries in all are through."""


def ours(directory: Path, batches: dict[str, Batch], latency: str) -> Sample:
    """The role in a process of its own, as it is operated."""

    def prepare(dsn: str) -> None:
        asyncio.run(store_book(dsn, portfolios=INSTRUMENTS, target_delta=RESTS))

    with ballast(directory, prepare, names=("oracle",)) as service:
        values = _rates(service.redis_path, batches, _at_the_cursor)
        values |= _latency(service.redis_path, latency)
        service.check_alive()
        return Sample(values, service.peak_memory_mib())


def floor(directory: Path, batches: dict[str, Batch], latency: str) -> Sample:
    with EmbeddedServers(directory) as servers:
        redis_path = servers.redis_url.removeprefix("unix://")
        relay = Child("bench.floors.relay", [redis_path])
        with children(relay):
            relay.line()
            values = _rates(redis_path, batches, _in_frames)
            values |= _latency(redis_path, latency)
            return Sample(values, relay.peak_memory_mib())


def _rates(redis_path: str, batches: dict[str, Batch], passed: Passed) -> dict[str, float]:
    redis, found, turn, written = BlockingRedis(redis_path), dict[str, float](), 1, 0
    for name, batch in batches.items():
        entries = _entries(batch, turn)
        written += len(entries)
        turn += batch.ticks // (SOURCES * INSTRUMENTS)
        start = write_at_once(redis_path, entries)
        deadline = start + _MOST_SECONDS
        while not passed(redis, written):
            if time.perf_counter() > deadline:
                raise RuntimeError(f"{name}: not through after {_MOST_SECONDS:.0f} s")
            time.sleep(_POLL_SECONDS)
        found[name] = batch.ticks / (time.perf_counter() - start)
    return found


def _at_the_cursor(redis: BlockingRedis, _written: int) -> bool:
    """What the oracle says it has read is the last entry; it trims those before."""
    [cursor] = redis.call(b"HMGET", b"{market}:state", b"cursor")
    last = redis.call(b"XREVRANGE", b"oracle:ticks", b"+", b"-", b"COUNT", b"1")
    return bool(last) and cursor == last[0][0]


def _in_frames(redis: BlockingRedis, written: int) -> bool:
    return int(redis.call(b"XLEN", MARKET)) >= written


def _entries(batch: Batch, first_turn: int) -> list[bytes]:
    """In turns: every source on every instrument, single ticks or one source's of `PACK` instruments."""
    turns = batch.ticks // (SOURCES * INSTRUMENTS)
    entries = []
    for turn in range(first_turn, first_turn + turns):
        for source in range(SOURCES):
            name, value = _name(source), _value(source, turn)
            if batch.packed:
                entries += [
                    packed(instruments=range(at, at + PACK), sequence=turn, value=value, source=name)
                    for at in range(0, INSTRUMENTS, PACK)
                ]
            else:
                entries += [
                    single(instrument=at, sequence=turn, value=value, source=name)
                    for at in range(INSTRUMENTS)
                ]
    return entries


def _name(source: int) -> str:
    return f"source-{source}"


def _value(source: int, turn: int) -> float:
    """Sources are a few units apart, which is a basis point."""
    return 60_000.5 + source + turn % 50


def _latency(redis_path: str, name: str) -> dict[str, float]:
    client = Child("bench.drivers.consensus", [redis_path])
    with children(client):
        measured = json.loads(client.output(timeout_seconds=_MOST_SECONDS))
    return {f"{name}-p50": percentiles(name, measured)[f"{name}-p50"]}


def _measure(redis_path: str) -> list[float]:
    """Reads what one child publishes; what is due in the first moments is not counted."""
    redis = BlockingRedis(redis_path)
    [[cursor, _]] = redis.call(b"XREVRANGE", MARKET, b"+", b"-", b"COUNT", b"1")
    count = int((WARM_SECONDS + STEADY_SECONDS) * RATE_PER_SECOND)
    start_ns = time.time_ns() + 200_000_000
    publisher = os.fork()
    if publisher == 0:
        _publish(redis_path, start_ns, count)
        os._exit(0)
    latencies: list[float] = []
    counted_from_ns, seen = start_ns + int(WARM_SECONDS * 1e9), 0
    while seen < count:
        redis.send(command(b"XREAD", b"COUNT", READ_COUNT, b"BLOCK", b"5000", b"STREAMS", MARKET, cursor))
        answer, now_ns = redis.reply(), time.time_ns()
        if answer is None:
            raise SystemExit(f"{count} ticks, but {seen} came through")
        [[_, entries]] = answer
        cursor = entries[-1][0]
        for _, (_, packed_frame) in entries:
            changes = [change for change in _frames.decode(packed_frame).changes if change.kind == "price"]
            seen += len(changes)
            latencies += [
                (now_ns - change.time_ns) * 1e-9 for change in changes if change.time_ns >= counted_from_ns
            ]
    os.waitpid(publisher, 0)
    return latencies


def _publish(redis_path: str, start_ns: int, count: int) -> None:
    """Single ticks on a fixed schedule; late ones leave at once and together."""
    ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)
    redis, sent, gap_ns = BlockingRedis(redis_path), 0, 1_000_000_000 // RATE_PER_SECOND
    while sent < count:
        time.sleep(max(0.0, (start_ns + sent * gap_ns - time.time_ns()) * 1e-9))
        due = min(count, (time.time_ns() - start_ns) // gap_ns + 1)
        batch = range(sent, max(due, sent + 1))
        redis.send(b"".join(_due(number, start_ns + number * gap_ns) for number in batch))
        for _ in batch:
            redis.reply()
        sent = batch.stop


def _due(number: int, time_ns: int) -> bytes:
    turn, at = divmod(number, SOURCES * INSTRUMENTS)
    source, instrument = divmod(at, INSTRUMENTS)
    return single(
        instrument=instrument, sequence=1_000_000 + turn, value=_value(source, turn),
        source=_name(source), time_ns=time_ns,
    )  # fmt: skip


if __name__ == "__main__":
    json.dump(_measure(sys.argv[1]), sys.stdout)
