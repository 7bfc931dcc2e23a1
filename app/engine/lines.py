"""Goals and levers as straight lines: one programme, and how well a proposal does by it.

Goals whose level is below zero are no policy's: they must hold.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from functools import lru_cache
from itertools import product
from math import inf

import numpy as np

from app.engine.closed_form import closed_form, in_turn
from app.engine.legs import Deal, Place
from app.engine.levers import Lend, Lever, Trade
from app.engine.programme import Programme
from app.engine.scene import Goal, Terms
from app.engine.solver import Solver
from app.engine.state import In, State
from app.quant.arrays import BoolArray, FloatArray

_NEARLY = 1e-9
_FAR = 1e12
_LARGEST = 1e200
_SOME = 8
"""Deals whose roundings are tried together."""

Score = tuple[float, ...]


class Lines:
    """`start` are the figures and resources as they are; `levels` say which goal comes before which."""

    def __init__(
        self, goals: Sequence[Goal], levels: Sequence[int], levers: Sequence[Lever], state: State
    ) -> None:
        self.start, self.levers, self.goals = state.values, levers, goals
        self._equity = [
            state.within(figure, account)
            for account in range(state.accounts)
            for figure in (In.EQUITY, In.BACKING)
        ]
        self.effects = _effects(levers, self.start.size)
        self.rows = self._rows(self.effects)
        self._levels = np.array(levels, dtype=np.int64)
        self._order = np.argsort(self._levels, kind="stable")
        self._aims = np.array([goal.aim for goal in goals]).reshape(-1, 2).T
        self._accepted = np.array([goal.accepted for goal in goals]).reshape(-1, 2).T
        open_ends = np.isinf(self._aims)
        self._eased = np.where(open_ends, self._aims, (self._aims + self._accepted) / 2.0)
        sizes = [
            sum(abs(float(self.start[at]) * weight) for at, weight in goal.terms)
            + max(abs(edge) if abs(edge) < inf else 0.0 for edge in goal.aim)
            for goal in goals
        ]
        self.pulls = self._pulls()
        self._asked = self._without_burning()
        self._sizes = np.clip(np.nan_to_num(np.array(sizes)), _NEARLY, _LARGEST)

    def moved(self, sizes: FloatArray) -> FloatArray:
        moved: FloatArray = (self.effects * sizes).sum(axis=1)
        return moved

    def values(self, figures: FloatArray) -> FloatArray:
        return np.array([goal.value(figures) for goal in self.goals])

    def misses(self, values: FloatArray) -> Score:
        """What is missed of each goal, the most important first."""
        return tuple(self._outside(self._accepted, values)[self._order].tolist())

    def _outside(self, edges: FloatArray, values: FloatArray) -> FloatArray:
        """To nine digits of the goal's own size: beyond that figures are as good as equal."""
        low, high = edges
        below = np.where(low == -inf, 0.0, low) - np.where(low == -inf, 0.0, values)
        above = np.where(high == inf, 0.0, values) - np.where(high == inf, 0.0, high)
        outside = np.maximum(np.maximum(below, above), 0.0)
        known = np.where(np.isnan(outside), 0.0, np.minimum(outside, self._sizes * _FAR))
        step = _NEARLY * self._sizes
        rounded: FloatArray = np.round(known / step) * step
        return rounded

    def solved(self, errors: FloatArray, fixed: FloatArray) -> FloatArray:
        """Sizes of the levers; where some stay `fixed` (the others are NaN) aims are half way to accepted.

        `errors` is what lines are off.
        """
        held = np.where(np.isnan(fixed), 0.0, fixed)
        aims = self._aims if np.isnan(fixed).all() else self._eased
        programme = self._programme(errors + self.moved(held), aims)
        programme = programme._replace(upper=np.where(np.isnan(fixed), programme.upper, 0.0))
        sizes = self._netted(programme, held)
        settled = self._closing_first(sizes)
        if (settled == sizes).all() or self._miss(settled, errors) <= self._miss(sizes, errors):
            return settled
        against = [opening for opening, _ in _beyond_closing(self.levers)]
        upper = programme.upper.copy()
        upper[against] = 0.0
        only_closing = self._netted(programme._replace(upper=upper), held)
        return min(settled, only_closing, key=lambda each: self._miss(each, errors))

    def _netted(self, programme: Programme, held: FloatArray) -> FloatArray:
        """A solution without what undoes itself."""
        sizes = _solution(programme)
        while (undone := self._undone(sizes)).any():
            programme = programme._replace(upper=np.where(undone, 0.0, programme.upper))
            sizes = _solution(programme)
        return sizes + held

    def _miss(self, sizes: FloatArray, errors: FloatArray) -> Score:
        return self.misses(self.values(self.start + errors + self.moved(sizes)))

    def in_lots(self, errors: FloatArray, lots: FloatArray, sizes: FloatArray) -> FloatArray | None:
        """The cheapest that does as well as `sizes` by the goals, in whole lots where there are `lots`.

        None where there is none.
        """
        programme, unit = self._programme(errors, self._accepted), np.where(lots > 0.0, lots, 1.0)
        reached = (self.rows * sizes).sum(axis=1)
        upper = programme.upper / unit
        solution = _solver().solve(
            programme._replace(
                upper=np.where((lots > 0.0) & np.isfinite(upper), np.floor(upper + _NEARLY), upper),
                cost=programme.cost * unit,
                lot=np.where(lots > 0.0, 1.0, programme.lot),
                matrix=self.rows * unit,
                low=np.minimum(programme.low, reached),
                high=np.maximum(programme.high, reached),
                level=np.full(reached.size, -1),
            )
        )
        return self._closing_first(solution.values * unit) if solution.solved else None

    def _programme(self, errors: FloatArray, aims: FloatArray) -> Programme:
        """What is missing now is what the rows ask of the levers."""
        values = self.values(self.start + errors)
        low, high = _missing(aims[0], values, -inf), _missing(aims[1], values, inf)
        return Programme(
            lower=np.zeros(len(self.levers)),
            upper=np.array([lever.upper for lever in self.levers]),
            cost=np.array([lever.cost for lever in self.levers]),
            lot=np.array([lever.lot for lever in self.levers]),
            matrix=self._asked,
            low=low,
            high=high,
            level=self._levels,
            scale=np.ones(len(self.goals)),
        )

    def _pulls(self) -> FloatArray:
        """What levers do to the rows, less what trades do only by what they cost.

        Equity that is burnt by trading to and fro would raise a leverage, too. What is paid into a pool is
        no trade, and what a sale frees of a haircut is no cost.
        """
        trades = np.array([_has_trade(lever) for lever in self.levers], dtype=bool)
        effects = self.effects.copy()
        burnt = np.minimum(effects[self._equity], 0.0)
        effects[self._equity] -= np.where(trades, burnt, 0.0)
        without = self._rows(effects)
        by_cost = np.abs(without) <= np.abs(self.rows - without)
        return np.where(by_cost & trades, 0.0, self.rows)

    def _without_burning(self) -> FloatArray:
        """The rows, less what costs do to goals with an edge that they would bring nearer."""
        helps = ((self._aims[0] > -inf)[:, None] & (self.rows > 0.0)) | (
            (self._aims[1] < inf)[:, None] & (self.rows < 0.0)
        )
        burns: dict[Terms, BoolArray] = {}
        for goal, found in zip(self.goals, helps & (self.pulls == 0.0), strict=True):
            burns[goal.terms] = burns.get(goal.terms, False) | found
        burnt = np.array([burns[goal.terms] for goal in self.goals]).reshape(self.rows.shape)
        return np.where(burnt, 0.0, self.rows)

    def _undone(self, sizes: FloatArray) -> BoolArray:
        """Levers that move against the rest of what is moved of the same in the same account.

        As lines both would move figures; as legs they are netted, and nothing of it is left.
        """
        net: dict[Place, float] = {}
        for lever, size in zip(self.levers, sizes.tolist(), strict=True):
            for place, amount in _netted(lever):
                net[place] = net.get(place, 0.0) + amount * size
        return np.array(
            [
                size > 0.0 and any(amount * net[place] <= 0.0 for place, amount in _netted(lever))
                for lever, size in zip(self.levers, sizes.tolist(), strict=True)
            ],
            dtype=bool,
        )

    def _closing_first(self, sizes: FloatArray) -> FloatArray:
        """What is held is closed before anything is opened against it: so it is when legs are done."""
        sizes = sizes.copy()
        for opening, closing in _beyond_closing(self.levers):
            shifted = min(max(self.levers[closing].upper - sizes[closing], 0.0), sizes[opening])
            sizes[opening] -= shifted
            sizes[closing] += shifted
        return sizes

    def rounded(self, deals: Sequence[Deal], values: FloatArray) -> list[Decimal]:
        """The whole lots by which goals, then aims, are missed least, and of those the nearest to the wish.

        `values` of the goals are those with what is wanted. Of many deals those in the smallest lots are
        rounded to the nearest: the choice is between the others.
        """
        if not deals:
            return []
        shifts = [self._shifts(deal) for deal in deals]
        coarse = sorted(range(len(deals)), key=lambda at: -self._weight(shifts[at]))[:_SOME]
        options = [
            range(len(deal.choices)) if at in coarse else (deal.nearest,) for at, deal in enumerate(deals)
        ]
        trials = np.array(list(product(*options)), dtype=np.int64).reshape(-1, len(deals))
        moved, off = np.tile(values, (len(trials), 1)), np.zeros(len(trials))
        for at, deal in enumerate(deals):
            moved += shifts[at][trials[:, at]]
            off += np.abs(np.array([float(choice) for choice in deal.choices]) - deal.wanted)[trials[:, at]]
        keys = (
            self._outside(self._accepted, moved)[:, self._order],
            self._outside(self._aims, moved)[:, self._order],
        )
        best = int(np.lexsort((off, *np.concatenate(keys, axis=1).T[::-1]))[0])
        return [deal.choices[choice] for deal, choice in zip(deals, trials[best].tolist(), strict=True)]

    def rounding(self, chosen: Iterable[tuple[Deal, Decimal]]) -> FloatArray:
        """What it does to the figures that these are not what is wanted."""
        found: FloatArray = np.zeros(self.start.size)
        for deal, quantity in chosen:
            side = 1.0 if deal.wanted > 0.0 else -1.0
            found += side * (float(quantity) - deal.wanted) * _effects_of(deal.effects, found.size)[:, 0]
        return found

    def _weight(self, shifts: FloatArray) -> float:
        """Of what is rounded, by the goals' own sizes."""
        return float((np.abs(shifts).max(axis=0) / self._sizes).max(initial=0.0))

    def _shifts(self, deal: Deal) -> FloatArray:
        """What each choice does to the goals, beside what is wanted."""
        per_contract = self._rows(_effects_of(deal.effects, self.start.size))[:, 0]
        side = 1.0 if deal.wanted > 0.0 else -1.0
        return np.array([side * (float(choice) - deal.wanted) * per_contract for choice in deal.choices])

    def _rows(self, effects: FloatArray) -> FloatArray:
        rows: FloatArray = np.zeros((len(self.goals), effects.shape[1]))
        for number, goal in enumerate(self.goals):
            for at, weight in goal.terms:
                rows[number] += effects[at] * weight
        return rows


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
    trades = [(at, lever.trade) for at, lever in enumerate(levers) if lever.trade and not lever.lot]
    return [
        (at, other)
        for at, opening in trades
        for other, closing in trades
        if closing.closes
        and not opening.closes
        and (closing.account, closing.instrument) == (opening.account, opening.instrument)
        and closing.contracts * opening.contracts > 0.0
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


def _missing(edges: FloatArray, values: FloatArray, open_end: float) -> FloatArray:
    """Of each edge; one that is open stays open, though the value be without bound too."""
    return np.where(edges == open_end, open_end, edges - np.where(edges == open_end, 0.0, values))


def _effects(levers: Sequence[Lever], size: int) -> FloatArray:
    columns = [_effects_of(lever.effects, size) for lever in levers]
    return np.concatenate(columns, axis=1) if columns else np.zeros((size, 0))


def _effects_of(effects: dict[int, float], size: int) -> FloatArray:
    column: FloatArray = np.zeros((size, 1))
    for at, effect in effects.items():
        column[at, 0] = effect
    return column
