"""What a view watches: columns of the market, by the part that they have in its figures."""

from collections.abc import Collection, Container, Iterable, Iterator
from enum import IntEnum
from typing import NamedTuple

from app.engine.universe import NO_COLUMN, Universe
from app.engine.watches import ITSELF
from app.quant.arrays import IntArray


class Role(IntEnum):
    """The first price of an underlying that is held; another price of it, held against that one; a price of
    something else, a currency; what must stay what it is, or is no price; the volatility of an option that is
    held; and a price that nothing is valued by.
    """

    MAIN = 0
    RATIO = 1
    MINOR = 2
    PINNED = 3
    VOLATILITY = 4
    UNUSED = 5


class ViewWatchColumns(NamedTuple):
    """`entry`: where its bounds stand. Prices of one underlying have the same `group` within the view."""

    watch: IntArray
    entry: IntArray
    column: IntArray
    role: IntArray
    group: IntArray


class Watched(NamedTuple):
    """News of the `rows` are news of it."""

    rows: tuple[int, ...]
    column: int
    base: int
    role: Role
    group: int


def watched(
    universe: Universe,
    rows: Iterable[int],
    *,
    held: Iterable[str],
    marks: Container[int],
    priced: Container[int],
    read: Collection[int],
) -> Iterator[Watched]:
    """`rows` of the market and series that a view depends on: those that it is `priced` with, and those that
    its conditions `read`. Prices that holdings are marked by come first, for others may never be quoted.
    """
    groups: dict[str, tuple[int, int]] = {}
    exposed, listed = set(held), list(universe.instruments.values())
    for number, row in enumerate(sorted(rows, key=lambda row: (row not in marks, row))):
        if row > universe.one_row:
            yield Watched((row,), row, ITSELF, Role.PINNED, number)
            continue
        if universe.terms.option[row]:
            column = int(universe.volatility_columns[row])
            yield Watched((row,), column, ITSELF, Role.VOLATILITY, number)
        if row not in priced:
            yield Watched((row,), row, ITSELF, Role.UNUSED, number)
            continue
        underlying = listed[row].underlying
        if underlying not in exposed:
            yield Watched((row,), row, ITSELF, Role.MINOR, number)
        elif underlying in groups:
            base, group = groups[underlying]
            yield Watched((row, base), row, base, Role.RATIO, group)
        else:
            groups[underlying] = (row, number)
            yield Watched((row,), row, ITSELF, Role.MAIN, number)
    for row in sorted(read):
        if row < universe.size:
            for columns in (universe.volatility_columns, universe.funding_columns):
                if columns[row] != NO_COLUMN:
                    yield Watched((row,), int(columns[row]), ITSELF, Role.PINNED, NO_COLUMN)
