"""Webhooks a second to receivers that answer at once: claimed, signed, posted and recorded.

Ours is the delivering half of a courier, on deliveries that are due to 64 endpoints. The floor is a bare loop
of POSTs with the same client, as many at once: it claims nothing, signs nothing and records nothing.
"""

import json
from pathlib import Path

from bench.measurement import Measurement, Row, Sample, Side
from bench.processes import Child

_COUNT, _QUICK_COUNT = 32_000, 6_400
_SECONDS = 300.0
_ROW = Row("webhooks", "deliveries/s", "webhooks claimed, signed, posted and recorded", is_rate=True)


def _side(name: str) -> Side:
    def sample(_directory: Path, quick: bool) -> Sample:
        child = Child("bench.drivers.webhooks", [name, str(_QUICK_COUNT if quick else _COUNT)])
        figures = json.loads(child.output(timeout_seconds=_SECONDS))
        return Sample({_ROW.name: figures[_ROW.name]}, figures["peak memory, MiB"])

    return sample


MEASUREMENT = Measurement(rows=(_ROW,), ours=_side("ours"), floor=_side("floor"), runs=3)
