"""How far the market may move before anything of a view can fire: the radius of a box around its prices.

A trigger is a sum of figures that has to stay below zero (see `boxes`). Its straight line and what it may be
off over a trial box, taken to grow no slower than in proportion, give the share of the box on which it does.

Sound and no more: whatever is not understood here (accounts margined as a whole, distances to liquidation,
conditions, bands of Zakamouline) has no bound, and its view is looked at with all its news.
"""

from typing import NamedTuple

import numpy as np

from app.domain.times import NS_PER_YEAR
from app.engine.boxes import (
    BACKING,
    DELTA,
    DOLLAR_GAMMA,
    EQUITY,
    EXPOSED,
    GAMMA,
    GROSS,
    MAINTENANCE,
    NOTIONAL,
    PER_ACCOUNT,
    PER_EXPOSURE,
    PRICE,
    VEGA,
    Box,
    Scratch,
    add_up,
    share_of,
)
from app.engine.conditions import Opcode
from app.engine.tables import Market, OptionFigures, PairColumns, Tables
from app.engine.trigger_rows import NONE, TriggerKind
from app.engine.universe import NEVER_NS
from app.engine.view_watches import Role, ViewWatchColumns
from app.engine.watches import ChunkColumns, EntryColumns, put_entry
from app.quant.arrays import FloatArray, IntArray
from app.quant.compiled import compiled_in_place, inlined_in_place
from app.quant.no_trade_bands import whalley_wilmott_half_band

_ROUNDING = 1e-11
"""Of the amounts that a figure is the sum of: far more than sums in another order differ by."""
_SHRUNK = 1.0 - 1e-9
_WIDEST_TRIAL = 0.5
_TRIALS = 8
_BETTER = 1.03
_SPREAD, _SPREADS = 0.02, 3
"""The share that volatilities may move by, at first, and how often it is taken smaller."""
_LONGEST_YEARS = 1.0 / (365.0 * 24.0)
_NS_PER_YEAR = float(NS_PER_YEAR)
_LEAST = 1e-9
"""Below it an interval is not worth its entry."""

_DELTA, _DELTA_OF_GROSS = int(TriggerKind.DELTA), int(TriggerKind.DELTA_OF_GROSS)
_WHALLEY_WILMOTT = int(TriggerKind.DELTA_WHALLEY_WILMOTT)
_DOLLAR_GAMMA, _DOLLAR_VEGA = int(TriggerKind.DOLLAR_GAMMA), int(TriggerKind.DOLLAR_VEGA)
_ZAKAMOULINE = int(TriggerKind.DELTA_ZAKAMOULINE)
_MARGIN_RATIO, _HEALTH = int(TriggerKind.MARGIN_RATIO), int(TriggerKind.HEALTH)
_LEVERAGE = int(TriggerKind.LEVERAGE)
_METRIC, _RULE = int(TriggerKind.METRIC), int(TriggerKind.RULE)
_VOLATILITY_TARGET = int(TriggerKind.VOLATILITY)
_VOLATILITY_POINT = 0.01
_MAIN, _MINOR, _PINNED = int(Role.MAIN), int(Role.MINOR), int(Role.PINNED)
_VOLATILITY, _UNUSED = int(Role.VOLATILITY), int(Role.UNUSED)


class Radii(NamedTuple):
    """Of each view that was asked for: how far its one main price may rise and fall, or all of them move,
    by what share volatilities may, and when the clock comes to something of it, or to where bounds end.
    """

    up: FloatArray
    down: FloatArray
    spread: FloatArray
    due_ns: IntArray


class _Side(NamedTuple):
    """One view, and which way its main price goes: up (1) or down (-1); all of several, both ways (0).

    Its watches stand from `first` to `stop`; `total` is the row of the sum that is being made.
    """

    number: int
    direction: float
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
    options: OptionFigures,
    watched: ViewWatchColumns,
    scratch: Scratch,
    radii: Radii,
) -> None:
    """`chosen` numbers pairs. Radii are 0 where no bound is known."""
    for i in range(chosen.size):
        j = chosen[i]
        view, k = pairs.number[j], pairs.frame[j]
        due_ns, patience = _due_ns(view, tables, market), _patience(view, k, tables, market)
        years, mains, up, down = patience, _mains_of(view, tables, watched), 0.0, 0.0
        spread = _SPREAD
        if due_ns > market.clock_ns[-1] and _is_understood(view, tables, market):
            for _ in range(_SPREADS):
                for way in range(2):
                    direction = 0.0 if mains > 1 else 1.0 - 2.0 * way
                    years = patience * spread / _SPREAD
                    found = _searched(
                        view, k, direction, spread, years, starts[4, j], tables, market, options, watched,
                        scratch,
                    )  # fmt: skip
                    if way == 0:
                        up = down = found
                        if mains > 1 or not found > 0.0:
                            break
                    else:
                        down = found
                if min(up, down) > _LEAST or patience == np.inf:
                    break
                spread /= 8.0
        if patience < np.inf:
            due_ns = min(due_ns, market.clock_ns[k + 1] + int(years * _NS_PER_YEAR))
        if not due_ns > market.clock_ns[-1]:
            up = down = 0.0
        radii.up[i], radii.down[i] = up * _SHRUNK, min(down, 1.0) * _SHRUNK
        radii.spread[i], radii.due_ns[i] = spread * _SHRUNK, due_ns


@inlined_in_place
def _searched(
    view: int,
    k: int,
    direction: float,
    spread: float,
    years: float,
    option_at: int,
    tables: Tables,
    market: Market,
    options: OptionFigures,
    watched: ViewWatchColumns,
    scratch: Scratch,
) -> float:
    """The widest box that was found on which nothing fires: at once where all is straight lines."""
    best, failed, width = 0.0, np.inf, 0.0
    for trial in range(_TRIALS):
        box = Box(width, direction, spread, years)
        bends = add_up(view, k, box, option_at, tables, market, options, watched, scratch)
        radius = _radius(k, _side(view, box, tables), tables, market, watched, scratch)
        if not bends:
            return radius
        if trial == 0:
            width = min(radius, _WIDEST_TRIAL)
        else:
            best = max(best, min(radius, width))
            if radius >= width:
                wider = min(2.0 * width, _WIDEST_TRIAL, 0.5 * (width + failed))
            else:
                failed = min(failed, width)
                wider = min(1.25 * radius, 0.9 * width) if radius > 0.0 else 0.25 * width
            if wider <= best * _BETTER:
                break
            width = wider
        if not width > 0.0:
            break
    return best


@inlined_in_place
def _patience(view: int, k: int, tables: Tables, market: Market) -> float:
    """For how many years bounds may count on options: a share of what the first of them has left."""
    found, positions = np.inf, tables.positions
    for row in range(tables.views.position[view], tables.views.position_stop[view]):
        instrument = positions.instrument[row]
        if market.terms.option[instrument]:
            left = (market.terms.expiry_ns[instrument] - market.clock_ns[k + 1]) / _NS_PER_YEAR
            found = min(found, left * _SPREAD, _LONGEST_YEARS)
    return found


@inlined_in_place
def _side(view: int, box: Box, tables: Tables) -> _Side:
    views = tables.views
    figures = PER_ACCOUNT * (views.account_stop[view] - views.account[view])
    figures += PER_EXPOSURE * (views.exposure_stop[view] - views.exposure[view])
    return _Side(view, box.direction, box.width, views.watch[view], views.watch_stop[view], figures)


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
    for row in range(views.trigger[view], views.trigger_stop[view]):
        if kinds[row] in (_RULE, _ZAKAMOULINE):
            return False
        if kinds[row] in (_METRIC, _VOLATILITY_TARGET):
            # One column that is no price is pinned: with any news of it the view is looked at.
            first = views.condition[view] + tables.triggers.condition[row]
            length = tables.triggers.condition_stop[row] - tables.triggers.condition[row]
            opcode, column = tables.conditions.opcode[first], tables.conditions.subject[first]
            if length != 1 or opcode != Opcode.MARKET_COLUMN or column < market.terms.option.size:
                return False
    return True


@inlined_in_place
def _radius(
    k: int, side: _Side, tables: Tables, market: Market, watched: ViewWatchColumns, scratch: Scratch
) -> float:
    """The largest on which no trigger fires and no account is liquidated, as a share of the prices."""
    views, triggers = tables.views, tables.triggers
    found, first_account = np.inf, views.account[side.number]
    accounts = views.account_stop[side.number] - first_account
    for account in range(accounts):
        if tables.accounts.liquidates[first_account + account]:
            found = min(found, _below_ratio(account, 1.0, side, tables, watched, scratch))
    for row in range(views.trigger[side.number], views.trigger_stop[side.number]):
        kind, account, exposure = triggers.kind[row], triggers.account[row], triggers.exposure[row]
        low, high, target = triggers.low[row], triggers.high[row], triggers.target[row]
        figure = accounts * PER_ACCOUNT + exposure * PER_EXPOSURE
        if kind in (_DELTA, _WHALLEY_WILMOTT):
            if kind == _WHALLEY_WILMOTT:
                low, high = _narrowest(figure, low, high, triggers.parameters[row], side, tables, scratch)
            found = min(found, _between(figure + DELTA, target - low, target + high, side, watched, scratch))
        elif kind == _DELTA_OF_GROSS:
            found = min(found, _inside_share(figure, target, low, high, side, watched, scratch))
        elif kind == _DOLLAR_GAMMA:
            found = min(found, _between(figure + DOLLAR_GAMMA, low, high, side, watched, scratch))
        elif kind == _DOLLAR_VEGA:
            low, high = low / _VOLATILITY_POINT, high / _VOLATILITY_POINT
            found = min(found, _between(figure + VEGA, low, high, side, watched, scratch))
        elif kind == _MARGIN_RATIO and high < np.inf:
            found = min(found, _below_ratio(account, high, side, tables, watched, scratch))
        elif kind == _HEALTH:
            found = min(found, _healthy(account, low, high, target, side, tables, watched, scratch))
        elif kind == _LEVERAGE:
            begin, end = (0, accounts) if account == NONE else (account, account + 1)
            found = min(found, _levered(begin, end, low, high, side, watched, scratch))
        elif kind == _VOLATILITY_TARGET:
            begin, end = (0, accounts) if account == NONE else (account, account + 1)
            column = tables.conditions.subject[views.condition[side.number] + triggers.condition[row]]
            volatility = market.value[market.standing[k, column]]
            limits, at = tables.parameters.value, triggers.parameters[row]
            allowed = min(max(target / volatility, limits[at]), limits[at + 1])
            found = min(
                found,
                _sized(figure, begin, end, low * allowed, high * allowed, side, watched, scratch),
            )
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
    target: float,
    below: float,
    above: float,
    side: _Side,
    watched: ViewWatchColumns,
    scratch: Scratch,
) -> float:
    """A delta stays within shares of the gross, both in money."""
    found = np.inf
    for sign in (-1.0, 1.0):
        _begin(0.0, side, scratch)
        _take(exposure + NOTIONAL, sign, side, scratch)
        _take(exposure + PRICE, -sign * target, side, scratch)
        _take(exposure + EXPOSED, -(below if sign < 0.0 else above), side, scratch)
        found = min(found, _solved(side, watched, scratch))
    return found


@inlined_in_place
def _between(
    figure: int, low: float, high: float, side: _Side, watched: ViewWatchColumns, scratch: Scratch
) -> float:
    found = np.inf
    for sign in (-1.0, 1.0):
        edge = low if sign < 0.0 else high
        if np.isfinite(edge):
            _begin(-sign * edge, side, scratch)
            _take(figure, sign, side, scratch)
            found = min(found, _solved(side, watched, scratch))
    return found


@inlined_in_place
def _narrowest(
    exposure: int, floor: float, cap: float, at: int, side: _Side, tables: Tables, scratch: Scratch
) -> tuple[float, float]:
    """The band grows with gamma and with the price: what it is where both are smallest in the box."""
    values = tables.parameters.value
    gamma = max(abs(scratch.value[exposure + GAMMA]) - scratch.drifts[exposure + GAMMA], 0.0)
    price = scratch.value[exposure + PRICE] * (1.0 - side.width)
    width = whalley_wilmott_half_band(
        gamma, price, values[at + 1], values[at], values[at + 2], values[at + 3]
    )
    width = floor if np.isnan(width) else min(max(width, floor), cap)
    return width, width


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
def _sized(
    exposure: int,
    begin: int,
    end: int,
    low: float,
    high: float,
    side: _Side,
    watched: ViewWatchColumns,
    scratch: Scratch,
) -> float:
    """What is exposed stays between multiples of the equity, and on its side. Nothing to size is no size."""
    sign, found = (1.0 if scratch.value[exposure + NOTIONAL] > 0.0 else -1.0), np.inf
    for edge in range(4):
        _begin(0.0, side, scratch)
        if edge < 3:
            _take(exposure + NOTIONAL, sign if edge == 0 else -sign, side, scratch)
        if edge != 2:
            weight = -high if edge == 0 else low if edge == 1 else -1.0
            for account in range(begin, end):
                _take(account * PER_ACCOUNT + EQUITY, weight, side, scratch)
        found = min(found, _solved(side, watched, scratch))
    return found


@inlined_in_place
def _backing_of(account: int, side: _Side, tables: Tables) -> int:
    lends = tables.accounts.lends[tables.views.account[side.number] + account]
    return account * PER_ACCOUNT + (BACKING if lends else EQUITY)


@inlined_in_place
def _begin(constant: float, side: _Side, scratch: Scratch) -> None:
    total = side.total
    scratch.value[total], scratch.magnitude[total] = constant, abs(constant)
    scratch.rises[total] = scratch.falls[total] = scratch.drifts[total] = 0.0
    for at in range(side.stop - side.first):
        scratch.slope[total, at] = 0.0


@inlined_in_place
def _take(figure: int, weight: float, side: _Side, scratch: Scratch) -> None:
    total = side.total
    scratch.value[total] += weight * scratch.value[figure]
    scratch.magnitude[total] += abs(weight) * scratch.magnitude[figure]
    up, down = (scratch.rises, scratch.falls) if weight > 0.0 else (scratch.falls, scratch.rises)
    scratch.rises[total] += abs(weight) * up[figure]
    scratch.falls[total] += abs(weight) * down[figure]
    scratch.drifts[total] += abs(weight) * scratch.drifts[figure]
    for at in range(side.stop - side.first):
        scratch.slope[total, at] += weight * scratch.slope[figure, at]


@inlined_in_place
def _solved(side: _Side, watched: ViewWatchColumns, scratch: Scratch) -> float:
    """The radius up to which the sum stays below zero; 0 where it is not there, or not known."""
    drifts = scratch.drifts[side.total] if side.width > 0.0 else 0.0
    room = -(scratch.value[side.total] + _ROUNDING * scratch.magnitude[side.total] + drifts)
    if not room > 0.0:
        return 0.0
    slope = scratch.rises[side.total] / side.width if side.width > 0.0 else 0.0
    for row in range(side.first, side.stop):
        steep, role = scratch.slope[side.total, row - side.first], watched.role[row]
        if role == _MAIN and side.direction != 0.0:
            slope += max(side.direction * steep, 0.0)  # it may stand still while others move
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
        up, down, spread = radii.up[i], radii.down[i], radii.spread[i]
        sleeps = min(up, down) > _LEAST
        for row in range(first, stop):
            low, high = _interval(values[at + row - first], watched.role[row], up, down, spread)
            last = last_values[at + row - first]
            sleeps = sleeps and (low <= last <= high or (np.isnan(last) and low > high))
        for row in range(first, stop):
            low, high = _interval(values[at + row - first], watched.role[row], up, down, spread)
            if not sleeps:
                low, high = np.inf, -np.inf
            put_entry(watched.entry[row], low, high, entries, chunks)
        at += stop - first
        asleep += sleeps
    return asleep


@inlined_in_place
def _interval(value: float, role: int, up: float, down: float, spread: float) -> tuple[float, float]:
    """What is not known wakes with its first news."""
    if role == _UNUSED:
        return -np.inf, np.inf
    if np.isnan(value):
        return np.inf, -np.inf
    if role == _VOLATILITY:
        return value * (1.0 - spread), value * (1.0 + spread)
    if role == _PINNED:
        return value, value
    if role != _MAIN:
        up = down = min(up, down) * share_of(role)
    return value * (1.0 - down) if down < _SHRUNK else -np.inf, value * (1.0 + up)
