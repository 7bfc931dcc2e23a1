"""What a policy leaves behind that acts, or is held back: records, events, and what it remembers."""

from collections.abc import Collection, Mapping, Sequence

from msgspec.structs import replace

from app.domain.adjustment_events import adjustment_event, superseded_event
from app.domain.adjustments import AdjustmentState, InFlight, Leg, Outcome, Reason
from app.domain.families.rule import Notify
from app.domain.policies import Mode, Rule, StressResponse
from app.domain.times import NS_PER_SECOND
from app.engine.guards import cooldown_until_ns, dwell_seconds, is_emergency, rest_seconds
from app.engine.memory import DAY_NS
from app.engine.plan import Plan
from app.engine.records import Records, Sighting, Turn
from app.engine.scene import Row
from app.engine.stress import state_wanted, tiered
from app.engine.tiers import tier_of
from app.engine.verdicts import Ended, notified_event


class Acting:
    """Of one portfolio on one frame; `rows` are those of all its policies as they are, by their numbers."""

    def __init__(
        self, turn: Turn, sighting: Sighting, records: Records, rows: Mapping[int, list[Row]]
    ) -> None:
        self._turn, self._sighting, self._records, self._rows = turn, sighting, records, rows
        self._frame = sighting.frame
        self._policies = turn.portfolio.policies

    def suppress(self, number: int, reason: Reason) -> None:
        """Recorded once; while the same reason goes on it is only time that passes."""
        stored = self._policies[number]
        memory, policy = self._turn.memory(stored.id), stored.policy
        if memory.suppressed is reason:
            return
        rows = [row for row in self._rows[number] if row.fired] or self._rows[number]
        if reason is Reason.COOLDOWN:
            emergency = is_emergency(policy, rows)
            self._turn.wake_at(cooldown_until_ns(policy, memory, emergency=emergency))
        if reason is Reason.NOT_YET:
            wake_ns = memory.fired_since_ns + dwell_seconds(policy, rows) * NS_PER_SECOND
            self._turn.wake_at(wake_ns)
            memory = replace(memory, wake_ns=min(wake_ns, memory.wake_ns or wake_ns))
        decision = self._records.decision(
            number, reason, rows, self._records.inputs(self._records.price_rows())
        )
        self._turn.verdict.decisions.append(decision)
        since = self._frame.sequence
        self._turn.remember(stored.id, replace(memory, suppressed=reason, suppressed_since=since))

    def recommended(self, group: Collection[int]) -> list[InFlight]:
        """What is still open of the group's policies."""
        ids = {self._policies[number].id for number in group}
        return [
            work
            for work in self._turn.portfolio.in_flight
            if work.state is AdjustmentState.RECOMMENDED and any(work.serves(each) for each in ids)
        ]

    def keep_open(self, group: Collection[int]) -> None:
        """What was recommended is still what would be."""
        for number in group:
            self.suppress(number, Reason.OPEN_ADJUSTMENT)
            stored = self._policies[number]
            compared = replace(self._turn.memory(stored.id), compared_ns=self._frame.time_ns)
            self._turn.remember(stored.id, compared)

    def act(self, group: Collection[int], rows: Mapping[int, list[Row]], plan: Plan) -> bool:
        turn, frame = self._turn, self._frame
        self._supersede(self.recommended(group))
        inputs = self._records.inputs(
            [*self._records.price_rows(), *self._records.collateral_rows(plan.legs)]
        )
        decisions = {
            number: self._records.decision(
                number,
                Reason.TARGET_MISSED if number in plan.misses_of else Reason.TARGET_REACHED,
                rows[number],
                inputs,
            )
            for number in group
        }
        adjustment = self._records.adjustment(group, decisions, plan)
        turn.verdict.decisions += [
            replace(decision, outcome=Outcome.ACTED, adjustment_id=adjustment.id)
            for decision in decisions.values()
        ]
        turn.verdict.adjustments.append(adjustment)
        automatic = adjustment.state is AdjustmentState.QUEUED
        turn.verdict.events.append(adjustment_event(turn.portfolio.tenant_id, adjustment, frame.time_ns))
        waits_otherwise = [
            self._remember_acting(
                number,
                rows[number],
                plan.legs,
                open_adjustment=not automatic,
                is_restored=automatic and self._restores(number, rows[number], plan),
            )
            for number in group
        ]
        if not automatic:
            turn.wake_at(adjustment.expires_at_ns)
        work = InFlight(
            adjustment.id,
            adjustment.policy_id,
            adjustment.state,
            adjustment.expires_at_ns,
            plan.legs,
            adjustment.policies,
        )
        in_flight = (*turn.portfolio.in_flight, work)
        changed = automatic or any(waits_otherwise)
        turn.adopt(replace(turn.portfolio, in_flight=in_flight), figures_change=changed)
        return changed

    def _supersede(self, stale: Sequence[InFlight]) -> None:
        """A changed market takes the place of what nobody has taken up."""
        turn, outcome = self._turn, "the market moved on, and a newer plan took its place"
        for work in stale:
            turn.verdict.ended.append(Ended(work, AdjustmentState.SUPERSEDED, outcome))
            portfolio, time_ns = turn.portfolio, self._frame.time_ns
            turn.verdict.events.append(
                superseded_event(portfolio.tenant_id, portfolio.id, work, outcome, time_ns)
            )
        kept = tuple(work for work in turn.portfolio.in_flight if work not in stale)
        turn.adopt(replace(turn.portfolio, in_flight=kept), figures_change=False)

    def _restores(self, number: int, rows: Sequence[Row], plan: Plan) -> bool:
        """Whether one of the rows that fired no longer does, of a guard one of its accounts."""
        after = plan.after.rows[number]
        return any(row.fired and not then.fired for row, then in zip(rows, after, strict=True))

    def note(self, group: Collection[int], rows: Mapping[int, list[Row]]) -> bool:
        """Records of what acted without an adjustment."""
        changed, inputs = False, self._records.inputs(self._records.price_rows())
        for number in group:
            decision = self._records.decision(number, Reason.NOTIFIED, rows[number], inputs)
            self._turn.verdict.decisions.append(replace(decision, outcome=Outcome.ACTED))
            changed = self._remember_acting(number, rows[number], (), open_adjustment=False) or changed
        if changed:
            self._turn.adopt(self._turn.portfolio, figures_change=True)
        return changed

    def announce(self, number: int) -> bool:
        """Messages, and the state that the portfolio is put into by what acts by itself."""
        stored, turn = self._policies[number], self._turn
        policy, changed = stored.policy, False
        if isinstance(policy, Rule):
            for action in policy.actions:
                if isinstance(action, Notify):
                    turn.verdict.events.append(
                        notified_event(stored, action.message, turn.portfolio, self._frame)
                    )
        wanted = state_wanted(policy, self._turn.memory(stored.id))
        if wanted not in (None, turn.portfolio.state) and policy.mode is Mode.AUTO:
            turn.change_state(wanted, self._frame)
            changed = True
        return changed

    def _remember_acting(
        self,
        number: int,
        rows: Sequence[Row],
        legs: Sequence[Leg],
        *,
        open_adjustment: bool,
        is_restored: bool = False,
    ) -> bool:
        """Whether it waits for something else from now on: its portfolio is to be laid out anew."""
        stored, time_ns = self._policies[number], self._frame.time_ns
        before = memory = self._turn.memory(stored.id)
        if isinstance(stored.policy, StressResponse):
            memory = tiered(stored, rows, memory, self._sighting.view.holdings)
            self._turn.book.recall(stored.id, memory.registers)
        traded = self._records.traded(legs)
        until_ns = time_ns + rest_seconds(stored.policy, is_restored=is_restored) * NS_PER_SECOND
        self._turn.remember(
            stored.id,
            replace(
                memory,
                cooldown_until_ns=until_ns,
                suppressed=Reason.OPEN_ADJUSTMENT if open_adjustment else None,
                suppressed_since=self._frame.sequence,
                acted_ns=time_ns,
                fired_since_ns=0,
                acted_price=self._records.hedged_price(stored),
                traded=(*memory.traded_since(time_ns - DAY_NS), *traded),
            ),
        )
        if until_ns > time_ns:
            self._turn.wake_at(until_ns)
        return tier_of(memory) != tier_of(before)
