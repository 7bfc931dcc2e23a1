"""The programme of one portfolio: levers between limits, goals as rows in the order of their level.

Level by level the violations are made as small as the levels before allow; then the cost is. `HiGHS` solves
it, on one thread.
"""

from typing import NamedTuple

import highspy
import numpy as np

from app.quant.arrays import BoolArray, FloatArray, IntArray


class Programme(NamedTuple):
    lower: FloatArray
    upper: FloatArray
    cost: FloatArray
    lot: FloatArray
    matrix: FloatArray
    low: FloatArray
    high: FloatArray
    level: IntArray
    scale: FloatArray


class Solution(NamedTuple):
    solved: bool
    values: FloatArray
    violations: FloatArray


class Solver:
    def __init__(self) -> None:
        self._h = highspy.Highs()
        self._h.setOptionValue("output_flag", False)
        self._h.setOptionValue("threads", 1)
        self._h.setOptionValue("presolve", "off")

    def _run(
        self,
        cost: FloatArray,
        lower: FloatArray,
        upper: FloatArray,
        matrix: FloatArray,
        low: FloatArray,
        high: FloatArray,
        integral: BoolArray,
    ) -> FloatArray | None:
        lp = highspy.HighsLp()
        m, n = matrix.shape
        lp.num_col_, lp.num_row_ = n, m
        lp.col_cost_, lp.col_lower_, lp.col_upper_ = cost, lower, upper
        lp.row_lower_, lp.row_upper_ = low, high
        lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        lp.a_matrix_.start_ = np.arange(0, m * n + 1, n)
        lp.a_matrix_.index_ = np.tile(np.arange(n), m)
        lp.a_matrix_.value_ = matrix.ravel()
        if integral.any():
            lp.integrality_ = [
                highspy.HighsVarType.kInteger if i else highspy.HighsVarType.kContinuous for i in integral
            ]
        self._h.passModel(lp)
        self._h.run()
        if self._h.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            return None
        return np.array(self._h.getSolution().col_value)

    def solve(self, p: Programme) -> Solution:
        n, m = p.cost.size, p.low.size
        if n == 0:
            return Solution(True, np.zeros(0), np.maximum(np.maximum(p.low, -p.high), 0.0))
        size = np.abs(p.matrix).max(axis=1)
        size[size == 0] = 1.0
        matrix, low, high = p.matrix / size[:, None], p.low / size, p.high / size
        integral = p.lot > 0
        cost = p.cost + 1e-9 * np.maximum(np.abs(p.matrix).max(axis=0), 1e-9)
        found = self._run(cost, p.lower, p.upper, matrix, low, high, integral)
        if found is None:
            soft = p.level >= 0
            wide = np.hstack([matrix, np.eye(m), -np.eye(m)])
            z = np.zeros(n)
            lower = np.concatenate((p.lower, np.zeros(2 * m)))
            upper = np.concatenate((p.upper, np.where(np.tile(soft, 2), np.inf, 0.0)))
            ints = np.concatenate((integral, np.zeros(2 * m, bool)))
            rows, lo, hi = [wide], [low], [high]
            for level in np.unique(p.level[soft]):
                weight = np.where(p.level == level, size, 0.0)
                c = np.concatenate((z, weight, weight))
                x = self._run(c, lower, upper, np.vstack(rows), np.concatenate(lo), np.concatenate(hi), ints)
                if x is None:
                    return Solution(False, np.zeros(n), np.zeros(m))
                best = float(c @ x)
                rows.append(c[None])
                lo.append(np.array([-np.inf]))
                hi.append(np.array([best * (1 + 1e-9) + 1e-7]))
            c = np.concatenate((cost, np.zeros(2 * m)))
            x = self._run(c, lower, upper, np.vstack(rows), np.concatenate(lo), np.concatenate(hi), ints)
            if x is None:
                return Solution(False, np.zeros(n), np.zeros(m))
            found = x[:n]
        moved = p.matrix @ found
        return Solution(
            True, np.clip(found, p.lower, p.upper), np.maximum(np.maximum(p.low - moved, moved - p.high), 0.0)
        )
