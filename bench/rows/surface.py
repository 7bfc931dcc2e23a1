"""A surface of twelve expiries by sixty quotes from bid and ask volatilities, on one core.

Ours ends without static arbitrage. The floor (`bench.floors.svi_fit`) is the iteration alone, in C, from a
known start; scipy's least squares is what one would write without it. Cold has no last surface to start from.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.measurement import Measurement, Row, Sample
from bench.processes import Child, children

_COLD = Row("surface", "ms", "an SVI surface of 12 x 60 quotes, without a surface to start from")
_WARM = Row("surface-warm", "ms", "the same from the surface of the moment before")
_REPEATS, _QUICK_REPEATS = 200, 20
_SLOW_SHARE = 20  # a peer repeats less


def _side(module: str, *, slow: bool = False, compiles: bool = False) -> Callable[[Path, bool], Sample]:
    def sample(directory: Path, quick: bool) -> Sample:
        repeats = (_QUICK_REPEATS if quick else _REPEATS) // (_SLOW_SHARE if slow else 1)
        arguments: Sequence[str] = [str(directory), str(repeats)] if compiles else [str(repeats)]
        child = Child(module, arguments)
        with children(child):
            figures = json.loads(child.line())
            peak = child.peak_memory_mib()
        values = {_COLD.name: figures.pop("cold"), _WARM.name: figures.pop("warm")}
        return Sample(values, peak, figures)

    return sample


MEASUREMENT = Measurement(
    rows=(_COLD, _WARM),
    ours=_side("bench.drivers.surface_fit"),
    floor=_side("bench.floors.svi_fit", compiles=True),
    peers={"scipy least_squares": _side("bench.drivers.surface_scipy", slow=True)},
)
