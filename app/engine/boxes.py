"""All figures of a view over a box of prices: straight lines, and how far they may be off them.

Holdings are sums of monomials: an amount times prices to powers of 1 or -1. Around the present prices a
monomial is its straight line and a remainder, which is at most what it is with every power taken positive (a
majorant). Prices of one underlying move together by the width of the box, each against the first of them by
a tenth of it, and currencies by a twentieth.
"""

from typing import NamedTuple

import numpy as np

from app.engine.tables import Market, Tables
from app.engine.view_watches import Role, ViewWatchColumns
from app.quant.arrays import FloatArray
from app.quant.compiled import inlined_in_place

RATIO_SHARE = 0.1
MINOR_SHARE = 0.05
PER_ACCOUNT, EQUITY, MAINTENANCE, BACKING, GROSS = 4, 0, 1, 2, 3
PER_EXPOSURE, PRICE, EXPOSED = 2, 0, 1
_MAIN, _RATIO, _MINOR = int(Role.MAIN), int(Role.RATIO), int(Role.MINOR)


class Scratch(NamedTuple):
    """Of every figure of one view: its value, the sum of its magnitudes, its slope in every watch (per
    relative move), and what it may be off its straight line. The last row is a sum that is being made.
    """

    value: FloatArray
    magnitude: FloatArray
    remainder: FloatArray
    slope: FloatArray


class Monomial(NamedTuple):
    """`amount` times the price in `column` to its `power`, and the prices on a path to theirs.

    Power 0 is no price; path -1 is one whose prices are not known.
    """

    amount: float
    column: int
    power: int
    path: int


@inlined_in_place
def add_up(
    view: int,
    k: int,
    width: float,
    tables: Tables,
    market: Market,
    watched: ViewWatchColumns,
    scratch: Scratch,
) -> bool:
    """All figures of a view over a box. False where all of them are straight lines."""
    views = tables.views
    accounts = views.account_stop[view] - views.account[view]
    exposures = views.exposure_stop[view] - views.exposure[view]
    watches = views.watch_stop[view] - views.watch[view]
    for figure in range(accounts * PER_ACCOUNT + exposures * PER_EXPOSURE):
        scratch.value[figure] = scratch.magnitude[figure] = scratch.remainder[figure] = 0.0
        for at in range(watches):
            scratch.slope[figure, at] = 0.0
    bends = False
    exposure = accounts * PER_ACCOUNT
    for row in range(views.exposure[view], views.exposure_stop[view]):
        path = _path_of(tables.exposures.underlying_value[row], k, market)
        figure = exposure + (row - views.exposure[view]) * PER_EXPOSURE + PRICE
        bends |= _add(figure, Monomial(1.0, 0, 0, path), view, k, width, tables, market, watched, scratch)
    for row in range(views.position[view], views.position_stop[view]):
        bends |= _add_position(row, exposure, view, k, width, tables, market, watched, scratch)
    for row in range(views.balance[view], views.balance_stop[view]):
        if tables.balances.amount[row] != 0.0:
            bends |= _add_balance(row, exposure, view, k, width, tables, market, watched, scratch)
    return bends


@inlined_in_place
def _add_position(
    row: int,
    first_exposure: int,
    view: int,
    k: int,
    width: float,
    tables: Tables,
    market: Market,
    watched: ViewWatchColumns,
    scratch: Scratch,
) -> bool:
    """Profit, linear or inverse, is a part that moves with the price and one that does not."""
    positions = tables.positions
    instrument, account = positions.instrument[row], positions.account[row] * PER_ACCOUNT
    units = positions.quantity[row] * market.terms.multiplier[instrument]
    entry, column = positions.entry_price[row], positions.price_row[row]
    settled = _path_of(positions.settlement_value[row], k, market)
    fixed, moving, delta, power = -units * entry, units, units, 1
    if market.terms.inverse[instrument]:
        fixed, moving, delta, power = units / entry, -units, units / entry, -1
    bends = False
    for part in range(4):
        if part == 0:
            figure, term = account + EQUITY, Monomial(fixed, 0, 0, settled)
        elif part == 1:
            figure, term = account + EQUITY, Monomial(moving, column, power, settled)
        elif part == 2:
            needed = abs(units) * positions.maintenance_rate[row]
            figure, term = account + MAINTENANCE, Monomial(needed, column, power, settled)
        else:
            backing = abs(units) * positions.backing_rate[row]
            figure, term = account + BACKING, Monomial(backing, column, power, settled)
        if term.amount != 0.0:
            bends |= _add(figure, term, view, k, width, tables, market, watched, scratch)
    if positions.exposure[row] >= 0:
        path = _path_of(positions.underlying_value[row], k, market)
        exposed = first_exposure + positions.exposure[row] * PER_EXPOSURE + EXPOSED
        for figure in (account + GROSS, exposed):
            term = Monomial(abs(delta), 0, 0, path)
            bends |= _add(figure, term, view, k, width, tables, market, watched, scratch)
    return bends


@inlined_in_place
def _add_balance(
    row: int,
    first_exposure: int,
    view: int,
    k: int,
    width: float,
    tables: Tables,
    market: Market,
    watched: ViewWatchColumns,
    scratch: Scratch,
) -> bool:
    balances = tables.balances
    amount, account = balances.amount[row], balances.account[row] * PER_ACCOUNT
    path = _path_of(balances.asset_value[row], k, market)
    counted = amount * (1.0 - balances.haircut[row]) if amount > 0.0 else amount
    bends = False
    for part in range(3):
        if part == 0:
            figure, worth = account + EQUITY, counted
        elif part == 1:
            figure, worth = account + GROSS, abs(amount)
        else:
            figure, worth = first_exposure + balances.exposure[row] * PER_EXPOSURE + EXPOSED, abs(amount)
        if part == 0 or balances.exposure[row] >= 0:
            term = Monomial(worth, 0, 0, path)
            bends |= _add(figure, term, view, k, width, tables, market, watched, scratch)
    return bends


@inlined_in_place
def _path_of(conversion: int, k: int, market: Market) -> int:
    """The one that counts; -1 where none is known."""
    for path in range(market.conversions.start[conversion], market.conversions.stop[conversion]):
        first = market.value[market.standing[k, market.paths.first[path]]]
        second = market.value[market.standing[k, market.paths.second[path]]]
        if not (np.isnan(first) or np.isnan(second)):
            return path
    return -1


@inlined_in_place
def _add(
    figure: int,
    term: Monomial,
    view: int,
    k: int,
    width: float,
    tables: Tables,
    market: Market,
    watched: ViewWatchColumns,
    scratch: Scratch,
) -> bool:
    """False where it is a straight line."""
    value = _value(term, k, market)
    scratch.value[figure] += value
    scratch.magnitude[figure] += abs(value)
    if term.path < 0:
        return False
    first, stop = tables.views.watch[view], tables.views.watch_stop[view]
    rises, straight, powers, bent = 1.0, 0.0, 0, False
    for row in range(first, stop):
        power = _power_of(row, term, first, stop, market, watched)
        if power != 0:
            moved = width * share_of(watched.role[row])
            scratch.slope[figure, row - first] += value * power
            straight += abs(power) * moved
            rises *= (1.0 + moved) ** power if power > 0 else (1.0 - moved) ** power
            powers += 1
            bent = bent or power != 1
    scratch.remainder[figure] += abs(value) * max(rises - 1.0 - straight, 0.0)
    return bent or powers > 1


@inlined_in_place
def _value(term: Monomial, k: int, market: Market) -> float:
    if term.path < 0:
        return np.nan
    value = term.amount
    for factor in range(3):
        column, power = _factor(factor, term, market)
        if power != 0:
            price = market.value[market.standing[k, column]]
            value = value * price if power > 0 else value / price
    return value


@inlined_in_place
def _factor(number: int, term: Monomial, market: Market) -> tuple[int, int]:
    """Column and power of the first, second or third price."""
    if number == 0:
        return term.column, term.power
    paths = market.paths
    if number == 1:
        return paths.first[term.path], paths.first_power[term.path]
    return paths.second[term.path], paths.second_power[term.path]


@inlined_in_place
def _power_of(
    row: int, term: Monomial, first: int, stop: int, market: Market, watched: ViewWatchColumns
) -> int:
    """To which power what is watched moves a term: a main price, all prices of its underlying with it."""
    role, found = watched.role[row], 0
    if role > _MINOR:
        return 0
    for factor in range(3):
        column, power = _factor(factor, term, market)
        if power == 0:
            continue
        if role != _MAIN:
            found += power if column == watched.column[row] else 0
            continue
        for other in range(first, stop):
            together = watched.group[other] == watched.group[row] and watched.role[other] <= _RATIO
            found += power if together and watched.column[other] == column else 0
    return found


@inlined_in_place
def share_of(role: int) -> float:
    """How much of the width of a box a watched price moves by."""
    if role == _MAIN:
        return 1.0
    return RATIO_SHARE if role == _RATIO else MINOR_SHARE
