"""A small programme of goals in order of importance, and its solution by HiGHS.

Variables are what can be moved; rows are what is wanted of them. First the rows of the most important level
are missed by as little as possible, then those of the next without giving up any of that, and so on; among
all that is as good, what costs least is taken. Mostly everything can be reached, so that is tried first, as
one programme in which every row must hold; only where it has no solution is each level solved in its turn.

The figures are brought to one size before they are solved, so that tolerances mean the same in every
currency: rows in their own scale, variables in what they move, both in the largest amount that is missing.
"""

from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple, Self

import highspy
import numpy as np
from highspy import HighsModelStatus, HighsStatus, MatrixFormat, ObjSense
from numpy.typing import NDArray

from app.quant.arrays import BoolArray, FloatArray, IntArray

_TOLERANCE = 1e-9
"""Of the largest amount that is missing: what counts as met, and as no worse than before."""
_LEAST_COST = 1e-8
"""Per unit of a row's scale that is moved: so that nothing moves without use, though it cost nothing."""
_NEARLY = 1e-8
"""Of the largest term of a row: what is missed by less counts as met."""
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


class Programme(NamedTuple):
    """`n` variables and `m` rows, `low <= matrix @ values <= high` wanted of them.

    Attributes
    ----------
    lower, upper : (n,)
        Limits of the variables; `lower` is finite.
    cost : (n,)
        Per unit, not negative, in the valuation currency.
    lot : (n,)
        Above 0 where the variable is a whole number (of lots of that size), else 0.
    matrix : (m, n)
    low, high : (m,)
        What is wanted of each row; -inf or inf where that side is open.
    level : (m,)
        The lower the more important; rows of one level are weighed against each other. A row whose level
        is negative is no goal: it must hold.
    scale : (m,)
        Above 0: what missing a row is measured in, against other rows of its level.
    """

    lower: FloatArray
    upper: FloatArray
    cost: FloatArray
    lot: FloatArray
    matrix: FloatArray
    low: FloatArray
    high: FloatArray
    level: IntArray
    scale: FloatArray


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
        self._highs = _Highs()
        for name, value in _OPTIONS.items():
            self._highs.setOptionValue(name, value)

    def solve(self, programme: Programme) -> Solution:
        if not _is_sound(programme):
            n, m = programme.cost.size, programme.low.size
            return Solution(Status.FAILED, np.zeros(n), np.full(m, np.inf))
        form = _Form.of(programme)
        if form.asked == 0.0:
            return _answer(programme, Status.SOLVED, programme.lower)
        status, found = self._all_reached(form)
        if found is None:
            status, found = self._level_by_level(form, programme.level)
        values = programme.lower if found is None else form.values(programme, found)
        return _answer(programme, status, values)

    def _all_reached(self, form: "_Form") -> tuple[Status, FloatArray | None]:
        """Every row holds. Whole lots are searched for only where none near the answer in parts will do."""
        self._pass(form.cost, form.upper, form.matrix, form.low, form.high)
        status, found = self._run()
        if found is None or form.is_whole(found):
            return status, found
        near = self._nearest_lots(form, found)
        if near is not None:
            return status, near
        self._pass(form.cost, form.upper, form.matrix, form.low, form.high, form.whole)
        return self._run()

    def _nearest_lots(self, form: "_Form", parts: FloatArray) -> FloatArray | None:
        """What is whole is rounded and the rest follows; None if that misses a row, or costs a lot more."""
        most = float((form.cost * parts).sum()) + float(form.cost[form.whole].max())
        columns = _counted(parts.size)
        for rounded in (np.rint(parts), np.ceil(parts), np.floor(parts)):
            lots = np.minimum(rounded, np.floor(form.upper))
            least, limit = np.where(form.whole, lots, 0.0), np.where(form.whole, lots, form.upper)
            self._highs.changeColsBounds(parts.size, columns, least, limit)
            _, found = self._run()
            if found is not None and float((form.cost * found).sum()) <= most:
                return found
        return None

    def _level_by_level(self, form: "_Form", level: IntArray) -> tuple[Status, FloatArray | None]:
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
                self._highs.changeColsCost(columns.size, columns, objective)
                outcome, better = self._run()
                if better is None and found is None:
                    return outcome, None
                found = found if better is None else better
                status = status if outcome is Status.SOLVED else Status.LIMITED
            if not is_cost:
                least = max(float((objective * found).sum()), 0.0)
                most = least + _TOLERANCE * max(least, 1.0)
                self._highs.changeRowBounds(first_row + row, -np.inf, most)
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
        status = self._highs.passModel(
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
            self._highs.clearModel()

    def _run(self) -> tuple[Status, FloatArray | None]:
        self._highs.run()
        status = _STATUSES.get(self._highs.getModelStatus(), Status.FAILED)
        found = self._highs.getInfo().primal_solution_status == _FEASIBLE
        if status in (Status.INFEASIBLE, Status.FAILED) or not found:
            return (Status.FAILED if status is Status.SOLVED else status), None
        return status, np.array(self._highs.getSolution().col_value)


_FEASIBLE = int(highspy.SolutionStatus.kSolutionStatusFeasible)
_BY_ROW, _LEAST = int(MatrixFormat.kRowwise), int(ObjSense.kMinimize)
_STATUSES = {
    HighsModelStatus.kOptimal: Status.SOLVED,
    HighsModelStatus.kSolutionLimit: Status.LIMITED,
    HighsModelStatus.kInfeasible: Status.INFEASIBLE,
}


class _Form(NamedTuple):
    """The programme in one size: variables from 0 up, in units of `unit`; rows with 1 as largest effect.

    `weight` is what a unit of a row is in the scale of its level; `asked` the largest amount that is missing
    at the lower limits, in that scale.
    """

    cost: FloatArray
    upper: FloatArray
    matrix: FloatArray
    low: FloatArray
    high: FloatArray
    whole: BoolArray
    weight: FloatArray
    unit: FloatArray
    asked: float

    @classmethod
    def of(cls, programme: Programme) -> Self:
        scale = programme.scale
        matrix = programme.matrix / scale[:, None]
        held = (matrix * programme.lower).sum(axis=1)
        low, high = programme.low / scale - held, programme.high / scale - held
        asked = max(float(low.max(initial=0.0)), float(-high.min(initial=0.0)), 0.0)
        size = asked or 1.0
        whole = programme.lot > 0.0
        most = np.abs(matrix).max(axis=0, initial=0.0)
        unit = np.where(whole | (most == 0.0), 1.0, size / np.where(most > 0.0, most, 1.0))
        matrix *= unit / size
        weight = np.abs(matrix).max(axis=1, initial=0.0)
        weight[weight == 0.0] = 1.0
        effect = np.where(most > 0.0, most * unit / size, 1.0)
        cost = np.maximum(programme.cost * unit / size, _LEAST_COST * effect)
        return cls(
            cost=cost / cost.max(initial=0.0),
            upper=(programme.upper - programme.lower) / unit,
            matrix=matrix / weight[:, None],
            low=low / size / weight,
            high=high / size / weight,
            whole=whole,
            weight=weight,
            unit=unit,
            asked=asked,
        )

    def is_whole(self, found: FloatArray) -> bool:
        lots = found[self.whole]
        return bool((np.abs(lots - np.rint(lots)) <= _TOLERANCE * np.maximum(lots, 1.0)).all())

    def values(self, programme: Programme, found: FloatArray) -> FloatArray:
        moved = found[: self.unit.size]
        moved = np.where(self.whole, np.rint(moved), moved) * self.unit
        return np.minimum(np.maximum(programme.lower + moved, programme.lower), programme.upper)


def _is_sound(programme: Programme) -> bool:
    """Numbers, and limits that do not cross."""
    lower, upper, cost, lot, matrix, low, high, _, scale = programme
    finite = np.concatenate((lower, cost, lot, scale, matrix.ravel()))
    return bool(
        np.isfinite(finite).all()
        and (lower <= upper).all()
        and (low <= high).all()
        and (cost >= 0.0).all()
        and (scale > 0.0).all()
    )


def _answer(programme: Programme, status: Status, values: FloatArray) -> Solution:
    terms = programme.matrix * values
    moved = terms.sum(axis=1)
    missed = np.maximum(np.maximum(programme.low - moved, moved - programme.high), 0.0)
    size = np.abs(terms).max(axis=1, initial=0.0)
    missed[missed <= _NEARLY * size] = 0.0
    return Solution(status, values, missed)


@lru_cache(maxsize=64)
def _places(rows: int, columns: int) -> tuple[_Indices, _Indices]:
    """Where the elements of a full matrix stand: the first of each row, and the column of each."""
    starts = columns * np.arange(rows + 1, dtype=np.int32)
    return starts, np.tile(np.arange(columns, dtype=np.int32), rows)


@lru_cache(maxsize=64)
def _counted(columns: int) -> _Indices:
    return np.arange(columns, dtype=np.int32)
