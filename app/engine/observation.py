"""The compiled loop that computes the figures of many views, each on a frame of its own.

A pair's figures do not depend on its neighbours: sums are made one after the other, in stored order. Unknown
prices make figures NaN, and nothing fires on NaN.
"""

import numpy as np

from app.engine.figures import AccountFigures, ExposureFigures, margin_ratio_of
from app.engine.holding_figures import add_balance, add_contract, add_option
from app.engine.judging import judge_triggers
from app.engine.operand_figures import read_operands
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
from app.engine.view_rows import AccountColumns, PositionColumns, ViewColumns
from app.engine.worths import price_on, worth_on
from app.quant.arrays import IntArray
from app.quant.compiled import compiled_in_place, inlined_in_place
from app.quant.margin import Requirements

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
    option_number = requirement_number = 0
    for j in range(pairs.number.size):
        view, k = pairs.number[j], pairs.frame[j]
        account, exposure = starts[0, j], starts[1, j]
        read_ahead(j, pairs, tables)
        _find_due(j, view, k, tables, market, findings)
        _clear(view, account, exposure, views, accounts, exposures)
        _price_exposures(view, k, exposure, tables, market, worths, exposures)
        option_number = _add_positions(
            j, view, k, tables, market, worths, units, unit_of, option_number, options,
            starts, accounts, exposures,
        )  # fmt: skip
        for row in range(views.balance[view], views.balance_stop[view]):
            add_balance(row, k, tables.balances, market, worths, account, exposure, accounts, exposures)
        requirement_number = _rate_accounts(
            j, view, account, tables, requirements, requirement_number, accounts, findings
        )
        if views.condition_stop[view] > views.condition[view]:
            read_operands(j, view, k, tables, market, worths, starts, accounts, exposures, conditions)
        judge_triggers(
            j, view, market.clock_ns[k + 1], tables, starts, accounts, exposures, conditions, triggers,
            findings,
        )  # fmt: skip


@inlined_in_place
def _find_due(j: int, view: int, k: int, tables: Tables, market: Market, findings: Findings) -> None:
    views = tables.views
    if views.due_ns[view] <= market.clock_ns[k + 1]:
        for row in range(views.position[view], views.position_stop[view]):
            if _is_due(row, k, tables.positions, market):
                findings.due[j] = True


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
def _price_exposures(
    view: int,
    k: int,
    first: int,
    tables: Tables,
    market: Market,
    worths: Worths,
    exposures: ExposureFigures,
) -> None:
    views = tables.views
    for row in range(views.exposure[view], views.exposure_stop[view]):
        at = first + row - views.exposure[view]
        exposures.underlying_price[at] = worth_on(market, k, tables.exposures.underlying_value[row], worths)


@inlined_in_place
def _add_positions(
    j: int,
    view: int,
    k: int,
    tables: Tables,
    market: Market,
    worths: Worths,
    units: OptionUnits,
    unit_of: IntArray,
    option_number: int,
    options: OptionFigures,
    starts: IntArray,
    accounts: AccountFigures,
    exposures: ExposureFigures,
) -> int:
    """Answers the number of the next option."""
    views, positions = tables.views, tables.positions
    account, exposure, at = starts[0, j], starts[1, j], starts[4, j]
    for row in range(views.position[view], views.position_stop[view]):
        if market.terms.option[positions.instrument[row]]:
            unit = unit_of[option_number]
            add_option(
                row, k, positions, market, worths, units, unit, options, at,
                account, exposure, accounts, exposures,
            )  # fmt: skip
            option_number, at = option_number + 1, at + 1
        else:
            add_contract(row, k, positions, market, worths, account, exposure, accounts, exposures)
    return option_number


@inlined_in_place
def _rate_accounts(
    j: int,
    view: int,
    first: int,
    tables: Tables,
    requirements: Requirements,
    requirement_number: int,
    accounts: AccountFigures,
    findings: Findings,
) -> int:
    """Answers the number of the next requirement."""
    views = tables.views
    for row in range(views.account[view], views.account_stop[view]):
        at = first + row - views.account[view]
        if tables.accounts.portfolio_margin[row]:  # margined as a whole
            accounts.initial_margin[at] = requirements.initial[requirement_number]
            accounts.maintenance_margin[at] = requirements.maintenance[requirement_number]
            requirement_number += 1
        _rate(j, row, at, tables.accounts, accounts, findings)
    return requirement_number


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
    least, most = table.calm_from[row], table.calm_below[row]
    if ratio < least or (most <= ratio and most < np.inf):  # nothing is above the last level, not infinity
        findings.crossed[j] = True
