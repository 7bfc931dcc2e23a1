"""A small programme of goals in order of importance: how it is stated, and brought to one size.

Variables are what can be moved; rows are what is wanted of them. In one size, tolerances mean the same in
every currency: rows are in their own scale, variables in what they move, both in the largest amount that is
missing.
"""

from math import inf, isfinite, nan
from typing import NamedTuple

import numpy as np

from app.quant.arrays import BoolArray, FloatArray, IntArray
from app.quant.compiled import compiled, inlined

_LEAST_COST = 1e-8
"""Per unit of a row's scale that is moved: so that nothing moves without use, though it cost nothing."""
_NEARLY = 1e-8
"""Of the largest term of a row: what is missed by less counts as met."""


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


class Form(NamedTuple):
    """The programme in one size: variables from 0 up, in units of `unit`; rows with 1 as largest effect.

    `weight` is what a unit of a row is in the scale of its level.
    """

    cost: FloatArray
    upper: FloatArray
    matrix: FloatArray
    low: FloatArray
    high: FloatArray
    whole: BoolArray
    weight: FloatArray
    unit: FloatArray


def in_one_size(programme: Programme) -> tuple[Form, float]:
    """And the largest amount that is missing at the lower limits, in the scale of its row.

    0 where nothing is; NaN where the programme holds what is not a number, or contradicts itself.
    """
    m, n = programme.matrix.shape
    form = Form(
        cost=np.empty(n),
        upper=np.empty(n),
        matrix=np.empty((m, n)),
        low=np.empty(m),
        high=np.empty(m),
        whole=np.empty(n, dtype=np.bool_),
        weight=np.empty(m),
        unit=np.empty(n),
    )
    return form, _bring(programme, form)


def outcome(programme: Programme, form: Form, found: FloatArray | None) -> tuple[FloatArray, FloatArray]:
    """Values, the lower limits where nothing was found; and by how much they miss each row."""
    values, missed = programme.lower.copy(), np.empty(programme.low.size)
    _measure(programme, form, values[:0] if found is None else found, values, missed)
    return values, missed


@compiled
def _bring(programme: Programme, form: Form) -> float:
    if not _is_sound(programme):
        return nan
    asked = _scale_rows(programme, form)
    _scale_variables(programme, form, asked if asked > 0.0 else 1.0)
    m, n = form.matrix.shape
    for i in range(m):
        if form.weight[i] == 0.0:
            form.weight[i] = 1.0
        for j in range(n):
            form.matrix[i, j] /= form.weight[i]
        form.low[i] /= form.weight[i]
        form.high[i] /= form.weight[i]
    return asked


@inlined
def _is_sound(programme: Programme) -> bool:
    lower, upper, cost, lot, matrix, low, high, _, scale = programme
    m, n = matrix.shape
    sound = True
    for i in range(m):
        sound &= isfinite(scale[i]) and scale[i] > 0.0 and low[i] <= high[i]
        sound &= low[i] < inf and high[i] > -inf
        for j in range(n):
            sound &= isfinite(matrix[i, j])
    for j in range(n):
        sound &= isfinite(lower[j]) and lower[j] <= upper[j]
        sound &= isfinite(cost[j]) and cost[j] >= 0.0 and isfinite(lot[j])
    return sound


@inlined
def _scale_rows(programme: Programme, form: Form) -> float:
    """In the scale of each, and from the lower limits on; the largest amount that is missing there."""
    m, n = form.matrix.shape
    asked = 0.0
    for i in range(m):
        scale, held = programme.scale[i], 0.0
        for j in range(n):
            form.matrix[i, j] = programme.matrix[i, j] / scale
            held += form.matrix[i, j] * programme.lower[j]
        form.low[i], form.high[i] = programme.low[i] / scale - held, programme.high[i] / scale - held
        asked = max(asked, form.low[i], -form.high[i])
    return asked


@inlined
def _scale_variables(programme: Programme, form: Form, size: float) -> None:
    """And rows in `size`: a unit of a variable moves that much, of whole lots one is one."""
    m, n = form.matrix.shape
    dearest = 0.0
    form.weight[:] = 0.0
    for j in range(n):
        most = 0.0
        for i in range(m):
            most = max(most, abs(form.matrix[i, j]))
        form.whole[j] = programme.lot[j] > 0.0
        form.unit[j] = 1.0 if form.whole[j] or most == 0.0 else size / most
        share = form.unit[j] / size
        for i in range(m):
            form.matrix[i, j] *= share
            form.weight[i] = max(form.weight[i], abs(form.matrix[i, j]))
        form.upper[j] = (programme.upper[j] - programme.lower[j]) / form.unit[j]
        form.cost[j] = max(programme.cost[j] * share, _LEAST_COST * (most * share if most > 0.0 else 1.0))
        dearest = max(dearest, form.cost[j])
    for j in range(n):
        form.cost[j] /= dearest
    for i in range(m):
        form.low[i] /= size
        form.high[i] /= size


@compiled
def _measure(
    programme: Programme, form: Form, found: FloatArray, values: FloatArray, missed: FloatArray
) -> None:
    """Of `found` only the variables are read; it is empty where there is none. Sums in stored order."""
    m, n = programme.matrix.shape
    for j in range(n if found.size else 0):
        moved = np.rint(found[j]) if form.whole[j] else found[j]
        value = programme.lower[j] + max(moved, 0.0) * form.unit[j]
        values[j] = min(value, programme.upper[j])
    for i in range(m):
        total, largest = 0.0, 0.0
        for j in range(n):
            term = programme.matrix[i, j] * values[j]
            total += term
            largest = max(largest, abs(term))
        miss = max(programme.low[i] - total, total - programme.high[i])
        missed[i] = miss if miss > _NEARLY * largest else 0.0
