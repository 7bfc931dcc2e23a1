"""A frame that everybody looks at: 100,000 portfolios of eight positions, half of them options.

All of them are awake, as after loading: prices move, each portfolio is looked at, two policies of each are
judged, and nothing fires. Ours is the call that an evaluator makes for a frame, with what it puts to sleep
again. The floor is the bare kernel of greeks on all options that are held, and a sum over every column that
the look reads; it neither looks up a price nor adds a figure up.
"""

import json
from pathlib import Path

from bench.measurement import Measurement, Row, Sample, Side
from bench.processes import Child

_PORTFOLIOS, _QUICK_PORTFOLIOS = 100_000, 10_000
_SECONDS = 900.0
_ROW = Row("storm", "ms", "a frame that 100,000 portfolios of 400,000 options look at, all awake")


def _side(name: str) -> Side:
    def sample(_directory: Path, quick: bool) -> Sample:
        count = _QUICK_PORTFOLIOS if quick else _PORTFOLIOS
        figures = json.loads(
            Child("bench.drivers.storm", [name, str(count)]).output(timeout_seconds=_SECONDS)
        )
        return Sample({_ROW.name: figures[_ROW.name]}, figures["peak memory, MiB"])

    return sample


MEASUREMENT = Measurement(rows=(_ROW,), ours=_side("ours"), floor=_side("floor"), runs=2)
