"""How far the market may move before anything of a view can fire: the radius of a box around its prices.

Everything that must not happen is a sum of figures that stays below zero (see `wake_constraints`). Its
straight line and what it may be off over a box, taken to grow no slower than in proportion, give the share of
the box on which it does (see `marching`).

Sound and no more: whatever is not understood here (accounts margined as a whole, distances to liquidation,
prices taken against an account, rates of change) has no bound, and its view is looked at with all its news.
"""

from typing import NamedTuple

import numpy as np

from app.domain.times import NS_PER_YEAR
from app.engine.conditions import Opcode
from app.engine.figures import AccountFigures, ExposureFigures
from app.engine.marching import LEAST, NOWHERE, march
from app.engine.outlines import outline
from app.engine.reading_ahead import read_bounds_ahead
from app.engine.sketches import Look, Sketch, Watching
from app.engine.tables import ConditionFigures, Market, OptionFigures, PairColumns, Tables
from app.engine.trigger_rows import TriggerKind
from app.engine.universe import NEVER_NS, Terms
from app.engine.view_rows import PositionColumns
from app.engine.view_watches import ViewWatchColumns
from app.quant.arrays import FloatArray, IntArray
from app.quant.compiled import compiled_in_place, inlined_in_place

SHRUNK = 1.0 - 1e-9
_NS_PER_YEAR, _NS_PER_US = float(NS_PER_YEAR), 1_000

_DISTANCE, _VOLATILITY_TARGET = int(TriggerKind.LIQUIDATION_DISTANCE), int(TriggerKind.VOLATILITY)
_ADVERSE = int(TriggerKind.ADVERSE_MARGIN_RATIO)


class Radii(NamedTuple):
    """Of each view that was asked for: how far its one main price may rise and fall, or all of them move,
    of what width the others have their shares, by what share volatilities may move, and when the clock comes
    to something of it, or to where bounds end.
    """

    up: FloatArray
    down: FloatArray
    others: FloatArray
    spread: FloatArray
    due_ns: IntArray


@compiled_in_place
def find_radii(
    chosen: IntArray,
    numbers: IntArray,
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
    """`chosen` numbers pairs, whose figures were found, and `numbers` are their views. Radii are 0 where no
    bound is known.
    """
    for i in range(chosen.size):
        j = chosen[i]
        read_bounds_ahead(i, numbers, tables, watched)
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
        view, now_ns, end_ns = look.number, market.clock_ns[look.frame + 1], market.clock_ns[-1]
        held = tables.views.position[view], tables.views.position_stop[view]
        due_ns = min(_due_ns(held, tables.positions, market.terms, end_ns), _dwells_ns(look))
        reach = NOWHERE
        if due_ns > end_ns and _is_understood(look):
            first, stop = tables.views.watch[view], tables.views.watch_stop[view]
            watching = Watching(first, stop - first, watched.column, watched.role, watched.group)
            outline(look, sketch)
            left_years = _left_years(held, tables.positions.instrument, market.terms, now_ns)
            reach = march(look, watching, left_years, sketch)
            if left_years < np.inf:
                due_ns = min(due_ns, now_ns + int(reach.years * _NS_PER_YEAR))
        if not (due_ns > end_ns and min(reach.up, reach.down) > LEAST):
            reach = NOWHERE
        radii.up[i], radii.down[i] = reach.up * SHRUNK, min(reach.down, 1.0) * SHRUNK
        radii.others[i], radii.spread[i] = reach.others * SHRUNK, reach.spread * SHRUNK
        radii.due_ns[i] = due_ns


@inlined_in_place
def _left_years(held: tuple[int, int], instruments: IntArray, terms: Terms, now_ns: int) -> float:
    """How many the first option has."""
    found = np.inf
    for row in range(held[0], held[1]):
        if terms.option[instruments[row]]:
            found = min(found, (terms.expiry_ns[instruments[row]] - now_ns) / _NS_PER_YEAR)
    return found


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
        if triggers.kind[row] in (_DISTANCE, _ADVERSE):
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
