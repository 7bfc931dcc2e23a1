"""Bare HiGHS: the very calls that solved the programmes, recorded and made again.

Every model is ready in arrays, costs and limits included, and nothing is done with what is answered.
"""

from collections.abc import Callable, Sequence
from typing import Any

import highspy

from app.engine.programme import Programme
from app.engine.solver import Solver

Call = tuple[Callable[..., Any], tuple[Any, ...]]


def recorded(programmes: Sequence[Programme]) -> tuple[list[Call], int]:
    """The calls, and how many of them solve."""
    solver = Solver()
    highs, calls = solver.highs, []
    solver.highs = _Recorder(highs, calls)
    for programme in programmes:
        assert solver.solve(programme).solved
    return calls, sum(method == highs.run for method, _ in calls)


def replay(calls: Sequence[Call]) -> None:
    for method, arguments in calls:
        method(*arguments)


class _Recorder:
    def __init__(self, highs: highspy.Highs, calls: list[Call]) -> None:
        self._highs = highs
        self._calls = calls

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._highs, name)

        def call(*arguments: Any) -> Any:
            self._calls.append((method, arguments))
            return method(*arguments)

        return call
