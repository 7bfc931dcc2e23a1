"""How far the market may move before anything of a view can fire: the radius of a box around its prices.

A trigger is a sum of figures that has to stay below zero (see `boxes`). Its straight line and what it may be
off over a trial box, taken to grow no slower than in proportion, give the share of the box on which it does.

Sound and no more: whatever is not understood here (options, accounts margined as a whole, distances to
liquidation, conditions, volatilities) has no bound, and its view is looked at with all its news.
"""

from typing import NamedTuple

import numpy as np

from app.engine.boxes import (
    BACKING,
    EQUITY,
    EXPOSED,
    GROSS,
    MAINTENANCE,
    PER_ACCOUNT,
    PER_EXPOSURE,
    PRICE,
    Scratch,
    add_up,
    share_of,
)
from app.engine.figures import ExposureFigures
from app.engine.tables import Market, PairColumns, Tables
from app.engine.trigger_rows import NONE, TriggerKind
from app.engine.universe import NEVER_NS
from app.engine.view_watches import Role, ViewWatchColumns
from app.engine.watches import ChunkColumns, EntryColumns, put_entry
from app.quant.arrays import FloatArray, IntArray
from app.quant.compiled import compiled_in_place, inlined_in_place

_ROUNDING = 1e-11
"""Of the amounts that a figure is the sum of: far more than sums in another order differ by."""
_SHRUNK = 1.0 - 1e-9
_WIDEST_TRIAL = 0.5
_TRIALS = 3
_LEAST = 1e-9
"""Below it an interval is not worth its entry."""

_DELTA_OF_GROSS = int(TriggerKind.DELTA_OF_GROSS)
_ZAKAMOULINE = int(TriggerKind.DELTA_ZAKAMOULINE)
_MARGIN_RATIO, _HEALTH = int(TriggerKind.MARGIN_RATIO), int(TriggerKind.HEALTH)
_LEVERAGE = int(TriggerKind.LEVERAGE)
_METRIC = int(TriggerKind.METRIC)
_MAIN, _MINOR, _PINNED = int(Role.MAIN), int(Role.MINOR), int(Role.PINNED)


class Radii(NamedTuple):
    """Of each view that was asked for: how far its one main price may rise and fall, or all of them move,
    and when the clock comes to something of it.
    """

    up: FloatArray
    down: FloatArray
    due_ns: IntArray


class _Side(NamedTuple):
    """One view, and which way its main price goes: up (1) or down (-1); all of several, both ways.

    `rows` and `stop` are of its watches, `total` is the row of the sum that is being made.
    """

    number: int
    direction: float
    mains: int
    width: float
    first: int
    stop: int
    total: int


@compiled_in_place
def find_radii(
    chosen: IntArray,
    pairs: PairColumns,
    tables: Tables,
    market: Market,
    starts: IntArray,
    exposures: ExposureFigures,
    watched: ViewWatchColumns,
    scratch: Scratch,
    radii: Radii,
) -> None:
    """`chosen` numbers pairs. Radii are 0 where no bound is known."""
    for i in range(chosen.size):
        j = chosen[i]
        view, k = pairs.number[j], pairs.frame[j]
        up = down = 0.0
        radii.due_ns[i] = _due_ns(view, tables, market)
        if radii.due_ns[i] > market.clock_ns[-1] and _is_understood(view, tables, market):
            mains, width = _mains_of(view, tables, watched), 0.0
            for number in range(_TRIALS):
                bends = add_up(view, k, width, tables, market, watched, scratch)
                rise = _radius(
                    _side(view, 1.0, mains, width, tables),
                    tables, watched, scratch, exposures.delta, starts[1, j],
                )  # fmt: skip
                fall = rise
                if mains <= 1:
                    fall = _radius(
                        _side(view, -1.0, mains, width, tables),
                        tables, watched, scratch, exposures.delta, starts[1, j],
                    )  # fmt: skip
                if not bends:
                    up, down = rise, min(fall, 1.0)
                    break
                if number > 0:
                    up, down = max(up, min(rise, width)), max(down, min(fall, width))
                    rise, fall = 1.5 * up, 1.5 * down
                width = min(max(rise, fall), _WIDEST_TRIAL)
                if not width > 0.0:
                    break
        radii.up[i], radii.down[i] = up * _SHRUNK, down * _SHRUNK


@inlined_in_place
def _side(view: int, direction: float, mains: int, width: float, tables: Tables) -> _Side:
    views = tables.views
    figures = PER_ACCOUNT * (views.account_stop[view] - views.account[view])
    figures += PER_EXPOSURE * (views.exposure_stop[view] - views.exposure[view])
    return _Side(view, direction, mains, width, views.watch[view], views.watch_stop[view], figures)


@inlined_in_place
def _mains_of(view: int, tables: Tables, watched: ViewWatchColumns) -> int:
    mains = 0
    for row in range(tables.views.watch[view], tables.views.watch_stop[view]):
        mains += watched.role[row] == _MAIN
    return mains


@inlined_in_place
def _due_ns(view: int, tables: Tables, market: Market) -> int:
    """The next boundary or expiry of what the clock changes; what never was at one waits for the next."""
    found, positions = NEVER_NS, tables.positions
    for row in range(tables.views.position[view], tables.views.position_stop[view]):
        accrued_ns, instrument = positions.accrued_ns[row], positions.instrument[row]
        if accrued_ns == NEVER_NS:
            continue
        interval_ns = market.terms.accrual_interval_ns[instrument]
        if interval_ns == 0:
            due_ns = market.terms.expiry_ns[instrument]
        else:
            since_ns = accrued_ns if accrued_ns > 0 else market.clock_ns[-1]
            due_ns = (since_ns // interval_ns + 1) * interval_ns
        found = min(found, due_ns)
    return found


@inlined_in_place
def _is_understood(view: int, tables: Tables, market: Market) -> bool:
    views, kinds = tables.views, tables.triggers.kind
    if views.portfolio_margin[view] or views.asks_distance[view]:
        return False
    for row in range(views.position[view], views.position_stop[view]):
        if market.terms.option[tables.positions.instrument[row]]:
            return False
    for row in range(views.trigger[view], views.trigger_stop[view]):
        if kinds[row] >= _METRIC or kinds[row] == _ZAKAMOULINE:
            return False
    return True


@inlined_in_place
def _radius(
    side: _Side, tables: Tables, watched: ViewWatchColumns, scratch: Scratch, delta: FloatArray, at: int
) -> float:
    """The largest on which no trigger fires and no account is liquidated, as a share of the prices.

    The view's deltas begin at `at`.
    """
    views, triggers = tables.views, tables.triggers
    found, first_account = np.inf, views.account[side.number]
    accounts = views.account_stop[side.number] - first_account
    for account in range(accounts):
        if tables.accounts.liquidates[first_account + account]:
            found = min(found, _below_ratio(account, 1.0, side, tables, watched, scratch))
    for row in range(views.trigger[side.number], views.trigger_stop[side.number]):
        kind, account, exposure = triggers.kind[row], triggers.account[row], triggers.exposure[row]
        low, high, target = triggers.low[row], triggers.high[row], triggers.target[row]
        if kind == _DELTA_OF_GROSS:
            figure = accounts * PER_ACCOUNT + exposure * PER_EXPOSURE
            off = delta[at + exposure] - target
            found = min(found, _inside_share(figure, off, low, high, side, watched, scratch))
        elif kind == _MARGIN_RATIO and high < np.inf:
            found = min(found, _below_ratio(account, high, side, tables, watched, scratch))
        elif kind == _HEALTH:
            found = min(found, _healthy(account, low, high, target, side, tables, watched, scratch))
        elif kind == _LEVERAGE:
            begin, end = (0, accounts) if account == NONE else (account, account + 1)
            found = min(found, _levered(begin, end, low, high, side, watched, scratch))
    return found


@inlined_in_place
def _below_ratio(
    account: int, level: float, side: _Side, tables: Tables, watched: ViewWatchColumns, scratch: Scratch
) -> float:
    """Maintenance stays below `level` times what backs it. Nothing to maintain is never too much."""
    maintenance = account * PER_ACCOUNT + MAINTENANCE
    if scratch.magnitude[maintenance] == 0.0:
        return np.inf
    _begin(0.0, side, scratch)
    _take(maintenance, 1.0, side, scratch)
    _take(_backing_of(account, side, tables), -level, side, scratch)
    return _solved(side, watched, scratch)


@inlined_in_place
def _healthy(
    account: int,
    low: float,
    high: float,
    floor: float,
    side: _Side,
    tables: Tables,
    watched: ViewWatchColumns,
    scratch: Scratch,
) -> float:
    """What backs a pocket stays between the multiples of its maintenance, and its equity above the floor."""
    found, maintenance = np.inf, account * PER_ACCOUNT + MAINTENANCE
    for sign in (-1.0, 1.0):
        _begin(0.0, side, scratch)
        _take(_backing_of(account, side, tables), sign, side, scratch)
        _take(maintenance, -sign * (low if sign < 0.0 else high), side, scratch)
        found = min(found, _solved(side, watched, scratch))
    _begin(floor, side, scratch)
    _take(account * PER_ACCOUNT + EQUITY, -1.0, side, scratch)
    return min(found, _solved(side, watched, scratch))


@inlined_in_place
def _inside_share(
    exposure: int,
    off: float,
    below: float,
    above: float,
    side: _Side,
    watched: ViewWatchColumns,
    scratch: Scratch,
) -> float:
    """A delta that does not move stays within shares of a gross that does."""
    found = np.inf
    for sign in (-1.0, 1.0):
        _begin(0.0, side, scratch)
        _take(exposure + PRICE, sign * off, side, scratch)
        _take(exposure + EXPOSED, -(below if sign < 0.0 else above), side, scratch)
        found = min(found, _solved(side, watched, scratch))
    return found


@inlined_in_place
def _levered(
    begin: int,
    end: int,
    low: float,
    high: float,
    side: _Side,
    watched: ViewWatchColumns,
    scratch: Scratch,
) -> float:
    """The gross of accounts stays between multiples of their equity, which stays positive."""
    found = np.inf
    for edge in range(3):
        gross = 1.0 if edge == 0 else -1.0 if edge == 1 else 0.0
        equity = -high if edge == 0 else low if edge == 1 else -1.0
        if not np.isfinite(equity):
            continue
        _begin(0.0, side, scratch)
        for account in range(begin, end):
            _take(account * PER_ACCOUNT + GROSS, gross, side, scratch)
            _take(account * PER_ACCOUNT + EQUITY, equity, side, scratch)
        found = min(found, _solved(side, watched, scratch))
    return found


@inlined_in_place
def _backing_of(account: int, side: _Side, tables: Tables) -> int:
    lends = tables.accounts.lends[tables.views.account[side.number] + account]
    return account * PER_ACCOUNT + (BACKING if lends else EQUITY)


@inlined_in_place
def _begin(constant: float, side: _Side, scratch: Scratch) -> None:
    total = side.total
    scratch.value[total], scratch.magnitude[total], scratch.remainder[total] = constant, abs(constant), 0.0
    for at in range(side.stop - side.first):
        scratch.slope[total, at] = 0.0


@inlined_in_place
def _take(figure: int, weight: float, side: _Side, scratch: Scratch) -> None:
    total = side.total
    scratch.value[total] += weight * scratch.value[figure]
    scratch.magnitude[total] += abs(weight) * scratch.magnitude[figure]
    scratch.remainder[total] += abs(weight) * scratch.remainder[figure]
    for at in range(side.stop - side.first):
        scratch.slope[total, at] += weight * scratch.slope[figure, at]


@inlined_in_place
def _solved(side: _Side, watched: ViewWatchColumns, scratch: Scratch) -> float:
    """The radius up to which the sum stays below zero; 0 where it is not there, or not known."""
    room = -(scratch.value[side.total] + _ROUNDING * scratch.magnitude[side.total])
    if not room > 0.0:
        return 0.0
    slope = scratch.remainder[side.total] / side.width if side.width > 0.0 else 0.0
    for row in range(side.first, side.stop):
        steep, role = scratch.slope[side.total, row - side.first], watched.role[row]
        if role == _MAIN and side.mains <= 1:
            slope += side.direction * steep
        elif role <= _MINOR:
            slope += share_of(role) * abs(steep)
    if np.isnan(slope):
        return 0.0
    return room / slope if slope > 0.0 else np.inf


@compiled_in_place
def put_bounds(
    chosen: IntArray,
    pairs: PairColumns,
    tables: Tables,
    radii: Radii,
    watched: ViewWatchColumns,
    values: FloatArray,
    last_values: FloatArray,
    entries: EntryColumns,
    chunks: ChunkColumns,
) -> int:
    """Writes intervals where there is a radius, and where the end of the block is inside of all of them.

    `values` of the watches, view after view, on the frame that was looked at. How many views sleep now.
    """
    at = asleep = 0
    for i in range(chosen.size):
        view = pairs.number[chosen[i]]
        first, stop = tables.views.watch[view], tables.views.watch_stop[view]
        up, down = radii.up[i], radii.down[i]
        sleeps = min(up, down) > _LEAST
        for row in range(first, stop):
            low, high = _interval(values[at + row - first], watched.role[row], up, down)
            last = last_values[at + row - first]
            sleeps = sleeps and (low <= last <= high or (np.isnan(last) and low > high))
        for row in range(first, stop):
            low, high = _interval(values[at + row - first], watched.role[row], up, down)
            if not sleeps:
                low, high = np.inf, -np.inf
            put_entry(watched.entry[row], low, high, entries, chunks)
        at += stop - first
        asleep += sleeps
    return asleep


@inlined_in_place
def _interval(value: float, role: int, up: float, down: float) -> tuple[float, float]:
    """What is not known wakes with its first news."""
    if np.isnan(value):
        return np.inf, -np.inf
    if role == _PINNED:
        return value, value
    if role != _MAIN:
        up = down = min(up, down) * share_of(role)
    return value * (1.0 - down), value * (1.0 + up)
