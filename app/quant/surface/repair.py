"""Takes butterflies and calendar spreads out of a set of fitted slices.

Slices with a butterfly, and neighbours that cross, are fitted again with penalties on both, in sweeps from
the first expiry to the last that become stricter. Penalties are looked at on a grid and wherever an arbitrage
was found between its nodes. What is left then is drawn, in order of expiry, towards a slice that is free of
arbitrage for certain, no further than it takes: a flat one for the first expiry, for the others the slice
before, lifted to the level of their own. (A smile that is lifted keeps its density positive unless its
minimum lies far from the forward; then the slice before as it is.)
"""

from collections.abc import Sequence

import numpy as np

from app.quant.arrays import FloatArray
from app.quant.surface.arbitrage import has_butterfly, has_calendar
from app.quant.surface.fitted_slice import FittedSlice, level_of

_PENALTIES = (1e0, 1e0, 1e1, 1e2, 1e3, 1e4, *(10 * (1e5,)))
_BISECTIONS = 20


def remove_arbitrage(slices: Sequence[FittedSlice]) -> None:
    """Afterwards no slice has a butterfly and none lies below the one before it, at any strike."""
    for penalty in _PENALTIES:
        flagged = _flag(slices)
        if not flagged:
            return
        for index in flagged:
            below = slices[index - 1].row if index > 0 else None
            above = slices[index + 1].row if index + 1 < len(slices) else None
            slices[index].fit_between(below, above, penalty=penalty)
    before: FloatArray | None = None
    for each in slices:
        if not _sound(each.row, before):
            each.row, each.repaired = _drawn(each.row, before), True
        before = each.row


def _flag(slices: Sequence[FittedSlice]) -> list[int]:
    """The slices with a butterfly and both of every pair that crosses; each is told where to look."""
    flagged = set()
    for index, each in enumerate(slices):
        butterfly, place = has_butterfly(each.row)
        if butterfly:
            flagged.add(index)
            each.watch(place)
        if index == 0:
            continue
        crossing, place = has_calendar(slices[index - 1].row, each.row)
        if crossing:
            flagged |= {index - 1, index}
            slices[index - 1].watch(place)
            each.watch(place)
    return sorted(flagged)


def _sound(row: FloatArray, before: FloatArray | None) -> bool:
    return not has_butterfly(row)[0] and (before is None or not has_calendar(before, row)[0])


def _drawn(row: FloatArray, before: FloatArray | None) -> FloatArray:
    """The least mixture with a safe slice that is sound, to a millionth; no wing is flatter than its."""
    safe = _safe(row, before)
    own, certain = _with_wings(row), _with_wings(safe)
    own[1:3] = np.maximum(own[1:3], certain[1:3])
    refused, accepted = 0.0, 1.0
    for _ in range(_BISECTIONS):
        share = 0.5 * (refused + accepted)
        if _sound(_without_wings(own + share * (certain - own)), before):
            accepted = share
        else:
            refused = share
    return safe if accepted == 1.0 else _without_wings(own + accepted * (certain - own))


def _safe(row: FloatArray, before: FloatArray | None) -> FloatArray:
    level = level_of(row)
    if before is None:
        return np.array([level, 0.0, 0.0, row[3], row[4]])
    lifted = before.copy()
    lifted[0] += max(level - level_of(before), 0.0)
    return lifted if _sound(lifted, before) else before


def _with_wings(row: FloatArray) -> FloatArray:
    """(a, p, q, m, s): in these a mixture's wings lie between those of its parts."""
    return np.array([row[0], row[1] * (1.0 - row[2]), row[1] * (1.0 + row[2]), row[3], row[4]])


def _without_wings(wings: FloatArray) -> FloatArray:
    angle = 0.5 * (wings[1] + wings[2])
    return np.array(
        [wings[0], angle, 0.5 * (wings[2] - wings[1]) / angle if angle > 0.0 else 0.0, wings[3], wings[4]]
    )
