"""Programmes of goals in order of importance, solved by HiGHS.

First the rows of the most important level are missed by as little as possible, then those of the next
without giving up any of that, and so on; among all that is as good, what costs least is taken. Mostly
everything can be reached, so that is tried first, as one programme in which every row must hold; only where
it has no solution is each level solved in its turn.
"""

from enum import StrEnum
from functools import lru_cache
from math import isnan
from typing import NamedTuple

import highspy
import numpy as np
from highspy import HighsModelStatus, HighsStatus, MatrixFormat, ObjSense
from numpy.typing import NDArray

from app.engine.programme import Form, Programme, in_one_size, outcome
from app.quant.arrays import BoolArray, FloatArray, IntArray

_TOLERANCE = 1e-9
"""Of the largest amount that is missing: what counts as met, and as no worse than before."""
_NODES = 500
"""Of a search over whole lots: a limit in work, not in time, or the answer would depend on the machine."""
_OPTIONS: dict[str, bool | int | float | str] = {
    "output_flag": False,
    "threads": 1,
    "presolve": "off",
    "simplex_strategy": 0,
    "primal_feasibility_tolerance": _TOLERANCE,
    "dual_feasibility_tolerance": _TOLERANCE,
    "mip_feasibility_tolerance": _TOLERANCE,
    "mip_rel_gap": 0.0,
    "mip_abs_gap": 0.0,
    "mip_max_nodes": _NODES,
}

_Indices = NDArray[np.int32]


class Status(StrEnum):
    SOLVED = "solved"
    LIMITED = "limited"
    """A search over whole lots ended at its limit: what it had found by then, which may not be the best."""
    INFEASIBLE = "infeasible"
    """Limits and rows that must hold contradict each other."""
    FAILED = "failed"
    """A figure is not a number, or the solver gave up."""


class Solution(NamedTuple):
    """`values` (n,), and by how much they miss each row, `violations` (m,); the lower limits unless `solved`.

    Where lots are whole the cost is the least, or above that by no more than the dearest lot costs; what is
    missed is the least in any case.
    """

    status: Status
    values: FloatArray
    violations: FloatArray

    @property
    def solved(self) -> bool:
        return self.status in (Status.SOLVED, Status.LIMITED)


class _Highs(highspy.Highs):
    """Without the callbacks of its own constructor, which prints a banner as it sets them."""

    def __init__(self) -> None:
        super(highspy.Highs, self).__init__()


class Solver:
    """Solves one programme after the other: the same to the bit whatever it has solved before.

    Making one costs about as much as solving a small programme with it.
    """

    def __init__(self) -> None:
        self.highs = _Highs()
        for name, value in _OPTIONS.items():
            self.highs.setOptionValue(name, value)

    def solve(self, programme: Programme) -> Solution:
        form, asked = in_one_size(programme)
        if isnan(asked):
            return Solution(Status.FAILED, np.zeros(form.unit.size), np.full(form.weight.size, np.inf))
        status, found = Status.SOLVED, None
        if asked > 0.0:
            status, found = self._all_reached(form)
            if found is None:
                status, found = self._level_by_level(form, programme.level)
        return Solution(status, *outcome(programme, form, found))

    def _all_reached(self, form: Form) -> tuple[Status, FloatArray | None]:
        """Every row holds. Whole lots are searched for only where none near the answer in parts will do."""
        self._pass(form.cost, form.upper, form.matrix, form.low, form.high)
        status, found = self._run()
        if found is None or _is_whole(form, found):
            return status, found
        near = self._nearest_lots(form, found)
        if near is not None:
            return status, near
        self._pass(form.cost, form.upper, form.matrix, form.low, form.high, form.whole)
        return self._run()

    def _nearest_lots(self, form: Form, parts: FloatArray) -> FloatArray | None:
        """What is whole is rounded and the rest follows; None if that misses a row, or costs a lot more."""
        most = float((form.cost * parts).sum()) + float(form.cost[form.whole].max())
        columns = _counted(parts.size)
        for rounded in (np.rint(parts), np.ceil(parts), np.floor(parts)):
            lots = np.minimum(rounded, np.floor(form.upper))
            least, limit = np.where(form.whole, lots, 0.0), np.where(form.whole, lots, form.upper)
            self.highs.changeColsBounds(parts.size, columns, least, limit)
            _, found = self._run()
            if found is not None and float((form.cost * found).sum()) <= most:
                return found
        return None

    def _level_by_level(self, form: Form, level: IntArray) -> tuple[Status, FloatArray | None]:
        """Every goal may be missed on either side; a row for each level holds what is missed of it in all."""
        m, n = form.matrix.shape
        goals = np.flatnonzero(level >= 0)
        if goals.size == 0:
            return Status.INFEASIBLE, None
        levels, rank = np.unique(level[goals], return_inverse=True)
        short, over = n + np.arange(goals.size), n + goals.size + np.arange(goals.size)
        matrix = np.zeros((m + levels.size + 1, n + 2 * goals.size))
        matrix[:m, :n] = form.matrix
        matrix[goals, short], matrix[goals, over] = 1.0, -1.0
        matrix[m + rank, short] = matrix[m + rank, over] = form.weight[goals]
        free, open_end = np.full(2 * goals.size, np.inf), np.full(levels.size, np.inf)
        self._pass(
            np.zeros(n + 2 * goals.size),
            np.concatenate((form.upper, free)),
            matrix[:-1],
            np.concatenate((form.low, -open_end)),
            np.concatenate((form.high, open_end)),
            np.concatenate((form.whole, free < 0.0)),
        )
        matrix[-1, :n] = form.cost
        return self._in_turn(matrix[m:], m)

    def _in_turn(self, objectives: FloatArray, first_row: int) -> tuple[Status, FloatArray | None]:
        """What each level misses, and last the cost, every one without giving up those before.

        A level that is met already where the last one ended is at its best: it is not solved for.
        """
        status, found = Status.SOLVED, None
        columns = _counted(objectives.shape[1])
        for row, objective in enumerate(objectives):
            is_cost = row == len(objectives) - 1
            if found is None or is_cost or float((objective * found).sum()) > _TOLERANCE:
                self.highs.changeColsCost(columns.size, columns, objective)
                outcome, better = self._run()
                if better is None and found is None:
                    return outcome, None
                found = found if better is None else better
                status = status if outcome is Status.SOLVED else Status.LIMITED
            if not is_cost:
                least = max(float((objective * found).sum()), 0.0)
                most = least + _TOLERANCE * max(least, 1.0)
                self.highs.changeRowBounds(first_row + row, -np.inf, most)
        return status, found

    def _pass(
        self,
        cost: FloatArray,
        upper: FloatArray,
        matrix: FloatArray,
        low: FloatArray,
        high: FloatArray,
        whole: BoolArray | None = None,
    ) -> None:
        rows, columns = matrix.shape
        starts, indices = _places(rows, columns)
        status = self.highs.passModel(
            columns,
            rows,
            matrix.size,
            _BY_ROW,
            _LEAST,
            0.0,
            cost,
            np.zeros(columns),
            upper,
            low,
            high,
            starts,
            indices,
            matrix.ravel(),
            np.zeros(columns, dtype=np.int32) if whole is None else whole.astype(np.int32),
        )
        if status is HighsStatus.kError:
            self.highs.clearModel()

    def _run(self) -> tuple[Status, FloatArray | None]:
        self.highs.run()
        status = _STATUSES.get(self.highs.getModelStatus(), Status.FAILED)
        if status in (Status.INFEASIBLE, Status.FAILED):
            return status, None
        if status is Status.LIMITED and self.highs.getInfo().primal_solution_status != _FEASIBLE:
            return status, None
        return status, np.array(self.highs.getSolution().col_value)


_FEASIBLE = int(highspy.SolutionStatus.kSolutionStatusFeasible)
_BY_ROW, _LEAST = int(MatrixFormat.kRowwise), int(ObjSense.kMinimize)
_STATUSES = {
    HighsModelStatus.kOptimal: Status.SOLVED,
    HighsModelStatus.kSolutionLimit: Status.LIMITED,
    HighsModelStatus.kInfeasible: Status.INFEASIBLE,
}


def _is_whole(form: Form, found: FloatArray) -> bool:
    if not form.whole.any():
        return True
    lots = found[form.whole]
    return bool((np.abs(lots - np.rint(lots)) <= _TOLERANCE * np.maximum(lots, 1.0)).all())


@lru_cache(maxsize=64)
def _places(rows: int, columns: int) -> tuple[_Indices, _Indices]:
    """Where the elements of a full matrix stand: the first of each row, and the column of each."""
    starts = columns * np.arange(rows + 1, dtype=np.int32)
    return starts, np.tile(np.arange(columns, dtype=np.int32), rows)


@lru_cache(maxsize=64)
def _counted(columns: int) -> _Indices:
    return np.arange(columns, dtype=np.int32)
