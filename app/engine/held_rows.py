"""The rows of what some pairs hold, for what is found of all of them at once and not in the loop."""

from typing import NamedTuple

import numpy as np

from app.engine.book import Book
from app.engine.columns import row_ranges
from app.engine.tables import PairColumns
from app.quant.arrays import BoolArray, IntArray


class HeldRows(NamedTuple):
    """Of positions or balances. Accounts are counted through all pairs."""

    number: IntArray
    account: IntArray
    frame: IntArray

    def where(self, chosen: BoolArray) -> "HeldRows":
        return HeldRows(*(column[chosen] for column in self))


def held_rows(book: Book, pairs: PairColumns, asked: IntArray) -> tuple[IntArray, HeldRows, HeldRows]:
    """Accounts of the pairs whose numbers are `asked`, one after the other; their positions and balances."""
    views, numbers = book.columns.arrays, pairs.number[asked]
    accounts, owner = row_ranges(views.account[numbers], views.account_stop[numbers])
    first = np.searchsorted(owner, np.arange(numbers.size))

    def rows(starts: IntArray, stops: IntArray, account: IntArray) -> HeldRows:
        number, pair = row_ranges(starts[numbers], stops[numbers])
        return HeldRows(number, first[pair] + account[number], pairs.frame[asked][pair])

    positions = rows(views.position, views.position_stop, book.positions.arrays.account)
    balances = rows(views.balance, views.balance_stop, book.balances.arrays.account)
    return accounts, positions, balances
