"""Ticks a second through oracle and evaluator, nothing firing: single ticks, and entries of a hundred.

The row `ingest` is whichever of the two is further from its floor.
"""

from collections.abc import Callable
from pathlib import Path

from bench.drivers import floor, ours
from bench.drivers.ingest_publisher import PACK, PACKED, SINGLE, Batch
from bench.measurement import Measurement, Row, Sample

_UNIT = "ticks/s"
_SINGLE = Row("ingest-single", _UNIT, "ticks through oracle and evaluator, one in an entry", is_rate=True)
_PACKED = Row("ingest-packed", _UNIT, f"the same, {PACK} ticks in an entry", is_rate=True)
_WORSE = Row(
    "ingest", _UNIT, "the one of the two with the worse ratio", is_rate=True, worst_of=(_SINGLE, _PACKED)
)

IngestRate = Callable[[Path, Batch], tuple[float, float]]


def _side(rate_of: IngestRate) -> Callable[[Path, bool], Sample]:
    def sample(directory: Path, quick: bool) -> Sample:
        values, peaks = {}, []
        for row, batch in ((_SINGLE, SINGLE), (_PACKED, PACKED)):
            few = Batch(ticks=batch.ticks // 5, packed=batch.packed)
            values[row.name], peak = rate_of(directory / row.name, few if quick else batch)
            peaks.append(peak)
        return Sample(values, max(peaks))

    return sample


MEASUREMENT = Measurement(
    rows=(_WORSE, _SINGLE, _PACKED), ours=_side(ours.ingest_rate), floor=_side(floor.ingest_rate)
)
