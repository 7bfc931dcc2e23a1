"""One portfolio's way through the frames of a block."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from msgspec.structs import replace

from app.domain.adjustments import (
    AWAITING_STATES,
    Adjustment,
    AdjustmentState,
    Decision,
    InFlight,
    Leg,
    Outcome,
    Reason,
    TransferLeg,
)
from app.domain.events import EventType
from app.domain.identifiers import AdjustmentId, DecisionId, PolicyId, derived_id
from app.domain.market import Frame
from app.domain.policies import LiquidationGuard, Mode, StoredPolicy
from app.domain.portfolios import Portfolio
from app.domain.times import NS_PER_SECOND
from app.domain.values import decimal_text
from app.engine.book import Book, View
from app.engine.fills import UNSTORABLE, apply_legs_as_if_done, liquidate
from app.engine.guards import after_planning, before_planning
from app.engine.market_view import FrameBlock
from app.engine.memory import NOTHING, PolicyMemory
from app.engine.metrics import Figures, mark_prices, observe
from app.engine.observation import PairColumns
from app.engine.plan import Situation, expected_cost, plan
from app.engine.rounding import amount_up, price
from app.engine.triggers import reaches_target
from app.engine.verdicts import (
    Verdict,
    adjustment_event,
    conditions_of,
    expired_event,
    liquidated_event,
    metric_texts,
    reduces_risk,
)
from app.engine.view_rows import NONE


@dataclass(frozen=True, slots=True)
class Sighting:
    """A view (the book's `number`) on frame `k`: its figures are those of `pair`."""

    number: int
    view: View
    k: int
    frame: Frame
    pair: int
    figures: Figures


@dataclass(frozen=True, slots=True)
class FiredRow:
    """A trigger that fired: in which account (`NONE` for one of the whole portfolio), and at which value."""

    account: int
    value: float


@dataclass(frozen=True, slots=True)
class Fired:
    """A policy that fired, and what was compared."""

    stored: StoredPolicy
    number: int
    rows: list[FiredRow]
    conditions: dict[str, str]
    inputs: dict[str, str]


class Turn:
    def __init__(
        self,
        book: Book,
        block: FrameBlock,
        memories: Mapping[PolicyId, PolicyMemory],
        portfolio: Portfolio,
    ) -> None:
        self._book = book
        self._block = block
        self._memories = memories
        self._portfolio = portfolio
        self._done_at: tuple[int, set[PolicyId]] = (-1, set())
        self.verdict = Verdict.of_nothing(portfolio)
        self._wakes_ns: list[int] = []

    def frames_to_wake(self, k: int) -> set[int]:
        """Later frames at which what was just done ends: an expiry, a cooldown. Asked for once."""
        wakes, self._wakes_ns = self._wakes_ns, []
        frames = self._block.frames
        found = (
            next((later for later in range(k + 1, len(frames)) if frames[later].time_ns >= time_ns), None)
            for time_ns in wakes
        )
        return {later for later in found if later is not None}

    def take(self, sighting: Sighting) -> bool:
        """Deals with one frame. True when figures changed, so that this frame must be looked at again."""
        if sighting.figures.findings.broken[sighting.pair] and self._liquidate(sighting):
            return True
        if not sighting.view.decides:
            return False
        self._expire(sighting.frame)
        if self._done_at[0] != sighting.k:
            self._done_at = (sighting.k, set())
        for number, rows in self._by_priority(self._fired_rows(sighting)):
            stored = self._portfolio.policies[number]
            if stored.id in self._done_at[1]:
                continue
            self._done_at[1].add(stored.id)
            if not rows:
                self._remember(stored.id, replace(self._memory(stored.id), suppressed=None))
            elif self._decide(stored, number, rows, sighting):
                return True
        return False

    def is_suppressed(self) -> bool:
        return any(self._memory(stored.id).suppressed is not None for stored in self._portfolio.policies)

    def _fired_rows(self, sighting: Sighting) -> dict[int, list[FiredRow]]:
        """By policy number: its fired trigger rows; an empty list where a suppression has ended."""
        table, columns, triggers = (
            self._book.triggers.arrays,
            self._book.columns.arrays,
            sighting.figures.triggers,
        )
        found: dict[int, list[FiredRow]] = {}
        here = sighting.figures.trigger_slice(sighting.pair)
        first = int(columns.trigger[sighting.number])
        for row, at in enumerate(range(here.start, here.stop), start=first):
            number = int(table.policy[row])
            if triggers.fired[at]:
                found.setdefault(number, []).append(
                    FiredRow(int(table.account[row]), float(triggers.value[at]))
                )
            elif self._memory(self._portfolio.policies[number].id).suppressed is not None:
                found.setdefault(number, [])
        return found

    def _by_priority(self, fired: dict[int, list[FiredRow]]) -> list[tuple[int, list[FiredRow]]]:
        policies = self._portfolio.policies
        return sorted(fired.items(), key=lambda item: (policies[item[0]].policy.priority, item[0]))

    def _decide(self, stored: StoredPolicy, number: int, rows: list[FiredRow], sighting: Sighting) -> bool:
        view, k, block = sighting.view, sighting.k, self._block
        prices = block.price_rows(k, marks=view.marks, conversions=view.conversions)
        reason = before_planning(
            stored,
            portfolio=self._portfolio,
            memory=self._memory(stored.id),
            time_ns=sighting.frame.time_ns,
            price_age_ns=block.oldest_age_ns(k, prices),
            quality=block.worst_quality(k, prices),
        )
        if reason is not None and self._memory(stored.id).suppressed is reason:
            return False  # recorded once; while the same reason goes on it is only time that passes
        conditions = conditions_of(stored.policy, [(_account_name(view, r), r.value) for r in rows])
        fired = Fired(stored, number, rows, conditions, self._inputs(sighting, prices))
        if reason is None:
            legs, situation = self._plan(fired, sighting)
            for leg in legs:
                if isinstance(leg, TransferLeg):
                    fired.inputs.update(self._inputs(sighting, situation.price_rows(leg.asset)))
            reason = after_planning(stored, legs, situation)
            if reason is None:
                return self._act(fired, legs, situation, sighting)
        self._suppress(fired, reason, sighting)
        return False

    def _plan(self, fired: Fired, sighting: Sighting) -> tuple[tuple[Leg, ...], Situation]:
        """One account after the other: what one takes from the reserve is gone for the next."""
        figures = sighting.figures.accounts
        first = sighting.figures.account_slice(sighting.pair).start
        situation = Situation(sighting.view.holdings, self._block, sighting.k, figure=fired.rows[0].value)
        legs: tuple[Leg, ...] = ()
        for row in fired.rows:
            if row.account != NONE:
                situation = replace(
                    situation,
                    account=situation.holdings.accounts[row.account],
                    equity=float(figures.equity[first + row.account]),
                    maintenance=float(figures.maintenance_margin[first + row.account]),
                )
            found = plan(fired.stored.policy, situation)
            legs += found
            after = apply_legs_as_if_done(situation.holdings, found, self._block.universe.instruments)
            situation = replace(situation, holdings=after)
        return legs, situation

    def _act(self, fired: Fired, legs: tuple[Leg, ...], situation: Situation, sighting: Sighting) -> bool:
        stored, frame = fired.stored, sighting.frame
        policy = stored.policy
        after, reached = self._priced(fired, situation.holdings, sighting)
        reason = Reason.TARGET_REACHED if reached else Reason.TARGET_MISSED
        decision = self._decision(fired, reason, sighting)
        automatic = policy.mode is Mode.AUTO
        adjustment = Adjustment(
            id=AdjustmentId(derived_id("adjustment", decision.id)),
            portfolio_id=self._portfolio.id,
            policy_id=stored.id,
            policy_version=stored.version,
            state=AdjustmentState.QUEUED if automatic else AdjustmentState.RECOMMENDED,
            mode=policy.mode.value,
            priority=policy.priority,
            risk_reducing=isinstance(policy, LiquidationGuard) or reduces_risk(legs),
            legs=legs,
            expected_cost=amount_up(expected_cost(legs, situation)),
            metrics_before=metric_texts(sighting.view.underlyings, sighting.figures, sighting.pair),
            metrics_after=after,
            reaches_target=reached,
            position=frame.position,
            decided_at_ns=frame.time_ns,
            expires_at_ns=frame.time_ns + policy.guards.expiry_seconds * NS_PER_SECOND,
        )
        self.verdict.decisions.append(replace(decision, outcome=Outcome.ACTED, adjustment_id=adjustment.id))
        self.verdict.adjustments.append(adjustment)
        kind = EventType.ADJUSTMENT_QUEUED if automatic else EventType.ADJUSTMENT_RECOMMENDED
        self.verdict.events.append(adjustment_event(kind, adjustment, self._portfolio, frame.time_ns))
        self._remember(
            stored.id,
            PolicyMemory(
                cooldown_until_ns=frame.time_ns + policy.guards.cooldown_seconds * NS_PER_SECOND,
                suppressed=None if automatic else Reason.OPEN_ADJUSTMENT,
                suppressed_since=frame.sequence,
            ),
        )
        if policy.guards.cooldown_seconds:
            self._wakes_ns.append(self._memory(stored.id).cooldown_until_ns)
        if not automatic:
            self._wakes_ns.append(adjustment.expires_at_ns)
        work = InFlight(adjustment.id, stored.id, adjustment.state, adjustment.expires_at_ns, legs)
        self._adopt(
            replace(self._portfolio, in_flight=(*self._portfolio.in_flight, work)), figures_change=automatic
        )
        return automatic

    def _suppress(self, fired: Fired, reason: Reason, sighting: Sighting) -> None:
        memory = self._memory(fired.stored.id)
        if memory.suppressed is reason:
            return
        if reason is Reason.COOLDOWN:
            self._wakes_ns.append(memory.cooldown_until_ns)
        self.verdict.decisions.append(self._decision(fired, reason, sighting))
        since = sighting.frame.sequence
        self._remember(fired.stored.id, replace(memory, suppressed=reason, suppressed_since=since))

    def _decision(self, fired: Fired, reason: Reason, sighting: Sighting) -> Decision:
        stored, frame = fired.stored, sighting.frame
        memory = self._memory(stored.id)
        revision = self._portfolio.revision
        identity = derived_id(
            "decision", stored.id, stored.version, revision, frame.generation, frame.sequence
        )
        return Decision(
            id=DecisionId(identity),
            portfolio_id=self._portfolio.id,
            policy_id=stored.id,
            policy_version=stored.version,
            portfolio_revision=revision,
            position=frame.position,
            time_ns=frame.time_ns,
            outcome=Outcome.SUPPRESSED,
            reason=reason,
            conditions=fired.conditions,
            inputs=fired.inputs,
            repeats_before=frame.sequence - memory.suppressed_since if memory.suppressed else 0,
        )

    def _inputs(self, sighting: Sighting, rows: Iterable[int]) -> dict[str, str]:
        """Every price that was used, with the market entry that brought it."""
        k, generation = sighting.k, sighting.frame.generation
        block, names = self._block, self._block.universe.names
        return {
            names[row]: f"{decimal_text(price(block.price(k, row)))} @ {generation}-{block.frame_of(k, row)}"
            for row in rows
        }

    def _priced(self, fired: Fired, holdings: Portfolio, sighting: Sighting) -> tuple[dict[str, str], bool]:
        """Metrics once the plan is done, priced exactly, and whether its policy's target is reached."""
        with self._book.imagined(holdings) as number:
            pairs = PairColumns(np.array([number]), np.array([sighting.k]))
            figures = observe(self._book, self._block, pairs)
            planned = {row.account for row in fired.rows}
            reached = reaches_target(self._book, figures, view=number, policy=fired.number, accounts=planned)
            return metric_texts(self._book.view(number).underlyings, figures, 0), reached

    def _expire(self, frame: Frame) -> None:
        overdue = [
            work
            for work in self._portfolio.in_flight
            if work.state in AWAITING_STATES and work.expires_at_ns <= frame.time_ns
        ]
        for work in overdue:
            self.verdict.expired.append(work)
            self.verdict.events.append(expired_event(work, self._portfolio, frame))
        if overdue:
            kept = tuple(work for work in self._portfolio.in_flight if work not in overdue)
            self._adopt(replace(self._portfolio, in_flight=kept), figures_change=False)

    def _liquidate(self, sighting: Sighting) -> bool:
        """What an exchange would do, before policies are looked at. False when it can do nothing."""
        frame = sighting.frame
        universe, portfolio = self._block.universe, self._portfolio
        marks = {
            name: price(mark) for name, mark in mark_prices(self._block, sighting.k).items() if mark >= 0.0
        }
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
            self.verdict.fills += fills
            equity = float(figures.equity[first + ordinal])
            self.verdict.events.append(liquidated_event(account, fills, equity, portfolio, frame))
        if portfolio is self._portfolio:
            return False
        self._adopt(replace(portfolio, revision=self._portfolio.revision + 1), figures_change=True)
        self.verdict.after = self._portfolio
        return True

    def _broken_accounts(self, sighting: Sighting) -> list[int]:
        """Ordinals of the accounts that an exchange would close: margin ratio 1 or worse."""
        here = sighting.figures.account_slice(sighting.pair)
        first = int(self._book.columns.arrays.account[sighting.number])
        liquidates = self._book.accounts.arrays.liquidates[first : first + here.stop - here.start]
        ratios = sighting.figures.accounts.margin_ratio[here]
        return [int(ordinal) for ordinal in np.flatnonzero(liquidates & (ratios >= 1.0))]

    def _memory(self, policy_id: PolicyId) -> PolicyMemory:
        return self.verdict.memories.get(policy_id) or self._memories.get(policy_id, NOTHING)

    def _remember(self, policy_id: PolicyId, memory: PolicyMemory) -> None:
        self.verdict.memories[policy_id] = memory

    def _adopt(self, portfolio: Portfolio, *, figures_change: bool) -> None:
        self._portfolio = portfolio
        if figures_change:
            self._book.put(portfolio)
        else:
            self._book.amend(portfolio)


def _account_name(view: View, row: FiredRow) -> str:
    return view.holdings.accounts[row.account].name if row.account != NONE else ""
