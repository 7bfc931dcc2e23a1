"""The scenario grid as a C loop: `python -m bench.floors.scenarios DIRECTORY CALLS` compiles and runs it."""

import ctypes
import sys
import time
from pathlib import Path

import numpy as np

from bench.floors.c_library import c_library
from bench.floors.option_book import INDEX, MARGIN_RATE, SPOT_SHOCKS, VOLATILITY_SHOCKS, Column, option_book

_SOURCE = Path(__file__).with_suffix(".c")


def arguments() -> tuple[list[Column], list[Column]]:
    """What the loop reads: columns of positions, and of cells (volatility by volatility)."""
    book = option_book()
    units = np.where(book.is_coin_settled, book.quantities / book.ratios, book.quantities)
    short = np.maximum(-book.quantities, 0.0)
    margins = MARGIN_RATE * short * INDEX
    put_margins = np.where(book.is_put, MARGIN_RATE * np.maximum(-units, 0.0) * book.strikes, 0.0)
    positions = [
        book.ratios * INDEX / book.strikes, book.strikes, np.where(book.is_put, -1.0, 1.0), units,
        book.volatilities, book.years, margins, put_margins,
    ]  # fmt: skip
    factors = np.tile(1.0 + SPOT_SHOCKS, VOLATILITY_SHOCKS.size)
    return positions, [factors, np.log(factors), np.repeat(1.0 + VOLATILITY_SHOCKS, SPOT_SHOCKS.size)]


def run(directory: Path, calls: int) -> tuple[list[float], Column]:
    """Seconds of each call, and the sums."""
    grid = c_library(_SOURCE, directory).grid
    positions, cells = arguments()
    sums = np.zeros((5, cells[0].size))
    pointers = [ctypes.c_void_p(column.ctypes.data) for column in (*positions, *cells, sums)]
    taken = []
    for _ in range(calls):
        sums[:] = 0.0
        start = time.perf_counter()
        grid(ctypes.c_long(positions[0].size), *pointers[:8], ctypes.c_long(sums.shape[1]), *pointers[8:])
        taken.append(time.perf_counter() - start)
    return taken, sums


def peak_memory_mib() -> float:
    """Of this process so far."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))


def main() -> None:
    taken, _ = run(Path(sys.argv[1]), int(sys.argv[2]))
    for seconds in taken:
        print(seconds)
    print(peak_memory_mib())


if __name__ == "__main__":
    main()
