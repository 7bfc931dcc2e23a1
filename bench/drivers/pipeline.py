"""The pipeline's measurement, the same for every side: a client in a process of its own, then percentiles."""

import json
import statistics

import msgspec

from bench.drivers.pipeline_client import Feed, Load, Plan
from bench.measurement import Row
from bench.processes import Child, children

IDLE = Load(warm_up=50, ticks=400)
LOADED = Load(warm_up=50, ticks=5_000, rate_per_second=1_000)
_MOST_SECONDS = 120.0


def latencies_seconds(redis_path: str, feed: Feed, load: Load) -> list[float]:
    plan = msgspec.json.encode(Plan(redis_path, feed, load)).decode()
    client = Child("bench.drivers.pipeline_client", [plan])
    with children(client):
        measured: list[float] = json.loads(client.output(timeout_seconds=_MOST_SECONDS))
    return measured


def percentiles(name: str, latencies: list[float]) -> dict[str, float]:
    """`name-p50` and `name-p99`, in milliseconds."""
    cuts = statistics.quantiles(latencies, n=100, method="inclusive")
    return {f"{name}-p50": cuts[49] * 1e3, f"{name}-p99": cuts[98] * 1e3}


def rows(name: str, when: str) -> tuple[Row, ...]:
    return tuple(
        Row(f"{name}-p{part}", "ms", f"tick to WebSocket, {when}: {part}th percentile") for part in (50, 99)
    )


def quickened(load: Load) -> Load:
    return msgspec.structs.replace(load, ticks=load.ticks // 5)
