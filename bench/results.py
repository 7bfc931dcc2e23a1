"""`bench/results.json`: the last figures of every row, and the machine they were taken on."""

import json
import os
import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bench.harness import Result

PATH = Path(__file__).with_name("results.json")


def machine() -> dict[str, Any]:
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def merge(results: Iterable[Result], path: Path = PATH) -> None:
    """Replaces the rows that were run and leaves the others as they are."""
    stored = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"rows": {}}
    rows = stored["rows"] | {result.row.name: _entry(result) for result in results}
    document = {"machine": machine(), "rows": dict(sorted(rows.items()))}
    unfinished = path.with_name(path.name + ".tmp")
    unfinished.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    unfinished.replace(path)


def _entry(result: Result) -> dict[str, Any]:
    return {
        "unit": result.row.unit,
        "ours": _rounded(result.ours.median),
        "floor": _rounded(result.floor.median) if result.floor else None,
        "ratio": _rounded(result.ratio) if result.ratio else None,
        "peers": {name: _rounded(cost) for name, cost in result.peers.items()},
        "peak_memory_mib": round(result.peak_memory_mib, 1),
    }


def _rounded(value: float) -> float:
    """Four figures: more would be noise."""
    return float(f"{value:.4g}")


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("model name", "Model"):
            return value.strip()
    return platform.processor() or platform.machine()
