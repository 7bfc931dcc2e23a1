"""Runs the sides of a measurement in turn, so that whatever else the machine does meets all of them."""

import statistics
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from bench.measurement import Measurement, Row, Sample, Unavailable

Samples = Mapping[str, list[Sample]]


@dataclass(frozen=True, slots=True)
class Summary:
    """Median over the runs, and the least and the greatest."""

    median: float
    least: float
    greatest: float

    @classmethod
    def of(cls, values: Iterable[float]) -> "Summary":
        ordered = sorted(values)
        return cls(statistics.median(ordered), ordered[0], ordered[-1])


@dataclass(frozen=True, slots=True)
class Result:
    """`peers` holds each peer's cost over ours. Where the floor cannot run there is no ratio."""

    row: Row
    ours: Summary
    floor: Summary | None
    ratio: float | None
    peers: Mapping[str, float]
    peak_memory_mib: float


def run(
    measurement: Measurement,
    *,
    directory: Path,
    runs: int,
    quick: bool,
    only: str | None,
    progress: Callable[[str], None],
    announce: Callable[[str], None],
) -> Samples:
    """Alternately: first ours, then the floor, then the peers, and again. `only` runs one side alone.

    A floor or a peer that says it is unavailable is left out, with its reason announced.
    """
    sides = {name: side for name, side in measurement.sides().items() if only in (None, name)}
    samples: dict[str, list[Sample]] = {name: [] for name in sides}
    directory.mkdir(parents=True, exist_ok=True)
    for turn in range(1, runs + 1):
        for name, side in list(sides.items()):
            progress(f"run {turn} of {runs}: {name}")
            try:
                with tempfile.TemporaryDirectory(dir=directory, prefix="run-") as fresh:
                    samples[name].append(side(Path(fresh), quick))
            except Unavailable as reason:
                if name in ("ours", only):
                    raise
                announce(f"{name} is skipped: {reason}")
                del sides[name], samples[name]
    return samples


def summarise(row: Row, samples: Samples, side: str) -> Summary:
    return Summary.of(sample.values[row.name] for sample in samples[side])


def result_of(row: Row, samples: Samples) -> Result:
    if row.worst_of:
        parts = [result_of(part, samples) for part in row.worst_of]
        worst = max(parts, key=lambda result: result.ratio or 0.0)
        return replace(worst, row=row)
    ours = summarise(row, samples, "ours")
    floor = summarise(row, samples, "floor") if "floor" in samples else None
    peers = {
        name: row.cost_ratio(summarise(row, samples, name).median, ours.median)
        for name in samples
        if name not in ("ours", "floor")
    }
    return Result(
        row=row,
        ours=ours,
        floor=floor,
        ratio=row.cost_ratio(ours.median, floor.median) if floor else None,
        peers=peers,
        peak_memory_mib=max(sample.peak_memory_mib for sample in samples["ours"]),
    )
