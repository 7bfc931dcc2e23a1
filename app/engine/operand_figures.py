"""The part of the loop over views that reads what conditions are made of from the figures of a pair."""

import numpy as np

from app.engine.conditions import FIRST_ACCOUNT_OPCODE, FIRST_EXPOSURE_OPCODE, FIRST_OPERATION, Opcode
from app.engine.figures import AccountFigures, ExposureFigures, sum_of
from app.engine.tables import ConditionFigures, Market, Tables, Worths
from app.engine.view_rows import ViewColumns
from app.engine.worths import worth_on
from app.quant.arrays import FloatArray, IntArray
from app.quant.compiled import inlined_in_place


@inlined_in_place
def read_operands(
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
            value = _of_exposure(opcode, starts[1, j] + subject, exposures)
        elif opcode >= FIRST_ACCOUNT_OPCODE:
            value = _of_account(opcode, starts[0, j] + subject, accounts)
        else:
            value = _of_portfolio(opcode, view, tables.views, starts[0, j], starts[1, j], accounts, exposures)
        conditions.result[starts[3, j] + row - first] = rows.constant[row] * value


@inlined_in_place
def _of_exposure(opcode: int, at: int, exposures: ExposureFigures) -> float:
    """A delta without a price is none that could be acted on."""
    value: float = exposures.theta[at]
    if opcode == Opcode.NET_DELTA:
        value = np.nan if np.isnan(exposures.underlying_price[at]) else exposures.delta[at]
    elif opcode == Opcode.DELTA_NOTIONAL:
        value = exposures.delta[at] * exposures.underlying_price[at]
    elif opcode == Opcode.GROSS_NOTIONAL:
        value = exposures.gross_notional[at]
    elif opcode == Opcode.GAMMA:
        value = exposures.gamma[at]
    elif opcode == Opcode.DOLLAR_GAMMA:
        value = exposures.dollar_gamma[at]
    elif opcode == Opcode.VEGA:
        value = exposures.vega[at]
    return value


@inlined_in_place
def _of_account(opcode: int, at: int, accounts: AccountFigures) -> float:
    value: float = accounts.margin_ratio[at]
    if opcode == Opcode.ACCOUNT_EQUITY:
        value = accounts.equity[at]
    elif opcode == Opcode.ACCOUNT_INITIAL_MARGIN:
        value = accounts.initial_margin[at]
    elif opcode == Opcode.ACCOUNT_MAINTENANCE_MARGIN:
        value = accounts.maintenance_margin[at]
    elif opcode == Opcode.ACCOUNT_LIQUIDATION_DISTANCE:
        value = accounts.distance[at]
    elif opcode == Opcode.ACCOUNT_HEALTH_FACTOR:
        value = 1.0 / value
    return value


@inlined_in_place
def _of_portfolio(
    opcode: int,
    view: int,
    views: ViewColumns,
    account: int,
    exposure: int,
    accounts: AccountFigures,
    exposures: ExposureFigures,
) -> float:
    """Of all its accounts and exposures, from these on."""
    account_stop = account + views.account_stop[view] - views.account[view]
    if opcode == Opcode.PORTFOLIO_EQUITY:
        return sum_of(accounts.equity, account, account_stop)
    if opcode == Opcode.PORTFOLIO_INITIAL_MARGIN:
        return sum_of(accounts.initial_margin, account, account_stop)
    if opcode == Opcode.PORTFOLIO_MAINTENANCE_MARGIN:
        return sum_of(accounts.maintenance_margin, account, account_stop)
    if opcode == Opcode.PORTFOLIO_MARGIN_RATIO:
        return _worst(accounts.margin_ratio, account, account_stop)
    if opcode == Opcode.PORTFOLIO_HEALTH_FACTOR:
        return 1.0 / _worst(accounts.margin_ratio, account, account_stop)
    if opcode == Opcode.PORTFOLIO_LIQUIDATION_DISTANCE:
        return _nearest(accounts.distance, account, account_stop)
    exposure_stop = exposure + views.exposure_stop[view] - views.exposure[view]
    gross = sum_of(exposures.gross_notional, exposure, exposure_stop)
    if opcode == Opcode.PORTFOLIO_GROSS_NOTIONAL:
        return gross
    total = sum_of(accounts.equity, account, account_stop)
    return np.inf if total <= 0.0 else gross / total


@inlined_in_place
def _nearest(distances: FloatArray, start: int, stop: int) -> float:
    """One that is unknown makes the whole unknown."""
    nearest = np.inf
    for at in range(start, stop):
        if np.isnan(distances[at]):
            return np.nan
        nearest = min(nearest, distances[at])
    return nearest


@inlined_in_place
def _worst(ratios: FloatArray, start: int, stop: int) -> float:
    """One that is unknown makes the whole unknown: it may be the worst."""
    worst = 0.0
    for at in range(start, stop):
        if np.isnan(ratios[at]):
            return np.nan
        worst = max(worst, ratios[at])
    return worst
