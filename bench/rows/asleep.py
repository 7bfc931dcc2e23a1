"""What sleeping policies cost a tick that concerns others: 5,000 portfolios with 10,000 policies look at it.

Half of them leave their intervals with each tick and are given new ones, of the others no bound is known. The
floor of a row is the same tick beside fewer sleepers: none for those that sleep on another underlying, a
tenth for those on the one that ticks.
"""

import json
from pathlib import Path

from bench.measurement import Measurement, Row, Sample
from bench.processes import Child

_MOST, _TENTH = 1_000_000, 100_000
_QUICK = 10  # so many times fewer
_SECONDS = 900.0
_ELSEWHERE = Row(
    "asleep-elsewhere", "µs", "10,000 policies awake beside 1,000,000 asleep on another underlying"
)
_BESIDE = Row("asleep-beside", "µs", "10,000 policies awake beside 1,000,000 asleep on the same underlying")


def _measured(asleep: int, quick: bool) -> dict[str, float]:
    count = asleep // _QUICK if quick else asleep
    figures: dict[str, float] = json.loads(
        Child("bench.drivers.asleep", [str(count)]).output(timeout_seconds=_SECONDS)
    )
    return figures


def _ours(_directory: Path, quick: bool) -> Sample:
    most = _measured(_MOST, quick)
    values = {_ELSEWHERE.name: most["elsewhere"], _BESIDE.name: most["beside"]}
    return Sample(values, most["peak memory, MiB"])


def _fewer(_directory: Path, quick: bool) -> Sample:
    none, tenth = _measured(0, quick), _measured(_TENTH, quick)
    values = {_ELSEWHERE.name: none["elsewhere"], _BESIDE.name: tenth["beside"]}
    return Sample(values, tenth["peak memory, MiB"])


MEASUREMENT = Measurement(rows=(_ELSEWHERE, _BESIDE), ours=_ours, floor=_fewer, runs=2)
