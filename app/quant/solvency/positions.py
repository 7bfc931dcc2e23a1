"""What one position adds to its account, as the compiled loops see it.

With s the factor by which the underlying moves from its price I, ρ the price ratio and units = quantity x
multiplier, in quote currency::

    holding   units I s
    linear    units (ρ I s - E)
    inverse   units (1/E - 1/(ρ I s)) coins, worth units (I s / E - 1/ρ)
    option    units V(ρ I s), over ρ where it is coin-settled

The requirements of short options are Deribit's standard margin (`app.quant.margin.coin_option_requirements`
has the formulas and the source) less the mark, which equity counts already.
"""

from math import log

from app.quant.arrays import FloatArray
from app.quant.compiled import compiled
from app.quant.forward_options import forward_option
from app.quant.margin import (
    OPTION_INITIAL_FLOOR,
    OPTION_INITIAL_RATE,
    OPTION_MAINTENANCE_RATE,
)
from app.quant.solvency.books import (
    FIRST_OPTION,
    HOLDING,
    LINEAR,
    Books,
    TierTables,
    is_coin_settled_option,
    is_put,
)


@compiled
def straight_value(books: Books, i: int, price: float) -> tuple[float, float]:
    """Worth of anything but an option: the level and the slope of a straight line in the factor."""
    kind, units = books.kinds[i], books.quantities[i] * books.multipliers[i]
    if kind == HOLDING:
        return 0.0, units * price
    if units == 0.0:
        return 0.0, 0.0
    if kind == LINEAR:
        return -units * books.entry_prices[i], units * books.price_ratios[i] * price
    return -units / books.price_ratios[i], units * price / books.entry_prices[i]


@compiled
def notional_of(books: Books, i: int, price: float) -> tuple[float, float]:
    """Size of a perpetual or future in its settlement currency, and what one unit of that is worth."""
    units = abs(books.quantities[i] * books.multipliers[i])
    mark = books.price_ratios[i] * price
    if books.kinds[i] == LINEAR:
        return units * mark, 1.0
    return units / mark, price


@compiled
def tier_of(tiers: TierTables, table: int, notional: float) -> int:
    """The row of the last tier whose floor is not above the notional."""
    row: int = tiers.starts[table]
    while row + 1 < tiers.starts[table + 1] and tiers.floors[row + 1] <= notional:
        row += 1
    return row


@compiled
def tiered_requirement(tiers: TierTables, table: int, notional: float) -> float:
    if table < 0:
        return 0.0
    row = tier_of(tiers, table, notional)
    requirement: float = max(notional * tiers.rates[row] - tiers.amounts[row], 0.0)
    return requirement


@compiled
def option_units(books: Books, i: int) -> float:
    """By how many of the options on one unit, valued in quote currency, equity counts."""
    units: float = books.quantities[i] * books.multipliers[i]
    ratio: float = books.price_ratios[i]
    return units / ratio if is_coin_settled_option(books.kinds[i]) else units


@compiled
def option_sign(kind: int) -> float:
    return -1.0 if is_put(kind) else 1.0


@compiled
def option_at(forward: float, strike: float, total_volatility: float, sign: float) -> tuple[float, float]:
    """Value and delta of an option on one unit, also where the underlying is worth nothing."""
    if forward <= 0.0:
        return (0.0, 0.0) if sign > 0.0 else (strike, -1.0)
    moneyness = forward / strike
    value, delta, _, _ = forward_option(moneyness, log(moneyness), total_volatility, sign)
    return strike * value, delta


@compiled
def option_requirements(books: Books, i: int, price: float, value: float) -> tuple[float, float]:
    """Initial and maintenance margin, the mark not included; ``value`` is of the option on one unit."""
    coins = max(-books.quantities[i], 0.0) * books.multipliers[i]
    if coins == 0.0:
        return 0.0, 0.0
    put, ratio = is_put(books.kinds[i]), books.price_ratios[i]
    forward, strike = ratio * price, books.strikes[i]
    mark = value / ratio if is_coin_settled_option(books.kinds[i]) else value
    outside = max(forward - strike if put else strike - forward, 0.0) / forward
    initial = max(OPTION_INITIAL_RATE - outside, OPTION_INITIAL_FLOOR) * price
    maintenance = OPTION_MAINTENANCE_RATE * (max(price, mark) if put else price)
    return coins * (max(initial, maintenance) if put else initial), coins * maintenance


@compiled
def requirements(books: Books, i: int, price: float) -> tuple[float, float]:
    """Initial and maintenance margin of a perpetual or future, in quote currency."""
    if books.kinds[i] == HOLDING:
        return 0.0, 0.0
    notional, worth = notional_of(books, i, price)
    maintenance = tiered_requirement(books.tiers, books.tier_tables[i], notional)
    return notional * books.initial_rates[i] * worth, maintenance * worth


@compiled
def value_and_slope(books: Books, i: int, price: float, root_years: FloatArray) -> tuple[float, float, float]:
    """Worth at the price, what it gains per relative move, and the value of an option on one unit."""
    if books.kinds[i] < FIRST_OPTION:
        level, slope = straight_value(books, i, price)
        return level + slope, slope, 0.0
    forward = books.price_ratios[i] * price
    value, delta = option_at(
        forward, books.strikes[i], books.volatilities[i] * root_years[i], option_sign(books.kinds[i])
    )
    units = option_units(books, i)
    return units * value, units * delta * forward, value
