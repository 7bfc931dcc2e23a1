"""What guards want: a ratio of margin, or a distance to liquidation."""

from collections.abc import Iterable, Iterator
from math import copysign, inf

from app.domain.identifiers import Asset
from app.domain.metrics import MetricName
from app.domain.policies import LiquidationGuard
from app.domain.portfolios import MarginMode
from app.engine.levers import size_of
from app.engine.scene import ROUNDING, Goal, Row, Scene, Terms
from app.engine.state import In
from app.engine.trigger_rows import TriggerKind


def figure_name(policy: LiquidationGuard) -> str:
    """Not that of the registry where prices are taken against the account."""
    return f"adverse_{policy.metric}" if policy.confidence_multiple else policy.metric


def guard_goals(
    number: int, policy: LiquidationGuard, row: Row, scene: Scene, *, acts: bool
) -> Iterable[Goal]:
    if row.kind is not TriggerKind.LIQUIDATION_DISTANCE:
        return [_margin(number, policy, row, scene, acts=acts)]
    if scene.holdings.accounts[row.account].margin_mode is MarginMode.LENDING:
        return _distance_of_loan(number, policy, row, scene, acts=acts)
    return _distance(number, policy, row, scene, acts=acts)


def _margin(number: int, policy: LiquidationGuard, row: Row, scene: Scene, *, acts: bool) -> Goal:
    """Maintenance - ratio x what backs it <= 0, at prices that are against the account by what the row says.

    What is traded has the spread of what is held, and collateral that of the collateral there is.
    """
    level = policy.restore if acts else policy.trigger
    ratio = float(level if policy.metric is MetricName.MARGIN_RATIO else 1 / level)
    state = scene.state
    equity, maintenance = (state.within(figure, row.account) for figure in (In.BACKING, In.MAINTENANCE))
    required, backed = 1.0 + row.of_maintenance, 1.0 - row.of_backing
    terms: Terms = ((maintenance, required), (equity, -ratio * backed))
    now = required * scene.at(maintenance) - ratio * backed * scene.at(equity)
    backs: Terms = ((equity, backed),)
    if row.of_gross:
        gross = state.within(In.GROSS, row.account)
        terms, backs = (*terms, (gross, ratio * row.of_gross)), (*backs, (gross, -row.of_gross))
        now += ratio * row.of_gross * scene.at(gross)
    allowed = 0.0 if acts else max(now, 0.0)
    slack = ROUNDING * ratio * abs(scene.at(equity)) + ROUNDING * scene.at(maintenance)
    return Goal(
        number,
        0,
        f"{figure_name(policy)}@{scene.account_name(row.account)}",
        terms,
        (-inf, allowed),
        (-inf, allowed + slack),
        level=float(level),
        per=backs if policy.metric is MetricName.MARGIN_RATIO else ((maintenance, -ratio * required),),
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


def _distance_of_loan(
    number: int, policy: LiquidationGuard, row: Row, scene: Scene, *, acts: bool
) -> Iterator[Goal]:
    """Weighted collateral covers the debt when prices move by the distance, each alone or all together.

    In the sizes of the positions, each of which moves with its own asset.
    """
    distance = float(policy.restore if acts else policy.trigger)
    worths = list(_loan_worths(scene, row.account))
    moving = {asset for asset, _, _ in worths if scene.market.moves(asset)}
    figure = f"{policy.metric}@{scene.account_name(row.account)}"
    for moved in dict.fromkeys([frozenset(moving), *(frozenset([asset]) for asset in sorted(moving))]):
        for move in (distance, -distance):
            terms = tuple((at, worth * (1.0 + move * (asset in moved))) for asset, at, worth in worths)
            now = sum(scene.at(at) * weight for at, weight in terms)
            needed = 0.0 if acts else min(now, 0.0)
            slack = ROUNDING * sum(abs(scene.at(at) * weight) for at, weight in terms)
            per = tuple((at, -copysign(1.0, move) * worth) for asset, at, worth in worths if asset in moved)
            aim, accepted = (needed, inf), (needed - slack, inf)
            yield Goal(number, 0, figure, terms, aim, accepted, level=distance, per=per)


def _loan_worths(scene: Scene, account: int) -> Iterator[tuple[Asset, int, float]]:
    """Of each position: its asset, where its size stands, and what a unit of it counts, debt below zero."""
    for position in scene.holdings.accounts[account].positions:
        pool = scene.market.instrument(position.instrument)
        rate = float(pool.liquidation_threshold) if position.quantity > 0 else -1.0
        at = size_of(scene.state, scene.holdings, account, position.instrument)
        yield pool.settlement_asset, at, rate * scene.market.value_of(pool.settlement_asset)
