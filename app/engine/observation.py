"""The compiled loop that computes the figures of many views, each on a frame of its own.

A pair's figures do not depend on its neighbours: sums are made one after the other, in stored order. Unknown
prices make figures NaN, and nothing fires on NaN.
"""

import numpy as np

from app.engine.conditions import (
    FIRST_ACCOUNT_OPCODE,
    FIRST_EXPOSURE_OPCODE,
    FIRST_OPERATION,
    Opcode,
)
from app.engine.figures import (
    AccountFigures,
    ExposureFigures,
    margin_ratio_of,
    of_account,
    of_exposure,
    of_portfolio,
)
from app.engine.judging import judge_triggers
from app.engine.reading_ahead import read_ahead
from app.engine.tables import (
    ConditionFigures,
    Findings,
    Market,
    OptionFigures,
    OptionUnits,
    PairColumns,
    Tables,
    TriggerFigures,
    Worths,
)
from app.engine.universe import NEVER_NS
from app.engine.view_rows import AccountColumns, BalanceColumns, PositionColumns, ViewColumns
from app.engine.worths import price_on, worth_on
from app.quant.arrays import IntArray
from app.quant.compiled import compiled_in_place, inlined_in_place
from app.quant.margin import Requirements

_ONE_PERCENT = 0.01
_ACCOUNTS, _EXPOSURES, _TRIGGERS, _CONDITIONS = range(4)


@compiled_in_place
def starts_of(pairs: PairColumns, views: ViewColumns, apart: bool, starts: IntArray, rows: IntArray) -> None:
    """Where each pair's accounts, exposures, triggers, conditions and options begin in the results, and how
    many rows of each there are. Unless they stand `apart`, those of every pair begin with the first row.
    """
    starts[:, 0] = 0
    rows[:] = 0
    for j in range(pairs.number.size):
        view = pairs.number[j]
        for kind in range(5):
            stop = starts[kind, j] + _rows_of(view, kind, views)
            rows[kind] = max(rows[kind], stop)
            starts[kind, j + 1] = stop if apart else 0


@inlined_in_place
def _rows_of(view: int, kind: int, views: ViewColumns) -> int:
    begin, stop = 0, views.options[view]
    if kind == _ACCOUNTS:
        begin, stop = views.account[view], views.account_stop[view]
    elif kind == _EXPOSURES:
        begin, stop = views.exposure[view], views.exposure_stop[view]
    elif kind == _TRIGGERS:
        begin, stop = views.trigger[view], views.trigger_stop[view]
    elif kind == _CONDITIONS:
        begin, stop = views.condition[view], views.condition_stop[view]
    rows: int = stop - begin
    return rows


@compiled_in_place
def observe_pairs(
    pairs: PairColumns,
    tables: Tables,
    market: Market,
    worths: Worths,
    units: OptionUnits,
    unit_of: IntArray,
    options: OptionFigures,
    requirements: Requirements,
    starts: IntArray,
    accounts: AccountFigures,
    exposures: ExposureFigures,
    triggers: TriggerFigures,
    conditions: ConditionFigures,
    findings: Findings,
) -> None:
    """Fills the figures, those of a pair over those of others where `starts` says so. `worths` are of no
    frame yet; the distances of accounts are known.

    `unit_of` says of each option that is held, as it is met, which of the `units` it is; `requirements` are
    those of the portfolio-margin accounts in the order in which they are met.
    """
    views = tables.views
    unit_at = requirement_at = 0
    for j in range(pairs.number.size):
        view, k = pairs.number[j], pairs.frame[j]
        read_ahead(j, pairs, tables)
        if views.due_ns[view] <= market.clock_ns[k + 1]:
            for row in range(views.position[view], views.position_stop[view]):
                if _is_due(row, k, tables.positions, market):
                    findings.due[j] = True
        account, exposure, option_at = starts[0, j], starts[1, j], starts[4, j]
        _clear(view, account, exposure, views, accounts, exposures)
        for row in range(views.exposure[view], views.exposure_stop[view]):
            at = exposure + row - views.exposure[view]
            exposures.underlying_price[at] = worth_on(
                market, k, tables.exposures.underlying_value[row], worths
            )
        for row in range(views.position[view], views.position_stop[view]):
            if market.terms.option[tables.positions.instrument[row]]:
                unit = unit_of[unit_at]
                _add_option(
                    row, k, tables.positions, market, worths, units, unit, options, option_at,
                    account, exposure, accounts, exposures,
                )  # fmt: skip
                unit_at, option_at = unit_at + 1, option_at + 1
            else:
                _add_contract(
                    row, k, tables.positions, market, worths, account, exposure, accounts, exposures
                )
        for row in range(views.balance[view], views.balance_stop[view]):
            _add_balance(row, k, tables.balances, market, worths, account, exposure, accounts, exposures)
        for row in range(views.account[view], views.account_stop[view]):
            at = account + row - views.account[view]
            requirement_at = _override(row, at, tables.accounts, requirements, requirement_at, accounts)
            _rate(j, row, at, tables.accounts, accounts, findings)
        if views.condition_stop[view] > views.condition[view]:
            _read_operands(j, view, k, tables, market, worths, starts, accounts, exposures, conditions)
        judge_triggers(
            j,
            view,
            market.clock_ns[k + 1],
            tables,
            starts,
            accounts,
            exposures,
            conditions,
            triggers,
            findings,
        )


@inlined_in_place
def _clear(
    view: int,
    account: int,
    exposure: int,
    views: ViewColumns,
    accounts: AccountFigures,
    exposures: ExposureFigures,
) -> None:
    for at in range(account, account + _rows_of(view, _ACCOUNTS, views)):
        accounts.equity[at] = accounts.backing[at] = 0.0
        accounts.initial_margin[at] = accounts.maintenance_margin[at] = 0.0
        accounts.net_notional[at] = accounts.gross_notional[at] = 0.0
    for at in range(exposure, exposure + _rows_of(view, _EXPOSURES, views)):
        exposures.delta[at] = exposures.gross_notional[at] = 0.0
        exposures.gamma[at] = exposures.dollar_gamma[at] = 0.0
        exposures.vega[at] = exposures.theta[at] = 0.0


@inlined_in_place
def _is_due(row: int, k: int, positions: PositionColumns, market: Market) -> bool:
    """Whether funding is to be paid, interest is to be added or it expired, and what that takes is known."""
    terms, accrued_ns = market.terms, positions.accrued_ns[row]
    instrument = positions.instrument[row]
    before_ns, now_ns = market.clock_ns[k], market.clock_ns[k + 1]
    if accrued_ns == NEVER_NS or np.isnan(price_on(market, k, positions.price_row[row])):
        return False
    interval_ns = terms.accrual_interval_ns[instrument]
    if interval_ns == 0:
        is_due: bool = terms.expiry_ns[instrument] <= now_ns
        return is_due
    if np.isnan(price_on(market, k, terms.rate_column[instrument])):
        return False
    since_ns = accrued_ns if accrued_ns > 0 else before_ns
    has_passed: bool = 0 < since_ns < now_ns - now_ns % interval_ns
    return has_passed


@inlined_in_place
def _add_option(
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
def _add_contract(
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


@inlined_in_place
def _add_balance(
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
def _override(
    row: int,
    at: int,
    table: AccountColumns,
    requirements: Requirements,
    requirement_at: int,
    accounts: AccountFigures,
) -> int:
    """What an account that is margined as a whole requires. Answers the number of the next one."""
    if not table.portfolio_margin[row]:
        return requirement_at
    accounts.initial_margin[at] = requirements.initial[requirement_at]
    accounts.maintenance_margin[at] = requirements.maintenance[requirement_at]
    return requirement_at + 1


@inlined_in_place
def _rate(
    j: int, row: int, at: int, table: AccountColumns, accounts: AccountFigures, findings: Findings
) -> None:
    """Once all that it holds was added: its backing and ratio, and what that leads to."""
    if not table.lends[row]:
        accounts.backing[at] = accounts.equity[at]
    ratio = margin_ratio_of(accounts.backing[at], accounts.maintenance_margin[at])
    accounts.margin_ratio[at] = ratio
    if table.liquidates[row] and ratio >= 1.0:
        findings.broken[j] = True
    if ratio < table.calm_from[row] or ratio >= table.calm_below[row]:
        findings.crossed[j] = True


@inlined_in_place
def _read_operands(
    j: int,
    view: int,
    k: int,
    tables: Tables,
    market: Market,
    worths: Worths,
    starts: IntArray,
    accounts: AccountFigures,
    exposures: ExposureFigures,
    conditions: ConditionFigures,
) -> None:
    """What the conditions of a pair are made of.

    Figures are handed on one by one: arrays would be counted in and out with every row.
    """
    rows, first = tables.conditions, tables.views.condition[view]
    for row in range(first, tables.views.condition_stop[view]):
        opcode, subject = rows.opcode[row], rows.subject[row]
        if opcode >= FIRST_OPERATION:
            continue
        if opcode <= Opcode.CONSTANT:
            value = 1.0 if opcode == Opcode.CONSTANT else np.nan
        elif opcode == Opcode.MARKET_COLUMN:
            value = market.value[market.standing[k, subject]]
        elif opcode == Opcode.CONVERSION:
            value = worth_on(market, k, subject, worths)
        elif opcode >= FIRST_EXPOSURE_OPCODE:
            at = starts[1, j] + subject
            value = of_exposure(
                opcode,
                exposures.underlying_price[at],
                exposures.delta[at],
                exposures.gross_notional[at],
                exposures.gamma[at],
                exposures.dollar_gamma[at],
                exposures.vega[at],
                exposures.theta[at],
            )
        elif opcode >= FIRST_ACCOUNT_OPCODE:
            at = starts[0, j] + subject
            value = of_account(
                opcode,
                accounts.equity[at],
                accounts.initial_margin[at],
                accounts.maintenance_margin[at],
                accounts.margin_ratio[at],
                accounts.distance[at],
            )
        else:
            value = of_portfolio(
                opcode,
                starts[0, j],
                starts[0, j] + _rows_of(view, _ACCOUNTS, tables.views),
                starts[1, j],
                starts[1, j] + _rows_of(view, _EXPOSURES, tables.views),
                accounts.equity,
                accounts.initial_margin,
                accounts.maintenance_margin,
                accounts.margin_ratio,
                accounts.distance,
                exposures.gross_notional,
            )
        conditions.result[starts[3, j] + row - first] = rows.constant[row] * value
