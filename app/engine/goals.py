"""What policies want of a portfolio's figures: rows of the programme.

A policy that fired aims at its target. One that did not wants to stay where it may be, or at least not
farther out than it already is: so that no plan serves one policy by breaking another. A goal is met where
the figure, priced exactly, is inside `accepted`: wider than the aim where lots and rounding keep it from
being hit.
"""

from collections.abc import Iterator, Sequence
from math import inf, isnan
from typing import assert_never

import numpy as np

from app.domain.families.delta_neutral import HedgeTo
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
from app.engine.guard_goals import guard_goals
from app.engine.memory import PolicyMemory
from app.engine.rule_goals import ruled_goals
from app.engine.scene import (
    LEVERAGE_ACCURACY,
    ROUNDING,
    Goal,
    Interval,
    Row,
    Scene,
    sized_goal,
    sized_positions,
)
from app.engine.state import In, Of
from app.engine.tiers import tier_after, tier_of
from app.engine.trigger_rows import NONE, TriggerKind, in_scope
from app.quant.leverage import recentred


def goals_of(
    number: int, policy: AnyPolicy, rows: Sequence[Row], memory: PolicyMemory, scene: Scene, *, acts: bool
) -> list[Goal]:
    """Of one policy. `acts`: it fired and may act; else what its rows rest in has to be kept."""
    known = [row for row in rows if not isnan(row.value)]
    match policy:
        case DeltaNeutral():
            return [_delta(number, policy, row, scene, acts=acts and row.fired) for row in known]
        case LiquidationGuard():
            return [
                g for row in known for g in guard_goals(number, policy, row, scene, acts=acts and row.fired)
            ]
        case LeverageBand():
            return [
                g for row in known for g in _leverage(number, policy, row, scene, acts=acts and row.fired)
            ]
        case GammaBand():
            return [goal for row in known for goal in _greek(number, policy, row, scene, acts=acts)]
        case CapitalEfficiency():
            return [goal for row in known for goal in _health(number, policy, row, scene, acts=acts)]
        case VolatilityTarget():
            return [g for row in known for g in _exposed(number, policy, row, scene, acts=acts and row.fired)]
        case StressResponse():
            return list(_shrunk(number, policy, known, memory, scene, acts=acts))
        case Rule():
            return list(ruled_goals(number, policy, scene)) if acts else []
        case _:
            assert_never(policy)


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
        slack = lots + ROUNDING * max(abs(row.value), abs(aim[0]))
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
        low = high = _wanted_leverage(policy, row.value)
    for level, below in ((high, True), (low, False)):
        terms = (*((at, 1.0) for at in gross), *((at, -level) for at in equity))
        now = sum(scene.at(at) * weight for at, weight in terms)
        slack = worth * LEVERAGE_ACCURACY if acts else ROUNDING * worth
        if below:
            edge = 0.0 if acts else max(now, 0.0)
            aim, accepted = (-inf, edge), (-inf, edge + slack)
        else:
            edge = 0.0 if acts else min(now, 0.0)
            aim, accepted = (edge, inf), (edge - slack, inf)
        per = tuple((at, 1.0) for at in equity)
        yield Goal(number, 0, f"{MetricName.LEVERAGE}{name}", terms, aim, accepted, level=level, per=per)


_SHARE_ACCURACY = 1e-4


def _wanted_leverage(policy: LeverageBand, current: float) -> float:
    level = recentred(
        leverages=current,
        targets=float(policy.target),
        minimums=float(policy.minimum),
        maximums=float(policy.maximum),
        speeds=float(policy.recentring_speed),
    )
    return float(level)


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
        slack = scene.greek_lots_of(policy.options, figure) + ROUNDING * abs(row.value)
        accepted = max(low - slack, row.low), min(high + slack, row.high)
    terms = ((state.of(figure, row.exposure), 1.0),)
    yield Goal(number, 0, f"{name}.{underlying}", terms, (low, high), accepted)
    if acts and policy.hedge_instruments:
        price = float(state.prices[row.exposure])
        delta = state.of(Of.DELTA, row.exposure)
        kept = scene.at(delta) * price
        lots = sum(scene.delta_lot_of(name) for name in policy.hedge_instruments)
        slack = lots * price + ROUNDING * scene.at(state.of(Of.GROSS, row.exposure))
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


_STEPS_TO_TARGET = 4


def _health(number: int, policy: CapitalEfficiency, row: Row, scene: Scene, *, acts: bool) -> Iterator[Goal]:
    """Backing - health x maintenance: no pocket starved, and after that none idle.

    Where there is too little for all targets, nobody is brought farther up the way from his minimum to his
    target by a step than the others are left: whoever gave down to his minimum would be the next to starve,
    and take it back.
    """
    state, name = scene.state, scene.account_name(row.account)
    pocket = next(pocket for pocket in policy.pockets if pocket.account == name)
    equity, backing, maintenance = (
        state.within(figure, row.account) for figure in (In.EQUITY, In.BACKING, In.MAINTENANCE)
    )
    figure = f"{MetricName.HEALTH_FACTOR}@{name}"
    slack = ROUNDING * abs(scene.at(equity))
    floor = ((equity, 1.0),)
    minimum, wanted = float(pocket.minimum_health), float(pocket.target_health)
    per = ((maintenance, 1.0),)

    def at_least(health: float, level: int, *, restored: bool) -> Goal:
        terms = ((backing, 1.0), (maintenance, -health))
        now = scene.at(backing) - health * scene.at(maintenance)
        needed = 0.0 if restored else min(now, 0.0)
        return Goal(number, level, figure, terms, (needed, inf), (needed - slack, inf), level=health, per=per)

    starves = acts and row.fired and row.value < row.low
    yield at_least(minimum, 0, restored=starves)
    least = min(float(pocket.floor_value), scene.at(equity))
    yield Goal(number, 0, f"{MetricName.EQUITY}@{name}", floor, (least, inf), (least - slack, inf))
    for step in range(1, _STEPS_TO_TARGET + 1) if acts else ():
        yield at_least(minimum + (wanted - minimum) * step / _STEPS_TO_TARGET, step, restored=starves)
    if acts and row.fired and row.value > row.high:
        kept, required = float(pocket.floor_value), scene.at(maintenance)
        yield Goal(
            number,
            _STEPS_TO_TARGET + 1,
            figure,
            ((backing, 1.0), (maintenance, -wanted)),
            (-inf, max(kept - wanted * required, 0.0)),
            (-inf, max(kept, float(pocket.maximum_health) * required) - wanted * required),
            level=wanted,
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
        slack = worth * allowed * ROUNDING
        if acts:
            slack = worth * allowed * _SHARE_ACCURACY + lots * price
            slack = min(slack, worth * allowed * abs(share - 1.0))
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
        slack = max(ROUNDING * base, scene.lot_of(position.instrument))
        figure = f"position.{position.instrument}@{scene.account_name(ordinal)}"
        yield sized_goal(number, 0, figure, size, unit, aim, slack)
