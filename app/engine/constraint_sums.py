"""Sums of figures that have to stay below zero, added up part by part."""

from app.engine.sketches import NONE, Asked, Constraints, Look, Parts, Sums
from app.quant.compiled import inlined_in_place


@inlined_in_place
def sizes_of(look: Look) -> tuple[int, int]:
    """How many accounts and exposures it has."""
    views, view = look.tables.views, look.number
    return views.account_stop[view] - views.account[view], views.exposure_stop[view] - views.exposure[view]


@inlined_in_place
def begin(constant: float, node: int, constraints: Constraints, parts: Parts) -> None:
    """A sum of this constant, and of all that is taken until the next begins."""
    at = constraints.used[0]
    constraints.used[0] = at + 1
    constraints.part[at] = constraints.part_stop[at] = parts.used[0]
    constraints.constant[at], constraints.fixed[at] = constant, abs(constant)
    constraints.node[at], constraints.band[at] = node, NONE


@inlined_in_place
def take(figure: int, weight: float, sums: Sums) -> None:
    if weight != 0.0:
        at, parts = sums.parts.used[0], sums.parts
        parts.used[0] = sums.constraints.part_stop[sums.constraints.used[0] - 1] = at + 1
        parts.line[at], parts.weight[at] = line_of(figure, sums.asked), weight


@inlined_in_place
def line_of(figure: int, asked: Asked) -> int:
    """Given to it where nothing asked for it before."""
    if asked.line[figure] < 0:
        asked.line[figure] = asked.used[0]
        asked.used[0] += 1
    return int(asked.line[figure])
