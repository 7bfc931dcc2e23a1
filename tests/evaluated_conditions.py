"""`engine.conditions.evaluate`, a part of a loop, as a function of its own."""

import numba

from app.engine.conditions import evaluate


@numba.njit(error_model="numpy")
def evaluated(first, stop, at, conditions, results, registers, register, time_us):
    return evaluate(first, stop, at, conditions, results, registers, register, time_us)
