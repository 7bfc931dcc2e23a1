"""Ballast under measurement: a fresh installation for every run, with a book made for it."""

import asyncio
import time
from decimal import Decimal
from pathlib import Path

from app.domain.market import StreamPosition
from bench.drivers.book import Book, store_book
from bench.drivers.ingest_publisher import INSTRUMENTS, Batch, publish_at_once
from bench.drivers.pipeline import latencies_seconds, percentiles
from bench.drivers.pipeline_client import Load
from bench.drivers.service import Ballast, ballast
from bench.drivers.stages import stages_ms
from bench.floors.redis_wire import BlockingRedis
from bench.measurement import Sample

FIRES, RESTS = Decimal(0), Decimal(1)
_PROGRESS = b"{market}:progress"
_STATE = b"{market}:state"
_POLL_SECONDS = 0.002
_MOST_SECONDS = 120.0


def pipeline(directory: Path, name: str, load: Load) -> Sample:
    """Every tick is the first price of its instrument: it fires the one policy that waits for it."""
    books: list[Book] = []

    def prepare(dsn: str) -> None:
        books.append(asyncio.run(store_book(dsn, portfolios=load.instruments, target_delta=FIRES)))

    with ballast(directory, prepare) as service:
        feed = service.adjustments_feed(books[0].token)
        latencies = latencies_seconds(service.redis_path, feed, load)
        service.check_alive()
        peak = service.peak_memory_mib()
        notes = stages_ms(service.redis_path, latencies, skipped=load.warm_up)
    return Sample(percentiles(name, latencies), peak, notes)


def ingest_rate(directory: Path, batch: Batch) -> tuple[float, float]:
    """(ticks per second, peak memory in MiB): from the first tick to be read to the last one evaluated."""

    def prepare(dsn: str) -> None:
        asyncio.run(store_book(dsn, portfolios=INSTRUMENTS, target_delta=RESTS))

    with ballast(directory, prepare) as service:
        start = publish_at_once(service.redis_path, batch)
        end = _evaluated(service, entries=batch.entries)
        _check_unmerged(service)
        service.check_alive()
        peak = service.peak_memory_mib()
    return batch.ticks / (end - start), peak


def _check_unmerged(service: Ballast) -> None:
    """A shard that is a second late has the oracle merge entries: that would measure something else."""
    merged = BlockingRedis(service.redis_path).call(b"HGET", _STATE, b"merged_frames")
    if int(merged or 0):
        raise RuntimeError(f"{int(merged)} frames were merged: publish fewer ticks at once")


def _evaluated(service: Ballast, *, entries: int) -> float:
    """When every shard's published progress had passed the frame of the last tick."""
    redis = BlockingRedis(service.redis_path)
    [[last, _]] = redis.call(b"XREVRANGE", b"oracle:ticks", b"+", b"-", b"COUNT", b"1")
    head: StreamPosition | None = None
    deadline = time.perf_counter() + _MOST_SECONDS
    while (now := time.perf_counter()) < deadline:
        if head is None:
            cursor, generation, sequence = redis.call(b"HMGET", _STATE, b"cursor", b"generation", b"sequence")
            if cursor == last:
                head = StreamPosition(int(generation), int(sequence))
        else:
            positions = redis.call(b"HVALS", _PROGRESS)
            if all(StreamPosition.parse(position.decode()) >= head for position in positions):
                return now
        time.sleep(_POLL_SECONDS)
    raise RuntimeError(f"{entries} entries were not through after {_MOST_SECONDS:.0f} s")
