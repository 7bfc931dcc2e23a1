"""The arbiter: the cheapest change that brings a portfolio back to what all its policies ask for.

Policies that fired say what they aim at and what may be moved for it; the others say what has to be kept.
Together they are one programme: levers as variables, goals as rows in the order of priority, costs as the
objective. Margin and greeks are not linear, so the legs that come out are priced exactly, and what that
differs from the straight lines moves the rows before they are solved once more. A plan that does not reach
its targets says which, by how much, and why.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from itertools import chain
from math import inf, isnan
from typing import NamedTuple

import numpy as np
from msgspec import Struct

from app.domain.adjustments import Leg, Miss, MissReason
from app.domain.identifiers import Asset
from app.domain.policies import LiquidationGuard, StoredPolicy
from app.domain.portfolios import Portfolio
from app.engine.fills import apply_legs_as_if_done
from app.engine.goals import goals_of
from app.engine.legs import Deal, deals_of, legs_of
from app.engine.levers import Levers
from app.engine.lines import Judged, Lines, Score
from app.engine.memory import PolicyMemory
from app.engine.metrics import Figures
from app.engine.moves import Lever, Trade
from app.engine.permitted import Permission, permit
from app.engine.rounding import metric_text
from app.engine.scene import Goal, Row, Scene, outside
from app.engine.state import In
from app.engine.verdicts import metric_texts
from app.quant.arrays import BoolArray, FloatArray

_HARD = -1
"""The level of what no policy may pass: resources and the venue's initial margin."""


_Chosen = list[tuple[Deal, Decimal]]


class Wish(Struct, frozen=True):
    """One policy and what was observed of it; `permission` is None where it did not fire, or may not act."""

    number: int
    stored: StoredPolicy
    rows: list[Row]
    memory: PolicyMemory
    permission: Permission | None = None


class Priced(Struct, frozen=True):
    """Holdings as they would be: figures in the order of the state, triggers, and all that was observed."""

    figures: FloatArray
    rows: dict[int, list[Row]]
    observed: Figures
    underlyings: tuple[Asset, ...]

    @property
    def metrics(self) -> dict[str, str]:
        """In words."""
        return metric_texts(self.underlyings, self.observed, 0)


class Plan(Struct, frozen=True):
    legs: tuple[Leg, ...]
    cost: float
    after: Priced
    misses: tuple[Miss, ...]
    misses_of: frozenset[int]


def arrange(
    wishes: Sequence[Wish],
    *,
    scene: Scene,
    priced: Callable[[Portfolio], Priced],
) -> Plan:
    """`wishes` in the order of their rank."""
    market = scene.market
    levers = Levers(scene.state, market, scene.holdings, scene.underlyings)
    for wish in wishes:
        if wish.permission is not None:
            fired = [row for row in wish.rows if row.fired]
            permit(wish.stored.policy, fired, levers, market, scene.holdings, wish.permission)
    goals = [
        goal
        for wish in wishes
        for goal in goals_of(
            wish.number,
            wish.stored.policy,
            wish.rows,
            wish.memory,
            scene,
            acts=wish.permission is not None,
        )
    ]
    return _Arrangement(wishes, _that_stand(goals, wishes), levers.all, scene, priced).best()


class _Arrangement:
    def __init__(
        self,
        wishes: Sequence[Wish],
        goals: list[Goal],
        levers: list[Lever],
        scene: Scene,
        priced: Callable[[Portfolio], Priced],
    ) -> None:
        self._wishes, self._levers, self._scene, self._priced = wishes, levers, scene, priced
        acting = {wish.number: wish for wish in wishes if wish.permission is not None}
        self._goals = [*_hard_goals(levers, scene), *goals]
        self._aims = [
            (at, goal, acting[goal.policy]) for at, goal in enumerate(self._goals) if goal.policy in acting
        ]
        order = {wish.number: rank for rank, wish in enumerate(wishes)}
        levels = [_HARD if g.policy == _HARD else 2 * order[g.policy] + g.step for g in self._goals]
        self._least = self._dust()
        self._lines = Lines(self._goals, levels, levers, scene.state)

    def best(self) -> Plan:
        """The first that reaches everything, or the best of a few, each corrected by the last one's errors.

        What is traded in coarse lots stays as it was rounded while the rest makes up for it; in the end all
        trades stay and collateral alone moves. Where each of them misses what would be reached in parts,
        whole lots are searched for.
        """
        lines = self._lines
        first = lines.solved(np.zeros(lines.start.size))
        best = proposal = self._corrected(first)
        for stays in (_COARSE, _COARSE, 0.0):
            if not proposal.plan.misses or not proposal.plan.legs:
                return best.plan
            proposal = self._next(best, self._kept(stays, best))
            best = min(best, proposal, key=lambda each: each.outcome)
        if best.outcome[0] > lines.judged(lines.start + lines.moved(first)).misses:
            lots = self._coarse_lots([deal for deal, _ in best.chosen])
            in_lots = lines.in_lots(best.bent, lots, first)
            if in_lots is not None:
                best = min(best, self._proposal(in_lots, [], best.bent), key=lambda each: each.outcome)
        return best.plan

    def _corrected(self, first: FloatArray) -> "_Proposal":
        """By the last one's errors, until they stay what they are, or what is missed grows no less."""
        before = np.zeros(self._lines.start.size)
        best = last = self._proposal(first, [], before)
        for _ in range(_CORRECTIONS):
            if not last.plan.legs:
                break
            if not last.plan.misses and self._are_alike(last.bent, before, last.sizes):
                break
            before, last = last.bent, self._next(last, [])
            if last.outcome >= best.outcome and self._are_alike(last.bent, before, last.sizes):
                break
            best = min(best, last, key=lambda each: each.outcome)
        return best

    def _are_alike(self, errors: FloatArray, before: FloatArray, sizes: FloatArray) -> bool:
        """Whether they move what is aimed at by next to nothing beside what levers do.

        Where they do not, a plan misses its target or goes too far beyond it, and costs too much.
        """
        moved, off = (self._lines.rows * sizes).sum(axis=1).tolist(), (errors - before).tolist()
        return all(abs(goal.value(off)) <= _ALIKE * abs(moved[at]) for at, goal, _ in self._aims)

    def _next(self, last: "_Proposal", kept: _Chosen) -> "_Proposal":
        """Solved once more with the last one's errors, while what is `kept` of it stays.

        That is always some of the coarsest lots, so that how many there are says which.
        """
        if len(kept) not in last.following:
            sizes = self._sizes(last, kept)
            last.following[len(kept)] = self._proposal(sizes, kept, last.bent)
        return last.following[len(kept)]

    def _sizes(self, last: "_Proposal", kept: _Chosen) -> FloatArray:
        if not kept:
            return self._lines.solved(last.bent)
        fixed = np.full(len(self._levers), np.nan)
        places = {(deal.account, deal.instrument) for deal, _ in kept}
        for at, lever in enumerate(self._levers):
            if any(isinstance(m, Trade) and (m.account, m.instrument) in places for m in lever.moves):
                fixed[at] = last.sizes[at]
        return self._lines.solved(last.bent + self._lines.rounding(kept), fixed)

    def _kept(self, stays: float, last: "_Proposal") -> _Chosen:
        """Deals in lots worth more than so many of the smallest."""
        worth = [self._scene.market.lot_worth(deal.instrument) for deal, _ in last.chosen]
        least = min(worth, default=0.0)
        return [each for each, lot in zip(last.chosen, worth, strict=True) if lot > stays * least]

    def _proposal(self, sizes: FloatArray, kept: _Chosen, bent: FloatArray) -> "_Proposal":
        """Rounded to lots, but for what is `kept`, and priced exactly."""
        lines, scene, market = self._lines, self._scene, self._scene.market
        in_parts = lines.start + lines.moved(sizes)
        if kept:
            in_parts += lines.rounding(kept)
        places = {(deal.account, deal.instrument) for deal, _ in kept}
        deals = [
            deal
            for deal in deals_of(self._levers, sizes, market, scene.holdings, least=self._least)
            if (deal.account, deal.instrument) not in places
        ]
        chosen = list(zip(deals, lines.rounded(deals, in_parts + bent), strict=True))
        linear, chosen = in_parts + lines.rounding(chosen), [*kept, *chosen]
        legs = legs_of(self._levers, sizes, chosen, market, scene.holdings)
        priced = self._priced(apply_legs_as_if_done(scene.holdings, legs, market.block.universe.instruments))
        judged = lines.judged(linear, priced.figures)
        misses = tuple(self._misses(judged, in_parts + bent, sizes))
        plan = Plan(
            tuple(legs),
            market.expected_cost(legs),
            priced,
            tuple(miss for _, miss in misses),
            frozenset(number for number, _ in misses),
        )
        return _Proposal(plan, sizes, chosen, judged.bent, (judged.misses, plan.cost), {})

    def _dust(self) -> float:
        """What every policy that acts wants to trade at least; nothing is too little for a cure.

        A short option that is next to worthless costs little to close, and frees as much margin as any.
        """
        acting = [wish.stored.policy for wish in self._wishes if wish.permission is not None]
        if any(isinstance(policy, LiquidationGuard) for policy in acting):
            return 0.0
        return min((float(policy.guards.minimum_notional) for policy in acting), default=0.0)

    def _coarse_lots(self, deals: Iterable[Deal]) -> FloatArray:
        """Lots of the levers whose lots are worth as much as any of which only few are traded, else 0."""
        market = self._scene.market
        few = [
            market.lot_worth(deal.instrument)
            for deal in deals
            if abs(deal.wanted) < _MANY * float(market.instrument(deal.instrument).lot_size)
        ]
        least = min(few, default=inf)
        lots = []
        for lever in self._levers:
            trade = None if lever.lot else lever.trade
            coarse = trade is not None and market.lot_worth(trade.instrument) >= least
            lots.append(float(market.instrument(trade.instrument).lot_size) if trade and coarse else 0.0)
        return np.array(lots)

    def _misses(self, judged: Judged, in_parts: FloatArray, sizes: FloatArray) -> Iterable[tuple[int, Miss]]:
        figures, values = judged.figures, judged.values.tolist()
        for at, goal, wish in self._aims:
            value = values[at]
            if not outside(value, goal.accepted) <= 0.0:
                wanted = goal.aim[0] if value < goal.aim[0] else goal.aim[1]
                yield (
                    goal.policy,
                    Miss(
                        wish.stored.id,
                        goal.figure,
                        metric_text(goal.reading(wanted, figures)),
                        metric_text(goal.reading(value, figures)),
                        self._why(at, value, in_parts, sizes),
                    ),
                )

    def _why(self, number: int, value: float, in_parts: FloatArray, sizes: FloatArray) -> MissReason:
        """What stands in the way of the levers that would bring a goal nearer."""
        goal = self._goals[number]
        if isnan(value):
            return MissReason.PRICE_UNKNOWN
        sign = 1.0 if value < goal.accepted[0] else -1.0
        nearer = sign * self._lines.pulls[number]
        useful = np.flatnonzero(nearer > 0.0).tolist()
        if not useful:
            return MissReason.NO_PERMITTED_ACTION
        bound = self._bound(in_parts)
        free = [
            at
            for at in useful
            if sizes[at] < self._levers[at].upper * (1.0 - _NEARLY)
            and not any(blocks[at] for figure, blocks in bound.items() if figure != _FREE_MARGIN)
        ]
        if not free:
            trades = any(bound[figure][useful].any() for figure in _OF_TRADES if figure in bound)
            return MissReason.TRADE_LIMIT if trades else self._levers[useful[0]].limit
        if outside(goal.value(in_parts), goal.accepted) <= 0.0:
            return MissReason.LOT_ROUNDING
        if _FREE_MARGIN in bound and bound[_FREE_MARGIN][free].all():
            return MissReason.VENUE_LIMIT
        return MissReason.HIGHER_PRIORITY

    def _bound(self, in_parts: FloatArray) -> dict[str, BoolArray]:
        """By what must hold, which levers it does not let move on: of what may be traded, by a lot."""
        lines, found = self._lines, dict[str, BoolArray]()
        lots = np.array([self._lot(lever) for lever in self._levers])
        for at, hard in enumerate(self._goals):
            if hard.policy == _HARD:
                size = sum(abs(float(in_parts[term]) * weight) for term, weight in hard.terms)
                left = hard.value(in_parts) - hard.aim[0]
                step = lines.rows[at] * lots if hard.figure in _OF_TRADES else 0.0
                binds = (lines.rows[at] < 0.0) & (left + step <= _NEARLY * max(size, _NEARLY))
                found[hard.figure] = found.get(hard.figure, False) | binds
        return found

    def _lot(self, lever: Lever) -> float:
        """Of the one trade that it is, or that it is around; else 0."""
        trades = [move for move in lever.moves if isinstance(move, Trade)]
        if len(trades) != 1:
            return 0.0
        (trade,) = trades
        return float(self._scene.market.instrument(trade.instrument).lot_size) / abs(trade.contracts)


class _Proposal(NamedTuple):
    """`bent`: by how much exact figures are off the straight lines. The less an outcome, the better.

    `following` are those that were made from it, by how many of its deals stayed.
    """

    plan: Plan
    sizes: FloatArray
    chosen: _Chosen
    bent: FloatArray
    outcome: tuple[Score, float]
    following: "dict[int, _Proposal]"


_FREE_MARGIN = "free_margin"
_OF_TRADES = ("traded", "turnover")
"""Resources: what a policy may trade of one instrument, and of all."""
_NEARLY = 1e-9
_CORRECTIONS = 8
_ALIKE = 0.02
_COARSE = 5.0
"""Times the smallest lot: what is traded in larger ones is rounded before the rest."""
_MANY = 50
"""Lots: of so many, a rounded one makes no difference that is worth a search."""


def _that_stand(goals: Sequence[Goal], wishes: Sequence[Wish]) -> list[Goal]:
    """Without those that yield to another policy that acts on the same figure."""
    acting = {wish.number for wish in wishes if wish.permission is not None}
    taken = {goal.terms[0][0] for goal in goals if goal.policy in acting and not goal.yields}
    return [goal for goal in goals if not goal.yields or goal.terms[0][0] not in taken]


def _hard_goals(levers: Sequence[Lever], scene: Scene) -> list[Goal]:
    """No resource is used up beyond what there is; no account is traded below its initial margin."""
    state, moving = scene.state, Counter(chain.from_iterable(lever.effects for lever in levers))
    goals = [
        Goal(_HARD, 0, name, ((at, 1.0),), (0.0, inf), (0.0, inf))
        for name, at in state.resources
        if moving[at] > 1
    ]
    for account in range(state.accounts):
        equity, initial = state.within(In.BACKING, account), state.within(In.INITIAL, account)
        now = scene.at(equity) - scene.at(initial)
        if (moving[equity] or moving[initial]) and not isnan(now):
            least = min(now, 0.0)
            goals.append(
                Goal(
                    _HARD,
                    0,
                    _FREE_MARGIN,
                    ((equity, 1.0), (initial, -1.0)),
                    (least, inf),
                    (least, inf),
                )
            )
    return goals
