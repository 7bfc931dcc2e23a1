"""Goals and levers as columns, and the loops over them: a plan asks the same of a few again and again.

The terms of a goal are added up in stored order.
"""

from collections.abc import Sequence
from math import inf
from typing import NamedTuple

import numpy as np

from app.engine.scene import Goal, Terms
from app.quant.arrays import BoolArray, FloatArray, IntArray
from app.quant.compiled import compiled_in_place, inlined_in_place

NEARLY = 1e-9
_FAR = 1e12
_LARGEST = 1e200


class Effects(NamedTuple):
    """What a unit of each of some things does: the figures, and by how much it moves them.

    `first` (n + 1,): where those of each begin.
    """

    first: IntArray
    at: IntArray
    effect: FloatArray


class GoalColumns(NamedTuple):
    """`m` goals.

    Attributes
    ----------
    first : (m + 1,)
        Where the terms of each begin.
    at, weight : (terms,)
    aim_low, aim_high, low, high, eased_low, eased_high : (m,)
        What is aimed at, what is accepted, and what is half way between; open ends are infinite.
    size : (m,)
        Of its terms and its aim as things are, above 0: what next to nothing is measured by.
    order : (m,)
        Goals in the order of their levels.
    same : (m,)
        The first goal with the same terms.
    """

    first: IntArray
    at: IntArray
    weight: FloatArray
    aim_low: FloatArray
    aim_high: FloatArray
    low: FloatArray
    high: FloatArray
    eased_low: FloatArray
    eased_high: FloatArray
    size: FloatArray
    order: IntArray
    same: IntArray


class Rows(NamedTuple):
    """What a unit of each lever does to each goal, (m, n): all of it, `pulls` without what trades do only by
    what they cost, and `asked` without what costs do to goals with an edge that they would bring nearer.
    """

    all: FloatArray
    pulls: FloatArray
    asked: FloatArray


def effects_of(effects: Sequence[dict[int, float]]) -> Effects:
    first = np.zeros(len(effects) + 1, dtype=np.int64)
    at: list[int] = []
    effect: list[float] = []
    for number, each in enumerate(effects, start=1):
        at += each
        effect += each.values()
        first[number] = len(at)
    return Effects(first, np.array(at, dtype=np.int64), np.array(effect))


def columns_of(goals: Sequence[Goal], levels: Sequence[int]) -> GoalColumns:
    """Sizes and what is eased follow from the figures: see `lay_out`."""
    m, at, weight, first = len(goals), list[int](), list[float](), [0]
    seen: dict[Terms, int] = {}
    same = [seen.setdefault(goal.terms, number) for number, goal in enumerate(goals)]
    for goal in goals:
        for place, factor in goal.terms:
            at.append(place)
            weight.append(factor)
        first.append(len(at))
    order = sorted(range(m), key=levels.__getitem__)
    whole = np.array([*first, *order, *same, *at], dtype=np.int64)  # one array is made faster than four
    edges = np.array([[end for edges in (g.aim, g.accepted) for end in edges] for g in goals]).reshape(m, 4)
    aim_low, aim_high, low, high = edges.T.copy()
    eased_low, eased_high, size = np.empty((3, m))
    return GoalColumns(
        first=whole[: m + 1],
        at=whole[3 * m + 1 :],
        weight=np.array(weight),
        aim_low=aim_low,
        aim_high=aim_high,
        low=low,
        high=high,
        eased_low=eased_low,
        eased_high=eased_high,
        size=size,
        order=whole[m + 1 : 2 * m + 1],
        same=whole[2 * m + 1 : 3 * m + 1],
    )


@compiled_in_place
def lay_out(
    goals: GoalColumns,
    start: FloatArray,
    levers: Effects,
    trades: BoolArray,
    equity: IntArray,
    moves: FloatArray,
    without_costs: FloatArray,
    rows: Rows,
) -> None:
    """Sizes of goals and what is eased; rows of levers, and what these do to the figures, (figures, n).

    `trades` says which levers are some; `moves` and `without_costs` come as zeros. `equity` is where trading
    costs show: equity that is burnt by trading to and fro would raise a leverage, too. What is paid into a
    pool is no trade, and what a sale frees of a haircut is no cost.
    """
    n = trades.size
    for j in range(n):
        for each in range(levers.first[j], levers.first[j + 1]):
            moves[levers.at[each], j] = levers.effect[each]
            without_costs[levers.at[each], j] = levers.effect[each]
        for at in equity:
            if trades[j] and moves[at, j] < 0.0:
                without_costs[at, j] = 0.0
    for i in range(goals.size.size):
        goals.size[i] = _size(goals, i, start)
        goals.eased_low[i] = _half_way(goals.aim_low[i], goals.low[i])
        goals.eased_high[i] = _half_way(goals.aim_high[i], goals.high[i])
        for j in range(n):
            moved, without = 0.0, 0.0
            for term in range(goals.first[i], goals.first[i + 1]):
                moved += moves[goals.at[term], j] * goals.weight[term]
                without += without_costs[goals.at[term], j] * goals.weight[term]
            by_cost = trades[j] and abs(without) <= abs(moved - without)
            rows.all[i, j], rows.pulls[i, j], rows.asked[i, j] = moved, 0.0 if by_cost else moved, 0.0
            nearer = goals.aim_low[i] > -inf if moved > 0.0 else goals.aim_high[i] < inf and moved < 0.0
            if nearer and by_cost:
                rows.asked[goals.same[i], j] = 1.0
    for i in range(goals.size.size - 1, -1, -1):  # the first of those with the same terms comes last
        for j in range(n):
            rows.asked[i, j] = 0.0 if rows.asked[goals.same[i], j] != 0.0 else rows.all[i, j]


@inlined_in_place
def _size(goals: GoalColumns, i: int, start: FloatArray) -> float:
    size, largest = 0.0, 0.0
    for term in range(goals.first[i], goals.first[i + 1]):
        size += abs(start[goals.at[term]] * goals.weight[term])
    for edge in (abs(goals.aim_low[i]), abs(goals.aim_high[i])):
        if edge < inf:
            largest = max(largest, edge)
    size += largest
    return NEARLY if np.isnan(size) else min(max(size, NEARLY), _LARGEST)


@inlined_in_place
def _half_way(aim: float, accepted: float) -> float:
    return aim if np.isinf(aim) else (aim + accepted) / 2.0


@inlined_in_place
def _value(goals: GoalColumns, i: int, figures: FloatArray) -> float:
    value = 0.0
    for term in range(goals.first[i], goals.first[i + 1]):
        value += figures[goals.at[term]] * goals.weight[term]
    return value


@compiled_in_place
def put_missing(
    goals: GoalColumns,
    figures: FloatArray,
    lows: FloatArray,
    highs: FloatArray,
    low: FloatArray,
    high: FloatArray,
) -> None:
    """Of `lows` and `highs`; an edge that is open stays open, though the value be without bound too."""
    for i in range(low.size):
        value = _value(goals, i, figures)
        low[i] = -inf if lows[i] == -inf else lows[i] - value
        high[i] = inf if highs[i] == inf else highs[i] - value


@compiled_in_place
def judge(
    goals: GoalColumns,
    linear: FloatArray,
    exact: FloatArray,
    figures: FloatArray,
    bent: FloatArray,
    values: FloatArray,
    score: FloatArray,
) -> None:
    """`figures` are `linear` ones, of which the first are known to be `exact`; `bent` is what that is off.

    `values` are those of the goals; `score` is what is missed of what is accepted, the most important first.
    """
    for at in range(figures.size):
        figures[at] = exact[at] if at < exact.size else linear[at]
        known = np.isfinite(figures[at]) and np.isfinite(linear[at])
        bent[at] = figures[at] - linear[at] if known else 0.0
    for i in range(values.size):
        values[i] = _value(goals, i, figures)
    for at in range(values.size):
        i = goals.order[at]
        score[at] = _outside(goals.low[i], goals.high[i], values[i], goals.size[i])


@inlined_in_place
def _outside(low: float, high: float, value: float, size: float) -> float:
    """To nine digits of the goal's own size: beyond that figures are as good as equal."""
    below = -inf if low == -inf else low - value
    above = -inf if high == inf else value - high
    outside = max(below, above, 0.0)
    step = NEARLY * size
    return 0.0 if np.isnan(below) or np.isnan(above) else np.rint(min(outside, size * _FAR) / step) * step


class Trials(NamedTuple):
    """Deals and what each may be rounded to; the rest is room to work in.

    Attributes
    ----------
    wanted : (d,)
    first : (d + 1,)
        Where the choices of each begin.
    choice : (choices,)
    nearest : (d,)
        Of the choices of each.
    per_contract : (d, figures)
        What a contract more on its side does, as zeros.
    shift : (choices, m)
        What each choice does to the goals, beside what is wanted.
    weight : (d,)
        Of what is rounded, by the goals' own sizes.
    key, best_key : (2 m + 1,)
    tried, best : (d,)
        The choices of a trial, and of the best.
    """

    wanted: FloatArray
    first: IntArray
    choice: FloatArray
    nearest: IntArray
    per_contract: FloatArray
    shift: FloatArray
    weight: FloatArray
    key: FloatArray
    best_key: FloatArray
    tried: IntArray
    best: IntArray


def trials_of(
    wanted: Sequence[float],
    choices: Sequence[Sequence[float]],
    nearest: Sequence[int],
    *,
    figures: int,
    goals: int,
) -> Trials:
    count, first = len(wanted), np.zeros(len(wanted) + 1, dtype=np.int64)
    np.cumsum([len(each) for each in choices], out=first[1:])
    key, best_key = np.empty((2, 2 * goals + 1))
    tried, best = np.empty((2, count), dtype=np.int64)
    return Trials(
        wanted=np.array(wanted),
        first=first,
        choice=np.array([choice for each in choices for choice in each]),
        nearest=np.array(nearest, dtype=np.int64),
        per_contract=np.zeros((count, figures)),
        shift=np.empty((first[-1], goals)),
        weight=np.zeros(count),
        key=key,
        best_key=best_key,
        tried=tried,
        best=best,
    )


@compiled_in_place
def try_roundings(
    goals: GoalColumns, values: FloatArray, effects: Effects, most: int, trials: Trials
) -> None:
    """By which goals, then aims, are missed least, and of those the nearest to the wish: `trials.best`.

    `values` of the goals are those with what is wanted. Of more than `most` deals those in the smallest lots
    are rounded to the nearest.
    """
    _put_shifts(goals, effects, trials)
    count = trials.wanted.size
    for d in range(count):
        heavier = 0
        for other in range(count):
            heavier += trials.weight[other] > trials.weight[d]
            heavier += other < d and trials.weight[other] == trials.weight[d]
        trials.tried[d] = 0 if heavier < most else -1 - trials.nearest[d]  # below zero it stays
    best = False
    going = True
    while going:
        _put_key(goals, values, trials)
        if not best or _comes_first(trials.key, trials.best_key):
            best = True
            for at in range(trials.key.size):
                trials.best_key[at] = trials.key[at]
            for d in range(count):
                trials.best[d] = trials.tried[d] if trials.tried[d] >= 0 else -1 - trials.tried[d]
        going = False
        for d in range(count - 1, -1, -1):
            if trials.tried[d] < 0:
                continue
            trials.tried[d] += 1
            if trials.tried[d] < trials.first[d + 1] - trials.first[d]:
                going = True
                break
            trials.tried[d] = 0


@inlined_in_place
def _put_shifts(goals: GoalColumns, effects: Effects, trials: Trials) -> None:
    for d in range(trials.wanted.size):
        for each in range(effects.first[d], effects.first[d + 1]):
            trials.per_contract[d, effects.at[each]] = effects.effect[each]
        side = 1.0 if trials.wanted[d] > 0.0 else -1.0
        for i in range(goals.size.size):
            moved, largest = _value(goals, i, trials.per_contract[d]), 0.0
            for c in range(trials.first[d], trials.first[d + 1]):
                trials.shift[c, i] = side * (trials.choice[c] - trials.wanted[d]) * moved
                largest = max(largest, abs(trials.shift[c, i]))
            trials.weight[d] = max(trials.weight[d], largest / goals.size[i])


@inlined_in_place
def _put_key(goals: GoalColumns, values: FloatArray, trials: Trials) -> None:
    m, off = values.size, 0.0
    for at in range(m):
        i = goals.order[at]
        value = values[i]
        for d in range(trials.wanted.size):
            tried = trials.tried[d] if trials.tried[d] >= 0 else -1 - trials.tried[d]
            value += trials.shift[trials.first[d] + tried, i]
        trials.key[at] = _outside(goals.low[i], goals.high[i], value, goals.size[i])
        trials.key[m + at] = _outside(goals.aim_low[i], goals.aim_high[i], value, goals.size[i])
    for d in range(trials.wanted.size):
        tried = trials.tried[d] if trials.tried[d] >= 0 else -1 - trials.tried[d]
        off += abs(trials.choice[trials.first[d] + tried] - trials.wanted[d])
    trials.key[2 * m] = off


@inlined_in_place
def _comes_first(key: FloatArray, other: FloatArray) -> bool:
    for at in range(key.size):
        if key[at] != other[at]:
            return bool(key[at] < other[at])
    return False
