"""The tables of a book, and how views are laid out in them: appended, never moved until all are cleared."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from app.engine.columns import Columns
from app.engine.conditions import ConditionColumns, Opcode, RegisterColumns
from app.engine.holding_rows import HoldingRows
from app.engine.margin_levels import put_calm
from app.engine.tables import Tables
from app.engine.trigger_rows import ParameterColumns, TriggerColumns
from app.engine.universe import Universe
from app.engine.view_layout import Laid, Listed, lay_out
from app.engine.view_rows import (
    OF_EVERY_LOOK,
    OF_EVERY_POSITION,
    OF_SOME_LOOKS,
    OF_SOME_POSITIONS,
    AccountColumns,
    BalanceColumns,
    ExposureColumns,
    MarkColumns,
    PositionColumns,
    ViewColumns,
)
from app.engine.view_watches import ViewWatchColumns
from app.engine.watch_layout import Found, Quoted, find_watches
from app.engine.watches import Watches
from app.quant.arrays import IntArray

_MISSING = 256
_WATCHES_PER_VIEW = 16


class BookTables:
    def __init__(self, universe: Universe, *, tells_margins: bool) -> None:
        self.tells_margins = tells_margins
        self.clear(universe)

    def clear(self, universe: Universe) -> None:
        self.universe = universe
        self.accounts = Columns(AccountColumns, AccountColumns._fields)
        self.positions = Columns(PositionColumns, OF_EVERY_POSITION, OF_SOME_POSITIONS)
        self.balances = Columns(BalanceColumns, BalanceColumns._fields)
        self.exposures = Columns(ExposureColumns, ExposureColumns._fields)
        self.triggers = Columns(TriggerColumns, TriggerColumns._fields)
        self.parameters = Columns(ParameterColumns)
        self.conditions = Columns(ConditionColumns, ConditionColumns._fields)
        self.registers = Columns(RegisterColumns)
        self.marks = Columns(MarkColumns)
        self.columns = Columns(ViewColumns, OF_EVERY_LOOK, OF_SOME_LOOKS)
        self.watches = Watches()
        self.view_watches = Columns(ViewWatchColumns, ViewWatchColumns._fields)
        self.margins_portfolios = False
        self.series_read: Counter[int] = Counter()
        """By column, in how many places series are read; no other one is in it."""

    def tables(self) -> Tables:
        return Tables(
            views=self.columns.arrays,
            accounts=self.accounts.arrays,
            positions=self.positions.arrays,
            balances=self.balances.arrays,
            exposures=self.exposures.arrays,
            triggers=self.triggers.arrays,
            parameters=self.parameters.arrays,
            conditions=self.conditions.arrays,
            registers=self.registers.arrays,
        )

    def lay(self, rows: HoldingRows, slots: IntArray, stored: IntArray) -> IntArray:
        """Appends a view for each portfolio; their numbers."""
        numbers = np.arange(slots.size) + self._lay_out(rows)
        views = self.columns.arrays
        views.slot[numbers], views.stored[numbers] = slots, stored
        self.margins_portfolios |= bool(rows.accounts.portfolio_margin.any())
        return numbers

    @contextmanager
    def laid_for_now(self, rows: HoldingRows) -> Iterator[int]:
        """A view that is gone afterwards, as if it had never been there."""
        tables = self._rows()
        lengths = [table.length for table in tables]
        try:
            yield self._lay_out(rows)
        finally:
            for table, length in zip(tables, lengths, strict=True):
                table.truncate(length)

    def reserve(self, times: float) -> None:
        """Room for so many times what there is: for whoever loads in parts, and has loaded the first."""
        for table in (*self._rows(), self.view_watches, self.watches.entries, self.watches.blocks):
            table.reserve(int(table.length * times))

    def _rows(self) -> tuple[Columns[Any], ...]:
        """What a view has a block in."""
        return (
            self.columns, self.accounts, self.positions, self.balances, self.exposures, self.triggers,
            self.parameters, self.conditions, self.registers, self.marks,
        )  # fmt: skip

    def follow(self, numbers: IntArray) -> None:
        """Views that have been laid out watch what they depend on, and keep the series that they read."""
        self._count_series(numbers, 1)
        found = self._watched(numbers)
        count = int(found.start[-1])
        column, base = found.column[:count], found.base[:count]
        watches = self.watches.numbers(column, base, self.universe.row_of_column)
        entries = self.watches.add_all(watches, np.repeat(numbers, np.diff(found.start)))
        first, _ = self.view_watches.extend(
            (watches, entries, column, found.role[:count], found.group[:count])
        )
        views = self.columns.arrays
        views.watch[numbers], views.watch_stop[numbers] = first + found.start[:-1], first + found.start[1:]

    def follow_instead(self, number: int, before: int) -> None:
        """As `follow`, for a view that takes the place of another: mostly it watches the same."""
        numbers = np.array([number])
        found = self._watched(numbers)
        count, views = int(found.start[-1]), self.columns.arrays
        here = slice(int(views.watch[before]), int(views.watch_stop[before]))
        own, watches = self.view_watches.arrays, self.watches.columns.arrays
        same = (
            here.stop - here.start == count
            and (
                (own.column[here] == found.column[:count])
                & (watches.base[own.watch[here]] == found.base[:count])
                & (own.role[here] == found.role[:count])
            ).all()
        )
        if not same:
            self.follow(numbers)
            return
        self._count_series(numbers, 1)
        views.watch[number], views.watch_stop[number] = here.start, here.stop
        views.watch_stop[before] = here.start
        self.watches.hand_over(own.entry[here], number)

    def leave(self, number: int) -> None:
        """A view is dead: it wakes nobody, and reads nothing."""
        self._count_series(np.array([number]), -1)
        self.watches.forget(self.watches_of(number).entry)
        self.columns.arrays.live[number] = False

    def watches_of(self, number: int) -> ViewWatchColumns:
        views = self.columns.arrays
        here = slice(int(views.watch[number]), int(views.watch_stop[number]))
        return ViewWatchColumns(*(column[here] for column in self.view_watches.arrays))

    def _lay_out(self, rows: HoldingRows) -> int:
        """The number of the first view."""
        held = rows.positions.instrument.size, rows.balances.asset.size
        counts = rows.counts
        view, _ = self.columns.claim(rows.portfolios.currency.size)
        account, _ = self.accounts.claim(rows.accounts.paper.size)
        position, _ = self.positions.claim(held[0])
        balance, _ = self.balances.claim(held[1])
        most_exposures = sum(held) + rows.underlyings.size + counts.triggers + counts.conditions
        begins = (
            self.exposures.claim(most_exposures)[0],
            self.triggers.claim(counts.triggers)[0],
            self.parameters.claim(counts.parameters)[0],
            self.conditions.claim(counts.conditions)[0],
            self.registers.claim(counts.registers)[0],
            self.marks.claim(counts.marks)[0],
            0,
        )
        counters = [np.array([begin]) for begin in begins]
        exposure, trigger, parameter, condition, register, mark, lacking = counters
        missing = np.empty((2, _MISSING), dtype=np.int64)
        laid = Laid(exposure, trigger, parameter, condition, register, mark, lacking, missing)
        while True:
            self._lay(rows, (view, account, position, balance), laid)
            if not laid.lacking[0]:
                break
            universe = self.universe
            for asset, currency in laid.missing[:, : int(laid.lacking[0])].T.tolist():
                universe.conversion(universe.assets[asset], universe.assets[currency])
            for counter, begin in zip(counters, begins, strict=True):
                counter[0] = begin
        self.exposures.truncate(int(laid.exposure[0]))
        if self.tells_margins:
            put_calm(account, rows, self.accounts.arrays)
        return view

    def _lay(self, rows: HoldingRows, first: tuple[int, int, int, int], laid: Laid) -> None:
        universe = self.universe
        listed = Listed(universe.terms, universe.listing, universe.numbering, universe.one_row)
        lay_out(rows, *first, listed, self.tables(), self.marks.arrays.row, laid)

    def _watched(self, numbers: IntArray) -> Found:
        universe = self.universe
        quoted = Quoted(
            universe.terms,
            universe.listing,
            universe.conversions.arrays,
            universe.paths.arrays,
            universe.row_of_column,
            universe.volatility_columns,
            universe.funding_columns,
            universe.unknown_row,
            universe.one_row,
        )
        uses, rows = np.zeros((2, universe.width), dtype=np.int64)
        most = _WATCHES_PER_VIEW * numbers.size
        while True:
            start = np.empty(numbers.size + 1, dtype=np.int64)
            column, base, role, group = np.empty((4, most), dtype=np.int64)
            found = Found(column, base, role, group, start, uses, rows)
            most = find_watches(numbers, self.tables(), self.marks.arrays.row, quoted, found)
            if most <= found.column.size:
                return found

    def _count_series(self, numbers: IntArray, by: int) -> None:
        if not self.universe.series_columns:
            return
        views, conditions = self.columns.arrays, self.conditions.arrays
        first, stop = int(views.condition[numbers[0]]), int(views.condition_stop[numbers[-1]])
        subjects = conditions.subject[first:stop]
        reads = conditions.opcode[first:stop] == Opcode.MARKET_COLUMN
        series = subjects[reads & (subjects >= self.universe.row_of_column.size)]
        for column in series.tolist():
            self.series_read[column] += by
            if not self.series_read[column]:
                del self.series_read[column]
