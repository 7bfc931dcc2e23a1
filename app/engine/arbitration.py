"""What becomes of the policies of one portfolio that fired on a frame: held back, or served by one plan.

Those that guards let act are planned for together, mode by mode: what is executed at once first, for what
is only recommended never counts as done. A policy that a plan would push out of its own limits joins it.
One whose cost cap the plan passes leaves it, the least urgent first.
"""

import numpy as np
from msgspec.structs import replace

from app.domain.adjustments import (
    Reason,
    TradeLeg,
)
from app.domain.families.rule import Notify, SetState
from app.domain.identifiers import PolicyId
from app.domain.instruments import InstrumentKind
from app.domain.policies import (
    LiquidationGuard,
    Mode,
    Rule,
    StoredPolicy,
    StressResponse,
)
from app.domain.portfolios import Portfolio, PortfolioState
from app.engine.acting import Acting
from app.engine.guards import (
    Prices,
    before_planning,
    dwell_seconds,
    is_within_cost_caps,
)
from app.engine.legs import is_like
from app.engine.memory import HOUR_NS, Traded
from app.engine.metrics import observe
from app.engine.permitted import Permission, is_dear
from app.engine.plan import Plan, Priced, Wish, arrange
from app.engine.records import Records, Sighting, Turn, rows_of
from app.engine.scene import Row, Scene
from app.engine.state import State, vector
from app.engine.tables import PairColumns

_MODES = (Mode.AUTO, Mode.CONFIRM, Mode.RECOMMEND)
Group = dict[int, Permission]


class Arbitration:
    def __init__(self, turn: Turn, sighting: Sighting) -> None:
        self._turn = turn
        self._sighting = sighting
        self._frame = sighting.frame
        self._policies = policies = turn.portfolio.policies
        self._ranked = sorted(range(len(policies)), key=lambda number: (policies[number].rank, number))
        """Numbers of the policies in the order of their rank."""
        self._rows = rows_of(turn.book, sighting.figures, view=sighting.number, pair=sighting.pair)
        self._records = Records(turn, sighting)
        self._market = self._records.market
        self._acting = Acting(turn, sighting, self._records, self._rows)

    def conclude(self, concluded: set[PolicyId]) -> bool:
        """True when figures changed: what is not among the concluded then waits for the next look."""
        eligible: Group = {}
        for number in self._ranked:
            stored = self._policies[number]
            if stored.id in concluded:
                continue
            permission = self._permission(number)
            if permission is None:
                concluded.add(stored.id)
            else:
                eligible[number] = permission
        for mode in _MODES:
            group = {n: p for n, p in eligible.items() if self._policies[n].policy.mode is mode}
            if group and self._serve(group, concluded):
                return True
        return False

    def _fired(self, number: int) -> list[Row]:
        return [row for row in self._rows[number] if row.fired]

    def _permission(self, number: int) -> Permission | None:
        """None where it does not fire, or is held back; both are remembered."""
        stored, rows = self._policies[number], self._fired(number)
        memory = self._turn.memory(stored.id)
        if not rows:
            if memory.suppressed is not None or memory.fired_since_ns:
                self._turn.remember(stored.id, replace(memory, suppressed=None, fired_since_ns=0))
            return None
        if not memory.fired_since_ns:
            memory = replace(memory, fired_since_ns=self._frame.time_ns)
            if dwell_seconds(stored.policy, rows):
                self._turn.remember(stored.id, memory)
        verdict = before_planning(
            stored,
            rows,
            portfolio=self._turn.portfolio,
            memory=memory,
            traded_by_others=self._traded_by_others(number),
            time_ns=self._frame.time_ns,
            prices=self._prices(stored),
        )
        if isinstance(verdict, Permission):
            return verdict
        self._acting.suppress(number, verdict)
        return None

    def _traded_by_others(self, number: int) -> list[Traded]:
        """Within the hour, and by themselves: what others only recommended holds nobody back."""
        since_ns = self._frame.time_ns - HOUR_NS
        return [
            traded
            for other in self._policies
            if other is not self._policies[number] and other.policy.mode is Mode.AUTO
            for traded in self._turn.memory(other.id).traded_since(since_ns)
        ]

    def _prices(self, stored: StoredPolicy) -> Prices:
        block, k = self._turn.block, self._sighting.k
        rows = self._records.price_rows(read=isinstance(stored.policy, Rule))
        return Prices(
            age_ns=block.oldest_age_ns(k, rows),
            quality=block.worst_quality(k, rows),
            sources=block.fewest_sources(k, rows),
            confidence_bps=block.widest_confidence_bps(k, rows),
            underlying=self._records.hedged_price(stored),
        )

    def _serve(self, group: Group, concluded: set[PolicyId]) -> bool:
        """One plan for all of the group, or none. True when figures changed."""
        rows, left = dict(self._rows), set[int]()
        while group:
            plan = self._planned(group, rows)
            dear = self._too_dear(group, plan)
            if dear is not None:
                self._acting.suppress(dear, Reason.COST_CAP)
                concluded.add(self._policies[dear].id)
                left.add(dear)
                del group[dear]
                continue
            pushed = self._pushed_out(group, plan) if plan.legs else {}
            pushed = {number: permission for number, permission in pushed.items() if number not in left}
            if pushed:
                rows |= {number: plan.after.rows[number] for number in pushed}
                group = {n: (group | pushed)[n] for n in self._ranked if n in group or n in pushed}
                continue
            concluded |= {self._policies[number].id for number in group}
            return self._done(group, rows, plan)
        return False

    def _done(self, group: Group, rows: dict[int, list[Row]], plan: Plan) -> bool:
        """Acts, and says why those do nothing that have nothing to do."""
        stale = self._acting.recommended(group)
        if stale and plan.legs and is_like(plan.legs, [leg for work in stale for leg in work.remaining]):
            self._acting.keep_open(group)
            return False
        idle = [] if plan.legs else [number for number in group if not self._says_something(number)]
        for number in idle:
            self._acting.suppress(number, self._why_nothing(number, group[number]))
        acting = {number: permission for number, permission in group.items() if number not in idle}
        if not acting:
            return False
        changed = self._acting.act(acting, rows, plan) if plan.legs else self._acting.note(acting, rows)
        for number in acting:
            changed = self._acting.announce(number) or changed
        return changed

    def _says_something(self, number: int) -> bool:
        """Whether it does anything besides trading: a message, another state, a tier that changes."""
        policy = self._policies[number].policy
        if isinstance(policy, StressResponse):
            return True
        return isinstance(policy, Rule) and any(isinstance(a, (Notify, SetState)) for a in policy.actions)

    def _planned(self, group: Group, rows: dict[int, list[Row]]) -> Plan:
        sighting = self._sighting
        state = State(sighting.figures, sighting.pair)
        scene = Scene(state, self._market, sighting.view.holdings, sighting.view.underlyings)
        wishes = [
            Wish(
                number,
                self._policies[number],
                self._as_they_are(number, rows[number]),
                self._turn.memory(self._policies[number].id),
                group.get(number),
            )
            for number in self._ranked
        ]
        return arrange(wishes, scene=scene, priced=self._priced)

    def _as_they_are(self, number: int, rows: list[Row]) -> list[Row]:
        """Of a policy that a plan would push out: what it compares is still where it is."""
        return [replace(now, fired=row.fired) for now, row in zip(self._rows[number], rows, strict=True)]

    def _too_dear(self, group: Group, plan: Plan) -> int | None:
        """The least urgent policy whose own cap the plan passes."""
        traded = sum(
            self._market.notional(self._market.instrument(leg.instrument), leg.quantity)
            for leg in plan.legs
            if isinstance(leg, TradeLeg)
        )
        for number in reversed(group):
            policy = self._policies[number].policy
            if not is_within_cost_caps(policy, group[number], cost=plan.cost, traded=traded):
                return number
        return None

    def _pushed_out(self, group: Group, plan: Plan) -> Group:
        """Policies of the same mode that the plan would make fire, and that may act."""
        mode = self._policies[next(iter(group))].policy.mode
        found: Group = {}
        for number, stored in enumerate(self._policies):
            fires = [row for row in plan.after.rows[number] if row.fired]
            if number in group or not fires or self._fired(number) or stored.policy.mode is not mode:
                continue
            permission = before_planning(
                stored,
                fires,
                portfolio=self._turn.portfolio,
                memory=replace(self._turn.memory(stored.id), fired_since_ns=self._frame.time_ns),
                traded_by_others=self._traded_by_others(number),
                time_ns=self._frame.time_ns,
                prices=self._prices(stored),
            )
            if isinstance(permission, Permission):
                found[number] = permission
        return found

    def _priced(self, holdings: Portfolio) -> Priced:
        """As the book would see them, priced exactly; exposures stand where they do now."""
        turn, underlyings = self._turn, self._sighting.view.underlyings
        with turn.book.imagined(holdings, underlyings) as number:
            pairs = PairColumns(np.array([number]), np.array([self._sighting.k]))
            figures = observe(turn.book, turn.block, pairs)
            return Priced(
                vector(figures, 0, exposures=len(underlyings)),
                rows_of(turn.book, figures, view=number, pair=0),
                figures,
                turn.book.view(number).underlyings,
            )

    def _why_nothing(self, number: int, permission: Permission) -> Reason:
        if permission.reduces_only:
            active = self._turn.portfolio.state is PortfolioState.ACTIVE
            return Reason.PRICE_QUALITY if active else Reason.REDUCE_ONLY
        policy = self._policies[number].policy
        named = [self._market.instrument(name) for name in policy.instruments]
        traded = [instrument for instrument in named if instrument.kind is not InstrumentKind.LENDING]
        if traded and all(is_dear(instrument, policy, permission) for instrument in traded):
            return Reason.SLIPPAGE
        if permission.limits.largest < float(policy.guards.minimum_notional):
            return Reason.MAXIMUM_TRADE
        return Reason.NO_CURE if isinstance(policy, LiquidationGuard) else Reason.DUST
