"""The book of a shard as columns: positions, balances, accounts, exposures and triggers.

A portfolio has a slot for as long as it is known, and stands in the book as one view: a contiguous block in
every table, in stored order. A changed portfolio is appended anew and its old block is dead until compaction.
What is in flight counts as if done; while something is, a second view holds what really stands, and only that
one can be liquidated.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from heapq import heappop, heappush
from typing import Any, NamedTuple

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from app.domain.adjustments import AWAITING_STATES, IN_FLIGHT_STATES
from app.domain.identifiers import Asset, PolicyId, PortfolioId
from app.domain.portfolios import Portfolio
from app.engine.columns import Columns
from app.engine.conditions import ConditionColumns, RegisterColumns
from app.engine.fills import apply_legs_as_if_done
from app.engine.frame_block import FrameBlock
from app.engine.registers import Registers
from app.engine.trigger_rows import ParameterColumns, TriggerColumns
from app.engine.universe import NEVER_NS, Universe
from app.engine.view_rows import (
    AccountColumns,
    BalanceColumns,
    ExposureColumns,
    PositionColumns,
    Remembering,
    ViewRows,
)
from app.engine.view_watches import ViewWatchColumns, watched
from app.engine.watches import ViewRanges, Watches
from app.quant.arrays import BoolArray, IntArray

NOBODY = -1


class ViewColumns(NamedTuple):
    """Whose a view is, where its rows begin and end in every table, when the clock may change them, and
    whether an account of it is margined as a whole.
    """

    slot: IntArray
    account: IntArray
    account_stop: IntArray
    position: IntArray
    position_stop: IntArray
    balance: IntArray
    balance_stop: IntArray
    exposure: IntArray
    exposure_stop: IntArray
    trigger: IntArray
    trigger_stop: IntArray
    condition: IntArray
    condition_stop: IntArray
    register: IntArray
    register_stop: IntArray
    watch: IntArray
    watch_stop: IntArray
    options: IntArray
    due_ns: IntArray
    alarm_ns: IntArray
    asks_distance: BoolArray
    portfolio_margin: BoolArray
    live: BoolArray


class SlotColumns(NamedTuple):
    """A portfolio's views (`NOBODY`: none), and whether it wants a look though nothing fires.

    `seen` is the number of the frame for which it was last found to have work.
    """

    deciding: IntArray
    standing: IntArray
    watched: BoolArray
    seen: IntArray


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


class Book:
    def __init__(self, universe: Universe, *, sleeps: bool = True) -> None:
        self.universe = universe
        self.sleeps = sleeps
        self._slots: dict[PortfolioId, int] = {}
        self.slots = Columns(SlotColumns)
        self._ids: list[PortfolioId] = []
        self._registers: dict[PolicyId, Registers] = {}
        self._frames_seen = 0
        self._clear()

    def _clear(self) -> None:
        self.accounts = Columns(AccountColumns)
        self.positions = Columns(PositionColumns)
        self.balances = Columns(BalanceColumns)
        self.exposures = Columns(ExposureColumns)
        self.triggers = Columns(TriggerColumns)
        self.parameters = Columns(ParameterColumns)
        self.conditions = Columns(ConditionColumns)
        self.registers = Columns(RegisterColumns)
        self.columns = Columns(ViewColumns)
        self.views: list[View | None] = []
        self.margins_portfolios = False
        self.watches = Watches()
        self.view_watches = Columns(ViewWatchColumns)
        self._due: list[tuple[int, int]] = []
        self.series_read: Counter[int] = Counter()
        """By column, how many views read a series; no other one is in it."""
        self._dead = 0

    def __len__(self) -> int:
        return len(self._slots)

    def __contains__(self, portfolio_id: PortfolioId) -> bool:
        return portfolio_id in self._slots

    def portfolio(self, portfolio_id: PortfolioId) -> Portfolio:
        return self.deciding(self._slots[portfolio_id]).portfolio

    def slot(self, portfolio_id: PortfolioId) -> int:
        """Stays the same for as long as the portfolio is in the book."""
        return self._slots[portfolio_id]

    def portfolio_id(self, slot: int) -> PortfolioId:
        return self._ids[slot]

    def view(self, number: int) -> View:
        view = self.views[number]
        if view is None:
            raise KeyError(number)
        return view

    def deciding(self, slot: int) -> View:
        return self.view(int(self.slots.arrays.deciding[slot]))

    def put(self, portfolio: Portfolio, *, stands: bool = True) -> None:
        """Adds a portfolio, or replaces it. What does not really stand is not liquidated."""
        slot = self._slots.get(portfolio.id)
        if slot is None:
            slot, _ = self.slots.append([(NOBODY, NOBODY, False, 0)])
            self._slots[portfolio.id] = slot
            self._ids.append(portfolio.id)
        else:
            self._drop_views(slot)
        pending = [
            leg for work in portfolio.in_flight if work.state in IN_FLIGHT_STATES for leg in work.remaining
        ]
        as_if_done = apply_legs_as_if_done(portfolio, pending, self.universe.instruments)
        slots = self.slots.arrays
        slots.deciding[slot] = self._append(
            slot, portfolio, as_if_done, decides=True, stands=stands and not pending
        )
        slots.standing[slot] = (
            self._append(slot, portfolio, portfolio, decides=False, stands=True) if pending else NOBODY
        )

    def recall(self, policy_id: PolicyId, registers: Registers) -> None:
        """What its condition remembers, before its portfolio is put."""
        if registers:
            self._registers[policy_id] = registers
        else:
            self._registers.pop(policy_id, None)

    def set_registers(self, number: int, remembering: Remembering, registers: Registers) -> None:
        """What a condition of a view remembers from now on."""
        first = int(self.columns.arrays.register[number]) + remembering.register
        self.registers.arrays.value[first : first + len(registers)] = registers
        self._registers[self.view(number).portfolio.policies[remembering.policy].id] = registers

    def amend(self, portfolio: Portfolio) -> None:
        """Replaces what is known of a portfolio whose figures stay as they are."""
        slots, slot = self.slots.arrays, self._slots[portfolio.id]
        for number in (int(slots.deciding[slot]), int(slots.standing[slot])):
            if number != NOBODY:
                view = self.view(number)
                holdings = replace(view.holdings, in_flight=portfolio.in_flight)
                self.views[number] = replace(view, portfolio=portfolio, holdings=holdings)

    def watch(self, portfolio_id: PortfolioId, *, suppressed: bool) -> bool:
        """To be said after every change: a portfolio that waits, or was held back, wants a look each time."""
        slot = self._slots[portfolio_id]
        waits = any(work.state in AWAITING_STATES for work in self.deciding(slot).portfolio.in_flight)
        self.slots.arrays.watched[slot] = suppressed or waits
        if suppressed or waits:
            self.wake(slot)
        return suppressed or waits

    def remove(self, portfolio_id: PortfolioId) -> None:
        slot = self._slots.pop(portfolio_id, None)
        if slot is not None:
            self._drop_views(slot)
            slots = self.slots.arrays
            slots.deciding[slot] = slots.standing[slot] = NOBODY
            slots.watched[slot] = False

    def rebuild(self, universe: Universe) -> None:
        """Compacts, and takes new listings in. Slots stay."""
        kept = [self.deciding(slot).portfolio for slot in self._slots.values()]
        self.universe = universe
        self._clear()
        for slot in self._slots.values():
            self.slots.arrays.deciding[slot] = self.slots.arrays.standing[slot] = NOBODY
        for portfolio in kept:
            self.put(portfolio)

    def compact_when_due(self) -> None:
        """Renumbers views, so never while anybody holds the number of one."""
        if self._dead > 1_000 + len(self.views) // 2:
            self.rebuild(self.universe)

    def woken(self, block: FrameBlock) -> "Todo":
        """Who must look at which frame: whoever watches something that came outside of his interval."""
        self._wake_the_due(block.frames[-1].time_ns)
        views = self.columns.arrays
        slots, frames = self.watches.woken(
            block,
            ViewRanges(views.slot, views.watch, views.watch_stop),
            self.view_watches.arrays.entry,
            self.slots.arrays.seen,
            self._frames_seen,
        )
        self._frames_seen += len(block.frames)
        return Todo(slots, frames)

    def frames_of_news(self, slot: int, block: FrameBlock) -> set[int]:
        """The frames with news of anything that a portfolio depends on."""
        watches = [watch for number in self.numbers(slot) for watch in self.watches_of(number).watch.tolist()]
        return self.watches.frames_of(watches, block)

    def wake(self, slot: int) -> None:
        """It is looked at with all news that it depends on, until it is put to sleep again."""
        for number in self.numbers(slot):
            self.watches.wake_always(self.watches_of(number).entry)

    def set_alarms(self, numbers: IntArray, times_ns: IntArray) -> None:
        """When the clock wakes views."""
        alarms = self.columns.arrays.alarm_ns
        for at in np.flatnonzero(alarms[numbers] != times_ns).tolist():
            number, time_ns = int(numbers[at]), int(times_ns[at])
            alarms[number] = time_ns
            heappush(self._due, (time_ns, number))

    def alarm_ns(self, slot: int) -> int:
        """When the clock wakes a portfolio."""
        return min(int(self.columns.arrays.alarm_ns[number]) for number in self.numbers(slot))

    def _wake_the_due(self, time_ns: int) -> None:
        """The clock came to what they hold."""
        while self._due and self._due[0][0] <= time_ns:
            _, number = heappop(self._due)
            if self.columns.arrays.live[number]:
                self.columns.arrays.alarm_ns[number] = NEVER_NS
                self.watches.wake_always(self.watches_of(number).entry)

    def numbers(self, slot: int) -> list[int]:
        """Of a portfolio's views."""
        slots = self.slots.arrays
        both = (int(slots.deciding[slot]), int(slots.standing[slot]))
        return [number for number in both if number != NOBODY]

    def watches_of(self, number: int) -> ViewWatchColumns:
        views = self.columns.arrays
        here = slice(int(views.watch[number]), int(views.watch_stop[number]))
        return ViewWatchColumns(*(column[here] for column in self.view_watches.arrays))

    @contextmanager
    def imagined(self, holdings: Portfolio, underlyings: Sequence[Asset]) -> Iterator[int]:
        """A view of holdings that nobody has; gone afterwards, as if it had never been there.

        Its exposures begin with `underlyings`, so that they stand where they do in another view.
        """
        tables: tuple[Columns[Any], ...] = (
            self.accounts, self.positions, self.balances, self.exposures, self.triggers, self.parameters,
            self.conditions, self.registers, self.columns,
        )  # fmt: skip
        lengths = [table.length for table in tables]
        try:
            yield self._append_view(
                NOBODY, holdings, holdings, decides=True, stands=False, underlyings=underlyings
            )
        finally:
            self.views.pop()
            for table, length in zip(tables, lengths, strict=True):
                table.truncate(length)

    def _drop_views(self, slot: int) -> None:
        slots = self.slots.arrays
        for number in (int(slots.deciding[slot]), int(slots.standing[slot])):
            if number != NOBODY:
                self._count_series(number, -1)
                self.watches.forget(self.watches_of(number).entry)
                self.views[number] = None
                self.columns.arrays.live[number] = False
                self._dead += 1

    def _append(
        self, slot: int, portfolio: Portfolio, holdings: Portfolio, *, decides: bool, stands: bool
    ) -> int:
        number = self._append_view(slot, portfolio, holdings, decides=decides, stands=stands)
        self._count_series(number, 1)
        self._watch(number)
        return number

    def _watch(self, number: int) -> None:
        view = self.view(number)
        rows = []
        for each in watched(
            self.universe,
            self._rows_of(view),
            held=view.underlyings,
            marks=view.marks,
            priced=self._priced_with(view),
            read=view.read,
        ):
            watch = self.watches.watch(each.rows, each.column, each.base)
            entry = self.watches.add(watch, number)
            rows.append((watch, entry, each.column, each.role, each.group))
        views = self.columns.arrays
        views.watch[number], views.watch_stop[number] = self.view_watches.append(rows)

    def _count_series(self, number: int, by: int) -> None:
        for column in self.view(number).read:
            if column > self.universe.one_row:
                self.series_read[column] += by
                if not self.series_read[column]:
                    del self.series_read[column]

    def _append_view(
        self,
        slot: int,
        portfolio: Portfolio,
        holdings: Portfolio,
        *,
        decides: bool,
        stands: bool,
        underlyings: Sequence[Asset] = (),
    ) -> int:
        rows = ViewRows(self.universe, holdings, liquidates=stands, underlyings=underlyings)
        if decides:
            rows.add_triggers(self.parameters.length, self._registers)
            self.parameters.append(rows.parameters)
        bounds = (
            *self.accounts.append(rows.accounts),
            *self.positions.append(rows.positions),
            *self.balances.append(rows.balances),
            *self.exposures.append(rows.exposures),
            *self.triggers.append(rows.triggers),
            *self.conditions.append(rows.conditions),
            *self.registers.append(rows.registers),
        )
        self.margins_portfolios |= rows.portfolio_margin
        number, _ = self.columns.append(
            [
                (
                    slot,
                    *bounds,
                    0,
                    0,
                    rows.options,
                    rows.due_ns,
                    NEVER_NS,
                    rows.asks_distance,
                    rows.portfolio_margin,
                    True,
                )
            ]
        )
        self.views.append(
            View(
                portfolio=portfolio,
                holdings=holdings,
                underlyings=tuple(rows.underlyings),
                conversions=tuple(rows.conversions),
                marks=tuple(rows.marks),
                read=tuple(rows.read),
                remembering=tuple(rows.remembering),
                decides=decides,
            )
        )
        return number

    def _rows_of(self, view: View) -> set[int]:
        """Rows of the market and series whose news may change its figures or what its policies want."""
        held = {self.universe.index[p.instrument] for a in view.holdings.accounts for p in a.positions}
        return self._priced_with(view) | held

    def _priced_with(self, view: View) -> set[int]:
        """Those whose own price is looked at."""
        universe = self.universe
        rows = {*view.marks, *view.read}
        for conversion in view.conversions:
            for path in universe.paths_of[conversion]:
                rows |= {path.first, path.second}
        return {row for row in rows if row not in (universe.unknown_row, universe.one_row)}


class Todo(NamedTuple):
    """Who must look at which frame of a block: slots and frames, in the order of the frames."""

    slots: IntArray
    frames: IntArray

    def __bool__(self) -> bool:
        return bool(self.slots.size)
