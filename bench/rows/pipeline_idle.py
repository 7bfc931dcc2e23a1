"""Tick to WebSocket, one tick at a time: every tick fires one decision of a book of portfolios."""

from pathlib import Path

from bench.drivers import floor, ours
from bench.drivers.pipeline import IDLE, quickened, rows
from bench.measurement import Measurement, Sample

_NAME = "pipeline-idle"


def _ours(directory: Path, quick: bool) -> Sample:
    return ours.pipeline(directory, _NAME, quickened(IDLE) if quick else IDLE)


def _floor(directory: Path, quick: bool) -> Sample:
    return floor.pipeline(directory, _NAME, quickened(IDLE) if quick else IDLE)


MEASUREMENT = Measurement(rows=rows(_NAME, "one tick at a time"), ours=_ours, floor=_floor)
