"""Fits the slices with scipy.optimize.least_squares, as one would in an afternoon: raw SVI, bounds, Huber's
loss."""

import json
import math
import signal
import statistics
import sys
import time

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from bench.floors.option_quotes import EXPIRIES, YEARS, Quotes, quotes

_BOUNDS = ([-np.inf, 0.0, -0.999, -np.inf, 1e-4], [np.inf, np.inf, 0.999, np.inf, np.inf])


def slices(given: Quotes, starts: NDArray[np.float64] | None) -> tuple[float, NDArray[np.float64]]:
    """(seconds, rows of (a, b, ρ, m, s)); no arbitrage is looked for."""
    rows = np.empty((EXPIRIES, 5))
    begun = time.perf_counter()
    for index, years in enumerate(YEARS):
        chosen = given.expiries == index
        k, bids, asks = given.log_moneyness[chosen], given.bids[chosen], given.asks[chosen]
        middles, halves = 0.5 * (bids + asks), 0.5 * (asks - bids)

        def residuals(
            point: NDArray[np.float64],
            k: NDArray[np.float64] = k,
            middles: NDArray[np.float64] = middles,
            halves: NDArray[np.float64] = halves,
            years: float = years,
        ) -> NDArray[np.float64]:
            a, b, rho, m, s = point
            variances = a + b * (rho * (k - m) + np.sqrt((k - m) ** 2 + s * s))
            return (np.sqrt(np.maximum(variances, 1e-12) / years) - middles) / halves

        level, root = middles[len(k) // 2] ** 2 * years, middles[len(k) // 2] * math.sqrt(years)
        start = np.array([0.2 * level, 0.4 * root, 0.0, 0.0, 2.0 * root]) if starts is None else starts[index]
        fit = least_squares(residuals, start, bounds=_BOUNDS, loss="huber", x_scale="jac")
        rows[index] = fit.x
    return time.perf_counter() - begun, rows


def main(repeats: str) -> None:
    before, now = quotes(0), quotes(1)
    _, last = slices(before, None)
    figures = {
        name: 1e3 * statistics.median(slices(now, start)[0] for _ in range(int(repeats)))
        for name, start in (("cold", None), ("warm", last))
    }
    sys.stdout.write(json.dumps(figures) + "\n")
    sys.stdout.flush()
    signal.pause()


if __name__ == "__main__":
    main(*sys.argv[1:])
