"""A book of 10,000 options on a grid of 9 spot by 9 volatility shocks: milliseconds for the whole grid, one
core.

In every cell the options' values, their maintenance margin, delta, gamma and vega are summed over the book.
"""

import statistics
from collections.abc import Callable
from pathlib import Path

from bench.floors.c_library import compiler
from bench.measurement import Measurement, Row, Sample, Unavailable
from bench.processes import Child, children

_CALLS, _QUICK_CALLS = 40, 8
_SECONDS = 120.0
_ROW = Row("scenarios", "ms", "10,000 options on a grid of 9 x 9 shocks, with margin and greeks")


def _side(module: str, *arguments: str) -> Callable[[Path, bool], Sample]:
    def sample(directory: Path, quick: bool) -> Sample:
        calls = _QUICK_CALLS if quick else _CALLS
        child = Child(module, [*(arguments or (str(directory),)), str(calls)])
        with children(child):
            *taken, peak = map(float, child.output(timeout_seconds=_SECONDS).split())
        return Sample({_ROW.name: 1e3 * statistics.median(taken)}, peak, {"peak memory, MiB": peak})

    return sample


def _floor(directory: Path, quick: bool) -> Sample:
    if compiler() is None:
        raise Unavailable("the row scenarios has no floor here: no gcc and no cc on the PATH")
    return _side("bench.floors.scenarios")(directory, quick)


MEASUREMENT = Measurement(
    rows=(_ROW,),
    ours=_side("bench.drivers.scenarios", "ours"),
    floor=_floor,
    peers={"numpy": _side("bench.drivers.scenarios", "numpy")},
)
