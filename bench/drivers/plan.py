"""Programmes solved one after the other: `python -m bench.drivers.plan SIDE PASSES`; prints JSON, a figure
for each number of variables."""

import json
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

from app.engine.programme import Programme
from app.engine.solver import Solver
from bench.drivers.highs_calls import recorded, replay
from bench.drivers.programmes import programmes
from bench.floors.scenarios import peak_memory_mib

VARIABLES = (3, 10, 30)
_PROGRAMMES = 40


def ours(given: Sequence[Programme]) -> Callable[[], None]:
    solver = Solver()

    def solve() -> None:
        for programme in given:
            solver.solve(programme)

    return solve


def bare(given: Sequence[Programme]) -> Callable[[], None]:
    calls, _ = recorded(given)
    return lambda: replay(calls)


def through_scipy(given: Sequence[Programme]) -> Callable[[], None]:
    """Only the first step of each, in which all rows must hold; brought to one size in advance."""
    models = []
    for programme in given:
        unit = np.abs(programme.matrix).max(axis=0)
        unit = np.where(unit > 0.0, unit, 1.0) / 1e5
        rows = LinearConstraint(programme.matrix / unit / 1e5, programme.low / 1e5, programme.high / 1e5)
        models.append((programme.cost / unit, rows, Bounds(programme.lower, programme.upper * unit)))

    def solve() -> None:
        for cost, rows, limits in models:
            milp(cost, constraints=rows, bounds=limits)

    return solve


SIDES = {"ours": ours, "floor": bare, "scipy": through_scipy}


def main(side: str, passes: str) -> None:
    figures: dict[str, float] = {}
    for variables in VARIABLES:
        given = programmes(variables, _PROGRAMMES)
        solve, taken = SIDES[side](given), []
        for _ in range(int(passes)):
            start = time.perf_counter()
            solve()
            taken.append(time.perf_counter() - start)
        figures[str(variables)] = len(given) / min(taken)
        if side == "floor":
            figures[f"solutions a programme, {variables} variables"] = recorded(given)[1] / len(given)
    print(json.dumps(figures | {"peak memory, MiB": peak_memory_mib()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
