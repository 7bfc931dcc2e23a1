"""The figures of a view as straight lines in the prices that it watches: sums of products of prices to powers
of 1 or -1 (see `boxes`), and what options lean on the prices of their marks.
"""

from math import erfc, exp, log, pi, sqrt

import numpy as np

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
    SHAPE_COUNTS,
    VEGA,
    Asked,
    Drawing,
    HeldOptions,
    Holdings,
    Lines,
    Prices,
    Products,
    Shapes,
    Watching,
)
from app.engine.view_watches import Role
from app.quant.arrays import FloatArray
from app.quant.compiled import inlined_in_place

_PERCENT = 0.01
_MAIN, _RATIO, _MINOR = int(Role.MAIN), int(Role.RATIO), int(Role.MINOR)
_KEY_BITS = 4
_PEAK, _ROOT_OF_HALF = 1.0 / sqrt(2.0 * pi), sqrt(0.5)


@inlined_in_place
def clear(asked: Asked, watching: Watching, drawing: Drawing) -> None:
    lines = drawing.lines
    drawing.products.used[0] = drawing.shapes.used[0] = 0
    for line in range(asked.used[0]):
        lines.value[line] = lines.magnitude[line] = 0.0
        for watch in range(watching.size):
            lines.slope[line, watch] = 0.0


@inlined_in_place
def draw_price(
    figure: int,
    column: int,
    conversion: int,
    prices: Prices,
    watching: Watching,
    asked: Asked,
    drawing: Drawing,
) -> None:
    """The price in a column, or (`NONE`) a conversion."""
    if asked.line[figure] >= 0:
        product = _product(column, 1 if column >= 0 else 0, conversion, prices, watching, drawing)
        _add(figure, 1.0, product, watching.size, asked, drawing.lines, drawing.products)


@inlined_in_place
def draw(
    holdings: Holdings,
    held: HeldOptions,
    prices: Prices,
    watching: Watching,
    asked: Asked,
    drawing: Drawing,
) -> None:
    """Adds all holdings to the lines that are asked for; options are priced anew where prices have moved."""
    for at in range(holdings.used[0]):
        column, power, conversion = holdings.column[at], holdings.power[at], holdings.settled[at]
        settled = _product(NONE, 0, conversion, prices, watching, drawing)
        moving, underlying, option = settled, settled, holdings.option[at]
        if power != 0:
            moving = _product(column, power, conversion, prices, watching, drawing)
        if holdings.underlying[at] != conversion:
            underlying = _product(NONE, 0, holdings.underlying[at], prices, watching, drawing)
        mark = moving
        if option >= 0:
            mark = _product(column, 1, NONE, prices, watching, drawing)
            if held.price[option] != drawing.products.value[mark]:
                _price(option, drawing.products.value[mark], held)
                holdings.moves[at] = held.units[option] * held.value[option]
                holdings.delta[at] = held.units[option] * held.delta[option]
        _add_holding(
            at, settled, moving, underlying, watching.size, holdings, asked, drawing.lines, drawing.products
        )
        if option >= 0:
            _bend(
                option,
                holdings.account[at],
                holdings.exposure[at],
                mark,
                moving,
                underlying,
                watching.size,
                asked,
                drawing,
                held,
            )


@inlined_in_place
def _price(at: int, price: float, held: HeldOptions) -> None:
    """Black-76 at zero rate, as all options are priced."""
    width, moneyness = held.volatility[at] * sqrt(held.years[at]), log(price / held.strike[at])
    d1 = moneyness / width + 0.5 * width
    side = 1.0 if held.call[at] else -1.0
    near, far = 0.5 * erfc(-side * d1 * _ROOT_OF_HALF), 0.5 * erfc(side * (width - d1) * _ROOT_OF_HALF)
    held.price[at], held.moneyness[at] = price, moneyness
    held.value[at] = side * (price * near - held.strike[at] * far)
    held.delta[at] = side * near
    held.gamma[at] = _PEAK * exp(-0.5 * d1 * d1) / (price * width)


@inlined_in_place
def _add_holding(
    at: int,
    settled: int,
    moving: int,
    underlying: int,
    watches: int,
    holdings: Holdings,
    asked: Asked,
    lines: Lines,
    products: Products,
) -> None:
    account, exposure, delta = holdings.account[at], holdings.exposure[at], holdings.delta[at]
    for figure, amount, product in (
        (account + EQUITY, holdings.fixed[at], settled),
        (account + EQUITY, holdings.moves[at], moving),
        (account + MAINTENANCE, holdings.needs[at], moving if holdings.option[at] < 0 else underlying),
        (account + INITIAL, holdings.opens[at], moving),
        (account + BACKING, holdings.backs[at], moving),
    ):
        if amount != 0.0:
            _add(figure, amount, product, watches, asked, lines, products)
    if exposure >= 0:
        for figure in (account + GROSS, exposure + EXPOSED, exposure + NOTIONAL):
            amount = delta if figure == exposure + NOTIONAL else abs(delta)
            _add(figure, amount, underlying, watches, asked, lines, products)
        _count(exposure + DELTA, delta, asked, lines)


@inlined_in_place
def _bend(
    at: int,
    account: int,
    exposure: int,
    mark: int,
    paid: int,
    underlying: int,
    watches: int,
    asked: Asked,
    drawing: Drawing,
    held: HeldOptions,
) -> None:
    """Of an option: it leans on its mark, and its greeks are figures, too."""
    lines, products = drawing.lines, drawing.products
    held.account[at], held.exposure[at] = account, exposure
    units, price_worth = held.units[at], products.value[underlying]
    worth = units * products.value[paid]
    line = asked.line[account + EQUITY]
    if line >= 0:  # that its value is the difference of two amounts
        lines.magnitude[line] += abs(worth) * held.price[at]
    held.worth[at], held.price_worth[at] = worth, price_worth
    held.mark[at], held.paid[at] = products.shape[mark], products.shape[paid]
    held.underlying[at] = products.shape[underlying]
    drawing.shapes.marks[products.shape[mark]] = True
    powers = products.powers[mark]
    _lean(account + EQUITY, worth * held.delta[at] * held.price[at], powers, watches, asked, lines)
    if exposure >= 0:
        leans = units * held.gamma[at] * held.price[at]
        side = 1.0 if units * held.delta[at] > 0.0 else -1.0
        for figure in (account + GROSS, exposure + EXPOSED, exposure + NOTIONAL, exposure + DELTA):
            slope = leans if figure == exposure + DELTA else leans * price_worth
            if figure < exposure + NOTIONAL:
                slope *= side
            _lean(figure, slope, powers, watches, asked, lines)
        width = held.volatility[at] * sqrt(held.years[at])
        steep = held.moneyness[at] / width / width + 0.5
        _count(exposure + GAMMA, units * held.gamma[at], asked, lines)
        _lean(exposure + GAMMA, -units * held.gamma[at] * (1.0 + steep), powers, watches, asked, lines)
        vega = leans * price_worth * held.volatility[at] * held.years[at]
        for figure, value in (
            (exposure + DOLLAR_GAMMA, leans * price_worth * _PERCENT),
            (exposure + VEGA, vega),
        ):
            _count(figure, value, asked, lines)
            _lean(figure, -value * steep, powers, watches, asked, lines)
            _lean(figure, value, products.powers[underlying], watches, asked, lines)


@inlined_in_place
def _add(
    figure: int, amount: float, product: int, watches: int, asked: Asked, lines: Lines, products: Products
) -> None:
    """So much of a product."""
    line = asked.line[figure]
    if line >= 0:
        value = amount * products.value[product]
        lines.value[line] += value
        lines.magnitude[line] += abs(value)
        lines.mass[line, products.shape[product]] += abs(value)
        for watch in range(watches):
            lines.slope[line, watch] += value * products.powers[product, watch]


@inlined_in_place
def _count(figure: int, value: float, asked: Asked, lines: Lines) -> None:
    """So much, wherever prices are."""
    line = asked.line[figure]
    if line >= 0:
        lines.value[line] += value
        lines.magnitude[line] += abs(value)


@inlined_in_place
def _lean(figure: int, slope: float, powers: FloatArray, watches: int, asked: Asked, lines: Lines) -> None:
    """A figure moves by so much with a product of these powers."""
    line = asked.line[figure]
    if line >= 0:
        for watch in range(watches):
            lines.slope[line, watch] += slope * powers[watch]


@inlined_in_place
def _product(
    column: int, power: int, conversion: int, prices: Prices, watching: Watching, drawing: Drawing
) -> int:
    """The number of a product, which is made where there is none yet."""
    products = drawing.products
    for at in range(products.used[0]):
        same = products.column[at] == column and products.power[at] == power
        if same and products.conversion[at] == conversion:
            return at
    at = int(products.used[0])
    products.used[0] = at + 1
    products.column[at], products.power[at], products.conversion[at] = column, power, conversion
    for watch in range(watching.size):
        products.powers[at, watch] = 0.0
    path = _path_of(conversion, prices) if conversion >= 0 else NONE
    value = np.nan if conversion >= 0 and path < 0 else 1.0
    for factor in range(3 if path >= 0 else 1):
        row, times = column, power
        if factor == 1:
            row, times = prices.paths.first[path], prices.paths.first_power[path]
        elif factor == 2:
            row, times = prices.paths.second[path], prices.paths.second_power[path]
        if times != 0:
            price = prices.value[prices.standing[prices.frame, row]]
            value = value * price if times > 0 else value / price
            if row < prices.listed:
                _raise(row, times, products.powers[at], watching)
    products.value[at] = value * _moved(products.powers[at], prices)
    key = _key_of(products.powers[at], watching)
    products.shape[at] = _shape_of(key, drawing.shapes, drawing.lines.mass)
    return at


@inlined_in_place
def _moved(powers: FloatArray, prices: Prices) -> float:
    """How many times what it is a product becomes."""
    times = 1.0
    if prices.main >= 0:
        power = int(powers[prices.main])
        for _ in range(abs(power)):
            times *= prices.moved
        if power < 0:
            times = 1.0 / times
    return times


@inlined_in_place
def _path_of(conversion: int, prices: Prices) -> int:
    """The one that counts; `NONE` where none is known."""
    for path in range(prices.conversions.start[conversion], prices.conversions.stop[conversion]):
        first = prices.value[prices.standing[prices.frame, prices.paths.first[path]]]
        second = prices.value[prices.standing[prices.frame, prices.paths.second[path]]]
        if not (np.isnan(first) or np.isnan(second)):
            return path
    return NONE


@inlined_in_place
def _raise(column: int, power: int, powers: FloatArray, watching: Watching) -> None:
    """What is watched moves a price: its own watch does, and the main one of its underlying."""
    first = watching.first
    for at in range(watching.size):
        role = watching.role[first + at]
        if watching.column[first + at] == column and role <= _MINOR:
            powers[at] += power
            if role == _RATIO:
                for main in range(watching.size):
                    same = watching.group[first + main] == watching.group[first + at]
                    if same and watching.role[first + main] == _MAIN:
                        powers[main] += power


@inlined_in_place
def _key_of(powers: FloatArray, watching: Watching) -> int:
    """How many prices of which kind, in one number."""
    key = 0
    for at in range(watching.size):
        power = int(powers[at])
        if power != 0:
            kind = 2 * watching.role[watching.first + at] + (power < 0)
            key += abs(power) << (_KEY_BITS * kind)
    return key


@inlined_in_place
def _shape_of(key: int, shapes: Shapes, mass: FloatArray) -> int:
    found = int(shapes.used[0])
    for shape in range(found):
        if shapes.key[shape] == key:
            return shape
    prices = below = 0
    for kind in range(SHAPE_COUNTS):
        count = (key >> (_KEY_BITS * kind)) & (2**_KEY_BITS - 1)
        shapes.counts[found, kind] = count
        prices, below = prices + count, below + count * (kind % 2)
    shapes.used[0] = found + 1
    shapes.key[found], shapes.marks[found], shapes.bent[found] = key, False, prices > 1 or below > 0
    mass[:, found] = 0.0
    return found
