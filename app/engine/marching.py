"""How far prices may move, box after box.

On a box next to where prices are, everything that must hold does. From its edge, where the lines are drawn
anew, the next box goes on: what a curve is off its line goes down with the square of the width, so several
boxes reach farther than the one which is best. What is left to volatilities, to time, and to all prices but
the main one is the same in all of them.

With several main prices there is one box, found by trial. Where all is straight lines and nothing hangs on a
condition, what fires only as prices fall leaves them free to rise.
"""

from typing import NamedTuple

import numpy as np

from app.engine.boxes import Box, bend, spread_out
from app.engine.option_boxes import stray
from app.engine.outlines import draw_lines, mains_of
from app.engine.sketches import (
    BOTH_WAYS,
    DOWN_AMONG,
    DOWNWARDS,
    MAINTENANCE,
    NONE,
    UP_AMONG,
    UPWARDS,
    Look,
    Sketch,
    Sums,
    Watching,
)
from app.engine.weighing import endurance, guess, radius, weigh
from app.quant.arrays import FloatArray
from app.quant.compiled import inlined_in_place

LEAST = 1e-9
"""Below it an interval is not worth its entry."""
_WIDEST = 0.5
_STILL = 1e-6
"""The width of a box that tells what bends and drifts where next to nothing moves."""
_NEAR = 0.44
"""Of the distance of a put's value from the price: when the price falls so far, the two come close."""
_BOXES, _A_LITTLE = 6, 0.03
_SPREAD, _OF_ROOM = 0.03, 0.4
"""The share that volatilities may move by at most; no more of any room is left to them, and to time."""
_HASTE, _LONGEST_YEARS = 0.5, 6.0 / (365.0 * 24.0)
"""Time may take half the share of an option's life that volatilities may move by, and six hours."""
_MOST_ASIDE, _NARROWER = 0.05, 0.5


class Reach(NamedTuple):
    """How far main prices may rise and fall, of what width the others have their shares, by what share
    volatilities may move, and how many years may pass.
    """

    up: float
    down: float
    others: float
    spread: float
    years: float


NOWHERE = Reach(0.0, 0.0, 0.0, 0.0, 0.0)


@inlined_in_place
def march(look: Look, watching: Watching, left_years: float, sketch: Sketch) -> Reach:
    """Of a view that was outlined, of whose options the first has so many years left.

    First next to nothing moves, to see what may be left to other prices and to time, and where to begin.
    """
    mains, bends = mains_of(watching)[0], True
    ways = (BOTH_WAYS, UPWARDS, DOWNWARDS) if mains == 1 else (BOTH_WAYS, BOTH_WAYS, NONE)
    box, begin = Box(_STILL, 0.0, 0.0, _SPREAD, _years(left_years, _SPREAD)), (_STILL, 0.0, 0.0)
    reached = up = 0.0
    for stage in range(3):
        way, others = ways[stage], box.others
        if way == NONE:
            break
        if bends:
            boxes = 1 if stage == 0 else _BOXES
            reached, others = _go(way, begin[stage], boxes, box, look, watching, sketch)
        else:
            reached = guess(way, box, sketch.sums.constraints, sketch.sums.nodes)
        if stage == 0:
            bends = _bends(sketch)
            if mains > 1 and not bends and sketch.sums.nodes.used[0] == 0:
                ways = (BOTH_WAYS, UP_AMONG, DOWN_AMONG)
            box, begin = _surveyed(ways, bends, mains > 0, left_years, box, sketch.sums)
            continue
        box = Box(_STILL, others, 0.0, box.spread, box.years)
        up = reached if stage == 1 else up
        if not reached > LEAST:
            break
    return Reach(up, reached, box.others, box.spread, box.years)


@inlined_in_place
def _surveyed(
    ways: tuple[int, int, int], bends: bool, has_main: bool, left_years: float, still: Box, sums: Sums
) -> tuple[Box, tuple[float, float, float]]:
    """What is left to others and to time, and with which boxes to begin."""
    constraints, nodes = sums.constraints, sums.nodes
    for at in range(constraints.used[0]):
        constraints.still[at] = constraints.drifts[at]
    share: float = min(endurance(constraints, nodes) * _OF_ROOM, 1.0) if bends else 1.0
    for at in range(constraints.used[0]):
        constraints.still[at] *= share if bends else 0.0
        constraints.drifts[at] = constraints.still[at]
        constraints.bends[at] *= 1.0 if bends else 0.0
    begin = (
        _STILL,
        guess(ways[1], still, constraints, nodes),
        guess(max(ways[2], 0), still, constraints, nodes),
    )
    others = min(begin[1], begin[2])
    if bends or (has_main and others < np.inf):
        others = min(others, _MOST_ASIDE)
    spread = still.spread * share
    return Box(_STILL, others, 0.0, spread, _years(left_years, spread)), begin


@inlined_in_place
def _go(
    way: int, begin: float, boxes: int, still: Box, look: Look, watching: Watching, sketch: Sketch
) -> tuple[float, float]:
    """How far everything holds, from box to box, and what is left to the others: less where nothing held."""
    constraints, nodes, parameters = sketch.sums.constraints, sketch.sums.nodes, look.tables.parameters.value
    reached, width, others = 0.0, begin, still.others
    direction = 1.0 if way == UPWARDS else -1.0 if way == DOWNWARDS else 0.0
    drawn = 0.0 if boxes > 1 and way != DOWNWARDS else np.nan  # where lines are that have just been drawn
    for _ in range(boxes):
        edge = direction * reached
        if drawn != edge:
            draw_lines(look, watching, 1.0 + edge, sketch)
            drawn = edge
        width = min(width, _widest(way, sketch))
        if not width > LEAST:
            break
        box = Box(width, others, direction, still.spread, still.years)
        _try(box, sketch, parameters)
        holds, before = min(radius(way, box, constraints, nodes), width), reached
        reached = max(reached, holds) if way == BOTH_WAYS else reached + holds * (1.0 + edge)
        width = guess(way, box, constraints, nodes)
        if not holds > LEAST:
            width = min(width, _NARROWER * box.width)
            others *= _NARROWER if reached == 0.0 else 1.0
        elif reached < before * (1.0 + _A_LITTLE):
            break
    return reached, others


@inlined_in_place
def _years(left_years: float, spread: float) -> float:
    return min(left_years * spread * _HASTE, _LONGEST_YEARS)


@inlined_in_place
def _widest(way: int, sketch: Sketch) -> float:
    """That is worth a trial: where the value of a put comes near the price there is no bound."""
    found, held, line = _WIDEST, sketch.held, sketch.sums.asked.line
    if way != UPWARDS:
        for at in range(held.used[0]):
            if held.climbs[at] and line[held.account[at] + MAINTENANCE] >= 0:
                found = min(found, _NEAR * (1.0 - held.value[at] / held.price[at]))
    return found


@inlined_in_place
def _try(box: Box, sketch: Sketch, parameters: FloatArray) -> None:
    sums, drawing = sketch.sums, sketch.drawing
    spread_out(box, drawing.shapes)
    bend(sums.asked, drawing.lines, drawing.shapes)
    stray(box, sums.asked, drawing.lines, drawing.shapes, sketch.held)
    weigh(box, sums.constraints, sums.parts, drawing.lines, parameters)


@inlined_in_place
def _bends(sketch: Sketch) -> bool:
    """Whether anything is no straight line."""
    shapes, lines = sketch.drawing.shapes, sketch.sums.asked.used[0]
    if sketch.held.used[0] > 0:
        return True
    for shape in range(shapes.used[0]):
        if shapes.bent[shape]:
            for line in range(lines):
                if sketch.drawing.lines.mass[line, shape] != 0.0:
                    return True
    return False
