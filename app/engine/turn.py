"""One portfolio's way through the frames of a block."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from msgspec.structs import replace

from app.domain.adjustment_events import expired_event
from app.domain.adjustments import AWAITING_STATES, AdjustmentState
from app.domain.identifiers import PolicyId
from app.domain.margin_levels import level_after
from app.domain.market import Frame
from app.domain.portfolio_events import margin_events, market_event, state_event
from app.domain.portfolios import Portfolio, PortfolioState
from app.engine.accrual import pass_time
from app.engine.arbitration import Arbitration
from app.engine.book import Book
from app.engine.fills import UNSTORABLE
from app.engine.liquidation import liquidate
from app.engine.margin_levels import is_followed, memory_id, remembered
from app.engine.memory import NOTHING, PolicyMemory
from app.engine.metrics import loan_values, mark_prices
from app.engine.readers import rows_read
from app.engine.records import Sighting
from app.engine.registers import advanced, fitting, wakes_ns
from app.engine.rounding import metric_text, price
from app.engine.valuation import Markets
from app.engine.verdicts import Ended, Verdict, liquidated_event


@dataclass(slots=True)
class Concluded:
    """Which policies have been dealt with on a frame."""

    k: int
    policies: set[PolicyId]


class Turn:
    def __init__(
        self,
        book: Book,
        markets: Markets,
        memories: Mapping[PolicyId, PolicyMemory],
        portfolio: Portfolio,
    ) -> None:
        self.book = book
        self.markets = markets
        self.block = markets.block
        self.portfolio = portfolio
        self.verdict = Verdict.of_nothing(portfolio)
        self._memories = memories
        self._concluded = Concluded(-1, set())
        self._wakes_ns: list[int] = []
        self.went_on = False
        self._heard_of = -1

    def take(self, sighting: Sighting) -> bool:
        """Deals with one frame. True when figures changed, so that this frame must be looked at again."""
        if sighting.figures.findings.due[sighting.pair] and self._pass_time(sighting):
            return True
        if sighting.figures.findings.broken[sighting.pair] and self._liquidate(sighting):
            return True
        if sighting.figures.findings.crossed[sighting.pair] and self._tell_margins(sighting):
            return True
        if not sighting.view.decides:
            return False
        self._tell_markets(sighting)
        self._expire(sighting.frame)
        if self._concluded.k != sighting.k:
            self._concluded = Concluded(sighting.k, set())
        if Arbitration(self, sighting).conclude(self._concluded.policies):
            return True
        self._advance(sighting)
        return False

    def _advance(self, sighting: Sighting) -> None:
        """What conditions remember goes on, once the frame has been dealt with."""
        if not sighting.figures.findings.advances[sighting.pair]:
            return
        results = sighting.figures.conditions.result[sighting.figures.condition_slice(sighting.pair)]
        time_ns = sighting.frame.time_ns
        for each in sighting.view.remembering:
            stored = self.portfolio.policies[each.policy]
            memory = self.memory(stored.id)
            rows = results[each.condition : each.condition + len(each.programme.rows)].tolist()
            before = memory.registers_for(stored.version)
            after = advanced(each.programme, before, rows, time_ns)
            if after != fitting(each.programme, before):
                wakes = wakes_ns(each.programme, after, time_ns)
                self._wakes_ns += wakes
                wake_ns = min(wakes, default=0)
                self.remember(
                    stored.id,
                    replace(memory, registers=after, registers_of=stored.version, wake_ns=wake_ns),
                )
                self.book.set_registers(sighting.number, each, after)
                self.went_on = True

    def is_suppressed(self) -> bool:
        return any(self.memory(stored.id).suppressed is not None for stored in self.portfolio.policies)

    def wake_at(self, time_ns: int) -> None:
        """It must be looked at again then, should the market stand still."""
        self._wakes_ns.append(time_ns)

    def frames_to_wake(self, k: int) -> set[int]:
        """Later frames at which what was just done ends: an expiry, a cooldown. Asked for once."""
        wakes, self._wakes_ns = self._wakes_ns, []
        frames = self.block.frames
        found = (
            next((later for later in range(k + 1, len(frames)) if frames[later].time_ns >= time_ns), None)
            for time_ns in wakes
        )
        return {later for later in found if later is not None}

    def memory(self, policy_id: PolicyId) -> PolicyMemory:
        return self.verdict.memories.get(policy_id) or self._memories.get(policy_id, NOTHING)

    def remember(self, policy_id: PolicyId, memory: PolicyMemory) -> None:
        self.verdict.memories[policy_id] = memory

    def adopt(self, portfolio: Portfolio, *, figures_change: bool) -> None:
        self.portfolio = portfolio
        if figures_change:
            self.book.put(portfolio)
        else:
            self.book.amend(portfolio)

    def change_state(self, state: PortfolioState, frame: Frame) -> None:
        """By a policy: the next revision, and its owner is told."""
        self.verdict.events.append(state_event(self.portfolio, state, frame.time_ns))
        revision = self.portfolio.revision + 1
        self.adopt(replace(self.portfolio, state=state, revision=revision), figures_change=True)
        self.verdict.after = self.portfolio

    def _expire(self, frame: Frame) -> None:
        overdue = [
            work
            for work in self.portfolio.in_flight
            if work.state in AWAITING_STATES and work.expires_at_ns <= frame.time_ns
        ]
        for work in overdue:
            outcome = "its time passed on the market clock"
            self.verdict.ended.append(Ended(work, AdjustmentState.EXPIRED, outcome))
            event = expired_event(self.portfolio.tenant_id, self.portfolio.id, work, frame.time_ns)
            self.verdict.events.append(event)
        if overdue:
            kept = tuple(work for work in self.portfolio.in_flight if work not in overdue)
            self.adopt(replace(self.portfolio, in_flight=kept), figures_change=False)

    def _pass_time(self, sighting: Sighting) -> bool:
        """What the market clock does, before anything else looks at the frame. False when it does nothing."""
        passed = pass_time(self.portfolio, self.block, sighting.k)
        if not passed.fills:
            return False
        self.verdict.fills += passed.fills
        self.verdict.events += passed.events
        self.adopt(replace(passed.portfolio, revision=self.portfolio.revision + 1), figures_change=True)
        self.verdict.after = self.portfolio
        return True

    def _tell_markets(self, sighting: Sighting) -> None:
        """What turned with this frame, of the markets that it depends on. Looked at again, it is not told."""
        turned = [each for each in self.block.turned if each.k == sighting.k]
        if not turned or self._heard_of == sighting.k or not self.portfolio.policies:
            return
        self._heard_of = sighting.k
        rows, index = rows_read(self.book, sighting.number), self.book.universe.index
        own = [each for each in turned if index.get(each.instrument) in rows]
        for is_degraded in (True, False):
            markets = {each.instrument: each.quality for each in own if each.is_degraded is is_degraded}
            if markets:
                self.verdict.events.append(
                    market_event(self.portfolio, markets, is_degraded=is_degraded, frame=sighting.frame)
                )

    def _tell_margins(self, sighting: Sighting) -> bool:
        """Accounts whose margin ratio came to another level. True: the frame is to be looked at again."""
        ratios = sighting.figures.accounts.margin_ratio[sighting.figures.account_slice(sighting.pair)]
        first = int(self.book.columns.arrays.account[sighting.number])
        moved = False
        for ordinal, (account, ratio) in enumerate(
            zip(self.portfolio.accounts, ratios.tolist(), strict=True)
        ):
            before = self.book.levels.of(account.id)
            after = level_after(before, ratio)
            if after == before or not is_followed(first + ordinal, self.book.accounts.arrays):
                continue
            self.verdict.events += margin_events(
                self.portfolio, account, before, after, metric_text(ratio), sighting.frame
            )
            self.remember(memory_id(account.id), remembered(after))
            self.book.set_level(sighting.number, ordinal, after)
            moved = True
        return moved

    def _liquidate(self, sighting: Sighting) -> bool:
        """What an exchange would do, before policies are looked at. False when it can do nothing."""
        frame = sighting.frame
        universe, portfolio = self.block.universe, self.portfolio
        known = mark_prices(self.block, sighting.k) | loan_values(self.block, sighting.k, portfolio)
        marks = {name: price(mark) for name, mark in known.items() if mark >= 0.0}
        figures, first = sighting.figures.accounts, sighting.figures.account_slice(sighting.pair).start
        for ordinal in self._broken_accounts(sighting):
            account = portfolio.accounts[ordinal]
            try:
                portfolio, fills = liquidate(
                    portfolio,
                    account.id,
                    marks,
                    universe.instruments,
                    position=frame.position,
                    time_ns=frame.time_ns,
                )
            except UNSTORABLE:
                continue
            if not fills:
                continue  # to the last digit, the loan is sound after all
            self.verdict.fills += fills
            equity = float(figures.equity[first + ordinal])
            self.verdict.events.append(liquidated_event(account, fills, equity, portfolio, frame))
        if portfolio is self.portfolio:
            return False
        self.adopt(replace(portfolio, revision=self.portfolio.revision + 1), figures_change=True)
        self.verdict.after = self.portfolio
        return True

    def _broken_accounts(self, sighting: Sighting) -> Iterable[int]:
        """Ordinals of the accounts that an exchange would close: margin ratio 1 or worse."""
        here = sighting.figures.account_slice(sighting.pair)
        first = int(self.book.columns.arrays.account[sighting.number])
        liquidates = self.book.accounts.arrays.liquidates[first : first + here.stop - here.start]
        ratios = sighting.figures.accounts.margin_ratio[here]
        return [int(ordinal) for ordinal in np.flatnonzero(liquidates & (ratios >= 1.0))]
