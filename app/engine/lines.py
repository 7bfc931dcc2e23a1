"""Goals and levers as straight lines: one programme, and how well a proposal does by it.

Goals whose level is below zero are no policy's: they must hold.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from app.engine.closed_form import closed_form, in_turn
from app.engine.goal_columns import (
    NEARLY,
    Rows,
    columns_of,
    effects_of,
    judge,
    lay_out,
    put_missing,
    trials_of,
    try_roundings,
)
from app.engine.legs import Deal, Place
from app.engine.moves import Lend, Lever, Trade
from app.engine.programme import Programme
from app.engine.scene import Goal
from app.engine.solver import Solver
from app.engine.state import In, State
from app.quant.arrays import FloatArray, IntArray

_NOTHING: FloatArray = np.zeros(0)
_SOME = 8
"""Deals whose roundings are tried together."""

Score = tuple[float, ...]


class Judged(NamedTuple):
    """`figures`, and by how much they are off the straight lines, `bent`; values of the goals, and what is
    missed of each, the most important first.
    """

    figures: FloatArray
    bent: FloatArray
    values: FloatArray
    misses: Score


class Lines:
    """`start` are the figures and resources as they are; `levels` say which goal comes before which."""

    def __init__(
        self, goals: Sequence[Goal], levels: Sequence[int], levers: Sequence[Lever], state: State
    ) -> None:
        self.start, self.levers = state.values, levers
        m, n, figures = len(goals), len(levers), self.start.size
        self._columns = columns_of(goals, levels)
        self.effects, without_costs = np.zeros((2, figures, n))
        rows = Rows(*np.empty((3, m, n)))
        self.rows, self.pulls = rows.all, rows.pulls
        lay_out(
            self._columns,
            self.start,
            effects_of([lever.effects for lever in levers]),
            np.array([_has_trade(lever) for lever in levers], dtype=bool),
            _equity(state),
            self.effects,
            without_costs,
            rows,
        )
        self._nets = [_netted(lever) for lever in levers]
        self._beyond_closing = _beyond_closing(levers)
        self._levels = np.array(levels, dtype=np.int64)
        limits = [
            [lever.upper for lever in levers],
            [lever.cost for lever in levers],
            [lever.lot for lever in levers],
        ]
        upper, cost, lot = np.array(limits)
        self._programme = Programme(
            lower=np.zeros(n),
            upper=upper,
            cost=cost,
            lot=lot,
            matrix=rows.asked,
            low=_NOTHING,
            high=_NOTHING,
            level=self._levels,
            scale=np.array([1.0] * m),
        )

    def moved(self, sizes: FloatArray) -> FloatArray:
        moved: FloatArray = (self.effects * sizes).sum(axis=1)
        return moved

    def judged(self, linear: FloatArray, exact: FloatArray = _NOTHING) -> Judged:
        """Of figures on straight lines, of which the first are known exactly."""
        figures, bent = np.empty((2, linear.size))
        values, score = np.empty((2, self._levels.size))
        judge(self._columns, linear, exact, figures, bent, values, score)
        return Judged(figures, bent, values, tuple(score.tolist()))

    def solved(self, errors: FloatArray, fixed: FloatArray | None = None) -> FloatArray:
        """Sizes of the levers; where some stay `fixed` (the others are NaN) aims are half way to accepted.

        `errors` is what lines are off.
        """
        columns, held = self._columns, None
        if fixed is None:
            programme = self._asking(errors, columns.aim_low, columns.aim_high)
        else:
            free = np.isnan(fixed)
            held = np.where(free, 0.0, fixed)
            programme = self._asking(errors + self.moved(held), columns.eased_low, columns.eased_high)
            programme = programme._replace(upper=np.where(free, programme.upper, 0.0))
        sizes = self._netted(programme, held)
        settled = self._closing_first(sizes)
        if (settled == sizes).all() or self._miss(settled, errors) <= self._miss(sizes, errors):
            return settled
        against = [opening for opening, _ in self._beyond_closing]
        upper = programme.upper.copy()
        upper[against] = 0.0
        only_closing = self._netted(programme._replace(upper=upper), held)
        return min(settled, only_closing, key=lambda each: self._miss(each, errors))

    def _netted(self, programme: Programme, held: FloatArray | None) -> FloatArray:
        """A solution without what undoes itself, and what is held beside it."""
        sizes = _solution(programme)
        while undone := self._undone(sizes):
            upper = programme.upper.copy()
            upper[undone] = 0.0
            programme = programme._replace(upper=upper)
            sizes = _solution(programme)
        return sizes if held is None else sizes + held

    def _miss(self, sizes: FloatArray, errors: FloatArray) -> Score:
        return self.judged(self.start + errors + self.moved(sizes)).misses

    def in_lots(self, errors: FloatArray, lots: FloatArray, sizes: FloatArray) -> FloatArray | None:
        """The cheapest that does as well as `sizes` by the goals, in whole lots where there are `lots`.

        None where there is none.
        """
        columns, unit = self._columns, np.where(lots > 0.0, lots, 1.0)
        programme = self._asking(errors, columns.low, columns.high)
        reached = (self.rows * sizes).sum(axis=1)
        upper = programme.upper / unit
        solution = _solver().solve(
            programme._replace(
                upper=np.where((lots > 0.0) & np.isfinite(upper), np.floor(upper + NEARLY), upper),
                cost=programme.cost * unit,
                lot=np.where(lots > 0.0, 1.0, programme.lot),
                matrix=self.rows * unit,
                low=np.minimum(programme.low, reached),
                high=np.maximum(programme.high, reached),
                level=np.full(reached.size, -1),
            )
        )
        return self._closing_first(solution.values * unit) if solution.solved else None

    def _asking(self, errors: FloatArray, lows: FloatArray, highs: FloatArray) -> Programme:
        """What is missing now is what the rows ask of the levers."""
        low, high = np.empty((2, self._levels.size))
        put_missing(self._columns, self.start + errors, lows, highs, low, high)
        return self._programme._replace(low=low, high=high)

    def _undone(self, sizes: FloatArray) -> list[int]:
        """Levers that move against the rest of what is moved of the same in the same account.

        As lines both would move figures; as legs they are netted, and nothing of it is left.
        """
        moving = [(at, size) for at, size in enumerate(sizes.tolist()) if size > 0.0]
        net: dict[Place, float] = {}
        for at, size in moving:
            for place, amount in self._nets[at]:
                net[place] = net.get(place, 0.0) + amount * size
        return [at for at, _ in moving if any(amount * net[place] <= 0.0 for place, amount in self._nets[at])]

    def _closing_first(self, sizes: FloatArray) -> FloatArray:
        """What is held is closed before anything is opened against it: so it is when legs are done."""
        if not self._beyond_closing:
            return sizes
        settled = sizes.tolist()
        for opening, closing in self._beyond_closing:
            shifted = min(max(self.levers[closing].upper - settled[closing], 0.0), settled[opening])
            settled[opening] -= shifted
            settled[closing] += shifted
        return np.array(settled)

    def rounded(self, deals: Sequence[Deal], figures: FloatArray) -> list[Decimal]:
        """The whole lots by which goals, then aims, are missed least, and of those the nearest to the wish.

        `figures` are those with what is wanted. Of many deals those in the smallest lots are rounded to the
        nearest: the choice is between the others.
        """
        if all(len(deal.choices) == 1 for deal in deals):
            return [deal.choices[0] for deal in deals]
        trials = trials_of(
            [deal.wanted for deal in deals],
            [[float(choice) for choice in deal.choices] for deal in deals],
            [deal.nearest for deal in deals],
            figures=self.start.size,
            goals=self._levels.size,
        )
        effects = effects_of([deal.effects for deal in deals])
        try_roundings(self._columns, self.judged(figures).values, effects, _SOME, trials)
        return [deal.choices[choice] for deal, choice in zip(deals, trials.best.tolist(), strict=True)]

    def rounding(self, chosen: Iterable[tuple[Deal, Decimal]]) -> FloatArray:
        """What it does to the figures that these are not what is wanted."""
        found = [0.0] * self.start.size
        for deal, quantity in chosen:
            off = (1.0 if deal.wanted > 0.0 else -1.0) * (float(quantity) - deal.wanted)
            for at, effect in deal.effects.items() if off else ():
                found[at] += off * effect
        return np.array(found)


def _equity(state: State) -> IntArray:
    return np.array(
        [
            at[figure]
            for at in map(state.all_within, range(state.accounts))
            for figure in (In.EQUITY, In.BACKING)
        ],
        dtype=np.int64,
    )


def _has_trade(lever: Lever) -> bool:
    return any(isinstance(move, Trade) for move in lever.moves)


def _netted(lever: Lever) -> list[tuple[Place, float]]:
    """What a lever trades alone; of a trade between pools, what it does to each of them."""
    if lever.trade is not None:
        return [((lever.trade.account, lever.trade.instrument), lever.trade.contracts)]
    if not _has_trade(lever):
        return []
    return [
        ((move.account, move.instrument), move.action.sign * move.amount)
        for move in lever.moves
        if isinstance(move, Lend)
    ]


def _beyond_closing(levers: Sequence[Lever]) -> list[tuple[int, int]]:
    """Levers that open against what is held, and those that close it."""
    trades = [(at, trade) for at, lever in enumerate(levers) if not lever.lot and (trade := lever.trade)]
    closing = [(at, trade) for at, trade in trades if trade.closes]
    return [
        (at, other)
        for at, opening in (trades if closing else ())
        if not opening.closes
        for other, held in closing
        if held.instrument == opening.instrument
        and held.account == opening.account
        and held.contracts * opening.contracts > 0.0
    ]


def _solution(programme: Programme) -> FloatArray:
    found = closed_form(programme)
    if found is None:
        solution = _solver().solve(programme)
        found = solution.values if solution.solved else in_turn(programme)
    return found


@lru_cache(maxsize=1)
def _solver() -> Solver:
    """One for all programmes of a process: making it costs more than solving."""
    return Solver()
