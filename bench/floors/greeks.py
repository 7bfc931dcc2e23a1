"""Prices and six greeks by the loop in `greeks.c`, compiled for this machine by its own gcc."""

import ctypes
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from bench.floors.c_library import c_library

SOURCE = Path(__file__).with_suffix(".c")
FIGURES = 7


def greeks(directory: Path) -> Callable[[Sequence[np.ndarray], np.ndarray], None]:
    """Takes seven columns (spots, strikes, years, volatilities, rates, yields, sides), fills seven rows."""
    loop = c_library(SOURCE, directory).greeks

    def fill(columns: Sequence[np.ndarray], figures: np.ndarray) -> None:
        addresses = [ctypes.c_void_p(each.ctypes.data) for each in (*columns, *figures)]
        loop(ctypes.c_size_t(columns[0].size), *addresses)

    return fill
