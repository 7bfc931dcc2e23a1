"""What products of prices may become over a box of prices.

Main prices move by the width of the box, each other price of the same underlying against its main one by a
tenth of it, and currencies by a twentieth. So what a product may become depends on its shape alone: how many
of which it has above and below the line. Around the present prices it is a straight line and a remainder,
which is at most what it is with every power taken positive (a majorant): beyond the first order no product of
1 + x and 1 / (1 - y) has a negative coefficient.
"""

from math import log
from typing import NamedTuple

from app.engine.sketches import MINOR_SHARE, RATIO_SHARE, SHAPE_COUNTS, Asked, Lines, Shapes
from app.quant.compiled import inlined_in_place


class Box(NamedTuple):
    """Main prices move by no more than `width`: up (`direction` 1), down (-1) or both ways (0). Volatilities
    move by a share of themselves, and so many years pass.
    """

    width: float
    direction: float
    spread: float
    years: float


@inlined_in_place
def spread_out(box: Box, shapes: Shapes) -> None:
    """What all shapes of a view may become."""
    rising = 0.0 if box.direction < 0.0 else box.width
    falling = 0.0 if box.direction > 0.0 else box.width
    for shape in range(shapes.used[0]):
        most, straight, low, high = 1.0, 0.0, 1.0, 1.0
        for at in range(SHAPE_COUNTS):
            by = box.width * (1.0 if at < 2 else RATIO_SHARE if at < 4 else MINOR_SHARE)
            for _ in range(shapes.counts[shape, at]):
                most *= 1.0 + by if at % 2 == 0 else 1.0 / (1.0 - by)
                straight += by
                high *= 1.0 + (rising if at < 2 else by)
                low *= 1.0 - (falling if at < 2 else by)
        shapes.sways[shape] = most - 1.0
        shapes.bends[shape] = max(most - 1.0 - straight, 0.0)
        if shapes.marks[shape]:
            shapes.low[shape], shapes.log_low[shape] = low, log(low)
            shapes.high[shape], shapes.log_high[shape] = high, log(high)


@inlined_in_place
def bend(asked: Asked, lines: Lines, shapes: Shapes) -> None:
    """What figures rise and fall off their straight lines, as far as they are sums of products."""
    for line in range(asked.used[0]):
        bends = 0.0
        for shape in range(shapes.used[0]):
            bends += lines.mass[line, shape] * shapes.bends[shape]
        lines.rises[line] = lines.falls[line] = bends
        lines.drifts[line] = 0.0
