"""The parts of the loop over views that add what a holding is worth, needs and exposes to its account and
exposure.
"""

from app.engine.figures import AccountFigures, ExposureFigures
from app.engine.tables import Market, OptionFigures, OptionUnits, Worths
from app.engine.view_rows import BalanceColumns, PositionColumns
from app.engine.worths import price_on, worth_on
from app.quant.compiled import inlined_in_place

_ONE_PERCENT = 0.01


@inlined_in_place
def add_option(
    row: int,
    k: int,
    positions: PositionColumns,
    market: Market,
    worths: Worths,
    units: OptionUnits,
    unit: int,
    options: OptionFigures,
    at: int,
    first_account: int,
    first_exposure: int,
    accounts: AccountFigures,
    exposures: ExposureFigures,
) -> None:
    """Equity counts a short option at its mark, so the mark leaves the requirement."""
    held = positions.quantity[row] * market.terms.multiplier[positions.instrument[row]]
    underlying_value = worth_on(market, k, positions.underlying_value[row], worths)
    forward, short = units.forward[unit], -held if held < 0.0 else 0.0
    value, delta, gamma = held * units.value[unit], held * units.delta[unit], held * units.gamma[unit]
    options.value[at], options.delta[at], options.gamma[at] = value, delta, gamma
    options.forward[at] = forward
    account, exposure = first_account + positions.account[row], first_exposure + positions.exposure[row]
    short_mark = short * units.mark[unit]
    initial = (short * units.initial[unit] - short_mark) * underlying_value
    maintenance = (short * units.maintenance[unit] - short_mark) * underlying_value
    value *= worth_on(market, k, positions.settlement_value[row], worths)
    quote_value = underlying_value / forward
    exposures.gamma[exposure] += gamma
    exposures.vega[exposure] += held * units.vega[unit] * quote_value
    exposures.theta[exposure] += held * units.theta[unit] * quote_value
    exposures.dollar_gamma[exposure] += gamma * forward * underlying_value * _ONE_PERCENT
    accounts.equity[account] += value
    accounts.initial_margin[account] += initial
    accounts.maintenance_margin[account] += maintenance
    _expose(delta, underlying_value, account, exposure, accounts, exposures)


@inlined_in_place
def add_contract(
    row: int,
    k: int,
    positions: PositionColumns,
    market: Market,
    worths: Worths,
    first_account: int,
    first_exposure: int,
    accounts: AccountFigures,
    exposures: ExposureFigures,
) -> None:
    """Rates of what is no loan are read from its terms: from one place for all who hold it."""
    terms, instrument = market.terms, positions.instrument[row]
    account = first_account + positions.account[row]
    to_value = worth_on(market, k, positions.settlement_value[row], worths)
    is_lent, entry = terms.lent[instrument], positions.entry_price[row]
    price = 1.0 if is_lent else price_on(market, k, terms.price_row[instrument])
    units = positions.quantity[row] * terms.multiplier[instrument]
    if terms.inverse[instrument]:
        # Contract and coin profit together: the derivative of units (P / E - 1) is units / E.
        delta = units / entry
        value = units * (price - entry) / (entry * price) * to_value
        size = abs(units) / price * to_value
    else:
        delta = units
        value = units * (price - entry) * to_value
        size = abs(units) * price * to_value
    accounts.equity[account] += value
    initial_rate, maintenance_rate = terms.initial_rate[instrument], terms.maintenance_rate[instrument]
    if is_lent:
        initial_rate, maintenance_rate = positions.initial_rate[row], positions.maintenance_rate[row]
        accounts.backing[account] += size * positions.backing_rate[row]
    accounts.initial_margin[account] += size * initial_rate
    accounts.maintenance_margin[account] += size * maintenance_rate
    if positions.exposure[row] >= 0:
        underlying_value = worth_on(market, k, positions.underlying_value[row], worths)
        exposure = first_exposure + positions.exposure[row]
        _expose(delta, underlying_value, account, exposure, accounts, exposures)


@inlined_in_place
def add_balance(
    row: int,
    k: int,
    balances: BalanceColumns,
    market: Market,
    worths: Worths,
    first_account: int,
    first_exposure: int,
    accounts: AccountFigures,
    exposures: ExposureFigures,
) -> None:
    amount = balances.amount[row]
    if amount == 0.0:
        return  # nothing is worth nothing, whether or not its price is known
    worth = amount * worth_on(market, k, balances.asset_value[row], worths)
    counted = 1.0 - balances.haircut[row] if amount > 0.0 else 1.0
    account = first_account + balances.account[row]
    accounts.equity[account] += worth * counted
    if balances.exposure[row] >= 0:
        exposure = first_exposure + balances.exposure[row]
        exposures.delta[exposure] += amount
        exposures.gross_notional[exposure] += abs(worth)
        accounts.net_notional[account] += worth
        accounts.gross_notional[account] += abs(worth)


@inlined_in_place
def _expose(
    delta: float,
    underlying_value: float,
    account: int,
    exposure: int,
    accounts: AccountFigures,
    exposures: ExposureFigures,
) -> None:
    exposures.delta[exposure] += delta
    exposures.gross_notional[exposure] += abs(delta) * underlying_value
    accounts.net_notional[account] += delta * underlying_value
    accounts.gross_notional[account] += abs(delta) * underlying_value
