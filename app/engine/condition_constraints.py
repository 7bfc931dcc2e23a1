"""Conditions, as what must hold for them to stay as they are: a metric between its edges, a rule its truth.

A comparison keeps its truth while its metric stays on its side; so does a crossing, which is true only on the
frame on which it does not. A dwell keeps it with its part, until its time has come. A metric without a bound
keeps nothing: a constraint that is not known.
"""

import numpy as np

from app.engine.conditions import FIRST_ACCOUNT_OPCODE, FIRST_EXPOSURE_OPCODE, Opcode
from app.engine.constraint_sums import begin, sizes_of, take
from app.engine.sketches import (
    BACKING,
    DELTA,
    DOLLAR_GAMMA,
    EQUITY,
    EXPOSED,
    GAMMA,
    INITIAL,
    MAINTENANCE,
    NONE,
    NOTIONAL,
    PER_ACCOUNT,
    PER_EXPOSURE,
    VEGA,
    Look,
    Nodes,
    Sums,
    Told,
)
from app.engine.trigger_rows import TriggerKind
from app.quant.compiled import inlined_in_place

_METRIC = int(TriggerKind.METRIC)
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
def constrain_condition(row: int, look: Look, sums: Sums) -> None:
    """A metric stays between its edges, a rule keeps its truth, and what it remembers stays as it is."""
    views, triggers, tables, nodes = look.tables.views, look.tables.triggers, look.tables, sums.nodes
    accounts, exposures = sizes_of(look)
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
    begin(-sign * level, node, sums.constraints, sums.parts)
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
def _keep_ratio(node: int, metric: int, level: float, sign: float, told: Told, sums: Sums) -> None:
    """Ratios are positive, and over what is not positive as large as can be: a level below zero has no bound.

    The worst of all accounts stays below where all do, and above where the one does that is it now.
    """
    opcode = told.conditions.opcode[told.begin + metric]
    if not (0.0 <= level < np.inf) or opcode == Opcode.PORTFOLIO_LEVERAGE:
        begin(0.0 if 0.0 <= level < np.inf else _UNBOUNDED, node, sums.constraints, sums.parts)
        for exposure in range(told.exposures):
            take(told.accounts * PER_ACCOUNT + exposure * PER_EXPOSURE + EXPOSED, sign, sums)
        for account in range(told.accounts):
            take(account * PER_ACCOUNT + EQUITY, -sign * level, sums)
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
        begin(0.0, node, sums.constraints, sums.parts)
        take(account * PER_ACCOUNT + MAINTENANCE, -sign * level if healthy else sign, sums)
        take(backing, sign if healthy else -sign * level, sums)


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
        take(first + number * step, weight * told.conditions.constant[row], sums)


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
def _is_fixed(node: int, told: Told) -> bool:
    """A constant, or what is no price: any news of that wakes."""
    opcode, subject = told.conditions.opcode[told.begin + node], told.conditions.subject[told.begin + node]
    pinned: bool = opcode == Opcode.MARKET_COLUMN and subject >= told.listed
    return pinned or opcode == Opcode.CONSTANT


@inlined_in_place
def _fixed(node: int, told: Told) -> float:
    """What it is, if it stands still."""
    return float(told.result[told.at + node]) if _is_fixed(node, told) else _UNBOUNDED
