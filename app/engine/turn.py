"""One portfolio's way through the frames of a block."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import msgspec

from app.domain.adjustments import (
    AWAITING_STATES,
    Adjustment,
    AdjustmentState,
    Decision,
    InFlight,
    Leg,
    Outcome,
    Reason,
)
from app.domain.events import EventType
from app.domain.identifiers import AdjustmentId, DecisionId, PolicyId, PortfolioId, derived_id
from app.domain.market import Frame
from app.domain.metrics import MetricName
from app.domain.policies import DeltaNeutral, LiquidationGuard, Mode, StoredPolicy
from app.domain.portfolios import Portfolio
from app.domain.times import NS_PER_SECOND
from app.domain.values import decimal_text
from app.engine.book import Book, View
from app.engine.fills import apply_legs_as_if_done, liquidate
from app.engine.guards import after_planning, before_planning
from app.engine.market_view import FrameBlock
from app.engine.memory import NOTHING, PolicyMemory
from app.engine.metrics import Figures, Pairs, mark_prices, observe
from app.engine.plan import Situation, expected_cost, plan
from app.engine.rounding import amount_up, metric_text, price
from app.engine.triggers import Triggers, reaches_target
from app.engine.verdicts import (
    Verdict,
    adjustment_event,
    expired_event,
    liquidated_event,
    metric_texts,
    reduces_risk,
)


@dataclass(frozen=True, slots=True)
class Sighting:
    """A view on a frame, its figures, and which of its accounts are below maintenance."""

    view: View
    frame: Frame
    k: int
    pair: int
    figures: Figures
    triggers: Triggers
    broken_accounts: list[int]


@dataclass(frozen=True, slots=True)
class Fired:
    """A policy that fired: by which trigger rows, and what was compared."""

    stored: StoredPolicy
    rows: list[int]
    conditions: dict[str, str]


class Turn:
    def __init__(
        self,
        book: Book,
        block: FrameBlock,
        memories: Mapping[PolicyId, PolicyMemory],
        portfolio_id: PortfolioId,
    ) -> None:
        self._book = book
        self._block = block
        self._memories = memories
        self._portfolio = book.portfolio(portfolio_id)
        self._done_at: tuple[int, set[PolicyId]] = (-1, set())
        self.verdict = Verdict(before=self._portfolio, after=self._portfolio)
        self._wakes_ns: list[int] = []

    def has_business(self, k: int) -> bool:
        """Something to do though nothing fires: an expiry is due, or a suppression may have ended."""
        time_ns = self._block.frames[k].time_ns
        return any(
            work.state in AWAITING_STATES and work.expires_at_ns <= time_ns
            for work in self._portfolio.in_flight
        ) or any(self._memory(stored.id).suppressed is not None for stored in self._portfolio.policies)

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
        if sighting.broken_accounts:
            self._liquidate(sighting)
            return True
        if not sighting.view.decides:
            return False
        self._expire(sighting.frame)
        if self._done_at[0] != sighting.k:
            self._done_at = (sighting.k, set())
        fired = self._fired_policies(sighting)
        for stored, triggers in self._by_priority(fired):
            if stored.id in self._done_at[1]:
                continue
            self._done_at[1].add(stored.id)
            if not triggers:
                self._remember(stored.id, msgspec.structs.replace(self._memory(stored.id), suppressed=None))
            elif self._decide(stored, triggers, sighting):
                return True
        return False

    def _fired_policies(self, sighting: Sighting) -> dict[int, list[int]]:
        """By policy number: its fired trigger rows; an empty list where a suppression has ended."""
        triggers, table = sighting.triggers, self._book.triggers
        found: dict[int, list[int]] = {}
        here = triggers.pair_slice(sighting.pair)
        for index in range(here.start, here.stop):
            number = int(table["policy"][triggers.gathered.rows[index]])
            if triggers.fired[index]:
                found.setdefault(number, []).append(index)
            elif self._memory(self._portfolio.policies[number].id).suppressed is not None:
                found.setdefault(number, [])
        return found

    def _by_priority(self, fired: dict[int, list[int]]) -> Iterator[tuple[StoredPolicy, list[int]]]:
        for number in sorted(fired, key=lambda n: (self._portfolio.policies[n].policy.priority, n)):
            yield self._portfolio.policies[number], fired[number]

    def _decide(self, stored: StoredPolicy, rows: list[int], sighting: Sighting) -> bool:
        view, frame = sighting.view, sighting.frame
        reason = before_planning(
            stored,
            portfolio=self._portfolio,
            memory=self._memory(stored.id),
            time_ns=frame.time_ns,
            price_age_ns=self._block.oldest_age_ns(sighting.k, view.price_rows),
            quality=self._block.worst_quality(sighting.k, view.price_rows),
        )
        fired = Fired(stored, rows, self._conditions(stored, rows, sighting))
        if reason is None:
            legs, situation = self._plan(fired, sighting)
            reason = after_planning(stored, legs, situation)
            if reason is None:
                return self._act(fired, legs, situation, sighting)
        self._suppress(fired, reason, sighting)
        return False

    def _plan(self, fired: Fired, sighting: Sighting) -> tuple[tuple[Leg, ...], Situation]:
        """One account after the other: what one takes from the reserve is gone for the next."""
        figures, book, view = sighting.figures, self._book, sighting.view
        situation = Situation(
            holdings=view.holdings,
            universe=book.universe,
            prices=self._block.prices[sighting.k],
            figure=float(sighting.triggers.values[fired.rows[0]]),
        )
        legs: tuple[Leg, ...] = ()
        for index in fired.rows:
            account = int(book.triggers["account"][sighting.triggers.gathered.rows[index]])
            if account >= 0:
                ordinal = account - view.accounts[0]
                at = figures.account_slice(sighting.pair).start + ordinal
                situation = replace(
                    situation,
                    account=situation.holdings.accounts[ordinal],
                    equity=float(figures.equities[at]),
                    maintenance=float(figures.maintenance_margins[at]),
                )
            found = plan(fired.stored.policy, situation)
            legs += found
            after = apply_legs_as_if_done(situation.holdings, found, book.universe.instruments)
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
            metrics_before=metric_texts(sighting.view, sighting.figures, sighting.pair),
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
        self._wakes_ns.append(self._memory(stored.id).cooldown_until_ns)
        if not automatic:
            self._wakes_ns.append(adjustment.expires_at_ns)
        work = InFlight(adjustment.id, stored.id, adjustment.state, adjustment.expires_at_ns, legs)
        self._adopt(
            replace(self._portfolio, in_flight=(*self._portfolio.in_flight, work)), figures_change=automatic
        )
        return automatic

    def _suppress(self, fired: Fired, reason: Reason, sighting: Sighting) -> None:
        """Recorded once; while the same reason goes on it is only time that passes."""
        memory = self._memory(fired.stored.id)
        if memory.suppressed is reason:
            return
        if reason is Reason.COOLDOWN:
            self._wakes_ns.append(memory.cooldown_until_ns)
        self.verdict.decisions.append(self._decision(fired, reason, sighting))
        since = sighting.frame.sequence
        self._remember(
            fired.stored.id, msgspec.structs.replace(memory, suppressed=reason, suppressed_since=since)
        )

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
            inputs=self._inputs(sighting),
            repeats_before=frame.sequence - memory.suppressed_since if memory.suppressed else 0,
        )

    def _conditions(self, stored: StoredPolicy, rows: list[int], sighting: Sighting) -> dict[str, str]:
        """What was compared with what."""
        view = sighting.view
        triggers, policy = sighting.triggers, stored.policy
        match policy:
            case DeltaNeutral():
                value = float(triggers.values[rows[0]])
                return {
                    f"{MetricName.NET_DELTA}.{policy.underlying}": metric_text(value),
                    "target_delta": decimal_text(policy.target_delta),
                    "band": decimal_text(policy.band),
                }
            case LiquidationGuard():
                compared = {"trigger": decimal_text(policy.trigger)}
                for index in rows:
                    account = int(self._book.triggers["account"][triggers.gathered.rows[index]])
                    name = view.holdings.accounts[account - view.accounts[0]].name
                    ratio = float(triggers.values[index])
                    if policy.metric is MetricName.HEALTH_FACTOR:
                        ratio = 1.0 / ratio
                    compared[f"{policy.metric}.{name}"] = metric_text(ratio)
                return compared

    def _inputs(self, sighting: Sighting) -> dict[str, str]:
        """Every price that was used, with the market entry that brought it."""
        k, generation = sighting.k, sighting.frame.generation
        block, names = self._block, self._book.universe.names
        return {
            names[row]: f"{decimal_text(price(float(block.prices[k, row])))} "
            f"@ {generation}-{int(block.price_frames[k, row])}"
            for row in sighting.view.price_rows.tolist()
        }

    def _priced(self, fired: Fired, holdings: Portfolio, sighting: Sighting) -> tuple[dict[str, str], bool]:
        """Metrics once the plan is done, priced exactly, and whether its policy's target is reached."""
        scratch = Book(self._book.universe)
        scratch.put(replace(holdings, in_flight=(), policies=(fired.stored,)))
        number = scratch.views_of(holdings.id)[0]
        view = scratch.view(number)
        figures = observe(scratch, self._block, Pairs.of([(number, sighting.k)]))
        table = self._book.triggers["account"][sighting.triggers.gathered.rows[fired.rows]]
        accounts = table - sighting.view.accounts[0] + view.accounts[0]
        return metric_texts(view, figures, 0), reaches_target(scratch, figures, view, accounts)

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

    def _liquidate(self, sighting: Sighting) -> None:
        """What an exchange would do, before policies are looked at."""
        frame = sighting.frame
        universe, portfolio = self._book.universe, self._portfolio
        marks = {
            name: price(mark)
            for name, mark in mark_prices(universe, self._block, sighting.k).items()
            if mark > 0.0
        }
        for ordinal in sighting.broken_accounts:
            account = portfolio.accounts[ordinal]
            at = sighting.figures.account_slice(sighting.pair).start + ordinal
            portfolio, fills = liquidate(
                portfolio,
                account.id,
                marks,
                universe.instruments,
                position=frame.position,
                time_ns=frame.time_ns,
            )
            self.verdict.fills += fills
            equity = float(sighting.figures.equities[at])
            self.verdict.events.append(liquidated_event(account, fills, equity, portfolio, frame))
        self._adopt(replace(portfolio, revision=self._portfolio.revision + 1), figures_change=True)
        self.verdict.after = self._portfolio

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
