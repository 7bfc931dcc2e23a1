"""Ticks a second through the oracle, of ten sources on two hundred instruments, and what one waits for.

The row `consensus` is whichever of single ticks and packed entries is further from its floor, which reads,
decodes and writes the same bytes and agrees on nothing.
"""

from pathlib import Path

import msgspec

from bench.drivers import consensus
from bench.drivers.consensus import INSTRUMENTS, PACKED, RATE_PER_SECOND, SINGLE, SOURCES
from bench.drivers.ingest_publisher import Batch
from bench.measurement import Measurement, Row, Sample

_UNIT, _LATENCY = "ticks/s", "consensus-latency"
_OF = f"{SOURCES} sources x {INSTRUMENTS} instruments"
_SINGLE = Row("consensus-single", _UNIT, f"ticks through the oracle, {_OF}, one in an entry", is_rate=True)
_PACKED = Row("consensus-packed", _UNIT, "the same, a hundred ticks in an entry", is_rate=True)
_WORSE = Row(
    "consensus", _UNIT, "the one of the two with the worse ratio", is_rate=True, worst_of=(_SINGLE, _PACKED)
)
_WAITS = Row(f"{_LATENCY}-p50", "ms", f"tick to frame at {RATE_PER_SECOND:,} ticks/s: 50th percentile")


def _batches(quick: bool) -> dict[str, Batch]:
    batches = {_SINGLE.name: SINGLE, _PACKED.name: PACKED}
    if not quick:
        return batches
    return {name: msgspec.structs.replace(each, ticks=each.ticks // 5) for name, each in batches.items()}


def _ours(directory: Path, quick: bool) -> Sample:
    return consensus.ours(directory, _batches(quick), _LATENCY)


def _floor(directory: Path, quick: bool) -> Sample:
    return consensus.floor(directory, _batches(quick), _LATENCY)


MEASUREMENT = Measurement(rows=(_WORSE, _SINGLE, _PACKED, _WAITS), ours=_ours, floor=_floor)
