"""The arbiter's programmes a second, on one core, at 3, 10 and 30 variables: of four, one asks for more than
can be reached and is solved level by level.

The floor makes the same calls of HiGHS with everything prepared. Each side's figure is that of its fastest
pass. The peer is HiGHS through scipy, for the first step of each programme alone: it does less.
"""

import json
from pathlib import Path

from bench.measurement import Measurement, Row, Sample, Side
from bench.processes import Child

_PASSES, _QUICK_PASSES = 50, 10
_SECONDS = 300.0
_ROWS = {
    "3": Row("plan-3", "programmes/s", "programmes of 3 variables, goals of three levels", is_rate=True),
    "10": Row("plan", "programmes/s", "programmes of 10 variables, goals of three levels", is_rate=True),
    "30": Row("plan-30", "programmes/s", "programmes of 30 variables, goals of three levels", is_rate=True),
}


def _side(name: str) -> Side:
    def sample(_directory: Path, quick: bool) -> Sample:
        passes = _QUICK_PASSES if quick else _PASSES
        child = Child("bench.drivers.plan", [name, str(passes)])
        figures = json.loads(child.output(timeout_seconds=_SECONDS))
        values = {row.name: figures.pop(variables) for variables, row in _ROWS.items()}
        return Sample(values, figures["peak memory, MiB"], figures)

    return sample


MEASUREMENT = Measurement(
    rows=tuple(_ROWS.values()),
    ours=_side("ours"),
    floor=_side("floor"),
    peers={"HiGHS through scipy": _side("scipy")},
)
