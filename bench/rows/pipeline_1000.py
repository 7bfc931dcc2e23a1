"""Tick to WebSocket at 1,000 ticks a second on a fixed schedule: every tick fires one decision."""

from pathlib import Path

from bench.drivers import floor, ours
from bench.drivers.pipeline import LOADED, quickened, rows
from bench.measurement import Measurement, Sample

_NAME = "pipeline-1000"


def _ours(directory: Path, quick: bool) -> Sample:
    return ours.pipeline(directory, _NAME, quickened(LOADED) if quick else LOADED)


def _floor(directory: Path, quick: bool) -> Sample:
    return floor.pipeline(directory, _NAME, quickened(LOADED) if quick else LOADED)


MEASUREMENT = Measurement(rows=rows(_NAME, "1,000 ticks a second"), ours=_ours, floor=_floor)
