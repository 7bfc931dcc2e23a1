"""The options that every side prices, and how it is timed. Only numpy: peers have packages of their own."""

import json
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from bench.floors.scenarios import peak_memory_mib

_SECONDS = 1.0
_FEWEST_CALLS = 3


class OptionColumns(NamedTuple):
    spots: np.ndarray
    strikes: np.ndarray
    years: np.ndarray
    volatilities: np.ndarray
    rates: np.ndarray
    yields: np.ndarray
    is_call: np.ndarray


def option_columns(count: int) -> OptionColumns:
    draw = np.random.default_rng(7)
    spots = draw.uniform(20_000.0, 100_000.0, count)
    return OptionColumns(
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
    print(json.dumps({"nanoseconds": fastest / count, "peak_memory_mib": peak_memory_mib()}))
