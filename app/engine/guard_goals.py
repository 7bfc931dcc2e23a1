"""What guards want: a ratio of margin, or a distance to liquidation."""

from collections.abc import Iterable, Iterator
from math import copysign, inf

from app.domain.metrics import MetricName
from app.domain.policies import LiquidationGuard
from app.engine.scene import ROUNDING, Goal, Row, Scene
from app.engine.state import In
from app.engine.trigger_rows import TriggerKind


def guard_goals(
    number: int, policy: LiquidationGuard, row: Row, scene: Scene, *, acts: bool
) -> Iterable[Goal]:
    if row.kind is TriggerKind.LIQUIDATION_DISTANCE:
        return _distance(number, policy, row, scene, acts=acts)
    return [_margin(number, policy, row, scene, acts=acts)]


def _margin(number: int, policy: LiquidationGuard, row: Row, scene: Scene, *, acts: bool) -> Goal:
    """Maintenance - ratio x what backs it <= 0."""
    level = policy.restore if acts else policy.trigger
    ratio = float(level if policy.metric is MetricName.MARGIN_RATIO else 1 / level)
    state = scene.state
    equity, maintenance = (state.within(figure, row.account) for figure in (In.BACKING, In.MAINTENANCE))
    terms = ((maintenance, 1.0), (equity, -ratio))
    now = scene.at(maintenance) - ratio * scene.at(equity)
    allowed = 0.0 if acts else max(now, 0.0)
    slack = ROUNDING * ratio * abs(scene.at(equity)) + ROUNDING * scene.at(maintenance)
    return Goal(
        number,
        0,
        f"{policy.metric}@{scene.account_name(row.account)}",
        terms,
        (-inf, allowed),
        (-inf, allowed + slack),
        level=float(level),
        per=((equity, 1.0),) if policy.metric is MetricName.MARGIN_RATIO else ((maintenance, -ratio),),
    )


def _distance(number: int, policy: LiquidationGuard, row: Row, scene: Scene, *, acts: bool) -> Iterator[Goal]:
    """Equity less maintenance stays positive when prices move by the distance, either way.

    Maintenance moves with the prices; options count by their delta, and the exact distance is looked at
    after.
    """
    distance = float(policy.restore if acts else policy.trigger)
    state, account = scene.state, row.account
    equity, maintenance, net = (
        state.within(figure, account) for figure in (In.EQUITY, In.MAINTENANCE, In.NET)
    )
    for move in (distance, -distance):
        terms = ((equity, 1.0), (net, move), (maintenance, -(1.0 + move)))
        now = sum(scene.at(at) * weight for at, weight in terms)
        needed = 0.0 if acts else min(now, 0.0)
        slack = ROUNDING * (abs(scene.at(equity)) + abs(scene.at(net)))
        figure = f"{policy.metric}@{scene.account_name(account)}"
        per = ((maintenance, copysign(1.0, move)), (net, -copysign(1.0, move)))
        aim, accepted = (needed, inf), (needed - slack, inf)
        yield Goal(number, 0, figure, terms, aim, accepted, level=distance, per=per)
