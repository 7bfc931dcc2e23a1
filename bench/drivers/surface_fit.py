"""Fits the surface with Ballast: `python -m bench.drivers.surface_fit REPEATS`; prints JSON as the floor
does."""

import json
import signal
import statistics
import sys
import time

import numpy as np

from app.quant.surface import Calibration, VolatilitySurface, arbitrage_report, calibrate_surface
from bench.floors.option_quotes import YEARS, Quotes, quotes


def calibrated(given: Quotes, last: VolatilitySurface | None) -> tuple[float, Calibration]:
    """(seconds, calibration): all of it, from volatilities to a surface without arbitrage."""
    begun = time.perf_counter()
    calibration = calibrate_surface(
        years_to_expiry=YEARS,
        forwards=[1.0] * len(YEARS),
        expiry_indices=given.expiries,
        strikes=np.exp(given.log_moneyness),
        bid_volatilities=given.bids,
        ask_volatilities=given.asks,
        last_surface=last,
    )
    return time.perf_counter() - begun, calibration


def main(repeats: str) -> None:
    before, now = quotes(0), quotes(1)
    _, last = calibrated(before, None)
    figures = {}
    for name, start in (("cold", None), ("warm", last.surface)):
        runs = [calibrated(now, start) for _ in range(int(repeats))]
        figures[name] = 1e3 * statistics.median(seconds for seconds, _ in runs)
        assert arbitrage_report(slices=runs[0][1].surface.slices).free
        figures[f"{name} inside"] = runs[0][1].inside.sum() / runs[0][1].two_sided.sum()
    sys.stdout.write(json.dumps(figures) + "\n")
    sys.stdout.flush()
    signal.pause()


if __name__ == "__main__":
    main(*sys.argv[1:])
