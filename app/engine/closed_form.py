"""The answer without a solver, where one goal alone is not met yet.

Levers that bring it nearer are moved in the order of what a unit of it costs, each as far as needed or as
far as it goes: with one row and separate limits that is the optimum. Where the result keeps every other row
too it is the optimum of the whole programme, for it is that of one with fewer rows.
"""

import numpy as np

from app.engine.programme import Programme
from app.quant.arrays import BoolArray, FloatArray

_ACCURACY = 1e-9
"""Of the terms of a row, relative: what a sum of floats may be off."""


def closed_form(programme: Programme) -> FloatArray | None:
    """Sizes of the levers; None where it takes the solver."""
    if np.any(programme.lot > 0.0):
        return None
    sizes: FloatArray = np.zeros(programme.cost.size)
    short = np.flatnonzero((programme.low > 0.0) | (programme.high < 0.0))
    if short.size == 0:
        return sizes
    if short.size > 1:
        return None
    row = int(short[0])
    _bring(programme, row, sizes)
    others = np.arange(programme.low.size) != row
    return sizes if _are_kept(programme, sizes)[others].all() else None


def in_turn(programme: Programme) -> FloatArray:
    """Every goal after the other, the most important first, none at the expense of one before.

    Not the cheapest: what is done where no solver finds an answer.
    """
    sizes: FloatArray = np.zeros(programme.cost.size)
    kept = _are_kept(programme, sizes)
    for row in np.argsort(programme.level, kind="stable").tolist():
        if kept[row]:
            continue
        tried = sizes.copy()
        _bring(programme, row, tried)
        still = _are_kept(programme, tried)
        if np.all(still | ~kept):
            sizes, kept = tried, still
    return sizes


def _bring(programme: Programme, row: int, sizes: FloatArray) -> None:
    """Moves levers on until the row is inside its interval, or none is left that helps."""
    moved = float((programme.matrix[row] * sizes).sum())
    low, high = float(programme.low[row]) - moved, float(programme.high[row]) - moved
    sign = 1.0 if low > 0.0 else -1.0
    missing = low if low > 0.0 else -high
    nearer = sign * programme.matrix[row]
    left = programme.upper - sizes
    useful = np.flatnonzero((nearer > 0.0) & (left > 0.0))
    prices = programme.cost[useful] / nearer[useful]
    for lever in useful[np.argsort(prices, kind="stable")].tolist():
        if missing <= 0.0:
            return
        more = min(missing / nearer[lever], left[lever])
        sizes[lever] += more
        missing -= more * nearer[lever]


def _are_kept(programme: Programme, sizes: FloatArray) -> BoolArray:
    """Which rows are inside their interval."""
    moved = (programme.matrix * sizes).sum(axis=1)
    room = _ACCURACY * (np.abs(programme.matrix) * sizes).sum(axis=1)
    inside: BoolArray = (moved >= programme.low - room) & (moved <= programme.high + room)
    return inside
