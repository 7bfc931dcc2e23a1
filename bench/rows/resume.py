"""10,000 missed events to a client that comes back; the floor reads the same rows and sends them."""

from collections.abc import Callable
from pathlib import Path

from bench.drivers import resume
from bench.measurement import Measurement, Row, Sample

_ROW = Row("resume", "ms", "a client that comes back, from its word to the last of 10,000 missed events")
_MISSED, _QUICK_MISSED = 10_000, 2_000


def _side(time_of: Callable[[Path, int], tuple[float, float]]) -> Callable[[Path, bool], Sample]:
    def sample(directory: Path, quick: bool) -> Sample:
        taken, peak = time_of(directory, _QUICK_MISSED if quick else _MISSED)
        return Sample({_ROW.name: taken}, peak)

    return sample


MEASUREMENT = Measurement(rows=(_ROW,), ours=_side(resume.ours), floor=_side(resume.floor), runs=3)
