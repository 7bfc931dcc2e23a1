"""The books of a shard from PostgreSQL into columns: 100,000 portfolios of eight positions and two policies.

Ours is what an evaluator does when it takes a shard over. The floor copies the same columns of the same
tables out, in PostgreSQL's binary format, joins nothing and keeps nothing. Portfolios share 1,000 different
pairs of policies, and ours copies a document once for all who have it, where the floor copies it each time;
in the peer every pair is another one, and each policy has to be read by itself.
"""

import json
from pathlib import Path

from bench.measurement import Measurement, Row, Sample, Side
from bench.processes import Child

_PORTFOLIOS, _QUICK_PORTFOLIOS = 100_000, 10_000
_PAIRS = 1_000
_SECONDS = 900.0
_ROW = Row("load", "portfolios/s", "100,000 portfolios of eight positions into columns", is_rate=True)


def _side(name: str, pairs: int | None = _PAIRS) -> Side:
    def sample(_directory: Path, quick: bool) -> Sample:
        count = _QUICK_PORTFOLIOS if quick else _PORTFOLIOS
        child = Child("bench.drivers.load", [name, str(count), str(pairs or count)])
        figures = json.loads(child.output(timeout_seconds=_SECONDS))
        return Sample({_ROW.name: figures[_ROW.name]}, figures["peak memory, MiB"])

    return sample


MEASUREMENT = Measurement(
    rows=(_ROW,),
    ours=_side("ours"),
    floor=_side("floor"),
    peers={"every policy another one": _side("ours", None)},
    runs=2,
)
