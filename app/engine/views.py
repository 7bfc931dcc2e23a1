"""A view as those who decide and explain see it: read from its rows when somebody asks."""

from typing import NamedTuple

import numpy as np
from msgspec import Struct

from app.domain.identifiers import Asset
from app.domain.portfolios import Portfolio
from app.engine.book_tables import BookTables
from app.engine.conditions import Opcode
from app.engine.view_rows import Remembering
from app.quant.arrays import IntArray


class Contents(NamedTuple):
    """Of a view: whose it is, what is in it, and whether policies are."""

    portfolio: Portfolio
    holdings: Portfolio
    decides: bool


class View(Struct, frozen=True):
    """What the rows of a portfolio describe: `holdings`, with what is in flight as if done or as they stand.

    `conversions` and `marks` are what it is priced with: numbers of conversions, and rows of the market.
    `read` are the rows and series that its policies name.
    """

    portfolio: Portfolio
    holdings: Portfolio
    underlyings: tuple[Asset, ...]
    conversions: tuple[int, ...]
    marks: tuple[int, ...]
    read: tuple[int, ...]
    remembering: tuple[Remembering, ...]
    decides: bool


def view_of(book: BookTables, number: int, contents: Contents, remembering: tuple[Remembering, ...]) -> View:
    universe, views = book.universe, book.columns.arrays
    positions, balances, exposures = book.positions.arrays, book.balances.arrays, book.exposures.arrays
    conditions = book.conditions.arrays

    def rows(start: IntArray, stop: IntArray) -> slice:
        return slice(int(start[number]), int(stop[number]))

    held, cash = rows(views.position, views.position_stop), rows(views.balance, views.balance_stop)
    exposed = rows(views.exposure, views.exposure_stop)
    asked = rows(views.condition, views.condition_stop)
    opcode, subject = conditions.opcode[asked], conditions.subject[asked]
    prices = positions.price_row[held]
    conversions = (
        positions.underlying_value[held],
        positions.settlement_value[held],
        balances.asset_value[cash],
        exposures.underlying_value[exposed],
        subject[opcode == Opcode.CONVERSION],
    )
    marks = (prices[prices != universe.one_row], book.marks.arrays.row[rows(views.mark, views.mark_stop)])
    read = (universe.row_of(column) for column in subject[opcode == Opcode.MARKET_COLUMN].tolist())
    return View(
        portfolio=contents.portfolio,
        holdings=contents.holdings,
        underlyings=tuple(universe.assets[asset] for asset in exposures.asset[exposed].tolist()),
        conversions=tuple(dict.fromkeys(np.concatenate(conversions).tolist())),
        marks=tuple(dict.fromkeys(np.concatenate(marks).tolist())),
        read=tuple(dict.fromkeys(read)),
        remembering=remembering,
        decides=contents.decides,
    )
