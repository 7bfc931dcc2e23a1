"""What must hold for a view to rest: sums of figures that stay below zero, and truths that stay as they are.

Nothing fires, no account is liquidated or comes to another level of its margin ratio, and nothing is
remembered otherwise, as long as all of them do.
"""

import numpy as np

from app.engine.condition_constraints import constrain_condition
from app.engine.conditions import Opcode
from app.engine.constraint_sums import begin, line_of, sizes_of, take
from app.engine.sketches import (
    BACKING,
    DELTA,
    DOLLAR_GAMMA,
    EQUITY,
    EXPOSED,
    GAMMA,
    GROSS,
    MAINTENANCE,
    NONE,
    NOTIONAL,
    PER_ACCOUNT,
    PER_EXPOSURE,
    PRICE,
    VEGA,
    Look,
    Sums,
)
from app.engine.trigger_rows import TriggerKind
from app.quant.compiled import inlined_in_place

_DELTA, _DELTA_OF_GROSS = int(TriggerKind.DELTA), int(TriggerKind.DELTA_OF_GROSS)
_WHALLEY_WILMOTT = int(TriggerKind.DELTA_WHALLEY_WILMOTT)
_ZAKAMOULINE = int(TriggerKind.DELTA_ZAKAMOULINE)
_DOLLAR_GAMMA, _DOLLAR_VEGA = int(TriggerKind.DOLLAR_GAMMA), int(TriggerKind.DOLLAR_VEGA)
_MARGIN_RATIO, _HEALTH = int(TriggerKind.MARGIN_RATIO), int(TriggerKind.HEALTH)
_LEVERAGE, _VOLATILITY = int(TriggerKind.LEVERAGE), int(TriggerKind.VOLATILITY)
_METRIC, _RULE = int(TriggerKind.METRIC), int(TriggerKind.RULE)
_VOLATILITY_POINT = 0.01


@inlined_in_place
def constrain(look: Look, sums: Sums) -> None:
    """Of all triggers and accounts of a view. Gives lines to the figures that they ask for."""
    views, view, triggers = look.tables.views, look.number, look.tables.triggers
    accounts, exposures = sizes_of(look)
    _clear(accounts, exposures, views.condition_stop[view] - views.condition[view], sums)
    for account in range(accounts):
        _constrain_account(account, look, sums)
    for row in range(views.trigger[view], views.trigger_stop[view]):
        kind = triggers.kind[row]
        if kind in (_MARGIN_RATIO, _HEALTH):
            _constrain_margin(row, triggers.account[row], look, sums)
        elif kind in (_METRIC, _RULE):
            constrain_condition(row, look, sums)
        else:
            first, stop = 0, accounts
            if triggers.account[row] >= 0:
                first, stop = triggers.account[row], triggers.account[row] + 1
            _constrain_exposure(row, accounts, first, stop, look, sums)


@inlined_in_place
def _clear(accounts: int, exposures: int, conditions: int, sums: Sums) -> None:
    sums.asked.used[0] = sums.constraints.used[0] = sums.parts.used[0] = 0
    sums.nodes.used[0] = conditions
    for figure in range(accounts * PER_ACCOUNT + exposures * PER_EXPOSURE + conditions):
        sums.asked.line[figure] = NONE
    for node in range(conditions):
        sums.nodes.opcode[node], sums.nodes.must[node] = Opcode.UNKNOWN, False


@inlined_in_place
def _constrain_account(account: int, look: Look, sums: Sums) -> None:
    """By what liquidates it, and by the levels at which it is told."""
    table, row = look.tables.accounts, look.tables.views.account[look.number] + account
    least, most = table.calm_from[row], table.calm_below[row]
    if table.liquidates[row]:
        most = min(most, 1.0)
    _keep_rated(account, least, -1.0, look, sums)
    _keep_rated(account, most, 1.0, look, sums)


@inlined_in_place
def _constrain_margin(row: int, account: int, look: Look, sums: Sums) -> None:
    triggers, at = look.tables.triggers, look.tables.views.account[look.number] + account
    low, high = triggers.low[row], triggers.high[row]
    if triggers.kind[row] == _HEALTH:
        figure = account * PER_ACCOUNT
        backing = figure + (BACKING if look.tables.accounts.lends[at] else EQUITY)
        _keep_healthy(figure, backing, low, high, triggers.target[row], sums)
    else:
        _keep_rated(account, high, 1.0, look, sums)


@inlined_in_place
def _keep_rated(account: int, ratio: float, side: float, look: Look, sums: Sums) -> None:
    """What is to be maintained stays below (`side` 1) or above (-1) so many times what backs it."""
    figure, row = account * PER_ACCOUNT, look.tables.views.account[look.number] + account
    if np.isfinite(ratio) and look.accounts.maintenance_margin[look.account + account] != 0.0:
        begin(0.0, NONE, sums.constraints, sums.parts)  # nothing to maintain is never too much
        take(figure + MAINTENANCE, side, sums)
        take(figure + (BACKING if look.tables.accounts.lends[row] else EQUITY), -side * ratio, sums)


@inlined_in_place
def _constrain_exposure(row: int, accounts: int, first: int, stop: int, look: Look, sums: Sums) -> None:
    """And the leverage of accounts, from the first of them on."""
    triggers, number = look.tables.triggers, look.tables.triggers.exposure[row]
    kind, low, high, target = triggers.kind[row], triggers.low[row], triggers.high[row], triggers.target[row]
    exposure = accounts * PER_ACCOUNT + number * PER_EXPOSURE
    if kind == _LEVERAGE:
        _keep_levered(first, stop, low, high, sums)
    elif kind == _DELTA:
        _keep_between(exposure + DELTA, target - low, target + high, sums)
    elif kind in (_WHALLEY_WILMOTT, _ZAKAMOULINE):
        _keep_in_band(kind, exposure, target, low, high, triggers.parameters[row], sums)
    elif kind == _DELTA_OF_GROSS:
        _keep_in_share(exposure, target, low, high, sums)
    elif kind == _DOLLAR_GAMMA:
        _keep_between(exposure + DOLLAR_GAMMA, low, high, sums)
    elif kind == _DOLLAR_VEGA:
        _keep_between(exposure + VEGA, low / _VOLATILITY_POINT, high / _VOLATILITY_POINT, sums)
    elif kind == _VOLATILITY:
        at = look.exposure + number
        side = 1.0 if look.exposures.delta[at] * look.exposures.underlying_price[at] > 0.0 else -1.0
        condition = look.tables.views.condition[look.number] + triggers.condition[row]
        column = look.tables.conditions.subject[condition]
        volatility = look.market.value[look.market.standing[look.frame, column]]
        limits, at = look.tables.parameters.value, triggers.parameters[row]
        allowed = min(max(target / volatility, limits[at]), limits[at + 1])
        _keep_sized(exposure, first, stop, low * allowed, high * allowed, side, sums)


@inlined_in_place
def _keep_healthy(account: int, backing: int, low: float, high: float, floor: float, sums: Sums) -> None:
    """What backs a pocket stays between the multiples of its maintenance, and its equity above the floor."""
    for edge in range(3):
        sign = -1.0 if edge == 0 else 1.0
        begin(floor if edge == 2 else 0.0, NONE, sums.constraints, sums.parts)
        take(account + EQUITY if edge == 2 else backing, -1.0 if edge == 2 else sign, sums)
        if edge < 2:
            take(account + MAINTENANCE, -sign * (low if edge == 0 else high), sums)


@inlined_in_place
def _keep_in_share(exposure: int, target: float, below: float, above: float, sums: Sums) -> None:
    """A delta stays within shares of the gross, both in money."""
    for sign in (-1.0, 1.0):
        begin(0.0, NONE, sums.constraints, sums.parts)
        take(exposure + NOTIONAL, sign, sums)
        take(exposure + PRICE, -sign * target, sums)
        take(exposure + EXPOSED, -(below if sign < 0.0 else above), sums)


@inlined_in_place
def _keep_between(figure: int, low: float, high: float, sums: Sums) -> None:
    for sign in (-1.0, 1.0):
        edge = low if sign < 0.0 else high
        if np.isfinite(edge):
            begin(-sign * edge, NONE, sums.constraints, sums.parts)
            take(figure, sign, sums)


@inlined_in_place
def _keep_in_band(
    kind: int, exposure: int, target: float, floor: float, cap: float, parameter: int, sums: Sums
) -> None:
    """A delta stays within a band that depends on gamma and on the price."""
    constraints = sums.constraints
    for sign in (-1.0, 1.0):
        at = constraints.used[0]
        begin(-sign * target, NONE, constraints, sums.parts)
        take(exposure + DELTA, sign, sums)
        constraints.band[at], constraints.band_kind[at] = parameter, kind
        constraints.band_floor[at], constraints.band_cap[at] = floor, cap
        constraints.band_gamma[at] = line_of(exposure + GAMMA, sums.asked)
        constraints.band_price[at] = line_of(exposure + PRICE, sums.asked)


@inlined_in_place
def _keep_levered(first: int, stop: int, low: float, high: float, sums: Sums) -> None:
    """The gross of accounts stays between multiples of their equity, which stays positive."""
    for edge in range(3):
        gross = 1.0 if edge == 0 else -1.0 if edge == 1 else 0.0
        equity = -high if edge == 0 else low if edge == 1 else -1.0
        if np.isfinite(equity) and (edge != 1 or low > 0.0):
            begin(0.0, NONE, sums.constraints, sums.parts)
            for account in range(first, stop):
                take(account * PER_ACCOUNT + GROSS, gross, sums)
                take(account * PER_ACCOUNT + EQUITY, equity, sums)


@inlined_in_place
def _keep_sized(
    exposure: int, first: int, stop: int, low: float, high: float, side: float, sums: Sums
) -> None:
    """What is exposed stays between multiples of the equity, and on its side. Nothing to size is no size."""
    for edge in range(4):
        begin(0.0, NONE, sums.constraints, sums.parts)
        if edge < 3:
            take(exposure + NOTIONAL, side if edge == 0 else -side, sums)
        if edge != 2:
            weight = -high if edge == 0 else low if edge == 1 else -1.0
            for account in range(first, stop):
                take(account * PER_ACCOUNT + EQUITY, weight, sums)
