"""The arbiter: the cheapest change that brings a portfolio back to what all its policies ask for.

Policies that fired say what they aim at and what may be moved for it; the others say what has to be kept.
Together they are one programme: levers as variables, goals as rows in the order of priority, costs as the
objective. Margin and greeks are not linear, so the legs that come out are priced exactly, and what that
differs from the straight lines moves the rows before they are solved once more. A plan that does not reach
its targets says which, by how much, and why.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from math import inf, isnan

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from app.domain.adjustments import Leg, Miss, MissReason, TradeLeg
from app.domain.identifiers import Asset
from app.domain.policies import StoredPolicy
from app.domain.portfolios import Portfolio
from app.engine.closed_form import closed_form, in_turn
from app.engine.fills import apply_legs_as_if_done
from app.engine.goals import Goal, Row, Scene, goals_of
from app.engine.legs import legs_of
from app.engine.levers import Lever, Levers, Market
from app.engine.memory import PolicyMemory
from app.engine.permitted import Permission, permit
from app.engine.programme import Programme
from app.engine.rounding import metric_text
from app.engine.solver import Solver
from app.engine.state import In
from app.quant.arrays import FloatArray

_CORRECTIONS = 2
_HARD = -1
"""The level of what no policy may pass: resources and the venue's initial margin."""


class Wish(Struct, frozen=True):
    """One policy and what was observed of it; `permission` is None where it did not fire, or may not act."""

    number: int
    stored: StoredPolicy
    rows: list[Row]
    memory: PolicyMemory
    permission: Permission | None = None


class Priced(Struct, frozen=True):
    """Holdings as they would be: figures in the order of the state, triggers, and metrics in words."""

    figures: FloatArray
    rows: dict[int, list[Row]]
    metrics: dict[str, str]


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
    order = {wish.number: rank for rank, wish in enumerate(wishes)}
    return _Arrangement(wishes, goals, order, levers.all, scene, market, priced).best()


class _Arrangement:
    def __init__(
        self,
        wishes: Sequence[Wish],
        goals: list[Goal],
        order: dict[int, int],
        levers: list[Lever],
        scene: Scene,
        market: Market,
        priced: Callable[[Portfolio], Priced],
    ) -> None:
        self._wishes, self._levers, self._scene = wishes, levers, scene
        self._market, self._priced = market, priced
        self._acting = {wish.number for wish in wishes if wish.permission is not None}
        self._goals = [*_hard_goals(levers, scene), *goals]
        self._levels = [_HARD if g.policy == _HARD else 2 * order[g.policy] + g.step for g in self._goals]
        self._start = scene.state.values
        self._effects = _effects(levers, self._start.size)

    def best(self) -> Plan:
        """The first that reaches everything, or the best of a few, each corrected by the last one's error."""
        sizes = self._solved(np.zeros(self._start.size))
        best = plan = self._plan(sizes)
        for _ in range(_CORRECTIONS):
            if not plan.misses or not plan.legs:
                break
            sizes = self._solved(self._errors(plan, sizes))
            plan = self._plan(sizes)
            if not self._outcome(plan) < self._outcome(best):
                break
            best = plan
        return best

    def _errors(self, plan: Plan, sizes: FloatArray) -> FloatArray:
        """By how much the exact figures differ from the straight lines; resources are as they were."""
        errors: FloatArray = plan.after.figures - (self._start + self._moved(sizes))
        return errors

    def _moved(self, sizes: FloatArray) -> FloatArray:
        moved: FloatArray = (self._effects * sizes).sum(axis=1)
        return moved

    def _outcome(self, plan: Plan) -> tuple[tuple[float, ...], float]:
        return tuple(self._violations(plan.after.figures)), plan.cost

    def _violations(self, figures: FloatArray) -> list[float]:
        """By goal of a policy, in the order of rank."""
        soft = [(level, goal) for level, goal in zip(self._levels, self._goals, strict=True) if level >= 0]
        return [goal.violation(figures) for _, goal in sorted(soft, key=lambda each: each[0])]

    def _solved(self, errors: FloatArray) -> FloatArray:
        programme = self._programme(errors)
        found = closed_form(programme)
        if found is None:
            solution = _solver().solve(programme)
            found = solution.values if solution.solved else in_turn(programme)
        return found

    def _programme(self, errors: FloatArray) -> Programme:
        """What is missing now is what the rows ask of the levers."""
        now = self._start + errors
        matrix = np.array(
            [sum((self._effects[at] * weight for at, weight in goal.terms)) for goal in self._goals]
        ).reshape(len(self._goals), len(self._levers))
        values = np.array([goal.value(now) for goal in self._goals])
        lows, highs = np.array([goal.aim for goal in self._goals]).reshape(-1, 2).T
        return Programme(
            lower=np.zeros(len(self._levers)),
            upper=np.array([lever.upper for lever in self._levers]),
            cost=np.array([lever.cost for lever in self._levers]),
            lot=np.array([lever.lot for lever in self._levers]),
            matrix=matrix,
            low=_missing(lows, values, -inf),
            high=_missing(highs, values, inf),
            level=np.array(self._levels),
            scale=np.ones(len(self._goals)),
        )

    def _plan(self, sizes: FloatArray) -> Plan:
        scene, market = self._scene, self._market
        legs = legs_of(self._levers, sizes, market, scene.holdings.accounts)
        legs = [leg for leg in legs if not self._is_dust(leg)]
        after = apply_legs_as_if_done(scene.holdings, legs, market.block.universe.instruments)
        exact = self._priced(after)
        resources = (self._start + self._moved(sizes))[exact.figures.size :]
        priced = replace(exact, figures=np.concatenate((exact.figures, resources)))
        misses = tuple(self._misses(priced.figures, sizes))
        return Plan(
            tuple(legs),
            market.expected_cost(legs),
            priced,
            tuple(miss for _, miss in misses),
            frozenset(number for number, _ in misses),
        )

    def _is_dust(self, leg: Leg) -> bool:
        """Below what the venue takes, or below what every policy that acts wants to trade at least."""
        if not isinstance(leg, TradeLeg):
            return False
        instrument = self._market.instrument(leg.instrument)
        least = float(instrument.minimum_notional) * self._market.value_of(Asset(instrument.quote))
        guards = (wish.stored.policy.guards for wish in self._wishes if wish.permission is not None)
        wanted = min((float(guard.minimum_notional) for guard in guards), default=0.0)
        return self._market.notional(instrument, leg.quantity) < max(least, wanted)

    def _misses(self, figures: FloatArray, sizes: FloatArray) -> Iterable[tuple[int, Miss]]:
        for goal in self._goals:
            if goal.policy in self._acting and not goal.violation(figures) <= 0.0:
                wish = next(wish for wish in self._wishes if wish.number == goal.policy)
                value, edges = goal.value(figures), goal.aim
                wanted = edges[0] if value < edges[0] else edges[1]
                yield (
                    goal.policy,
                    Miss(
                        wish.stored.id,
                        goal.figure,
                        metric_text(wanted / goal.unit),
                        metric_text(value / goal.unit),
                        self._why(goal, figures, sizes),
                    ),
                )

    def _why(self, goal: Goal, figures: FloatArray, sizes: FloatArray) -> MissReason:
        """What stands in the way of the levers that would bring it nearer."""
        value = goal.value(figures)
        if isnan(value):
            return MissReason.PRICE_UNKNOWN
        sign = 1.0 if value < goal.accepted[0] else -1.0
        nearer = sign * sum((self._effects[at] * weight for at, weight in goal.terms), np.zeros(sizes.size))
        useful = np.flatnonzero(nearer > 0.0).tolist()
        if not useful:
            return MissReason.NO_PERMITTED_ACTION
        free = [at for at in useful if sizes[at] < self._levers[at].upper * (1.0 - _NEARLY)]
        if not free:
            return self._levers[useful[0]].limit
        linear = self._start + self._moved(sizes)
        if goal.violation(linear) <= 0.0:
            return MissReason.LOT_ROUNDING
        blocked = [other for other in self._goals if other.policy == _HARD and self._binds(other, linear)]
        return MissReason.VENUE_LIMIT if blocked else MissReason.HIGHER_PRIORITY

    def _binds(self, hard: Goal, figures: FloatArray) -> bool:
        size = sum(abs(float(figures[at]) * weight) for at, weight in hard.terms)
        return hard.value(figures) <= hard.aim[0] + _NEARLY * size


_NEARLY = 1e-9


def _missing(edges: FloatArray, values: FloatArray, open_end: float) -> FloatArray:
    """Of each edge; one that is open stays open, though the value be without bound too."""
    return np.where(edges == open_end, open_end, edges - np.where(edges == open_end, 0.0, values))


def _hard_goals(levers: Sequence[Lever], scene: Scene) -> list[Goal]:
    """No resource is used up beyond what there is; no account is traded below its initial margin."""
    state, figures = scene.state, scene.state.values
    goals = [
        Goal(_HARD, 0, "resource", ((at, 1.0),), (0.0, inf), (0.0, inf))
        for at in state.resources
        if sum(at in lever.effects for lever in levers) > 1
    ]
    for account in range(state.accounts):
        equity, initial = (state.within(figure, account) for figure in (In.EQUITY, In.INITIAL))
        touched = any(equity in lever.effects or initial in lever.effects for lever in levers)
        now = float(figures[equity] - figures[initial])
        if touched and not isnan(now):
            least = min(now, 0.0)
            goals.append(
                Goal(
                    _HARD,
                    0,
                    "free_margin",
                    ((equity, 1.0), (initial, -1.0)),
                    (least, inf),
                    (least, inf),
                )
            )
    return goals


def _effects(levers: Sequence[Lever], size: int) -> FloatArray:
    effects: FloatArray = np.zeros((size, len(levers)))
    for column, lever in enumerate(levers):
        for at, effect in lever.effects.items():
            effects[at, column] = effect
    return effects


@lru_cache(maxsize=1)
def _solver() -> Solver:
    """One for all programmes of a process: making it costs more than solving."""
    return Solver()
