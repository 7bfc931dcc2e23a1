"""The answer without a solver, where one goal alone is not met yet.

Levers that bring it nearer are moved in the order of what a unit of it costs, each as far as needed or as
far as it goes: with one row and separate limits that is the optimum. Where the result keeps every other row
too it is the optimum of the whole programme, for it is that of one with fewer rows.
"""

import numpy as np

from app.engine.programme import Programme
from app.quant.arrays import BoolArray, FloatArray
from app.quant.compiled import compiled_in_place

_ACCURACY = 1e-9
"""Of the terms of a row, relative: what a sum of floats may be off."""
_NONE, _SEVERAL = -1, -2


def closed_form(programme: Programme) -> FloatArray | None:
    """Sizes of the levers; None where it takes the solver."""
    sizes, prices = np.zeros((2, programme.cost.size))
    row = _only_short(programme)
    if row == _NONE:
        return sizes
    if row == _SEVERAL:
        return None
    _bring(programme, row, 0.0, prices, sizes)
    kept = _are_kept(programme, sizes)
    kept[row] = True
    return sizes if kept.all() else None


def in_turn(programme: Programme) -> FloatArray:
    """Every goal after the other, the most important first, none at the expense of one before.

    Not the cheapest: what is done where no solver finds an answer.
    """
    sizes, prices = np.zeros((2, programme.cost.size))
    kept = _are_kept(programme, sizes)
    for row in np.argsort(programme.level, kind="stable").tolist():
        if kept[row]:
            continue
        tried = sizes.copy()
        _bring(programme, row, float((programme.matrix[row] * sizes).sum()), prices, tried)
        still = _are_kept(programme, tried)
        if np.all(still | ~kept):
            sizes, kept = tried, still
    return sizes


@compiled_in_place
def _only_short(programme: Programme) -> int:
    """The only row that is not met as things are."""
    for j in range(programme.lot.size):
        if programme.lot[j] > 0.0:
            return _SEVERAL
    found = _NONE
    for i in range(programme.low.size):
        if programme.low[i] > 0.0 or programme.high[i] < 0.0:
            if found != _NONE:
                return _SEVERAL
            found = i
    return found


@compiled_in_place
def _bring(programme: Programme, row: int, moved: float, prices: FloatArray, sizes: FloatArray) -> None:
    """Moves levers on until the row is inside its interval, or none is left that helps.

    It was `moved` by `sizes`; `prices` is room to work in: of a unit of the row, below zero where nothing is
    left to move.
    """
    low, high = programme.low[row] - moved, programme.high[row] - moved
    sign = 1.0 if low > 0.0 else -1.0
    missing = low if low > 0.0 else -high
    for j in range(sizes.size):
        nearer = sign * programme.matrix[row, j]
        prices[j] = programme.cost[j] / nearer if nearer > 0.0 and programme.upper[j] > sizes[j] else -1.0
    while not missing <= 0.0:
        cheapest = _NONE
        for j in range(sizes.size):
            if prices[j] >= 0.0 and (cheapest == _NONE or prices[j] < prices[cheapest]):
                cheapest = j
        if cheapest == _NONE:
            return
        prices[cheapest] = -1.0
        nearer = sign * programme.matrix[row, cheapest]
        more = min(missing / nearer, programme.upper[cheapest] - sizes[cheapest])
        sizes[cheapest] += more
        missing -= more * nearer


def _are_kept(programme: Programme, sizes: FloatArray) -> BoolArray:
    """Which rows are inside their interval."""
    moved = programme.matrix * sizes
    total, room = moved.sum(axis=1), _ACCURACY * np.abs(moved).sum(axis=1)
    inside: BoolArray = (total >= programme.low - room) & (total <= programme.high + room)
    return inside
