"""What must hold for a view to rest: sums of figures that stay below zero, and truths that stay as they are.

Nothing fires, no account is liquidated and nothing is remembered otherwise, as long as all of them do. A
comparison keeps its truth while its metric stays on its side; so does a crossing, which is true only on the
frame on which it does not. A dwell keeps it with its part, until its time has come. A metric without a bound
keeps nothing: a constraint that is not known.
"""

import numpy as np

from app.engine.conditions import FIRST_ACCOUNT_OPCODE, FIRST_EXPOSURE_OPCODE, Opcode
from app.engine.sketches import (
    BACKING,
    DELTA,
    DOLLAR_GAMMA,
    EQUITY,
    EXPOSED,
    GAMMA,
    GROSS,
    INITIAL,
    MAINTENANCE,
    NONE,
    NOTIONAL,
    PER_ACCOUNT,
    PER_EXPOSURE,
    PRICE,
    VEGA,
    Asked,
    Constraints,
    Look,
    Nodes,
    Parts,
    Sums,
    Told,
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
_UNBOUNDED = np.nan
_OF_ACCOUNTS = (int(Opcode.ACCOUNT_MARGIN_RATIO), int(Opcode.ACCOUNT_HEALTH_FACTOR))
_HEALTHS = (int(Opcode.PORTFOLIO_HEALTH_FACTOR), int(Opcode.ACCOUNT_HEALTH_FACTOR))
_COMPARISONS = (int(Opcode.ABOVE), int(Opcode.AT_LEAST))
_CROSSINGS = (int(Opcode.CROSSES_ABOVE), int(Opcode.CROSSES_BELOW))
_RATIOS = (int(Opcode.PORTFOLIO_MARGIN_RATIO), int(Opcode.PORTFOLIO_LEVERAGE), _OF_ACCOUNTS[0], *_HEALTHS)
_KNOWN: dict[int, int] = {
    Opcode.PORTFOLIO_EQUITY: EQUITY,
    Opcode.PORTFOLIO_INITIAL_MARGIN: INITIAL,
    Opcode.PORTFOLIO_MAINTENANCE_MARGIN: MAINTENANCE,
    Opcode.PORTFOLIO_GROSS_NOTIONAL: EXPOSED,
    Opcode.ACCOUNT_EQUITY: EQUITY,
    Opcode.ACCOUNT_INITIAL_MARGIN: INITIAL,
    Opcode.ACCOUNT_MAINTENANCE_MARGIN: MAINTENANCE,
    Opcode.NET_DELTA: DELTA,
    Opcode.DELTA_NOTIONAL: NOTIONAL,
    Opcode.GROSS_NOTIONAL: EXPOSED,
    Opcode.GAMMA: GAMMA,
    Opcode.DOLLAR_GAMMA: DOLLAR_GAMMA,
    Opcode.VEGA: VEGA,
}
_PARTS = tuple(int(_KNOWN.get(opcode, NONE)) for opcode in range(Opcode.SUM))
"""By the operand, which of the figures of an account or an exposure it reads."""


@inlined_in_place
def constrain(look: Look, sums: Sums) -> None:
    """Of all triggers and accounts of a view. Gives lines to the figures that they ask for."""
    views, view, triggers = look.tables.views, look.number, look.tables.triggers
    accounts, exposures = _sizes(look)
    _clear(accounts, exposures, views.condition_stop[view] - views.condition[view], sums)
    for account in range(accounts):
        if look.tables.accounts.liquidates[views.account[view] + account]:
            _constrain_account(NONE, account, look, sums)
    for row in range(views.trigger[view], views.trigger_stop[view]):
        kind = triggers.kind[row]
        if kind in (_MARGIN_RATIO, _HEALTH):
            _constrain_account(row, triggers.account[row], look, sums)
        elif kind in (_METRIC, _RULE):
            _constrain_condition(row, look, sums)
        else:
            first, stop = 0, accounts
            if triggers.account[row] >= 0:
                first, stop = triggers.account[row], triggers.account[row] + 1
            _constrain_exposure(row, accounts, first, stop, look, sums)


@inlined_in_place
def _sizes(look: Look) -> tuple[int, int]:
    """How many accounts and exposures it has."""
    views, view = look.tables.views, look.number
    return views.account_stop[view] - views.account[view], views.exposure_stop[view] - views.exposure[view]


@inlined_in_place
def _clear(accounts: int, exposures: int, conditions: int, sums: Sums) -> None:
    sums.asked.used[0] = sums.constraints.used[0] = sums.parts.used[0] = 0
    sums.nodes.used[0] = conditions
    for figure in range(accounts * PER_ACCOUNT + exposures * PER_EXPOSURE + conditions):
        sums.asked.line[figure] = NONE
    for node in range(conditions):
        sums.nodes.opcode[node], sums.nodes.must[node] = Opcode.UNKNOWN, False


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
        _begin(0.0, NONE, sums.constraints, sums.parts)  # nothing to maintain is never too much
        _take(figure + MAINTENANCE, 1.0, sums)
        _take(backing, -high, sums)


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
def _constrain_condition(row: int, look: Look, sums: Sums) -> None:
    """A metric stays between its edges, a rule keeps its truth, and what it remembers stays as it is."""
    views, triggers, tables, nodes = look.tables.views, look.tables.triggers, look.tables, sums.nodes
    accounts, exposures = _sizes(look)
    told = Told(
        begin=views.condition[look.number],
        at=look.condition,
        account=look.account,
        own=views.account[look.number],
        accounts=accounts,
        exposures=exposures,
        listed=look.market.terms.option.size,
        conditions=tables.conditions,
        result=look.conditions.result,
        maintenance=look.accounts.maintenance_margin,
        margin_ratio=look.accounts.margin_ratio,
        lends=tables.accounts.lends,
    )
    offset, stop = triggers.condition[row], triggers.condition_stop[row]
    first, is_metric = views.register[look.number] + triggers.register[row], triggers.kind[row] == _METRIC
    for step in range(2 if is_metric else stop - offset):
        node, left, right, level, sign = NONE, stop - 1, NONE, 0.0, 1.0
        if is_metric:
            level, sign = (triggers.low[row], -1.0) if step == 0 else (triggers.high[row], 1.0)
            compares = np.isfinite(level)
        else:
            node = offset + step
            compares = _set_node(node, offset, node == stop - 1, told, nodes)
            left, right = nodes.left[node], nodes.right[node]
            sign = -1.0 if nodes.truth[node] == 1.0 else 1.0
            if nodes.opcode[node] in _CROSSINGS:
                known = tables.registers.value[first + tables.conditions.subject[told.begin + node]]
                right, level = NONE, tables.conditions.constant[told.begin + node]
                sign = -1.0 if known > 0.0 else 1.0
        if compares:
            _compare(node, offset, left, right, level, sign, told, sums)


@inlined_in_place
def _set_node(node: int, offset: int, is_root: bool, told: Told, nodes: Nodes) -> bool:
    """Whether it compares by itself."""
    conditions, row = told.conditions, told.begin + node
    opcode = conditions.opcode[row]
    nodes.opcode[node], nodes.truth[node] = opcode, told.result[told.at + node]
    nodes.left[node], nodes.right[node] = offset + conditions.left[row], offset + conditions.right[row]
    nodes.must[node] = is_root or opcode in _CROSSINGS
    if opcode == Opcode.DWELLS:
        nodes.must[nodes.left[node]] = True
    return opcode in _COMPARISONS or opcode in _CROSSINGS


@inlined_in_place
def _compare(
    node: int, offset: int, left: int, right: int, level: float, sign: float, told: Told, sums: Sums
) -> None:
    """That a metric, `sign` times, stays below another, or (`NONE`) below a level. Nothing is asked of what
    stands still while the view rests, known or not.
    """
    if _is_fixed(left, told) and (right < 0 or _is_fixed(right, told)):
        return
    ratio, other, opcodes = left, right, told.conditions.opcode
    if right >= 0 and opcodes[told.begin + right] in _RATIOS:
        ratio, other, sign = right, left, -sign
    if opcodes[told.begin + ratio] in _RATIOS:
        if other >= 0:
            level = _fixed(other, told)
        _keep_ratio(node, ratio, level, sign, told, sums)
        return
    _begin(-sign * level, node, sums.constraints, sums.parts)
    at, waiting, weight = left, right, sign
    while at >= 0:  # a sum is a chain, and the other side comes after it
        operand, following = at, NONE
        if opcodes[told.begin + at] == Opcode.SUM:
            operand = offset + told.conditions.right[told.begin + at]
            following = offset + told.conditions.left[told.begin + at]
        _take_operand(operand, weight, told, sums)
        if following < 0:
            following, waiting, weight = waiting, NONE, (-sign if waiting >= 0 else weight)
        at = following


@inlined_in_place
def _is_fixed(node: int, told: Told) -> bool:
    """A constant, or what is no price: any news of that wakes."""
    opcode, subject = told.conditions.opcode[told.begin + node], told.conditions.subject[told.begin + node]
    pinned: bool = opcode == Opcode.MARKET_COLUMN and subject >= told.listed
    return pinned or opcode == Opcode.CONSTANT


@inlined_in_place
def _fixed(node: int, told: Told) -> float:
    """What it is, if it stands still."""
    return float(told.result[told.at + node]) if _is_fixed(node, told) else _UNBOUNDED


@inlined_in_place
def _keep_ratio(node: int, metric: int, level: float, sign: float, told: Told, sums: Sums) -> None:
    """Ratios are positive, and over what is not positive as large as can be: a level below zero has no bound.

    The worst of all accounts stays below where all do, and above where the one does that is it now.
    """
    opcode = told.conditions.opcode[told.begin + metric]
    if not (0.0 <= level < np.inf) or opcode == Opcode.PORTFOLIO_LEVERAGE:
        _begin(0.0 if 0.0 <= level < np.inf else _UNBOUNDED, node, sums.constraints, sums.parts)
        for exposure in range(told.exposures):
            _take(told.accounts * PER_ACCOUNT + exposure * PER_EXPOSURE + EXPOSED, sign, sums)
        for account in range(told.accounts):
            _take(account * PER_ACCOUNT + EQUITY, -sign * level, sums)
        return
    healthy = opcode in _HEALTHS
    calm = (sign < 0.0) == healthy
    first, stop = 0, told.accounts
    if opcode in _OF_ACCOUNTS:
        first = told.conditions.subject[told.begin + metric]
        stop = first + 1
    elif not calm:
        for account in range(told.accounts):
            if told.margin_ratio[told.account + account] > told.margin_ratio[told.account + first]:
                first = account
        stop = first + 1
    for account in range(first, stop):
        is_idle = told.maintenance[told.account + account] == 0.0
        if calm and is_idle and (healthy or level > 0.0):
            continue
        backing = account * PER_ACCOUNT + (BACKING if told.lends[told.own + account] else EQUITY)
        _begin(0.0, node, sums.constraints, sums.parts)
        _take(account * PER_ACCOUNT + MAINTENANCE, -sign * level if healthy else sign, sums)
        _take(backing, sign if healthy else -sign * level, sums)


@inlined_in_place
def _take_operand(node: int, weight: float, told: Told, sums: Sums) -> None:
    """A figure, or those that it is the sum of; what stands still is part of the constant."""
    constraints, last = sums.constraints, sums.constraints.used[0] - 1
    fixed = _fixed(node, told)
    if not np.isnan(fixed):
        constraints.constant[last] += weight * fixed
        constraints.fixed[last] += abs(weight * fixed)
        return
    row = told.begin + node
    opcode, subject = told.conditions.opcode[row], told.conditions.subject[row]
    first, count, step = _figures_of(opcode, subject, node, told.accounts, told.exposures)
    if count == 0:
        constraints.constant[last] = _UNBOUNDED
    for number in range(count):
        _take(first + number * step, weight * told.conditions.constant[row], sums)


@inlined_in_place
def _figures_of(opcode: int, subject: int, node: int, accounts: int, exposures: int) -> tuple[int, int, int]:
    """The first, how many, and how far apart; none where there is no bound. Prices and conversions are
    figures of their own, behind those of the exposures.
    """
    part, behind = _PARTS[opcode], accounts * PER_ACCOUNT
    if opcode in (Opcode.MARKET_COLUMN, Opcode.CONVERSION):
        return behind + exposures * PER_EXPOSURE + node, 1, 1
    if part == NONE:
        return 0, 0, 0
    if opcode == Opcode.PORTFOLIO_GROSS_NOTIONAL:
        return behind + part, exposures, PER_EXPOSURE
    if opcode < FIRST_ACCOUNT_OPCODE:
        return part, accounts, PER_ACCOUNT
    if opcode < FIRST_EXPOSURE_OPCODE:
        return subject * PER_ACCOUNT + part, 1, 1
    return behind + subject * PER_EXPOSURE + part, 1, 1


@inlined_in_place
def _keep_healthy(account: int, backing: int, low: float, high: float, floor: float, sums: Sums) -> None:
    """What backs a pocket stays between the multiples of its maintenance, and its equity above the floor."""
    for edge in range(3):
        sign = -1.0 if edge == 0 else 1.0
        _begin(floor if edge == 2 else 0.0, NONE, sums.constraints, sums.parts)
        _take(account + EQUITY if edge == 2 else backing, -1.0 if edge == 2 else sign, sums)
        if edge < 2:
            _take(account + MAINTENANCE, -sign * (low if edge == 0 else high), sums)


@inlined_in_place
def _keep_in_share(exposure: int, target: float, below: float, above: float, sums: Sums) -> None:
    """A delta stays within shares of the gross, both in money."""
    for sign in (-1.0, 1.0):
        _begin(0.0, NONE, sums.constraints, sums.parts)
        _take(exposure + NOTIONAL, sign, sums)
        _take(exposure + PRICE, -sign * target, sums)
        _take(exposure + EXPOSED, -(below if sign < 0.0 else above), sums)


@inlined_in_place
def _keep_between(figure: int, low: float, high: float, sums: Sums) -> None:
    for sign in (-1.0, 1.0):
        edge = low if sign < 0.0 else high
        if np.isfinite(edge):
            _begin(-sign * edge, NONE, sums.constraints, sums.parts)
            _take(figure, sign, sums)


@inlined_in_place
def _keep_in_band(
    kind: int, exposure: int, target: float, floor: float, cap: float, parameter: int, sums: Sums
) -> None:
    """A delta stays within a band that depends on gamma and on the price."""
    constraints = sums.constraints
    for sign in (-1.0, 1.0):
        at = constraints.used[0]
        _begin(-sign * target, NONE, constraints, sums.parts)
        _take(exposure + DELTA, sign, sums)
        constraints.band[at], constraints.band_kind[at] = parameter, kind
        constraints.band_floor[at], constraints.band_cap[at] = floor, cap
        constraints.band_gamma[at] = _line_of(exposure + GAMMA, sums.asked)
        constraints.band_price[at] = _line_of(exposure + PRICE, sums.asked)


@inlined_in_place
def _keep_levered(first: int, stop: int, low: float, high: float, sums: Sums) -> None:
    """The gross of accounts stays between multiples of their equity, which stays positive."""
    for edge in range(3):
        gross = 1.0 if edge == 0 else -1.0 if edge == 1 else 0.0
        equity = -high if edge == 0 else low if edge == 1 else -1.0
        if np.isfinite(equity) and (edge != 1 or low > 0.0):
            _begin(0.0, NONE, sums.constraints, sums.parts)
            for account in range(first, stop):
                _take(account * PER_ACCOUNT + GROSS, gross, sums)
                _take(account * PER_ACCOUNT + EQUITY, equity, sums)


@inlined_in_place
def _keep_sized(
    exposure: int, first: int, stop: int, low: float, high: float, side: float, sums: Sums
) -> None:
    """What is exposed stays between multiples of the equity, and on its side. Nothing to size is no size."""
    for edge in range(4):
        _begin(0.0, NONE, sums.constraints, sums.parts)
        if edge < 3:
            _take(exposure + NOTIONAL, side if edge == 0 else -side, sums)
        if edge != 2:
            weight = -high if edge == 0 else low if edge == 1 else -1.0
            for account in range(first, stop):
                _take(account * PER_ACCOUNT + EQUITY, weight, sums)


@inlined_in_place
def _begin(constant: float, node: int, constraints: Constraints, parts: Parts) -> None:
    """A sum of this constant, and of all that is taken until the next begins."""
    at = constraints.used[0]
    constraints.used[0] = at + 1
    constraints.part[at] = constraints.part_stop[at] = parts.used[0]
    constraints.constant[at], constraints.fixed[at] = constant, abs(constant)
    constraints.node[at], constraints.band[at] = node, NONE


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
