"""The options that every side prices, and how it is timed. Only numpy: peers have packages of their own."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

_SECONDS = 1.0
_FEWEST_CALLS = 3


class OptionBook(NamedTuple):
    spots: np.ndarray
    strikes: np.ndarray
    years: np.ndarray
    volatilities: np.ndarray
    rates: np.ndarray
    yields: np.ndarray
    is_call: np.ndarray


def option_book(count: int) -> OptionBook:
    draw = np.random.default_rng(7)
    spots = draw.uniform(20_000.0, 100_000.0, count)
    return OptionBook(
        spots=spots,
        strikes=spots * np.exp(draw.uniform(-0.7, 0.7, count)),
        years=draw.uniform(0.01, 2.0, count),
        volatilities=draw.uniform(0.2, 1.5, count),
        rates=draw.uniform(0.0, 0.06, count),
        yields=draw.uniform(0.0, 0.06, count),
        is_call=draw.integers(0, 2, count).astype(bool),
    )


def report(price: Callable[[], object], count: int) -> None:
    """Prints nanoseconds per option, of the fastest call in about a second, and the process's peak memory."""
    price()
    fastest, calls, end = float("inf"), 0, time.perf_counter() + _SECONDS
    while calls < _FEWEST_CALLS or time.perf_counter() < end:
        start = time.perf_counter_ns()
        price()
        fastest = min(fastest, time.perf_counter_ns() - start)
        calls += 1
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    print(json.dumps({"nanoseconds": fastest / count, "peak_memory_mib": int(peak.split()[1]) / 1024}))
