"""The book of a shard: its portfolios, as columns.

A portfolio has a slot for as long as it is known, and stands in the book as one view: a contiguous block in
every table, in stored order. A changed portfolio is appended anew and its old block is dead until compaction.
What is in flight counts as if done; while something is, a second view holds what really stands, and only that
one can be liquidated.

Portfolios that were loaded together are rows and no objects, until somebody asks for one of them.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from heapq import heappop, heappush
from typing import NamedTuple, Protocol

import numpy as np
from msgspec.structs import replace

from app.domain.adjustments import AWAITING_STATES, IN_FLIGHT_STATES
from app.domain.identifiers import Asset, PolicyId, PortfolioId
from app.domain.portfolios import Portfolio
from app.engine.book_tables import BookTables
from app.engine.columns import Columns
from app.engine.fills import apply_legs_as_if_done
from app.engine.frame_block import FrameBlock
from app.engine.holding_rows import Held, HoldingRows, rows_of
from app.engine.margin_levels import MarginLevels, put_level
from app.engine.policy_rows import PolicyCatalogue, PolicyRows
from app.engine.registers import Registers, fitting
from app.engine.universe import NEVER_NS, Universe
from app.engine.view_rows import Remembering
from app.engine.views import Contents, View, view_of
from app.engine.waking import ViewRanges
from app.quant.arrays import BoolArray, IntArray

NOBODY = -1


class SlotColumns(NamedTuple):
    """A portfolio's views (`NOBODY`: none), and whether it wants a look though nothing fires.

    `seen` is the number of the frame for which it was last found to have work, `place` its place among those
    who looked last, if it was.
    """

    deciding: IntArray
    standing: IntArray
    watched: BoolArray
    seen: IntArray
    place: IntArray


class StoredPortfolios(Protocol):
    """Portfolios as they were read: rows of them are made without making portfolios."""

    @property
    def ids(self) -> Sequence[PortfolioId]: ...

    @property
    def nbytes(self) -> int:
        """What is kept of them."""

    def portfolio(self, number: int) -> Portfolio: ...

    def rows(self, numbers: IntArray, universe: Universe, catalogue: PolicyCatalogue) -> HoldingRows: ...


class Book(BookTables):
    """`looks`: how often a view was looked at, and `idle_looks` how often nothing of it was up.

    With `tells_margins` the levels that margin ratios come to are found as well, and bounds keep them.
    """

    def __init__(self, universe: Universe, *, sleeps: bool = True, tells_margins: bool = False) -> None:
        super().__init__(universe, tells_margins=tells_margins)
        self.sleeps = sleeps
        self.levels = MarginLevels()
        self._slots: dict[PortfolioId, int] = {}
        self.slots = Columns(SlotColumns, ("deciding", "standing", "watched", "place"))
        self._ids: list[PortfolioId] = []
        self._registers: dict[PolicyId, Registers] = {}
        self._frames_seen = 0
        self._stored: list[StoredPortfolios] = []
        self._first_stored = [0]
        self.looks = self.idle_looks = 0
        self._forget()

    def _forget(self) -> None:
        self._catalogue = PolicyCatalogue(self.universe)
        self._held: dict[int, Contents] = {}
        self._views: dict[int, View] = {}
        self._due: list[tuple[int, int]] = []
        self._dead = 0

    def __len__(self) -> int:
        return len(self._slots)

    def __contains__(self, portfolio_id: PortfolioId) -> bool:
        return portfolio_id in self._slots

    def portfolio(self, portfolio_id: PortfolioId) -> Portfolio:
        return self._of(int(self.slots.arrays.deciding[self._slots[portfolio_id]])).portfolio

    def slot(self, portfolio_id: PortfolioId) -> int:
        """Stays the same for as long as the portfolio is in the book."""
        return self._slots[portfolio_id]

    def portfolio_id(self, slot: int) -> PortfolioId:
        return self._ids[slot]

    def view(self, number: int) -> View:
        if number not in self._views:
            held = self._of(number)
            remembering = tuple(self._remembering(held)) if held.decides else ()
            self._views[number] = view_of(self, number, held, remembering)
        return self._views[number]

    def deciding(self, slot: int) -> View:
        return self.view(int(self.slots.arrays.deciding[slot]))

    def put(self, portfolio: Portfolio, *, stands: bool = True) -> None:
        """Adds a portfolio, or replaces it. What does not really stand is not liquidated."""
        slot = self._slots.get(portfolio.id)
        if slot is None:
            self._put_all([(self._add_slots([portfolio.id]), portfolio)], stands=stands)
            return
        before = self.numbers(slot)
        after = self._put_all([(slot, portfolio)], stands=stands, follows=False)
        self.follow_instead(after[0], before[0])
        for number in after[1:]:
            self.follow(np.array([number]))
        self._drop_views(before)

    def load(self, stored: StoredPortfolios, numbers: IntArray) -> None:
        """Adds many, none of which is there: as rows, which become portfolios when one is asked for."""
        if not self._stored or self._stored[-1] is not stored:
            self._stored.append(stored)
            self._first_stored.append(self._first_stored[-1] + len(stored.ids))
        slot = self._add_slots([stored.ids[number] for number in numbers.tolist()])
        self._load(slot + np.arange(numbers.size), stored, self._first_stored[-2], numbers)

    @property
    def stored_bytes(self) -> int:
        return sum(stored.nbytes for stored in self._stored)

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
        self._registers[self._of(number).portfolio.policies[remembering.policy].id] = registers

    def set_level(self, number: int, ordinal: int, level: int) -> None:
        """At which level of the margin ratio an account of a view is from now on."""
        self.levels.recall(self._of(number).holdings.accounts[ordinal].id, level)
        put_level(int(self.columns.arrays.account[number]) + ordinal, level, self.accounts.arrays)

    def amend(self, portfolio: Portfolio) -> None:
        """Replaces what is known of a portfolio whose figures stay as they are."""
        for number in self.numbers(self._slots[portfolio.id]):
            held = self._of(number)
            holdings = replace(held.holdings, in_flight=portfolio.in_flight)
            self._held[number] = Contents(portfolio, holdings, held.decides)
            if number in self._views:
                self._views[number] = replace(self._views[number], portfolio=portfolio, holdings=holdings)

    def watch(self, portfolio_id: PortfolioId, *, suppressed: bool) -> bool:
        """To be said after every change: a portfolio that waits, or was held back, wants a look each time."""
        slot = self._slots[portfolio_id]
        waits = any(work.state in AWAITING_STATES for work in self.portfolio(portfolio_id).in_flight)
        self.slots.arrays.watched[slot] = suppressed or waits
        if suppressed or waits:
            self.wake(slot)
        return suppressed or waits

    def remove(self, portfolio_id: PortfolioId) -> None:
        slot = self._slots.pop(portfolio_id, None)
        if slot is not None:
            self._drop_views(self.numbers(slot))
            self.slots.arrays.deciding[slot] = self.slots.arrays.standing[slot] = NOBODY
            self.slots.arrays.watched[slot] = False

    def rebuild(self, universe: Universe) -> None:
        """Compacts, and takes new listings in. Slots stay."""
        slots, views = self.slots.arrays, self.columns.arrays
        deciding = [(slot, int(slots.deciding[slot])) for slot in self._slots.values()]
        held = [(slot, self._held[number].portfolio) for slot, number in deciding if number in self._held]
        others = np.array([pair for pair in deciding if pair[1] not in self._held], dtype=np.int64)
        owners, stored = others.reshape(-1, 2)[:, 0], views.stored[others.reshape(-1, 2)[:, 1]]
        slots.deciding[: self.slots.length] = slots.standing[: self.slots.length] = NOBODY
        self.clear(universe)
        self._forget()
        self._put_all(held)
        for source, first, stop in zip(
            self._stored, self._first_stored, self._first_stored[1:], strict=False
        ):
            here = (stored >= first) & (stored < stop)
            self._load(owners[here], source, first, stored[here] - first)

    def compact_when_due(self) -> None:
        """Renumbers views, so never while anybody holds the number of one."""
        if self._dead > 1_000 + self.columns.length // 2:
            self.rebuild(self.universe)

    def woken(self, block: FrameBlock) -> "Todo":
        """Who must look at which frame: whoever watches something that came outside of his interval."""
        self._wake_the_due(block.frames[-1].time_ns)
        views = self.columns.arrays
        slots, frames = self.watches.woken(
            block,
            ViewRanges(views.slot, views.watch, views.watch_stop),
            self.view_watches.arrays.entry,
            self.slots.arrays.seen[: self.slots.length],
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
        """The clock came to what they hold. An alarm that was put off wakes nobody at its old time."""
        while self._due and self._due[0][0] <= time_ns:
            due_ns, number = heappop(self._due)
            if self.columns.arrays.live[number] and self.columns.arrays.alarm_ns[number] == due_ns:
                self.columns.arrays.alarm_ns[number] = NEVER_NS
                self.watches.wake_always(self.watches_of(number).entry)

    def numbers(self, slot: int) -> list[int]:
        """Of a portfolio's views."""
        slots = self.slots.arrays
        both = (int(slots.deciding[slot]), int(slots.standing[slot]))
        return [number for number in both if number != NOBODY]

    @contextmanager
    def imagined(self, holdings: Portfolio, underlyings: Sequence[Asset]) -> Iterator[int]:
        """A view of holdings that nobody has; gone afterwards, as if it had never been there.

        Its exposures begin with `underlyings`, so that they stand where they do in another view.
        """
        policies = self._policies(holdings)
        rows = rows_of(self.universe, [Held(holdings, False, policies, underlyings)], self._catalogue)
        with self.laid_for_now(rows) as number:
            self._held[number] = Contents(holdings, holdings, True)
            self._restore_registers(number, holdings, policies)
            try:
                yield number
            finally:
                del self._held[number]
                self._views.pop(number, None)

    def _add_slots(self, ids: Sequence[PortfolioId]) -> int:
        """The first of them."""
        count = len(ids)
        nobody, never = np.full(count, NOBODY), np.zeros(count, dtype=np.int64)
        first, stop = self.slots.extend((nobody, nobody, never > 0, never, never))
        self._slots.update(zip(ids, range(first, stop), strict=True))
        self._ids += ids
        return first

    def _put_all(
        self, portfolios: Iterable[tuple[int, Portfolio]], *, stands: bool = True, follows: bool = True
    ) -> list[int]:
        """In their slots; the numbers of their views, who watch nothing yet unless it `follows` at once."""
        held: list[Contents] = []
        rows: list[Held] = []
        owners: list[int] = []
        for slot, portfolio in portfolios:
            pending = [
                leg
                for work in portfolio.in_flight
                if work.state in IN_FLIGHT_STATES
                for leg in work.remaining
            ]
            as_if_done = apply_legs_as_if_done(portfolio, pending, self.universe.instruments)
            held.append(Contents(portfolio, as_if_done, True))
            rows.append(Held(as_if_done, stands and not pending, self._policies(as_if_done)))
            owners.append(slot)
            if pending:
                held.append(Contents(portfolio, portfolio, False))
                rows.append(Held(portfolio, True, ()))
                owners.append(slot)
        if not rows:
            return []
        given = rows_of(self.universe, rows, self._catalogue)
        numbers = self.lay(given, np.array(owners), np.full(len(owners), NOBODY))
        if follows:
            self.follow(numbers)
        slots = self.slots.arrays
        found: list[int] = numbers.tolist()
        for number, each, laid, slot in zip(found, held, rows, owners, strict=True):
            self._held[number] = each
            self._restore_registers(number, each.holdings, laid.policies)
            if self.tells_margins and laid.stands:
                self._restore_levels(number, each.holdings)
            if each.decides:
                slots.deciding[slot], slots.standing[slot] = number, NOBODY
            else:
                slots.standing[slot] = number
        return found

    def _load(self, slots: IntArray, stored: StoredPortfolios, first: int, numbers: IntArray) -> None:
        if numbers.size:
            rows = stored.rows(numbers, self.universe, self._catalogue)
            views = self.lay(rows, slots, first + numbers)
            self.follow(views)
            self.slots.arrays.deciding[slots] = views

    def _policies(self, holdings: Portfolio) -> list[PolicyRows]:
        known = self._registers
        return [
            self._catalogue.of(holdings, stored.policy, known.get(stored.id, ()))
            for stored in holdings.policies
        ]

    def _restore_registers(self, number: int, holdings: Portfolio, policies: Sequence[PolicyRows]) -> None:
        """Those that are remembered; in the rows there are none yet."""
        first = int(self.columns.arrays.register[number])
        for stored, rows in zip(holdings.policies, policies, strict=False):
            for each in rows.remembering:
                known = fitting(each.programme, self._registers.get(stored.id, ()))
                at = first + each.register
                self.registers.arrays.value[at : at + len(known)] = known
            first += rows.registers

    def _restore_levels(self, number: int, holdings: Portfolio) -> None:
        first = int(self.columns.arrays.account[number])
        for row, account in enumerate(holdings.accounts, start=first):
            put_level(row, self.levels.of(account.id), self.accounts.arrays)

    def _drop_views(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            self.leave(number)
            self._held.pop(number, None)
            self._views.pop(number, None)
            self._dead += 1

    def _of(self, number: int) -> Contents:
        """Whoever was asked for is an object from then on."""
        if number not in self._held:
            stored = int(self.columns.arrays.stored[number])
            if stored == NOBODY or not self.columns.arrays.live[number]:
                raise KeyError(number)
            source = bisect_right(self._first_stored, stored) - 1
            portfolio = self._stored[source].portfolio(stored - self._first_stored[source])
            self._held[number] = Contents(portfolio, portfolio, True)
        return self._held[number]

    def _remembering(self, held: Contents) -> Iterator[Remembering]:
        condition = register = 0
        for number, rows in enumerate(self._policies(held.holdings)):
            for each in rows.remembering:
                yield Remembering(
                    number, each.programme, condition + each.condition, register + each.register
                )
            condition, register = condition + len(rows.conditions), register + rows.registers


class Todo(NamedTuple):
    """Who must look at which frame of a block: slots and frames, in the order of the frames."""

    slots: IntArray
    frames: IntArray

    def __bool__(self) -> bool:
        return bool(self.slots.size)
