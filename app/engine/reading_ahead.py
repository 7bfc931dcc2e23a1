"""Rows of the view that is looked at soon are asked for while another is looked at.

Few who are awake among many are far apart in memory, and each of their rows would be waited for.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from app.engine.tables import PairColumns, Tables
from app.engine.view_watches import ViewWatchColumns
from app.quant.arrays import IntArray
from app.quant.compiled import inlined_in_place

_AHEAD = 8
"""Pairs, or views: so long before one is looked at, its rows are asked for."""


def _asking_for(_typing: object, column: types.Array, _row: types.Integer) -> Any:
    """The processor's own instruction: the line of an element is on its way, and nobody waits for it."""

    def ask(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        array = context.make_array(column)(context, builder, arguments[0])
        element = cgutils.get_item_pointer(context, builder, column, array, [arguments[1]])
        pointer, number = cgutils.voidptr_t, ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [pointer, number, number, number])
        prefetch = builder.module.declare_intrinsic("llvm.prefetch", [pointer], kind)
        for_reading, to_be_kept, data = number(0), number(3), number(1)
        builder.call(prefetch, [builder.bitcast(element, pointer), for_reading, to_be_kept, data])
        return context.get_dummy_value()

    return types.void(column, types.intp), ask


_ask_for: Callable[[NDArray[Any], int], None] = intrinsic(_asking_for)  # type: ignore[assignment]


@inlined_in_place
def read_ahead(j: int, pairs: PairColumns, tables: Tables) -> None:
    if j + _AHEAD < pairs.number.size:
        _ask_for_rows(pairs.number[j + _AHEAD], tables)


@inlined_in_place
def read_bounds_ahead(i: int, numbers: IntArray, tables: Tables, watched: ViewWatchColumns) -> None:
    """To find how long a view may sleep, more is read: where its rows are is asked for before they are."""
    views, positions = tables.views, tables.positions
    if i + 2 * _AHEAD < numbers.size:
        view = numbers[i + 2 * _AHEAD]
        _ask_for(views.account, view)
        _ask_for(views.due_ns, view)
        _ask_for(views.portfolio_margin, view)
    if i + _AHEAD < numbers.size:
        view = numbers[i + _AHEAD]
        _ask_for_rows(view, tables)
        for row in range(views.position[view], views.position_stop[view]):
            _ask_for(positions.price_row, row)
        for row in range(views.watch[view], views.watch_stop[view]):
            _ask_for(watched.watch, row)


@inlined_in_place
def _ask_for_rows(view: int, tables: Tables) -> None:
    """The first and the last of the columns of each row: with these all of its lines, or all but one."""
    views, positions = tables.views, tables.positions
    balances, triggers = tables.balances, tables.triggers
    for row in range(views.position[view], views.position_stop[view]):
        _ask_for(positions.instrument, row)
        _ask_for(positions.entry_price, row)
    for row in range(views.balance[view], views.balance_stop[view]):
        _ask_for(balances.account, row)
    for row in range(views.trigger[view], views.trigger_stop[view]):
        _ask_for(triggers.policy, row)
        _ask_for(triggers.register, row)
    for row in range(views.condition[view], views.condition_stop[view]):
        _ask_for(tables.conditions.opcode, row)
    _ask_for(tables.registers.value, views.register[view])
    _ask_for(tables.exposures.underlying_value, views.exposure[view])
    _ask_for(tables.accounts.lends, views.account[view])
