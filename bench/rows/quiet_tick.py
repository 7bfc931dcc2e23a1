"""A tick of the one underlying that a million policies are on, and that concerns none of them.

Ours is the call that an evaluator makes for a frame; the floor compares the price with two columns of a
million limits. The peer looks at every portfolio.
"""

import json
from pathlib import Path

from bench.measurement import Measurement, Row, Sample, Side
from bench.processes import Child

_POLICIES, _QUICK_POLICIES = 1_000_000, 100_000
_SECONDS = 900.0
_ROW = Row("quiet-tick", "µs", "a tick that wakes none of 1,000,000 policies on its underlying")


def _side(name: str) -> Side:
    def sample(_directory: Path, quick: bool) -> Sample:
        child = Child("bench.drivers.quiet_tick", [name, str(_QUICK_POLICIES if quick else _POLICIES)])
        figures = json.loads(child.output(timeout_seconds=_SECONDS))
        return Sample({_ROW.name: figures[_ROW.name]}, figures["peak memory, MiB"])

    return sample


MEASUREMENT = Measurement(
    rows=(_ROW,),
    ours=_side("ours"),
    floor=_side("floor"),
    peers={"looking at everybody": _side("everybody")},
    runs=2,
)
