"""What the actions of a rule ask for, one after the other."""

from collections.abc import Iterator
from typing import assert_never

from app.domain.families.rule import Close, Hedge, MoveCollateral, Notify, Scale, SetLeverage, SetState
from app.domain.identifiers import Asset
from app.domain.metrics import MetricName
from app.domain.policies import Rule
from app.engine.levers import moved_at, place_of
from app.engine.scene import LEVERAGE_ACCURACY, ROUNDING, Goal, Scene, sized_goal, sized_positions
from app.engine.state import In, Of
from app.engine.trigger_rows import in_scope


def ruled_goals(number: int, policy: Rule, scene: Scene) -> Iterator[Goal]:
    """What its actions ask for, one after the other."""
    for action in policy.actions:
        match action:
            case Scale(factor=factor):
                yield from _scaled(number, action, float(factor), scene)
            case Close():
                yield from _scaled(number, action, 0.0, scene)
            case Hedge():
                yield from _hedged(number, action, scene)
            case SetLeverage():
                yield from _levered(number, action, scene)
            case MoveCollateral():
                yield from _moved(number, action, scene)
            case Notify() | SetState():
                continue
            case _:
                assert_never(action)


def _scaled(number: int, action: Scale | Close, factor: float, scene: Scene) -> Iterator[Goal]:
    for ordinal, position, size, unit in sized_positions(scene, action.account):
        if action.underlying not in (None, scene.market.instrument(position.instrument).underlying):
            continue
        wanted = abs(float(position.quantity)) * factor
        figure = f"position.{position.instrument}@{scene.account_name(ordinal)}"
        slack = scene.lot_of(position.instrument)
        yield sized_goal(number, 0, figure, size, unit, (wanted, wanted), slack)


def _hedged(number: int, action: Hedge, scene: Scene) -> Iterator[Goal]:
    underlying = Asset(action.underlying)
    if underlying not in scene.underlyings:
        return
    exposure = scene.underlyings.index(underlying)
    price, target = float(scene.state.prices[exposure]), float(action.target_delta)
    slack = max(scene.delta_lot_of(name) for name in action.hedge_instruments)
    figure = f"{MetricName.NET_DELTA}.{underlying}"
    at = scene.state.of(Of.DELTA, exposure)
    yield sized_goal(number, 0, figure, at, price, (target, target), slack)


def _levered(number: int, action: SetLeverage, scene: Scene) -> Iterator[Goal]:
    state, level = scene.state, float(action.leverage)
    scope = in_scope(scene.holdings.accounts, action.account)
    gross, equity = ([state.within(figure, account) for account in scope] for figure in (In.GROSS, In.EQUITY))
    worth = abs(sum(scene.at(at) for at in equity))
    terms = (*((at, 1.0) for at in gross), *((at, -level) for at in equity))
    slack = worth * LEVERAGE_ACCURACY
    name = MetricName.LEVERAGE if action.account is None else f"{MetricName.LEVERAGE}@{action.account}"
    per = tuple((at, 1.0) for at in equity)
    yield Goal(number, 0, str(name), terms, (0.0, 0.0), (-slack, slack), level=level, per=per)


def _moved(number: int, action: MoveCollateral, scene: Scene) -> Iterator[Goal]:
    places = [place_of(scene.holdings, name) for name in (action.source, action.destination)]
    value, amount = scene.market.value_of(Asset(action.asset)), float(action.amount)
    if not value > 0.0 or places[0] == places[1]:
        return
    at = moved_at(scene.state, places[0], places[1], Asset(action.asset))
    figure = f"moved.{action.asset}"
    yield sized_goal(number, 0, figure, at, value, (amount, amount), ROUNDING * amount)
