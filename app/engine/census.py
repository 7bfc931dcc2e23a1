"""What a book holds, who of it is awake, and what its columns take: for people, nothing is decided by it.

One pass over the columns, so it is made every few seconds and not with every frame.
"""

from typing import Any, NamedTuple

import numpy as np
from msgspec import Struct

from app.engine.book import NOBODY, Book
from app.engine.columns import Columns
from app.engine.conditions import Opcode
from app.engine.tables import Tables
from app.engine.trigger_rows import NONE, TriggerKind
from app.engine.view_watches import ViewWatchColumns
from app.engine.watch_rows import EntryColumns
from app.quant.arrays import IntArray
from app.quant.compiled import compiled_in_place, inlined_in_place

_DISTANCE, _RULE = int(TriggerKind.LIQUIDATION_DISTANCE), int(TriggerKind.RULE)
_ADVERSE = int(TriggerKind.ADVERSE_MARGIN_RATIO)
_METRIC, _VOLATILITY = int(TriggerKind.METRIC), int(TriggerKind.VOLATILITY)
_WITHOUT_BOUND = (
    int(Opcode.UNKNOWN),
    int(Opcode.THETA),
    int(Opcode.PORTFOLIO_LIQUIDATION_DISTANCE),
    int(Opcode.ACCOUNT_LIQUIDATION_DISTANCE),
)


class TableBytes(Struct, frozen=True):
    """By the rows in use, those of portfolios that were replaced included until compaction, and in all.

    What was loaded and is kept to make portfolios of counts as a table, `stored`.
    """

    used: int
    allocated: int


class Census(Struct, frozen=True):
    """`awake`: looked at with every news. `boundless`: policies for which no bound is ever known, by their
    nature or by that of their accounts. Policies are those that compare something.
    """

    tables: dict[str, TableBytes]
    portfolios: int
    awake_portfolios: int
    policies: int
    awake_policies: int
    boundless_policies: int
    positions: int

    @property
    def used_bytes(self) -> int:
        return sum(table.used for table in self.tables.values())

    @property
    def allocated_bytes(self) -> int:
        return sum(table.allocated for table in self.tables.values())

    @property
    def bytes_per_position(self) -> float:
        """Of all columns in use; 0 where nothing is stored."""
        return self.used_bytes / self.positions if self.positions else 0.0

    @property
    def bytes_per_policy(self) -> float:
        return self.used_bytes / self.policies if self.policies else 0.0


class _Counts(NamedTuple):
    """One element each, in the order in which `Census` has them."""

    portfolios: IntArray
    awake_portfolios: IntArray
    policies: IntArray
    awake_policies: IntArray
    boundless_policies: IntArray
    positions: IntArray


def census_of(book: Book) -> Census:
    counts = _Counts(*np.zeros((6, 1), dtype=np.int64))
    deciding = book.slots.arrays.deciding[: book.slots.length]
    watched, entries = book.view_watches.arrays, book.watches.entries.arrays
    _count(deciding, book.tables(), watched, entries, book.universe.size, counts)
    return Census(_sizes(book), *(int(count[0]) for count in counts))


@compiled_in_place
def _count(
    deciding: IntArray,
    tables: Tables,
    watched: ViewWatchColumns,
    entries: EntryColumns,
    first_column: int,
    counts: _Counts,
) -> None:
    """Columns of the market that are no prices begin with `first_column`."""
    views, triggers = tables.views, tables.triggers
    for view in deciding:
        if view == NOBODY:
            continue
        awake = _is_awake(view, tables, watched, entries)
        counts.portfolios[0] += 1
        counts.awake_portfolios[0] += awake
        counts.positions[0] += views.position_stop[view] - views.position[view]
        policy, boundless = NONE, False
        for row in range(views.trigger[view], views.trigger_stop[view]):
            if triggers.policy[row] != policy:
                policy, boundless = triggers.policy[row], False
                counts.policies[0] += 1
                counts.awake_policies[0] += awake
            if not boundless and _is_boundless(view, row, tables, first_column):
                boundless = True
                counts.boundless_policies[0] += 1


@inlined_in_place
def _is_awake(view: int, tables: Tables, watched: ViewWatchColumns, entries: EntryColumns) -> bool:
    """No value is inside of any of its intervals."""
    for row in range(tables.views.watch[view], tables.views.watch_stop[view]):
        entry = watched.entry[row]
        if entries.low[entry] <= entries.high[entry]:
            return False
    return True


@inlined_in_place
def _is_boundless(view: int, row: int, tables: Tables, first_column: int) -> bool:
    """A trigger that `radii` does not understand, taken by itself: of a rule, one that follows a change."""
    triggers, opcodes, kind = tables.triggers, tables.conditions.opcode, tables.triggers.kind[row]
    if tables.views.portfolio_margin[view] or kind in (_DISTANCE, _ADVERSE):
        return True
    first = tables.views.condition[view] + triggers.condition[row]
    stop = tables.views.condition[view] + triggers.condition_stop[row]
    if kind == _METRIC:
        return opcodes[first] in _WITHOUT_BOUND
    if kind == _VOLATILITY:
        is_column = stop - first == 1 and opcodes[first] == Opcode.MARKET_COLUMN
        return not (is_column and tables.conditions.subject[first] >= first_column)
    if kind == _RULE:
        for condition in range(first, stop):
            if opcodes[condition] in (Opcode.CHANGE, Opcode.RELATIVE_CHANGE):
                return True
    return False


def _sizes(book: Book) -> dict[str, TableBytes]:
    watches = book.watches
    tables: dict[str, Columns[Any]] = {
        "portfolios": book.slots,
        "views": book.columns,
        "accounts": book.accounts,
        "positions": book.positions,
        "balances": book.balances,
        "exposures": book.exposures,
        "triggers": book.triggers,
        "parameters": book.parameters,
        "conditions": book.conditions,
        "registers": book.registers,
        "marks": book.marks,
        "view_watches": book.view_watches,
        "watches": watches.columns,
        "links": watches.links,
        "chunks": watches.chunks,
        "blocks": watches.blocks,
        "entries": watches.entries,
    }
    sizes = {name: TableBytes(*table.nbytes()) for name, table in tables.items()}
    return sizes | {"stored": TableBytes(book.stored_bytes, book.stored_bytes)}
