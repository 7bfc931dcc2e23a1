"""What products of prices may become over a box of prices.

Main prices move by the width of the box; of what is left to the others each price of the same underlying
moves against its main one by a tenth, and currencies by a twentieth. So what a product may become depends on
its shape alone: how many of which it has above and below the line. Around the present prices it is a straight
line and a remainder, which is at most what it is with every power taken positive (a majorant): beyond the
first order no product of 1 + x and 1 / (1 - y) has a negative coefficient.
"""

from math import log
from typing import NamedTuple

from app.engine.sketches import MINOR_SHARE, RATIO_SHARE, SHAPE_COUNTS, Asked, Lines, Shapes
from app.quant.compiled import inlined_in_place


class Box(NamedTuple):
    """Main prices move by no more than `width`: up (`direction` 1), down (-1) or both ways (0). The others
    move by their shares of what is left to them, volatilities by a share of themselves, and so many years
    pass.
    """

    width: float
    others: float
    direction: float
    spread: float
    years: float


@inlined_in_place
def spread_out(box: Box, shapes: Shapes) -> None:
    """What all shapes of a view may become.

    Of P with the main prices and Q with the others, P Q less its straight line is what it is where main
    prices stand still, and a rest, which is convex in the width of the box and nothing at none.
    """
    rising = 0.0 if box.direction < 0.0 else box.width
    falling = 0.0 if box.direction > 0.0 else box.width
    for shape in range(shapes.used[0]):
        mains, others, straight, aside, low, high = 1.0, 1.0, 0.0, 0.0, 1.0, 1.0
        for at in range(SHAPE_COUNTS):
            by = box.width if at < 2 else box.others * (RATIO_SHARE if at < 4 else MINOR_SHARE)
            for _ in range(shapes.counts[shape, at]):
                factor = 1.0 + by if at % 2 == 0 else 1.0 / (1.0 - by)
                if at < 2:
                    mains, straight = mains * factor, straight + by
                else:
                    others, aside = others * factor, aside + by
                high *= 1.0 + (rising if at < 2 else by)
                low *= 1.0 - (falling if at < 2 else by)
        shapes.sways[shape], shapes.swerves[shape] = mains * others - 1.0, others - 1.0
        shapes.bends[shape] = max(others * (mains - 1.0) - straight, 0.0)
        shapes.stirs[shape] = max(others - 1.0 - aside, 0.0)
        if shapes.marks[shape]:
            shapes.low[shape], shapes.log_low[shape] = low, log(low)
            shapes.high[shape], shapes.log_high[shape] = high, log(high)


@inlined_in_place
def bend(asked: Asked, lines: Lines, shapes: Shapes) -> None:
    """What figures rise and fall off their straight lines, as far as they are sums of products."""
    for line in range(asked.used[0]):
        bends = stirs = 0.0
        for shape in range(shapes.used[0]):
            bends += lines.mass[line, shape] * shapes.bends[shape]
            stirs += lines.mass[line, shape] * shapes.stirs[shape]
        lines.rises[line] = lines.falls[line] = bends
        lines.drifts[line] = stirs
