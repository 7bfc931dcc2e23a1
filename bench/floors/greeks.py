"""Prices and six greeks by the loop in `greeks.c`, compiled for this machine by its own gcc."""

import ctypes
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

SOURCE = Path(__file__).with_suffix(".c")
FIGURES = 7
_FLAGS = ("-O3", "-march=native", "-ffast-math", "-shared", "-fPIC")


def compiler() -> str | None:
    return shutil.which("gcc")


def compiled(directory: Path) -> Callable[[Sequence[np.ndarray], np.ndarray], None]:
    """Takes seven columns (spots, strikes, years, volatilities, rates, yields, sides), fills seven rows."""
    library = directory / "greeks.so"
    subprocess.run([compiler() or "gcc", *_FLAGS, str(SOURCE), "-o", str(library), "-lm"], check=True)
    loop = ctypes.CDLL(str(library)).greeks

    def fill(columns: Sequence[np.ndarray], figures: np.ndarray) -> None:
        addresses = [ctypes.c_void_p(each.ctypes.data) for each in (*columns, *figures)]
        loop(ctypes.c_size_t(columns[0].size), *addresses)

    return fill
