"""The compiled loop that finds what views watch, from their rows in the book.

Prices that holdings are marked by come first, for others may never be quoted.
"""

from typing import NamedTuple

from app.engine.conditions import Opcode
from app.engine.tables import Tables
from app.engine.universe import NO_COLUMN, ConversionColumns, Listing, PathColumns, Terms
from app.engine.view_rows import ViewColumns
from app.engine.view_watches import Role
from app.engine.watch_rows import ITSELF
from app.quant.arrays import IntArray
from app.quant.compiled import compiled_in_place, inlined_in_place

_MAIN, _RATIO, _MINOR = int(Role.MAIN), int(Role.RATIO), int(Role.MINOR)
_PINNED, _VOLATILITY, _UNUSED = int(Role.PINNED), int(Role.VOLATILITY), int(Role.UNUSED)
_MARKET_COLUMN, _CONVERSION = int(Opcode.MARKET_COLUMN), int(Opcode.CONVERSION)
_HELD, _MARKED, _PRICED, _READ = 1, 2, 4, 8
_POSITIONS, _BALANCES, _EXPOSURES, _MARKS = 0, 1, 2, 3
_NONE = -1


class Quoted(NamedTuple):
    """Of the universe. Columns behind `row_of_column` are series, which are rows of their own."""

    terms: Terms
    listing: Listing
    conversions: ConversionColumns
    paths: PathColumns
    row_of_column: IntArray
    volatility_columns: IntArray
    funding_columns: IntArray
    unknown_row: int
    one_row: int


class Found(NamedTuple):
    """What a view watches: `group` numbers the prices of one underlying within it.

    `start` is one longer than there are views. `uses` and `rows` are scratch, as long as the market is wide.
    """

    column: IntArray
    base: IntArray
    role: IntArray
    group: IntArray
    start: IntArray
    uses: IntArray
    rows: IntArray


@compiled_in_place
def find_watches(numbers: IntArray, tables: Tables, marks: IntArray, quoted: Quoted, found: Found) -> int:
    """How many there are; those that fit are written."""
    count = 0
    for i in range(numbers.size):
        found.start[i] = count
        used = _use_rows(numbers[i], tables, marks, quoted, found)
        _sort(used, found)
        first = count
        for number in range(used):
            row = found.rows[number]
            for which in range(2):
                column, base, role, group = row, ITSELF, _PINNED, number
                if which == 0:
                    if row > quoted.one_row or not quoted.terms.option[row]:
                        continue
                    column, role = quoted.volatility_columns[row], _VOLATILITY
                elif row < quoted.one_row:
                    base, role, group = _role(row, number, numbers[i], first, count, tables, quoted, found)
                count = _add(count, column, base, role, group, found)
        count = _add_read(count, used, quoted, found)
        for number in range(used):
            found.uses[found.rows[number]] = 0
    found.start[numbers.size] = count
    return count


@inlined_in_place
def _use_rows(view: int, tables: Tables, marks: IntArray, quoted: Quoted, found: Found) -> int:
    """Rows of the market and series whose news may change the figures of a view or what its policies want."""
    views, used = tables.views, 0
    for table in range(5):
        first, stop, parts = _range_of(table, view, views)
        for row in range(first, stop):
            for part in range(parts):
                use, uses, conversion = _used_by(table, row, part, tables, marks, quoted)
                begin = end = 0
                if conversion >= 0:
                    begin, end = quoted.conversions.start[conversion], quoted.conversions.stop[conversion]
                for path in range(begin, max(end, begin + 1)):
                    for step in range(2):
                        if conversion >= 0:
                            use = quoted.paths.first[path] if step == 0 else quoted.paths.second[path]
                        if begin < end or (conversion < 0 and step == 0):
                            used = _use(use, uses, used, quoted, found)
    return used


@inlined_in_place
def _range_of(table: int, view: int, views: ViewColumns) -> tuple[int, int, int]:
    """The rows of a view in a table, and how many uses of the market each may have."""
    if table == _POSITIONS:
        return views.position[view], views.position_stop[view], 4
    if table == _BALANCES:
        return views.balance[view], views.balance_stop[view], 1
    if table == _EXPOSURES:
        return views.exposure[view], views.exposure_stop[view], 1
    if table == _MARKS:
        return views.mark[view], views.mark_stop[view], 1
    return views.condition[view], views.condition_stop[view], 1


@inlined_in_place
def _used_by(
    table: int, row: int, part: int, tables: Tables, marks: IntArray, quoted: Quoted
) -> tuple[int, int, int]:
    """A row of the market and its uses, or a conversion whose paths are priced."""
    use, uses, conversion = quoted.one_row, _PRICED, _NONE
    if table == _POSITIONS:
        positions = tables.positions
        if part == 0:
            use, uses = positions.instrument[row], _HELD
        elif part == 1:
            use, uses = positions.price_row[row], _MARKED | _PRICED
        else:
            conversion = positions.underlying_value[row] if part == 2 else positions.settlement_value[row]
    elif table == _BALANCES:
        conversion = tables.balances.asset_value[row]
    elif table == _EXPOSURES:
        conversion = tables.exposures.underlying_value[row]
    elif table == _MARKS:
        use, uses = marks[row], _MARKED | _PRICED
    else:
        opcode, subject = tables.conditions.opcode[row], tables.conditions.subject[row]
        if opcode == _CONVERSION:
            conversion = subject
        elif opcode == _MARKET_COLUMN:
            listed = subject < quoted.row_of_column.size
            use = quoted.row_of_column[subject] if listed else subject
            uses = _PRICED if use == subject else _PRICED | _READ
    return use, uses, conversion


@inlined_in_place
def _use(row: int, uses: int, used: int, quoted: Quoted, found: Found) -> int:
    """What is not known, or always one, is no news."""
    if row in (quoted.unknown_row, quoted.one_row):
        return used
    if found.uses[row] == 0:
        found.rows[used] = row
        used += 1
    found.uses[row] |= uses
    return used


@inlined_in_place
def _sort(used: int, found: Found) -> None:
    """By insertion, for they are few: marks first, and of conversions the path that is preferred. The first
    is held to be known: what is watched against a price that nobody quotes wakes with all its news.
    """
    for end in range(1, used):
        row, at = found.rows[end], end
        marked = found.uses[row] & _MARKED
        while at > 0:
            before = found.rows[at - 1]
            ahead = found.uses[before] & _MARKED
            if ahead >= marked:
                break
            found.rows[at] = before
            at -= 1
        found.rows[at] = row


@inlined_in_place
def _role(
    row: int, number: int, view: int, first: int, count: int, tables: Tables, quoted: Quoted, found: Found
) -> tuple[int, int, int]:
    """Base, role and group of a price. The first one of an underlying that is an exposure is the main one;
    the others are held against it.
    """
    if found.uses[row] & _PRICED == 0:
        return ITSELF, _UNUSED, number
    underlying, is_held = quoted.listing.underlying[row], False
    for exposure in range(tables.views.exposure[view], tables.views.exposure_stop[view]):
        is_held |= tables.exposures.asset[exposure] == underlying
    if not is_held:
        return ITSELF, _MINOR, number
    for other in range(first, min(count, found.column.size)):
        main = found.column[other]
        if found.role[other] == _MAIN and quoted.listing.underlying[main] == underlying:
            return main, _RATIO, found.group[other]
    return ITSELF, _MAIN, number


@inlined_in_place
def _add_read(count: int, used: int, quoted: Quoted, found: Found) -> int:
    """What conditions read of an instrument, where that is not its price."""
    for number in range(used):
        row = found.rows[number]
        if found.uses[row] & _READ and row < quoted.one_row:
            for which in range(2):
                column = quoted.volatility_columns[row] if which == 0 else quoted.funding_columns[row]
                if column != NO_COLUMN:
                    count = _add(count, column, ITSELF, _PINNED, NO_COLUMN, found)
    return count


@inlined_in_place
def _add(count: int, column: int, base: int, role: int, group: int, found: Found) -> int:
    if count < found.column.size:
        found.column[count], found.base[count] = column, base
        found.role[count], found.group[count] = role, group
    return count + 1
