"""How far the market may move before anything of a view can fire: the radius of a box around its prices.

Everything that must not happen is a sum of figures that stays below zero (see `wake_constraints`). Its
straight line and what it may be off over a box, taken to grow no slower than in proportion, give the share of
the box on which it does. What bends is taken as the square of the width to find the next box to try.

Sound and no more: whatever is not understood here (accounts margined as a whole, distances to liquidation,
rates of change) has no bound, and its view is looked at with all its news.
"""

from typing import NamedTuple

import numpy as np

from app.domain.times import NS_PER_YEAR
from app.engine.boxes import Box, bend, spread_out
from app.engine.conditions import Opcode
from app.engine.figures import AccountFigures, ExposureFigures
from app.engine.holdings import gather
from app.engine.option_boxes import stray
from app.engine.sketches import (
    BOTH_WAYS,
    DOWNWARDS,
    MAINTENANCE,
    NONE,
    PER_ACCOUNT,
    PER_EXPOSURE,
    PRICE,
    UPWARDS,
    Look,
    Prices,
    Sketch,
    Watching,
)
from app.engine.straight_lines import clear, draw, draw_price
from app.engine.tables import ConditionFigures, Market, OptionFigures, PairColumns, Tables
from app.engine.trigger_rows import TriggerKind
from app.engine.universe import NEVER_NS, Terms
from app.engine.view_rows import PositionColumns
from app.engine.view_watches import Role, ViewWatchColumns
from app.engine.wake_constraints import constrain
from app.engine.weighing import guess, radius, straighten, weigh
from app.quant.arrays import FloatArray, IntArray
from app.quant.compiled import compiled_in_place, inlined_in_place

SHRUNK = 1.0 - 1e-9
LEAST = 1e-9
"""Below it an interval is not worth its entry."""
_WIDEST = 0.5
_STILL = 1e-6
"""The width of a box that tells what bends and drifts where next to nothing moves."""
_NEAR = 0.44
"""Of the distance of a put's value from the price: when the price falls so far, the two come close."""
_TRIALS, _BETTER, _A_LITTLE_LESS = 6, 1.03, 0.99
_SPREAD, _SPREADS = 0.02, 3
"""The share that volatilities may move by, at first, and how often it is taken smaller."""
_LONGEST_YEARS = 1.0 / (365.0 * 24.0)
_NS_PER_YEAR, _NS_PER_US = float(NS_PER_YEAR), 1_000

_DISTANCE, _VOLATILITY_TARGET = int(TriggerKind.LIQUIDATION_DISTANCE), int(TriggerKind.VOLATILITY)
_MAIN = int(Role.MAIN)


class Radii(NamedTuple):
    """Of each view that was asked for: how far its one main price may rise and fall, or all of them move,
    by what share volatilities may, and when the clock comes to something of it, or to where bounds end.
    """

    up: FloatArray
    down: FloatArray
    spread: FloatArray
    due_ns: IntArray


@compiled_in_place
def find_radii(
    chosen: IntArray,
    pairs: PairColumns,
    tables: Tables,
    market: Market,
    watched: ViewWatchColumns,
    starts: IntArray,
    accounts: AccountFigures,
    exposures: ExposureFigures,
    conditions: ConditionFigures,
    options: OptionFigures,
    sketch: Sketch,
    radii: Radii,
) -> None:
    """`chosen` numbers pairs, whose figures were found. Radii are 0 where no bound is known."""
    for i in range(chosen.size):
        j = chosen[i]
        look = Look(
            number=pairs.number[j],
            frame=pairs.frame[j],
            account=starts[0, j],
            exposure=starts[1, j],
            condition=starts[3, j],
            option=starts[4, j],
            tables=tables,
            market=market,
            accounts=accounts,
            exposures=exposures,
            conditions=conditions,
            options=options,
        )
        view, now_ns = look.number, market.clock_ns[look.frame + 1]
        held = tables.views.position[view], tables.views.position_stop[view]
        due_ns = _due_ns(held, tables.positions, market.terms, market.clock_ns[-1])
        due_ns = min(due_ns, _dwells_ns(look))
        patience = _patience(held, tables.positions.instrument, market.terms, now_ns)
        up, down, spread, years = 0.0, 0.0, _SPREAD, patience
        if due_ns > market.clock_ns[-1] and _is_understood(look):
            first, stop = tables.views.watch[view], tables.views.watch_stop[view]
            watching = Watching(first, stop - first, watched.column, watched.role, watched.group)
            _outline(look, watching, sketch)
            ways = (UPWARDS, DOWNWARDS) if _mains_of(watching) == 1 else (BOTH_WAYS, NONE)
            for _ in range(_SPREADS):
                years = patience * spread / _SPREAD
                up, down = _found(ways, spread, years, sketch, tables.parameters.value)
                if min(up, down) > LEAST or patience == np.inf:
                    break
                spread /= 8.0
        if patience < np.inf:
            due_ns = min(due_ns, now_ns + int(years * _NS_PER_YEAR))
        if not due_ns > market.clock_ns[-1]:
            up = down = 0.0
        radii.up[i], radii.down[i] = up * SHRUNK, min(down, 1.0) * SHRUNK
        radii.spread[i], radii.due_ns[i] = spread * SHRUNK, due_ns


@inlined_in_place
def _outline(look: Look, watching: Watching, sketch: Sketch) -> None:
    """Everything that has to hold, as straight lines."""
    sums, drawing, tables, market = sketch.sums, sketch.drawing, look.tables, look.market
    prices = Prices(
        look.frame, market.terms.option.size, market.standing, market.value, market.conversions, market.paths
    )
    constrain(look, sums)
    gather(look, sketch.holdings, sketch.held)
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
def _found(
    ways: tuple[int, int], spread: float, years: float, sketch: Sketch, parameters: FloatArray
) -> tuple[float, float]:
    """How far up and down, or both ways at once; where all is straight lines, without a trial."""
    up = down = 0.0
    constraints, nodes, bends = sketch.sums.constraints, sketch.sums.nodes, _bends(sketch)
    if bends:
        _try(Box(_STILL, 0.0, spread, years), sketch, parameters)
        for at in range(constraints.used[0]):
            constraints.still[at] = constraints.drifts[at]
    guesses = (
        guess(ways[0], _STILL, constraints, nodes),
        guess(max(ways[1], BOTH_WAYS), _STILL, constraints, nodes),
    )
    for which in range(2):
        way, first = ways[which], guesses[which]
        if way >= 0:
            down = first
            if bends:
                down = _searched(first, way, spread, years, sketch, parameters)
        if which == 0:
            up = down
        if not down > 0.0:
            break
    return up, down


@inlined_in_place
def _searched(
    first: float, way: int, spread: float, years: float, sketch: Sketch, parameters: FloatArray
) -> float:
    """The widest box that was found on which nothing fires, from the first one to try."""
    best, failed, widest, sums = 0.0, np.inf, _widest(way, sketch), sketch.sums
    width, direction = min(first, widest), 1.0 if way == UPWARDS else -1.0 if way == DOWNWARDS else 0.0
    for _ in range(_TRIALS):
        if not width > LEAST:
            break
        _try(Box(width, direction, spread, years), sketch, parameters)
        reach = radius(way, width, sums.constraints, sums.nodes)
        best = max(best, min(reach, width))
        wider = min(guess(way, width, sums.constraints, sums.nodes), widest)
        if reach < width:
            failed, wider = min(failed, width), wider * _A_LITTLE_LESS
        width = wider
        if not best < width < failed:
            width = 0.5 * (best + min(failed, widest))
        if width <= best * _BETTER:
            break
    return best


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
    weigh(box.width, sums.constraints, sums.parts, drawing.lines, parameters)


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


@inlined_in_place
def _patience(held: tuple[int, int], instruments: IntArray, terms: Terms, now_ns: int) -> float:
    """For how many years bounds may count on options: a share of what the first of them has left."""
    found = np.inf
    for row in range(held[0], held[1]):
        if terms.option[instruments[row]]:
            left_years = (terms.expiry_ns[instruments[row]] - now_ns) / _NS_PER_YEAR
            found = min(found, left_years * _SPREAD, _LONGEST_YEARS)
    return found


@inlined_in_place
def _mains_of(watching: Watching) -> int:
    mains = 0
    for at in range(watching.size):
        mains += watching.role[watching.first + at] == _MAIN
    return mains


@inlined_in_place
def _due_ns(held: tuple[int, int], positions: PositionColumns, terms: Terms, now_ns: int) -> int:
    """The next boundary or expiry of what the clock changes; what never was at one waits for the next."""
    found = NEVER_NS
    for row in range(held[0], held[1]):
        accrued_ns, instrument = positions.accrued_ns[row], positions.instrument[row]
        if accrued_ns == NEVER_NS:
            continue
        interval_ns = terms.accrual_interval_ns[instrument]
        if interval_ns == 0:
            due_ns = terms.expiry_ns[instrument]
        else:
            since_ns = accrued_ns if accrued_ns > 0 else now_ns
            due_ns = (since_ns // interval_ns + 1) * interval_ns
        found = min(found, due_ns)
    return found


@inlined_in_place
def _dwells_ns(look: Look) -> int:
    """When the first dwell whose part is true will be over."""
    found, conditions, views = NEVER_NS, look.tables.conditions, look.tables.views
    triggers, registers = look.tables.triggers, look.tables.registers.value
    for trigger in range(views.trigger[look.number], views.trigger_stop[look.number]):
        first, register = views.condition[look.number], views.register[look.number]
        for row in range(triggers.condition[trigger], triggers.condition_stop[trigger]):
            if conditions.opcode[first + row] == Opcode.DWELLS:
                since_us = registers[register + triggers.register[trigger] + conditions.subject[first + row]]
                over = look.conditions.result[look.condition + row] == 1.0
                if since_us > 0.0 and not over:
                    found = min(found, int(since_us + conditions.constant[first + row]) * _NS_PER_US)
    return found


@inlined_in_place
def _is_understood(look: Look) -> bool:
    views, triggers, conditions = look.tables.views, look.tables.triggers, look.tables.conditions
    if views.portfolio_margin[look.number]:
        return False
    for row in range(views.trigger[look.number], views.trigger_stop[look.number]):
        first = views.condition[look.number] + triggers.condition[row]
        stop = views.condition[look.number] + triggers.condition_stop[row]
        if triggers.kind[row] == _DISTANCE:
            return False
        if triggers.kind[row] == _VOLATILITY_TARGET:
            # One column that is no price is pinned: with any news of it the view is looked at.
            opcode, column = conditions.opcode[first], conditions.subject[first]
            if stop - first != 1 or opcode != Opcode.MARKET_COLUMN or column < look.market.terms.option.size:
                return False
        for condition in range(first, stop):
            if conditions.opcode[condition] in (Opcode.CHANGE, Opcode.RELATIVE_CHANGE):
                return False
    return True
