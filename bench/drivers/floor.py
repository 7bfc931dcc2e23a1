"""Runs the floors on servers of their own, set up exactly as Ballast's embedded ones are."""

from pathlib import Path

from app.adapters.embedded.servers import EmbeddedServers
from bench.drivers.ingest_publisher import Batch, publish_at_once
from bench.drivers.pipeline import latencies_seconds, percentiles
from bench.drivers.pipeline_client import Feed, Load
from bench.measurement import Sample
from bench.processes import Child, children


def pipeline(directory: Path, name: str, load: Load) -> Sample:
    with EmbeddedServers(directory) as servers:
        redis_path = servers.redis_url.removeprefix("unix://")
        relay = Child("bench.floors.relay", [redis_path])
        commit = Child("bench.floors.commit_and_send", [redis_path, servers.database_url])
        with children(relay, commit):
            relay.line()
            feed = Feed(port=int(commit.line()))
            latencies = latencies_seconds(redis_path, feed, load)
            peak = relay.peak_memory_mib() + commit.peak_memory_mib()
    return Sample(percentiles(name, latencies), peak)


def ingest_rate(directory: Path, batch: Batch) -> tuple[float, float]:
    """(ticks per second, peak memory in MiB)."""
    with EmbeddedServers(directory) as servers:
        redis_path = servers.redis_url.removeprefix("unix://")
        relay = Child("bench.floors.relay", [redis_path])
        reader = Child("bench.floors.read_frames", [redis_path, str(batch.ticks)])
        with children(relay, reader):
            relay.line()
            reader.line()
            start = publish_at_once(redis_path, batch)
            end = float(reader.line())
            peak = relay.peak_memory_mib()
    return batch.ticks / (end - start), peak
