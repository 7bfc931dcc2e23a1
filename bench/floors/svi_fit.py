"""Fits the slices with the plain C of `svi_fit.c`: `python -m bench.floors.svi_fit DIRECTORY REPEATS`.

Prints a line of JSON (milliseconds of a surface, cold and warm, and passes over a slice's quotes) and waits
to be ended. Cold starts from the same smile for every slice, warm from what was fitted to the quotes of the
moment before. Turning volatilities into scaled variances is left out of the time.
"""

import ctypes
import json
import math
import signal
import statistics
import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.floors.c_library import c_library
from bench.floors.option_quotes import EXPIRIES, STRIKES, YEARS, quotes

_SOURCE = Path(__file__).with_suffix(".c")
_START = (1.0, 0.9, 0.9, 0.0, math.log(2.0))

Columns = list[NDArray[np.float64]]


def prepared(moment: int) -> Columns:
    """x, variances of bid, ask and target in units of that at the forward, and 1 / half the spread."""
    given = quotes(moment)
    years = YEARS[given.expiries]
    middles = 0.5 * (given.bids + given.asks)
    nearest = np.abs(given.log_moneyness).reshape(EXPIRIES, STRIKES).argmin(axis=1)
    levels = (middles**2 * years).reshape(EXPIRIES, STRIKES)[np.arange(EXPIRIES), nearest]
    scale = np.repeat(levels, STRIKES)
    halves = middles * (given.asks - given.bids) * years / scale
    variances = [volatilities**2 * years / scale for volatilities in (given.bids, given.asks, middles)]
    return [
        np.ascontiguousarray(each)
        for each in (given.log_moneyness / np.sqrt(scale), *variances, 1.0 / halves)
    ]


def fitted(
    library: ctypes.CDLL, columns: Columns, start: NDArray[np.float64]
) -> tuple[float, int, NDArray[np.float64]]:
    """(seconds, passes, points)."""
    points = start.copy()
    pointers = [each.ctypes.data_as(ctypes.c_void_p) for each in (*columns, points)]
    begun = time.perf_counter()
    passes = library.fit(EXPIRIES, STRIKES, *pointers)
    return time.perf_counter() - begun, passes, points


def main(directory: str, repeats: str) -> None:
    library = c_library(_SOURCE, Path(directory))
    before, now = prepared(0), prepared(1)
    start = np.tile(_START, (EXPIRIES, 1))
    _, _, last = fitted(library, before, start)
    figures = {}
    for name, point in (("cold", start), ("warm", last)):
        runs = [fitted(library, now, point) for _ in range(int(repeats))]
        figures[name] = 1e3 * statistics.median(seconds for seconds, _, _ in runs)
        figures[f"{name} passes"] = runs[0][1]
    sys.stdout.write(json.dumps(figures) + "\n")
    sys.stdout.flush()
    signal.pause()


if __name__ == "__main__":
    main(*sys.argv[1:])
