"""What a view holds, as one kind of thing: what stays and what moves with a price, what it needs and what it
backs, and the delta by which it is exposed.
"""

from math import log

import numpy as np

from app.domain.times import NS_PER_YEAR
from app.engine.sketches import NONE, PER_ACCOUNT, PER_EXPOSURE, HeldOptions, Holdings, Look
from app.engine.tables import OptionFigures
from app.engine.universe import Terms
from app.engine.view_rows import BalanceColumns, PositionColumns
from app.quant.compiled import inlined_in_place
from app.quant.margin import OPTION_MAINTENANCE_RATE

_NS_PER_YEAR = float(NS_PER_YEAR)
_OPTION_MAINTENANCE_RATE = float(OPTION_MAINTENANCE_RATE)


@inlined_in_place
def gather(look: Look, holdings: Holdings, held: HeldOptions) -> None:
    """Positions, then balances."""
    views, view, tables, market = look.tables.views, look.number, look.tables, look.market
    accounts, now_ns = views.account_stop[view] - views.account[view], market.clock_ns[look.frame + 1]
    holdings.used[0] = held.used[0] = 0
    option_at = look.option
    for row in range(views.position[view], views.position_stop[view]):
        instrument = tables.positions.instrument[row]
        if market.terms.option[instrument]:
            volatility = market.value[market.standing[look.frame, market.terms.volatility_column[instrument]]]
            _hold_option(
                row,
                option_at,
                now_ns,
                volatility,
                tables.positions,
                market.terms,
                look.options,
                holdings,
                held,
            )
            option_at += 1
        else:
            _hold_contract(row, tables.positions, market.terms, holdings)
        _expose(tables.positions.exposure[row], accounts, holdings)
    for row in range(views.balance[view], views.balance_stop[view]):
        if tables.balances.amount[row] != 0.0:
            _hold_balance(row, tables.balances, holdings)
            _expose(tables.balances.exposure[row], accounts, holdings)


@inlined_in_place
def _expose(exposure: int, accounts: int, holdings: Holdings) -> None:
    """What was held last."""
    at = holdings.used[0] - 1
    holdings.exposure[at] = accounts * PER_ACCOUNT + exposure * PER_EXPOSURE if exposure >= 0 else NONE


@inlined_in_place
def _hold_contract(row: int, positions: PositionColumns, terms: Terms, holdings: Holdings) -> None:
    """Profit, linear or inverse, is a part that moves with the price and one that does not."""
    instrument, entry = positions.instrument[row], positions.entry_price[row]
    units, inverse = positions.quantity[row] * terms.multiplier[instrument], terms.inverse[instrument]
    at = holdings.used[0]
    holdings.used[0] = at + 1
    holdings.account[at] = positions.account[row] * PER_ACCOUNT
    holdings.column[at], holdings.power[at] = positions.price_row[row], -1 if inverse else 1
    holdings.settled[at] = positions.settlement_value[row]
    holdings.underlying[at] = positions.underlying_value[row]
    holdings.option[at] = NONE
    holdings.fixed[at] = units / entry if inverse else -units * entry
    holdings.moves[at] = -units if inverse else units
    holdings.opens[at] = abs(units) * positions.initial_rate[row]
    holdings.needs[at] = abs(units) * positions.maintenance_rate[row]
    holdings.backs[at] = abs(units) * positions.backing_rate[row]
    holdings.delta[at] = units / entry if inverse else units


@inlined_in_place
def _hold_balance(row: int, balances: BalanceColumns, holdings: Holdings) -> None:
    amount, at = balances.amount[row], holdings.used[0]
    holdings.used[0] = at + 1
    holdings.account[at] = balances.account[row] * PER_ACCOUNT
    holdings.column[at], holdings.power[at], holdings.option[at] = NONE, 0, NONE
    holdings.settled[at] = holdings.underlying[at] = balances.asset_value[row]
    holdings.fixed[at] = amount * (1.0 - balances.haircut[row]) if amount > 0.0 else amount
    holdings.moves[at] = holdings.opens[at] = holdings.needs[at] = holdings.backs[at] = 0.0
    holdings.delta[at] = amount


@inlined_in_place
def _hold_option(
    row: int,
    option_at: int,
    now_ns: int,
    volatility: float,
    positions: PositionColumns,
    terms: Terms,
    options: OptionFigures,
    holdings: Holdings,
    held: HeldOptions,
) -> None:
    """Figures of one unit, from those of the holding. Expired or not priced, they are not known; for what is
    needed to open a short one there is no bound.
    """
    instrument = positions.instrument[row]
    units, inverse = positions.quantity[row] * terms.multiplier[instrument], terms.inverse[instrument]
    price, years = options.forward[option_at], (terms.expiry_ns[instrument] - now_ns) / _NS_PER_YEAR
    known = years > 0.0 and volatility > 0.0 and price > 0.0
    option, nothing = held.used[0], 0.0 if known else np.nan
    held.used[0] = option + 1
    held.price[option], held.volatility[option], held.years[option] = price, volatility, years
    held.strike[option], held.call[option] = terms.strike[instrument], terms.call[instrument]
    held.moneyness[option] = log(price / terms.strike[instrument]) if known else np.nan
    held.value[option] = nothing + options.value[option_at] / units * (price if inverse else 1.0)
    held.delta[option] = nothing + options.delta[option_at] / units
    held.gamma[option] = nothing + options.gamma[option_at] / units
    held.units[option] = units
    held.climbs[option] = units < 0.0 and not terms.call[instrument]
    at = holdings.used[0]
    holdings.used[0] = at + 1
    holdings.account[at] = positions.account[row] * PER_ACCOUNT
    holdings.column[at], holdings.power[at] = positions.price_row[row], -1 if inverse else 0
    holdings.settled[at] = positions.settlement_value[row]
    holdings.underlying[at] = positions.underlying_value[row]
    holdings.option[at] = option
    holdings.fixed[at] = holdings.backs[at] = 0.0
    holdings.opens[at] = np.nan if units < 0.0 else nothing
    holdings.moves[at] = units * held.value[option]
    holdings.needs[at] = max(-units, 0.0) * _OPTION_MAINTENANCE_RATE + nothing
    holdings.delta[at] = units * held.delta[option]
