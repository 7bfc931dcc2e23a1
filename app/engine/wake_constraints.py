"""What must hold for a view to rest: sums of figures that stay below zero, and what they do over a box.

Nothing fires, and no account is liquidated, as long as all of them do.
"""

import numpy as np

from app.engine.sketches import (
    BACKING,
    BOTH_WAYS,
    DELTA,
    DOLLAR_GAMMA,
    DOWNWARDS,
    EQUITY,
    EXPOSED,
    GAMMA,
    GROSS,
    MAINTENANCE,
    MINOR_SHARE,
    NONE,
    NOTIONAL,
    PER_ACCOUNT,
    PER_EXPOSURE,
    PRICE,
    RATIO_SHARE,
    UPWARDS,
    VEGA,
    Asked,
    Constraints,
    Lines,
    Look,
    Parts,
    Sums,
    Watching,
)
from app.engine.trigger_rows import TriggerKind
from app.engine.view_watches import Role
from app.quant.arrays import FloatArray
from app.quant.compiled import inlined_in_place
from app.quant.no_trade_bands import whalley_wilmott_half_band

_DELTA, _DELTA_OF_GROSS = int(TriggerKind.DELTA), int(TriggerKind.DELTA_OF_GROSS)
_WHALLEY_WILMOTT = int(TriggerKind.DELTA_WHALLEY_WILMOTT)
_DOLLAR_GAMMA, _DOLLAR_VEGA = int(TriggerKind.DOLLAR_GAMMA), int(TriggerKind.DOLLAR_VEGA)
_MARGIN_RATIO, _HEALTH = int(TriggerKind.MARGIN_RATIO), int(TriggerKind.HEALTH)
_LEVERAGE, _VOLATILITY = int(TriggerKind.LEVERAGE), int(TriggerKind.VOLATILITY)
_MAIN, _RATIO, _MINOR = int(Role.MAIN), int(Role.RATIO), int(Role.MINOR)
_VOLATILITY_POINT = 0.01


@inlined_in_place
def constrain(look: Look, sums: Sums) -> None:
    """Of all triggers and accounts of a view. Gives lines to the figures that they ask for."""
    views, view, triggers = look.tables.views, look.number, look.tables.triggers
    accounts = views.account_stop[view] - views.account[view]
    exposures = views.exposure_stop[view] - views.exposure[view]
    sums.asked.used[0] = sums.constraints.used[0] = sums.parts.used[0] = 0
    for figure in range(accounts * PER_ACCOUNT + exposures * PER_EXPOSURE):
        sums.asked.line[figure] = NONE
    for account in range(accounts):
        if look.tables.accounts.liquidates[views.account[view] + account]:
            _constrain_account(NONE, account, look, sums)
    for row in range(views.trigger[view], views.trigger_stop[view]):
        if triggers.kind[row] in (_MARGIN_RATIO, _HEALTH):
            _constrain_account(row, triggers.account[row], look, sums)
        else:
            first, stop = 0, accounts
            if triggers.account[row] >= 0:
                first, stop = triggers.account[row], triggers.account[row] + 1
            _constrain_exposure(row, accounts, first, stop, look, sums)


@inlined_in_place
def _constrain_account(row: int, account: int, look: Look, sums: Sums) -> None:
    """By a trigger, or (`NONE`) by what liquidates it."""
    triggers, at = look.tables.triggers, look.tables.views.account[look.number] + account
    kind, low, high, floor = _MARGIN_RATIO, 0.0, 1.0, 0.0
    if row >= 0:
        kind, low, high = triggers.kind[row], triggers.low[row], triggers.high[row]
        floor = triggers.target[row]
    figure = account * PER_ACCOUNT
    backing = figure + (BACKING if look.tables.accounts.lends[at] else EQUITY)
    if kind == _HEALTH:
        _keep_healthy(figure, backing, low, high, floor, sums)
    elif high < np.inf and look.accounts.maintenance_margin[look.account + account] != 0.0:
        _keep_below(figure + MAINTENANCE, high, backing, sums)  # nothing to maintain is never too much


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
    elif kind == _WHALLEY_WILMOTT:
        _keep_in_band(exposure, target, low, high, triggers.parameters[row], sums)
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
def _keep_below(figure: int, level: float, of: int, sums: Sums) -> None:
    """`level` times another figure."""
    _begin(0.0, sums.constraints, sums.parts)
    _take(figure, 1.0, sums)
    _take(of, -level, sums)


@inlined_in_place
def _keep_healthy(account: int, backing: int, low: float, high: float, floor: float, sums: Sums) -> None:
    """What backs a pocket stays between the multiples of its maintenance, and its equity above the floor."""
    for edge in range(3):
        sign = -1.0 if edge == 0 else 1.0
        _begin(floor if edge == 2 else 0.0, sums.constraints, sums.parts)
        _take(account + EQUITY if edge == 2 else backing, -1.0 if edge == 2 else sign, sums)
        if edge < 2:
            _take(account + MAINTENANCE, -sign * (low if edge == 0 else high), sums)


@inlined_in_place
def _keep_in_share(exposure: int, target: float, below: float, above: float, sums: Sums) -> None:
    """A delta stays within shares of the gross, both in money."""
    for sign in (-1.0, 1.0):
        _begin(0.0, sums.constraints, sums.parts)
        _take(exposure + NOTIONAL, sign, sums)
        _take(exposure + PRICE, -sign * target, sums)
        _take(exposure + EXPOSED, -(below if sign < 0.0 else above), sums)


@inlined_in_place
def _keep_between(figure: int, low: float, high: float, sums: Sums) -> None:
    for sign in (-1.0, 1.0):
        edge = low if sign < 0.0 else high
        if np.isfinite(edge):
            _begin(-sign * edge, sums.constraints, sums.parts)
            _take(figure, sign, sums)


@inlined_in_place
def _keep_in_band(exposure: int, target: float, floor: float, cap: float, parameter: int, sums: Sums) -> None:
    """A delta stays within a band that grows with gamma and with the price."""
    constraints = sums.constraints
    for sign in (-1.0, 1.0):
        at = constraints.used[0]
        _begin(-sign * target, constraints, sums.parts)
        _take(exposure + DELTA, sign, sums)
        constraints.band[at], constraints.band_floor[at], constraints.band_cap[at] = parameter, floor, cap
        constraints.band_gamma[at] = _line_of(exposure + GAMMA, sums.asked)
        constraints.band_price[at] = _line_of(exposure + PRICE, sums.asked)


@inlined_in_place
def _keep_levered(first: int, stop: int, low: float, high: float, sums: Sums) -> None:
    """The gross of accounts stays between multiples of their equity, which stays positive."""
    for edge in range(3):
        gross = 1.0 if edge == 0 else -1.0 if edge == 1 else 0.0
        equity = -high if edge == 0 else low if edge == 1 else -1.0
        if np.isfinite(equity) and (edge != 1 or low > 0.0):
            _begin(0.0, sums.constraints, sums.parts)
            for account in range(first, stop):
                _take(account * PER_ACCOUNT + GROSS, gross, sums)
                _take(account * PER_ACCOUNT + EQUITY, equity, sums)


@inlined_in_place
def _keep_sized(
    exposure: int, first: int, stop: int, low: float, high: float, side: float, sums: Sums
) -> None:
    """What is exposed stays between multiples of the equity, and on its side. Nothing to size is no size."""
    for edge in range(4):
        _begin(0.0, sums.constraints, sums.parts)
        if edge < 3:
            _take(exposure + NOTIONAL, side if edge == 0 else -side, sums)
        if edge != 2:
            weight = -high if edge == 0 else low if edge == 1 else -1.0
            for account in range(first, stop):
                _take(account * PER_ACCOUNT + EQUITY, weight, sums)


@inlined_in_place
def _begin(constant: float, constraints: Constraints, parts: Parts) -> None:
    """A sum of this constant, and of all that is taken until the next begins."""
    at = constraints.used[0]
    constraints.used[0] = at + 1
    constraints.part[at] = constraints.part_stop[at] = parts.used[0]
    constraints.value[at], constraints.magnitude[at] = constant, abs(constant)
    constraints.band[at] = NONE


@inlined_in_place
def _take(figure: int, weight: float, sums: Sums) -> None:
    if weight != 0.0:
        at, parts = sums.parts.used[0], sums.parts
        parts.used[0] = sums.constraints.part_stop[sums.constraints.used[0] - 1] = at + 1
        parts.line[at], parts.weight[at] = _line_of(figure, sums.asked), weight


@inlined_in_place
def _line_of(figure: int, asked: Asked) -> int:
    """Given to it where nothing asked for it before."""
    if asked.line[figure] < 0:
        asked.line[figure] = asked.used[0]
        asked.used[0] += 1
    return int(asked.line[figure])


@inlined_in_place
def straighten(
    constraints: Constraints, parts: Parts, lines: Lines, watching: Watching, parameters: FloatArray
) -> None:
    """All of them as straight lines, once those of the figures are drawn."""
    for at in range(constraints.used[0]):
        for part in range(constraints.part[at], constraints.part_stop[at]):
            line, weight = parts.line[part], parts.weight[part]
            constraints.value[at] += weight * lines.value[line]
            constraints.magnitude[at] += abs(weight) * lines.magnitude[line]
        constraints.bends[at] = constraints.drifts[at] = constraints.still[at] = 0.0
        _lean(at, constraints, parts, lines.slope, watching)
        if constraints.band[at] >= 0:
            constraints.value[at] -= _half_band(at, 0.0, 0.0, constraints, lines.value, parameters)


@inlined_in_place
def _lean(at: int, constraints: Constraints, parts: Parts, slopes: FloatArray, watching: Watching) -> None:
    """How steeply it goes up with the box. A price may stand still while others move."""
    either = up = down = falls = 0.0
    for watch in range(watching.size):
        role, slope = watching.role[watching.first + watch], 0.0
        if role > _MINOR:
            continue
        for part in range(constraints.part[at], constraints.part_stop[at]):
            slope += parts.weight[part] * slopes[parts.line[part], watch]
        share = 1.0 if role == _MAIN else RATIO_SHARE if role == _RATIO else MINOR_SHARE
        either += share * abs(slope)
        up += max(slope, 0.0) if role == _MAIN else share * abs(slope)
        down += max(-slope, 0.0) if role == _MAIN else share * abs(slope)
        if constraints.band[at] >= 0:
            falls += share * abs(slopes[constraints.band_price[at], watch])
    constraints.steep[at, BOTH_WAYS] = either
    constraints.steep[at, UPWARDS], constraints.steep[at, DOWNWARDS] = up, down
    constraints.band_steep[at] = falls


@inlined_in_place
def weigh(width: float, constraints: Constraints, parts: Parts, lines: Lines, parameters: FloatArray) -> None:
    """What each bends and drifts up over a box of which it is known for the figures."""
    for at in range(constraints.used[0]):
        bends = drifts = 0.0
        for part in range(constraints.part[at], constraints.part_stop[at]):
            line, weight = parts.line[part], parts.weight[part]
            bends += weight * lines.rises[line] if weight > 0.0 else -weight * lines.falls[line]
            drifts += abs(weight) * lines.drifts[line]
        if constraints.band[at] >= 0:
            falls = width * constraints.band_steep[at] + lines.falls[constraints.band_price[at]]
            moves = lines.drifts[constraints.band_gamma[at]]
            drifts += _half_band(at, 0.0, 0.0, constraints, lines.value, parameters)
            drifts -= _half_band(at, moves, falls, constraints, lines.value, parameters)
        constraints.bends[at], constraints.drifts[at] = bends, drifts


@inlined_in_place
def _half_band(
    at: int, moves: float, falls: float, constraints: Constraints, values: FloatArray, parameters: FloatArray
) -> float:
    """Where gamma and price are nearest to nothing. One that is not known is taken as narrowest."""
    first, floor, cap = constraints.band[at], constraints.band_floor[at], constraints.band_cap[at]
    gamma = max(abs(values[constraints.band_gamma[at]]) - moves, 0.0)
    price = max(values[constraints.band_price[at]] - falls, 0.0)
    width = whalley_wilmott_half_band(
        gamma, price, parameters[first + 1], parameters[first], parameters[first + 2], parameters[first + 3]
    )
    known: float = floor if np.isnan(width) else min(max(width, floor), cap)
    return known
