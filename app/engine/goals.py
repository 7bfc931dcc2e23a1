"""What policies want of a portfolio's figures: rows of the programme.

A policy that fired aims at its target. One that did not wants to stay where it may be, or at least not
farther out than it already is: so that no plan serves one policy by breaking another. A goal is met where
the figure, priced exactly, is inside `accepted`: wider than the aim where lots and rounding keep it from
being hit.
"""

from collections.abc import Iterable, Iterator, Sequence
from math import copysign, inf, isnan
from typing import assert_never

import numpy as np
from msgspec import Struct

from app.domain.families.delta_neutral import HedgeTo
from app.domain.families.rule import (
    Close,
    Hedge,
    MoveCollateral,
    Notify,
    Scale,
    SetLeverage,
    SetState,
)
from app.domain.identifiers import Asset, InstrumentId
from app.domain.metrics import MetricName
from app.domain.policies import (
    AnyPolicy,
    CapitalEfficiency,
    DeltaNeutral,
    GammaBand,
    LeverageBand,
    LiquidationGuard,
    Rule,
    StressResponse,
    VolatilityTarget,
)
from app.domain.portfolios import Portfolio, Position
from app.engine.levers import Market, moved_at, place_of, size_of
from app.engine.memory import PolicyMemory
from app.engine.state import In, Of, State
from app.engine.trigger_rows import NONE, TriggerKind, in_scope
from app.quant.arrays import FloatArray

_ROUNDING = 1e-6
"""Collateral moves in steps of 1e-8 and prices are floats: a level is reached to this fraction."""

Interval = tuple[float, float]
Terms = tuple[tuple[int, float], ...]


class Goal(Struct, frozen=True):
    """`terms` times the figures, in the valuation currency, to be inside `aim`.

    `figure` names what it is about, and `unit` is what one of it is worth: the figure wanted is `aim` /
    `unit` where the goal is one figure alone. Where it is a ratio held against `level`, `terms` are what
    is above that, and `per` what they are a share of. A goal that `yields` is none where another policy
    acts on the same figure.
    """

    policy: int
    step: int
    figure: str
    terms: Terms
    aim: Interval
    accepted: Interval
    unit: float = 1.0
    level: float = 0.0
    per: Terms = ()
    yields: bool = False

    def value(self, figures: FloatArray) -> float:
        return float(sum(float(figures[at]) * weight for at, weight in self.terms))

    def violation(self, figures: FloatArray) -> float:
        """How far outside of what is accepted."""
        value = self.value(figures)
        return max(self.accepted[0] - value, value - self.accepted[1], 0.0)

    def reading(self, value: float, figures: FloatArray) -> float:
        """The figure of the registry that a value stands for."""
        if not self.per:
            return value / self.unit
        share = float(sum(float(figures[at]) * weight for at, weight in self.per))
        return self.level + value / share if share else inf


class Row(Struct, frozen=True):
    """A trigger as it was observed."""

    kind: TriggerKind
    exposure: int
    account: int
    target: float
    value: float
    low: float
    high: float
    fired: bool


class Scene(Struct, frozen=True):
    """What goals are made from."""

    state: State
    market: Market
    holdings: Portfolio
    underlyings: tuple[Asset, ...]

    def account_name(self, ordinal: int) -> str:
        return self.holdings.accounts[ordinal].name

    def at(self, index: int) -> float:
        return self.state.value(index)

    def worth_of(self, name: InstrumentId) -> float:
        """A contract's delta in value, its premium where that is more; NaN where a price is not known."""
        instrument = self.market.instrument(name)
        unit = self.market.unit(instrument)
        underlying = self.market.value_of(Asset(instrument.underlying))
        return max(
            abs(unit.delta) * underlying, unit.notional * self.market.value_of(instrument.settlement_asset)
        )

    def lot_of(self, name: InstrumentId) -> float:
        return float(self.market.instrument(name).lot_size)

    def greek_lots_of(self, names: Iterable[str], figure: Of) -> float:
        """Dollar gamma or vega of one lot of each."""
        total = 0.0
        for name in names:
            instrument = self.market.instrument(name)
            unit, worth = self.market.unit(instrument), self.market.value_of(Asset(instrument.underlying))
            greek = unit.gamma_per_percent if figure is Of.DOLLAR_GAMMA else unit.vega_per_point
            total += abs(greek) * worth * float(instrument.lot_size)
        return total

    def delta_lot_of(self, name: str) -> float:
        instrument = self.market.instrument(name)
        return abs(self.market.unit(instrument).delta) * float(instrument.lot_size)


def goals_of(
    number: int, policy: AnyPolicy, rows: Sequence[Row], memory: PolicyMemory, scene: Scene, *, acts: bool
) -> list[Goal]:
    """Of one policy. `acts`: it fired and may act; else what its rows rest in has to be kept."""
    known = [row for row in rows if not isnan(row.value)]
    match policy:
        case DeltaNeutral():
            return [_delta(number, policy, row, scene, acts=acts and row.fired) for row in known]
        case LiquidationGuard():
            return [g for row in known for g in _guarded(number, policy, row, scene, acts=acts and row.fired)]
        case LeverageBand():
            return [
                g for row in known for g in _leverage(number, policy, row, scene, acts=acts and row.fired)
            ]
        case GammaBand():
            return [goal for row in known for goal in _greek(number, policy, row, scene, acts=acts)]
        case CapitalEfficiency():
            return [g for row in known for g in _health(number, policy, row, scene, acts=acts and row.fired)]
        case VolatilityTarget():
            return [g for row in known for g in _exposed(number, policy, row, scene, acts=acts and row.fired)]
        case StressResponse():
            return list(_shrunk(number, policy, known, memory, scene, acts=acts))
        case Rule():
            return list(_ruled(number, policy, scene)) if acts else []
        case _:
            assert_never(policy)


def _guarded(number: int, policy: LiquidationGuard, row: Row, scene: Scene, *, acts: bool) -> Iterable[Goal]:
    if row.kind is TriggerKind.LIQUIDATION_DISTANCE:
        return _distance(number, policy, row, scene, acts=acts)
    return [_margin(number, policy, row, scene, acts=acts)]


def _delta(number: int, policy: DeltaNeutral, row: Row, scene: Scene, *, acts: bool) -> Goal:
    """Met to a lot of each hedge instrument, inside the band."""
    price = float(scene.state.prices[row.exposure])
    band = (row.low, row.high)
    if not acts:
        aim = accepted = (min(row.low, row.value), max(row.high, row.value))
    else:
        edges = band if policy.hedge_to is HedgeTo.BAND_EDGE else (row.target, row.target)
        aim = _toward(row.value, edges, float(policy.hedging_ratio))
        lots = sum(scene.delta_lot_of(name) for name in policy.hedge_instruments)
        slack = lots + _ROUNDING * max(abs(row.value), abs(aim[0]))
        low, high = min(row.low, aim[0]), max(row.high, aim[1])
        accepted = (max(low, aim[0] - slack), min(high, aim[1] + slack))
    return Goal(
        number,
        0,
        f"{MetricName.NET_DELTA}.{scene.underlyings[row.exposure]}",
        ((scene.state.of(Of.DELTA, row.exposure), price),),
        (aim[0] * price, aim[1] * price),
        (accepted[0] * price, accepted[1] * price),
        price,
    )


def _toward(value: float, edges: Interval, share: float) -> Interval:
    """The nearest of the edges, approached by a share of the way (more than 1 goes past it)."""
    nearest = min(max(value, edges[0]), edges[1])
    there = value + share * (nearest - value)
    return there, there


def _margin(number: int, policy: LiquidationGuard, row: Row, scene: Scene, *, acts: bool) -> Goal:
    """Maintenance - ratio x what backs it <= 0."""
    level = policy.restore if acts else policy.trigger
    ratio = float(level if policy.metric is MetricName.MARGIN_RATIO else 1 / level)
    state = scene.state
    equity, maintenance = (state.within(figure, row.account) for figure in (In.BACKING, In.MAINTENANCE))
    terms = ((maintenance, 1.0), (equity, -ratio))
    now = scene.at(maintenance) - ratio * scene.at(equity)
    allowed = 0.0 if acts else max(now, 0.0)
    slack = _ROUNDING * ratio * abs(scene.at(equity)) + _ROUNDING * scene.at(maintenance)
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
        slack = _ROUNDING * (abs(scene.at(equity)) + abs(scene.at(net)))
        figure = f"{policy.metric}@{scene.account_name(account)}"
        per = ((maintenance, copysign(1.0, move)), (net, -copysign(1.0, move)))
        aim, accepted = (needed, inf), (needed - slack, inf)
        yield Goal(number, 0, figure, terms, aim, accepted, level=distance, per=per)


def _leverage(number: int, policy: LeverageBand, row: Row, scene: Scene, *, acts: bool) -> Iterator[Goal]:
    """Gross - level x equity, from both sides, or from the one that the policy acts on."""
    state = scene.state
    scope = range(state.accounts) if row.account == NONE else [row.account]
    gross = [state.within(In.GROSS, account) for account in scope]
    equity = [state.within(In.EQUITY, account) for account in scope]
    worth = abs(sum(scene.at(at) for at in equity))
    name = "" if row.account == NONE else f"@{scene.account_name(row.account)}"
    low, high = row.low, row.high
    if acts:
        low = high = recentred(policy, row.value)
    for level, below in ((high, True), (low, False)):
        terms = (*((at, 1.0) for at in gross), *((at, -level) for at in equity))
        now = sum(scene.at(at) * weight for at, weight in terms)
        slack = worth * _LEVERAGE_ACCURACY if acts else _ROUNDING * worth
        if below:
            edge = 0.0 if acts else max(now, 0.0)
            aim, accepted = (-inf, edge), (-inf, edge + slack)
        else:
            edge = 0.0 if acts else min(now, 0.0)
            aim, accepted = (edge, inf), (edge - slack, inf)
        per = tuple((at, 1.0) for at in equity)
        yield Goal(number, 0, f"{MetricName.LEVERAGE}{name}", terms, aim, accepted, level=level, per=per)


_LEVERAGE_ACCURACY = 5e-3


def recentred(policy: LeverageBand, current: float) -> float:
    """max(minimum, min(maximum, current x (1 - speed) + target x speed))."""
    speed, target = float(policy.recentring_speed), float(policy.target)
    if current == inf:
        return float(policy.maximum)
    moved = current * (1.0 - speed) + target * speed
    return max(float(policy.minimum), min(float(policy.maximum), moved))


def _greek(number: int, policy: GammaBand, row: Row, scene: Scene, *, acts: bool) -> Iterator[Goal]:
    """Back to a share of the limit; and the delta stays where it was, which comes right after."""
    figure, name = (
        (Of.DOLLAR_GAMMA, MetricName.DOLLAR_GAMMA)
        if row.kind is TriggerKind.DOLLAR_GAMMA
        else (Of.DOLLAR_VEGA, MetricName.DOLLAR_VEGA)
    )
    state, underlying = scene.state, scene.underlyings[row.exposure]
    low, high = (min(row.low, row.value), max(row.high, row.value))
    accepted = low, high
    if acts:
        restore = float(policy.restore)
        low, high = (_inside(limit, restore) for limit in (row.low, row.high))
        slack = scene.greek_lots_of(policy.options, figure) + _ROUNDING * abs(row.value)
        accepted = max(low - slack, row.low), min(high + slack, row.high)
    terms = ((state.of(figure, row.exposure), 1.0),)
    yield Goal(number, 0, f"{name}.{underlying}", terms, (low, high), accepted)
    if acts and policy.hedge_instruments:
        price = float(state.prices[row.exposure])
        delta = state.of(Of.DELTA, row.exposure)
        kept = scene.at(delta) * price
        lots = sum(scene.delta_lot_of(name) for name in policy.hedge_instruments)
        slack = lots * price + _ROUNDING * scene.at(state.of(Of.GROSS, row.exposure))
        yield Goal(
            number,
            1,
            f"{MetricName.NET_DELTA}.{underlying}",
            ((delta, price),),
            (kept, kept),
            (kept - slack, kept + slack),
            price,
            yields=True,
        )


def _inside(limit: float, restore: float) -> float:
    return limit if np.isinf(limit) else limit * restore


def _health(number: int, policy: CapitalEfficiency, row: Row, scene: Scene, *, acts: bool) -> Iterator[Goal]:
    """Backing - health x maintenance: no pocket starved, and after that none idle."""
    state, name = scene.state, scene.account_name(row.account)
    pocket = next(pocket for pocket in policy.pockets if pocket.account == name)
    equity, backing, maintenance = (
        state.within(figure, row.account) for figure in (In.EQUITY, In.BACKING, In.MAINTENANCE)
    )
    figure = f"{MetricName.HEALTH_FACTOR}@{name}"
    slack = _ROUNDING * abs(scene.at(equity))
    floor = ((equity, 1.0),)
    starves = acts and row.value < row.low
    health = float(pocket.target_health if starves else pocket.minimum_health)
    terms = ((backing, 1.0), (maintenance, -health))
    now = scene.at(backing) - health * scene.at(maintenance)
    needed = 0.0 if starves else min(now, 0.0)
    per = ((maintenance, 1.0),)
    yield Goal(number, 0, figure, terms, (needed, inf), (needed - slack, inf), level=health, per=per)
    least = min(float(pocket.floor_value), scene.at(equity))
    yield Goal(number, 0, f"{MetricName.EQUITY}@{name}", floor, (least, inf), (least - slack, inf))
    if acts and row.value > row.high:
        target, kept = float(pocket.target_health), float(pocket.floor_value)
        required = scene.at(maintenance)
        yield Goal(
            number,
            1,
            figure,
            ((backing, 1.0), (maintenance, -target)),
            (-inf, max(kept - target * required, 0.0)),
            (-inf, max(kept, float(pocket.maximum_health) * required) - target * required),
            level=target,
            per=per,
        )


def _exposed(number: int, policy: VolatilityTarget, row: Row, scene: Scene, *, acts: bool) -> Iterator[Goal]:
    """|delta| x price - leverage allowed x equity = 0; the sign of the delta stays."""
    state, delta = scene.state, scene.state.of(Of.DELTA, row.exposure)
    price, held = float(state.prices[row.exposure]), scene.at(delta)
    scope = range(state.accounts) if row.account == NONE else [row.account]
    equity = [state.within(In.EQUITY, account) for account in scope]
    worth = sum(scene.at(at) for at in equity)
    if not (worth > 0.0 and row.value < inf):
        return
    allowed = abs(held) * price / (row.value * worth)
    lots = sum(scene.delta_lot_of(traded) for traded in _traded_for(policy, scene))
    name = f"share_of_target.{scene.underlyings[row.exposure]}"
    for share, below in ((row.high, True), (row.low, False)):
        level = allowed if acts else allowed * (max if below else min)(share, row.value)
        terms = ((delta, price if held > 0.0 else -price), *((at, -level) for at in equity))
        slack = worth * allowed * _ROUNDING
        if acts:
            slack = min(slack + lots * price, worth * allowed * abs(share - 1.0))
        aim, accepted = ((-inf, 0.0), (-inf, slack)) if below else ((0.0, inf), (-slack, inf))
        per = tuple((at, allowed) for at in equity)
        yield Goal(number, 0, name, terms, aim, accepted, level=1.0, per=per)


def _traded_for(policy: VolatilityTarget, scene: Scene) -> Iterator[str]:
    if policy.trade_instruments:
        yield from policy.trade_instruments
        return
    for ordinal in in_scope(scene.holdings.accounts, policy.account):
        for position in scene.holdings.accounts[ordinal].positions:
            if scene.market.instrument(position.instrument).underlying == policy.underlying:
                yield position.instrument


def tier_of(memory: PolicyMemory) -> int:
    """0 is calm."""
    return int(memory.registers[0]) if memory.registers else 0


def tier_after(policy: StressResponse, rows: Sequence[Row], tier: int) -> int:
    """Up to the highest tier that the metric has passed; down by one at a time."""
    for row in rows:
        if row.fired and row.value > row.high:
            return max(at for at, each in enumerate(policy.tiers, start=1) if row.value >= float(each.above))
        if row.fired and row.value < row.low:
            return tier - 1
    return tier


def _shrunk(
    number: int,
    policy: StressResponse,
    rows: Sequence[Row],
    memory: PolicyMemory,
    scene: Scene,
    *,
    acts: bool,
) -> Iterator[Goal]:
    """Positions at a share of what they were before the stress; none above it meanwhile."""
    tier = tier_of(memory)
    after = tier_after(policy, rows, tier) if acts else tier
    rises = acts and after < tier
    if (not acts and tier == 0) or (rises and not policy.re_risk):
        return
    share = float(policy.tiers[after - 1].exposure_multiplier) if after else 1.0
    bases = {(account, name): size for account, name, size in memory.bases}
    for ordinal, position, size, unit in sized_positions(scene, policy.account):
        account = str(scene.holdings.accounts[ordinal].id)
        base = bases.get((account, position.instrument), abs(float(position.quantity)))
        wanted = base * share
        now = scene.at(size)
        high = wanted if acts else max(wanted, now)
        aim = (wanted if rises else -inf, high)
        slack = max(_ROUNDING * base, scene.lot_of(position.instrument))
        figure = f"position.{position.instrument}@{scene.account_name(ordinal)}"
        yield sized_goal(number, 0, figure, size, unit, aim, slack)


def sized_positions(scene: Scene, account: str | None) -> Iterator[tuple[int, Position, int, float]]:
    """Positions in scope: the account's ordinal, the position, where its size stands, a contract's value."""
    for ordinal in in_scope(scene.holdings.accounts, account):
        for position in scene.holdings.accounts[ordinal].positions:
            unit = scene.worth_of(position.instrument)
            if unit > 0.0:
                size = size_of(scene.state, scene.holdings, ordinal, position.instrument)
                yield ordinal, position, size, unit


def sized_goal(
    number: int, step: int, figure: str, size: int, unit: float, aim: Interval, slack: float
) -> Goal:
    return Goal(
        number,
        step,
        figure,
        ((size, unit),),
        (aim[0] * unit, aim[1] * unit),
        ((aim[0] - slack) * unit, (aim[1] + slack) * unit),
        unit,
    )


def _ruled(number: int, policy: Rule, scene: Scene) -> Iterator[Goal]:
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
    slack = worth * _LEVERAGE_ACCURACY
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
    yield sized_goal(number, 0, figure, at, value, (amount, amount), _ROUNDING * amount)
