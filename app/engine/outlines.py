"""Everything that has to hold for a view to rest, as straight lines from where prices are, or moved to."""

from app.engine.conditions import Opcode
from app.engine.holdings import gather
from app.engine.sketches import NONE, PER_ACCOUNT, PER_EXPOSURE, PRICE, Look, Prices, Sketch, Watching
from app.engine.straight_lines import clear, draw, draw_price
from app.engine.view_watches import Role
from app.engine.wake_constraints import constrain
from app.engine.weighing import straighten
from app.quant.compiled import inlined_in_place

_MAIN = int(Role.MAIN)


@inlined_in_place
def outline(look: Look, sketch: Sketch) -> None:
    """What must hold, and what is held: the same wherever prices move to."""
    constrain(look, sketch.sums)
    gather(look, sketch.holdings, sketch.held)


@inlined_in_place
def draw_lines(look: Look, watching: Watching, moved: float, sketch: Sketch) -> None:
    """Where the prices that move with the only main one are so many times what they are."""
    sums, drawing, tables, market = sketch.sums, sketch.drawing, look.tables, look.market
    mains, main = mains_of(watching)
    prices = Prices(
        look.frame,
        main if mains == 1 else NONE,
        moved,
        market.terms.option.size,
        market.standing,
        market.value,
        market.conversions,
        market.paths,
    )
    clear(sums.asked, watching, drawing)
    draw(sketch.holdings, sketch.held, prices, watching, sums.asked, drawing)
    views, view, underlyings = tables.views, look.number, tables.exposures.underlying_value
    exposure = PER_ACCOUNT * (views.account_stop[view] - views.account[view])
    for row in range(views.exposure[view], views.exposure_stop[view]):
        draw_price(exposure + PRICE, NONE, underlyings[row], prices, watching, sums.asked, drawing)
        exposure += PER_EXPOSURE
    for row in range(views.condition[view], views.condition_stop[view]):
        subject, column = tables.conditions.subject[row], NONE
        if tables.conditions.opcode[row] == Opcode.MARKET_COLUMN:
            subject, column = NONE, subject
        figure = exposure + row - views.condition[view]
        draw_price(figure, column, subject, prices, watching, sums.asked, drawing)
    straighten(sums.constraints, sums.parts, drawing.lines, watching, tables.parameters.value)


@inlined_in_place
def mains_of(watching: Watching) -> tuple[int, int]:
    """How many main prices there are, and where the last of them is watched."""
    mains, main = 0, NONE
    for at in range(watching.size):
        if watching.role[watching.first + at] == _MAIN:
            mains, main = mains + 1, at
    return mains, main
