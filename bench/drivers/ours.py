"""Ballast itself, through its public surface."""

from pathlib import Path

from bench.drivers.ingest_publisher import Batch
from bench.drivers.pipeline_client import Load
from bench.measurement import Sample


def pipeline(directory: Path, name: str, load: Load) -> Sample:
    raise NotImplementedError("the service has no entry points yet")


def ingest_rate(directory: Path, batch: Batch) -> tuple[float, float]:
    raise NotImplementedError("the service has no entry points yet")
