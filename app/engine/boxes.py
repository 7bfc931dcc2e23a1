"""All figures of a view over a box of prices: straight lines, and how far they may be off them.

Holdings are sums of monomials: an amount times prices to powers of 1 or -1. Around the present prices a
monomial is its straight line and a remainder, which is at most what it is with every power taken positive (a
majorant). An option is its delta, and half its gamma times the square of the move, where gamma is no more and
no less than anywhere in the box; volatility and time move it by no more than the largest vega times the move
of the total deviation v = volatility x sqrt(years). In d1 = ln(F / K) / v + v / 2 all of these are the normal
density at d1, times or over F and v, and the density is largest at that d1 of the box which is nearest to 0.

Prices of one underlying move together by the width of the box, each against the first of them by a tenth of
it, and currencies by a twentieth.
"""

from math import exp, log, pi, sqrt
from typing import NamedTuple

import numpy as np

from app.domain.times import NS_PER_YEAR
from app.engine.tables import Market, OptionFigures, Tables
from app.engine.view_watches import Role, ViewWatchColumns
from app.quant.arrays import FloatArray
from app.quant.compiled import inlined_in_place
from app.quant.margin import OPTION_MAINTENANCE_RATE

RATIO_SHARE = 0.1
MINOR_SHARE = 0.05
PER_ACCOUNT, EQUITY, MAINTENANCE, BACKING, GROSS = 4, 0, 1, 2, 3
PER_EXPOSURE, PRICE, EXPOSED, NOTIONAL, DELTA, GAMMA, DOLLAR_GAMMA, VEGA = 7, 0, 1, 2, 3, 4, 5, 6
_PEAK = 1.0 / sqrt(2.0 * pi)
_NS_PER_YEAR = float(NS_PER_YEAR)
_OPTION_MAINTENANCE_RATE = float(OPTION_MAINTENANCE_RATE)
_PERCENT = 0.01
_MAIN, _RATIO, _MINOR = int(Role.MAIN), int(Role.RATIO), int(Role.MINOR)


class Scratch(NamedTuple):
    """Of every figure of one view: its value, the sum of its magnitudes, and its slope in every watch (per
    relative move). It `rises` and `falls` from its straight line by no more than so much over the box, and
    by less in proportion over a part of it; by what it `drifts` it may be off everywhere. The last row is
    a sum that is being made.
    """

    value: FloatArray
    magnitude: FloatArray
    rises: FloatArray
    falls: FloatArray
    drifts: FloatArray
    slope: FloatArray


class Box(NamedTuple):
    """Main prices move by no more than `width`: up (`direction` 1), down (-1) or both ways (0). Volatilities
    move by a share of themselves, and so many years pass.
    """

    width: float
    direction: float
    spread: float
    years: float


class _Option(NamedTuple):
    """Of one unit: its figures, the farthest move of its price, how far volatility and time move its value
    and its delta, and the bounds of gamma, of gamma times price (`sharp`) and of density in the box.
    """

    price: float
    value: float
    delta: float
    gamma: float
    density: float
    moves: float
    shifts: float
    turns: float
    gamma_low: float
    gamma_high: float
    sharp_low: float
    sharp_high: float
    density_low: float
    density_high: float
    years: float
    is_known: bool


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
    box: Box,
    option_at: int,
    tables: Tables,
    market: Market,
    options: OptionFigures,
    watched: ViewWatchColumns,
    scratch: Scratch,
) -> bool:
    """All figures of a view over a box. False where all of them are straight lines.

    `option_at`: where the figures of its first option stand.
    """
    views = tables.views
    accounts = views.account_stop[view] - views.account[view]
    exposures = views.exposure_stop[view] - views.exposure[view]
    watches = views.watch_stop[view] - views.watch[view]
    for figure in range(accounts * PER_ACCOUNT + exposures * PER_EXPOSURE):
        scratch.value[figure] = scratch.magnitude[figure] = 0.0
        scratch.rises[figure] = scratch.falls[figure] = scratch.drifts[figure] = 0.0
        for at in range(watches):
            scratch.slope[figure, at] = 0.0
    bends = False
    exposure = accounts * PER_ACCOUNT
    for row in range(views.exposure[view], views.exposure_stop[view]):
        path = _path_of(tables.exposures.underlying_value[row], k, market)
        figure = exposure + (row - views.exposure[view]) * PER_EXPOSURE + PRICE
        bends |= _add(figure, Monomial(1.0, 0, 0, path), view, k, box, tables, market, watched, scratch)
    for row in range(views.position[view], views.position_stop[view]):
        if market.terms.option[tables.positions.instrument[row]]:
            _add_option(row, option_at, exposure, view, k, box, tables, market, options, watched, scratch)
            option_at, bends = option_at + 1, True
        else:
            bends |= _add_position(row, exposure, view, k, box, tables, market, watched, scratch)
    for row in range(views.balance[view], views.balance_stop[view]):
        if tables.balances.amount[row] != 0.0:
            bends |= _add_balance(row, exposure, view, k, box, tables, market, watched, scratch)
    return bends


@inlined_in_place
def _add_position(
    row: int,
    first_exposure: int,
    view: int,
    k: int,
    box: Box,
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
            bends |= _add(figure, term, view, k, box, tables, market, watched, scratch)
    if positions.exposure[row] >= 0:
        path = _path_of(positions.underlying_value[row], k, market)
        exposure = first_exposure + positions.exposure[row] * PER_EXPOSURE
        scratch.value[exposure + DELTA] += delta
        scratch.magnitude[exposure + DELTA] += abs(delta)
        for figure in (account + GROSS, exposure + EXPOSED, exposure + NOTIONAL):
            term = Monomial(delta if figure == exposure + NOTIONAL else abs(delta), 0, 0, path)
            bends |= _add(figure, term, view, k, box, tables, market, watched, scratch)
    return bends


@inlined_in_place
def _add_balance(
    row: int,
    first_exposure: int,
    view: int,
    k: int,
    box: Box,
    tables: Tables,
    market: Market,
    watched: ViewWatchColumns,
    scratch: Scratch,
) -> bool:
    balances = tables.balances
    amount, account = balances.amount[row], balances.account[row] * PER_ACCOUNT
    path = _path_of(balances.asset_value[row], k, market)
    counted = amount * (1.0 - balances.haircut[row]) if amount > 0.0 else amount
    bends, exposure = False, first_exposure + balances.exposure[row] * PER_EXPOSURE
    for part in range(4):
        if part == 0:
            figure, worth = account + EQUITY, counted
        elif part == 1:
            figure, worth = account + GROSS, abs(amount)
        elif part == 2:
            figure, worth = exposure + EXPOSED, abs(amount)
        else:
            figure, worth = exposure + NOTIONAL, amount
        if part == 0 or balances.exposure[row] >= 0:
            term = Monomial(worth, 0, 0, path)
            bends |= _add(figure, term, view, k, box, tables, market, watched, scratch)
    if balances.exposure[row] >= 0:
        scratch.value[exposure + DELTA] += amount
        scratch.magnitude[exposure + DELTA] += abs(amount)
    return bends


@inlined_in_place
def _add_option(
    row: int,
    option_at: int,
    first_exposure: int,
    view: int,
    k: int,
    box: Box,
    tables: Tables,
    market: Market,
    options: OptionFigures,
    watched: ViewWatchColumns,
    scratch: Scratch,
) -> None:
    positions, terms = tables.positions, market.terms
    instrument, account = positions.instrument[row], positions.account[row] * PER_ACCOUNT
    units, column = positions.quantity[row] * terms.multiplier[instrument], positions.price_row[row]
    option = _option_in(row, option_at, view, k, box, tables, market, options, watched)
    settled = _path_of(positions.settlement_value[row], k, market)
    paid = Monomial(units, column, -1 if terms.inverse[instrument] else 0, settled)
    worth, sways = _value(paid, k, market), _sway(paid, view, box, tables, market, watched)
    equity = account + EQUITY
    held = Monomial(units * option.value, paid.column, paid.power, paid.path)
    _add(equity, held, view, k, box, tables, market, watched, scratch)
    _lean(equity, worth * option.delta * option.price, column, view, tables, market, watched, scratch)
    bend = 0.5 * option.gamma_high * option.moves**2
    crossed = abs(worth) * sways * (abs(option.delta) * option.moves + bend + option.shifts)
    scratch.rises[equity] += max(worth, 0.0) * bend + crossed
    scratch.falls[equity] += max(-worth, 0.0) * bend + crossed
    scratch.drifts[equity] += abs(worth) * option.shifts
    path = _path_of(positions.underlying_value[row], k, market)
    if units < 0.0:
        needed = Monomial(-units * _OPTION_MAINTENANCE_RATE, 0, 0, path)
        _add(account + MAINTENANCE, needed, view, k, box, tables, market, watched, scratch)
        cannot = not terms.call[instrument] and (
            option.value + option.moves + option.shifts >= option.price - option.moves
        )
        if cannot or not option.is_known:  # the requirement of a put goes up with its mark
            scratch.value[account + MAINTENANCE] = np.nan
    if not option.is_known:
        scratch.value[equity] = np.nan
    if positions.exposure[row] >= 0:
        exposure = first_exposure + positions.exposure[row] * PER_EXPOSURE
        _expose(
            exposure, account, units, path, column, option, view, k, box, tables, market, watched, scratch
        )


@inlined_in_place
def _expose(
    exposure: int,
    account: int,
    units: float,
    path: int,
    column: int,
    option: _Option,
    view: int,
    k: int,
    box: Box,
    tables: Tables,
    market: Market,
    watched: ViewWatchColumns,
    scratch: Scratch,
) -> None:
    """Delta, gross and the other greeks of an exposure. A call's delta grows with the price, and a put's
    magnitude shrinks.
    """
    size, one = abs(units), Monomial(1.0, 0, 0, path)
    price, sways = _value(one, k, market), _sway(one, view, box, tables, market, watched)
    leans = option.gamma * option.price
    off = max(option.gamma_high - option.gamma, option.gamma - option.gamma_low) * option.moves
    delta = exposure + DELTA
    scratch.value[delta] += units * option.delta
    scratch.magnitude[delta] += size * abs(option.delta)
    _lean(delta, units * leans, column, view, tables, market, watched, scratch)
    scratch.rises[delta] += size * off
    scratch.falls[delta] += size * off
    scratch.drifts[delta] += size * option.turns
    for figure in (account + GROSS, exposure + EXPOSED, exposure + NOTIONAL):
        side = 1.0 if option.delta > 0.0 else -1.0
        if figure == exposure + NOTIONAL:
            side = 1.0 if units > 0.0 else -1.0
        exposed = Monomial(side * size * option.delta, 0, 0, path)
        _add(figure, exposed, view, k, box, tables, market, watched, scratch)
        _lean(figure, side * size * leans * price, column, view, tables, market, watched, scratch)
        strayed = size * price * (off + sways * (option.gamma_high * option.moves + option.turns))
        scratch.rises[figure] += strayed
        scratch.falls[figure] += strayed
        scratch.drifts[figure] += size * price * option.turns
    low, high = price * (1.0 - sways), price * (1.0 + sways)
    root, later = sqrt(option.years), sqrt(max(option.years - box.years, 0.0))
    for greek in range(3):
        if greek == 0:
            figure, value = exposure + GAMMA, option.gamma
            least, most = option.gamma_low, option.gamma_high
        elif greek == 1:
            figure, value = exposure + DOLLAR_GAMMA, leans * price * _PERCENT
            least, most = option.sharp_low * low * _PERCENT, option.sharp_high * high * _PERCENT
        else:
            figure, value = exposure + VEGA, option.density * root * price
            least, most = option.density_low * later * low, option.density_high * root * high
        scratch.value[figure] += units * value
        scratch.magnitude[figure] += size * value
        scratch.drifts[figure] += size * max(most - value, value - least)


@inlined_in_place
def _option_in(
    row: int,
    option_at: int,
    view: int,
    k: int,
    box: Box,
    tables: Tables,
    market: Market,
    options: OptionFigures,
    watched: ViewWatchColumns,
) -> _Option:
    """Figures of one unit, from those of the holding, and their bounds."""
    terms, positions = market.terms, tables.positions
    instrument = positions.instrument[row]
    units = positions.quantity[row] * terms.multiplier[instrument]
    price, strike = options.forward[option_at], terms.strike[instrument]
    value = options.value[option_at] / units * (price if terms.inverse[instrument] else 1.0)
    delta, gamma = options.delta[option_at] / units, options.gamma[option_at] / units
    years = (terms.expiry_ns[instrument] - market.clock_ns[k + 1]) / _NS_PER_YEAR
    volatility = market.value[market.standing[k, terms.volatility_column[instrument]]]
    is_known = years > box.years and volatility > 0.0 and price > 0.0
    left = years - box.years if is_known else 1.0
    width = volatility * sqrt(years) if is_known else 1.0
    least = volatility * (1.0 - box.spread) * sqrt(left) if is_known else 1.0
    most = width * (1.0 + box.spread)
    falls = rises = reach = 1.0
    first, stop = tables.views.watch[view], tables.views.watch_stop[view]
    moved = Monomial(1.0, positions.price_row[row], 1, -1)
    for each in range(first, stop):
        if _power_of(each, moved, first, stop, market, watched) != 0:
            by = box.width * share_of(watched.role[each])
            main = watched.role[each] == _MAIN
            reach *= 1.0 + by
            rises *= 1.0 if main and box.direction < 0.0 else 1.0 + by
            falls *= 1.0 if main and box.direction > 0.0 else 1.0 - by
    low, high = price * falls, price * rises
    to_low, to_high = (log(low / strike), log(high / strike)) if is_known else (0.0, 0.0)
    nearest = min(to_low / least, to_low / most) + 0.5 * least
    farthest = max(to_high / least, to_high / most) + 0.5 * most
    ends = _density(nearest), _density(farthest)
    density_low, density_high = min(ends[0], ends[1]), max(ends[0], ends[1])
    if nearest < 0.0 < farthest:
        density_high = _density(0.0)
    gap = max(most - width, width - least)
    far = max(abs(nearest), abs(farthest)) + most
    return _Option(
        price=price,
        value=value,
        delta=delta,
        gamma=gamma,
        density=gamma * price * width,
        moves=price * (reach - 1.0),
        shifts=high * density_high * gap,
        turns=density_high * far / least * gap,
        gamma_low=density_low / (high * most),
        gamma_high=density_high / (low * least),
        sharp_low=density_low / most,
        sharp_high=density_high / least,
        density_low=density_low,
        density_high=density_high,
        years=max(years, 0.0),
        is_known=is_known,
    )


@inlined_in_place
def _density(x: float) -> float:
    return exp(-0.5 * x * x) * _PEAK


@inlined_in_place
def _sway(
    term: Monomial, view: int, box: Box, tables: Tables, market: Market, watched: ViewWatchColumns
) -> float:
    """By what share of itself a term moves at most."""
    first, stop = tables.views.watch[view], tables.views.watch_stop[view]
    most = 1.0
    for row in range(first, stop):
        power = _power_of(row, term, first, stop, market, watched)
        moved = box.width * share_of(watched.role[row])
        most *= (1.0 + moved) ** power if power > 0 else (1.0 - moved) ** power
    return most - 1.0


@inlined_in_place
def _lean(
    figure: int,
    slope: float,
    column: int,
    view: int,
    tables: Tables,
    market: Market,
    watched: ViewWatchColumns,
    scratch: Scratch,
) -> None:
    """A figure moves by so much with the price in a column."""
    first, stop = tables.views.watch[view], tables.views.watch_stop[view]
    price = Monomial(1.0, column, 1, -1)
    for row in range(first, stop):
        power = _power_of(row, price, first, stop, market, watched)
        scratch.slope[figure, row - first] += slope * power


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
    box: Box,
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
            moved = box.width * share_of(watched.role[row])
            scratch.slope[figure, row - first] += value * power
            straight += abs(power) * moved
            rises *= (1.0 + moved) ** power if power > 0 else (1.0 - moved) ** power
            powers += 1
            bent = bent or power != 1
    bend = abs(value) * max(rises - 1.0 - straight, 0.0)
    scratch.rises[figure] += bend
    scratch.falls[figure] += bend
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
    if term.path < 0:
        return 0, 0
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
