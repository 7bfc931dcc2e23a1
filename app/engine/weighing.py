"""Sums that have to stay below zero: as straight lines, over a box, and how far they hold."""

from math import sqrt

import numpy as np

from app.engine.boxes import Box
from app.engine.conditions import Opcode
from app.engine.sketches import (
    BOTH_WAYS,
    DOWN_AMONG,
    DOWNWARDS,
    MINOR_SHARE,
    RATIO_SHARE,
    UP_AMONG,
    UPWARDS,
    Constraints,
    Lines,
    Nodes,
    Parts,
    Watching,
)
from app.engine.trigger_rows import TriggerKind
from app.engine.view_watches import Role
from app.quant.arrays import FloatArray
from app.quant.compiled import inlined_in_place
from app.quant.no_trade_bands import whalley_wilmott_half_band, zakamouline_half_band

_ROUNDING = 1e-11
"""Of the amounts that a figure is the sum of: far more than sums in another order differ by."""
_MAIN, _RATIO, _MINOR = int(Role.MAIN), int(Role.RATIO), int(Role.MINOR)
_ZAKAMOULINE = int(TriggerKind.DELTA_ZAKAMOULINE)
_BOTH, _EITHER, _NOT = int(Opcode.BOTH), int(Opcode.EITHER), int(Opcode.NOT)
_DWELLS = int(Opcode.DWELLS)


@inlined_in_place
def straighten(
    constraints: Constraints, parts: Parts, lines: Lines, watching: Watching, parameters: FloatArray
) -> None:
    """All of them as straight lines, once those of the figures are drawn."""
    for at in range(constraints.used[0]):
        value, magnitude = constraints.constant[at], constraints.fixed[at]
        for part in range(constraints.part[at], constraints.part_stop[at]):
            line, weight = parts.line[part], parts.weight[part]
            value += weight * lines.value[line]
            magnitude += abs(weight) * lines.magnitude[line]
        constraints.value[at], constraints.magnitude[at] = value, magnitude
        _lean(at, constraints, parts, lines.slope, watching)
        if constraints.band[at] >= 0:
            constraints.value[at] -= _half_band(at, 0.0, 0.0, constraints, lines.value, parameters)


@inlined_in_place
def _lean(at: int, constraints: Constraints, parts: Parts, slopes: FloatArray, watching: Watching) -> None:
    """How steeply it goes up with the box. A price may stand still while others move."""
    up = down = aside = strays = strays_aside = turns = turns_aside = 0.0
    for watch in range(watching.size):
        role, slope = watching.role[watching.first + watch], 0.0
        if role > _MINOR:
            continue
        for part in range(constraints.part[at], constraints.part_stop[at]):
            slope += parts.weight[part] * slopes[parts.line[part], watch]
        price = gamma = 0.0
        if constraints.band[at] >= 0:
            price = abs(slopes[constraints.band_price[at], watch])
            gamma = abs(slopes[constraints.band_gamma[at], watch])
        if role == _MAIN:
            up, down = up + max(slope, 0.0), down + max(-slope, 0.0)
            strays, turns = strays + price, turns + gamma
        else:
            share = RATIO_SHARE if role == _RATIO else MINOR_SHARE
            aside += share * abs(slope)
            strays_aside, turns_aside = strays_aside + share * price, turns_aside + share * gamma
    constraints.steep[at, BOTH_WAYS] = up + down
    constraints.steep[at, UPWARDS], constraints.steep[at, DOWNWARDS] = up, down
    constraints.steep[at, UP_AMONG] = up + down if up > 0.0 else 0.0
    constraints.steep[at, DOWN_AMONG] = up + down if down > 0.0 else 0.0
    constraints.aside[at] = aside
    constraints.band_steep[at], constraints.band_aside[at] = strays, strays_aside
    constraints.band_turns[at], constraints.band_turns_aside[at] = turns, turns_aside


@inlined_in_place
def weigh(box: Box, constraints: Constraints, parts: Parts, lines: Lines, parameters: FloatArray) -> None:
    """What each bends and drifts up over a box of which it is known for the figures."""
    for at in range(constraints.used[0]):
        bends = drifts = 0.0
        for part in range(constraints.part[at], constraints.part_stop[at]):
            line, weight = parts.line[part], parts.weight[part]
            bends += weight * lines.rises[line] if weight > 0.0 else -weight * lines.falls[line]
            drifts += abs(weight) * lines.drifts[line]
        if constraints.band[at] >= 0:
            price, gamma = constraints.band_price[at], constraints.band_gamma[at]
            strays = box.width * constraints.band_steep[at] + box.others * constraints.band_aside[at]
            strays += max(lines.rises[price], lines.falls[price]) + lines.drifts[price]
            moves = box.width * constraints.band_turns[at] + box.others * constraints.band_turns_aside[at]
            moves += max(lines.rises[gamma], lines.falls[gamma]) + lines.drifts[gamma]
            drifts += _half_band(at, 0.0, 0.0, constraints, lines.value, parameters)
            drifts -= _half_band(at, moves, strays, constraints, lines.value, parameters)
        constraints.bends[at], constraints.drifts[at] = bends, drifts


@inlined_in_place
def _half_band(
    at: int, moves: float, strays: float, constraints: Constraints, values: FloatArray, parameters: FloatArray
) -> float:
    """Where it is narrowest: gamma nearest to nothing, the price lowest, or after Zakamouline highest. What
    is not known is taken as the least that it may be.
    """
    first, floor, cap = constraints.band[at], constraints.band_floor[at], constraints.band_cap[at]
    aversion, cost, years = parameters[first], parameters[first + 1], parameters[first + 2]
    gamma, price = (
        max(abs(values[constraints.band_gamma[at]]) - moves, 0.0),
        values[constraints.band_price[at]],
    )
    if constraints.band_kind[at] == _ZAKAMOULINE:
        rate, volatility = parameters[first + 3], parameters[first + 4]
        width = zakamouline_half_band(gamma, price + strays, cost, aversion, years, rate, volatility)
    else:
        lowest = max(price - strays, 0.0)
        width = whalley_wilmott_half_band(gamma, lowest, cost, aversion, years, parameters[first + 3])
    known: float = floor if np.isnan(width) else min(max(width, floor), cap)
    return known


@inlined_in_place
def radius(way: int, box: Box, constraints: Constraints, nodes: Nodes) -> float:
    """Up to which everything stays below zero, or keeps its truth; 0 where it is not there, or not known."""
    for at in range(constraints.used[0]):
        constraints.taken[at] = constraints.drifts[at] + _taken_aside(at, box, constraints)
        constraints.slope[at] = constraints.steep[at, way] + constraints.bends[at] / box.width
        constraints.square[at] = 0.0
    return _reach(constraints, nodes)


@inlined_in_place
def guess(way: int, box: Box, constraints: Constraints, nodes: Nodes) -> float:
    """The next box to try, after one of which it is known: what drifts goes up with the width, what bends
    with its square. Of straight lines, the radius. Where nothing is left to the others, they move along.
    """
    for at in range(constraints.used[0]):
        still, along = constraints.still[at], constraints.aside[at] if box.others == 0.0 else 0.0
        drifts = max(constraints.drifts[at] - still, 0.0)
        constraints.taken[at] = still + _taken_aside(at, box, constraints)
        constraints.slope[at] = constraints.steep[at, way] + along + drifts / box.width
        constraints.square[at] = constraints.bends[at] / box.width**2
    return _reach(constraints, nodes)


@inlined_in_place
def _taken_aside(at: int, box: Box, constraints: Constraints) -> float:
    """By the other prices, which may go anywhere where nothing depends on them."""
    aside = constraints.aside[at]
    taken: float = box.others * aside if aside != 0.0 else 0.0
    return taken


@inlined_in_place
def endurance(constraints: Constraints, nodes: Nodes) -> float:
    """How many times as much may drift as does where no price moves."""
    for at in range(constraints.used[0]):
        constraints.taken[at] = constraints.square[at] = 0.0
        constraints.slope[at] = constraints.still[at]
    return _reach(constraints, nodes)


@inlined_in_place
def _reach(constraints: Constraints, nodes: Nodes) -> float:
    """How far everything that must stays below zero."""
    found = np.inf
    for node in range(nodes.used[0]):
        nodes.reach[node] = np.inf
    for at in range(constraints.used[0]):
        room = -(constraints.value[at] + _ROUNDING * constraints.magnitude[at] + constraints.taken[at])
        slope, square = constraints.slope[at], constraints.square[at]
        reach = np.inf
        if not (room > 0.0 and slope >= 0.0 and square >= 0.0):
            reach = 0.0
        elif slope + square > 0.0:
            reach = 2.0 * room / (slope + sqrt(slope * slope + 4.0 * square * room))
        if _stands(at, constraints):
            reach = np.inf
        found = _noted(reach, constraints.node[at], found, nodes.reach)
    return min(found, _kept(nodes))


@inlined_in_place
def _stands(at: int, constraints: Constraints) -> bool:
    """Whether it is of a condition that compares nothing with nothing: whatever comes of that stays."""
    moves = constraints.steep[at, BOTH_WAYS] + constraints.aside[at]
    moves += constraints.bends[at] + constraints.drifts[at]
    amounts = abs(constraints.value[at]) + constraints.magnitude[at]
    is_nothing: bool = constraints.node[at] >= 0 and amounts + moves == 0.0
    return is_nothing


@inlined_in_place
def _noted(reach: float, node: int, found: float, reaches: FloatArray) -> float:
    """Of a constraint that must hold, the narrowest; of the others, by their nodes."""
    if node < 0:
        return min(found, reach)
    reaches[node] = min(reaches[node], reach)
    return found


@inlined_in_place
def _kept(nodes: Nodes) -> float:
    """How far everything that must keeps its truth. One part that decides is enough; else all have to."""
    found = np.inf
    for node in range(nodes.used[0]):
        opcode, left, right, truth = (
            nodes.opcode[node],
            nodes.left[node],
            nodes.right[node],
            nodes.truth[node],
        )
        if opcode in (_BOTH, _EITHER):
            reach = min(nodes.reach[left], nodes.reach[right])
            if truth == (0.0 if opcode == _BOTH else 1.0):
                reach = 0.0
                for part in (left, right):
                    if nodes.truth[part] == truth:
                        reach = max(reach, nodes.reach[part])
            nodes.reach[node] = reach
        elif opcode in (_NOT, _DWELLS):
            nodes.reach[node] = nodes.reach[left]
        if np.isnan(truth):
            nodes.reach[node] = 0.0
        if nodes.must[node]:
            found = min(found, nodes.reach[node])
    return found
