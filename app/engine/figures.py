"""Figures of accounts and exposures, pair after pair, and how operands of conditions are read from them."""

from typing import NamedTuple

import numpy as np

from app.engine.conditions import Opcode
from app.quant.arrays import FloatArray
from app.quant.compiled import inlined


class AccountFigures(NamedTuple):
    """Notionals are of deltas: their sum, and the sum of their magnitudes.

    `backing` is what margins are held against: the equity; of a loan, Σ collateral x liquidation threshold.
    """

    equity: FloatArray
    initial_margin: FloatArray
    maintenance_margin: FloatArray
    margin_ratio: FloatArray
    net_notional: FloatArray
    gross_notional: FloatArray
    backing: FloatArray


class ExposureFigures(NamedTuple):
    delta: FloatArray
    gross_notional: FloatArray
    underlying_price: FloatArray
    gamma: FloatArray
    vega: FloatArray
    theta: FloatArray
    dollar_gamma: FloatArray


@inlined
def of_account(opcode: int, account: int, accounts: AccountFigures) -> float:
    value: float
    if opcode == Opcode.ACCOUNT_EQUITY:
        value = accounts.equity[account]
    elif opcode == Opcode.ACCOUNT_INITIAL_MARGIN:
        value = accounts.initial_margin[account]
    elif opcode == Opcode.ACCOUNT_MAINTENANCE_MARGIN:
        value = accounts.maintenance_margin[account]
    elif opcode == Opcode.ACCOUNT_MARGIN_RATIO:
        value = accounts.margin_ratio[account]
    else:
        value = 1.0 / accounts.margin_ratio[account]
    return value


@inlined
def of_portfolio(
    opcode: int,
    first_account: int,
    stop_account: int,
    first_exposure: int,
    stop_exposure: int,
    accounts: AccountFigures,
    exposures: ExposureFigures,
) -> float:
    if opcode == Opcode.PORTFOLIO_EQUITY:
        return _sum(accounts.equity, first_account, stop_account)
    if opcode == Opcode.PORTFOLIO_INITIAL_MARGIN:
        return _sum(accounts.initial_margin, first_account, stop_account)
    if opcode == Opcode.PORTFOLIO_MAINTENANCE_MARGIN:
        return _sum(accounts.maintenance_margin, first_account, stop_account)
    if opcode == Opcode.PORTFOLIO_MARGIN_RATIO:
        return _worst(accounts.margin_ratio, first_account, stop_account)
    if opcode == Opcode.PORTFOLIO_HEALTH_FACTOR:
        return 1.0 / _worst(accounts.margin_ratio, first_account, stop_account)
    gross = _sum(exposures.gross_notional, first_exposure, stop_exposure)
    if opcode == Opcode.PORTFOLIO_GROSS_NOTIONAL:
        return gross
    equity = _sum(accounts.equity, first_account, stop_account)
    return np.inf if equity <= 0.0 else gross / equity


@inlined
def _sum(values: FloatArray, start: int, stop: int) -> float:
    total = 0.0
    for at in range(start, stop):
        total += values[at]
    return total


@inlined
def _worst(ratios: FloatArray, start: int, stop: int) -> float:
    """One that is unknown makes the whole unknown: it may be the worst."""
    worst = 0.0
    for at in range(start, stop):
        if np.isnan(ratios[at]):
            return np.nan
        worst = max(worst, ratios[at])
    return worst


@inlined
def of_exposure(opcode: int, exposure: int, exposures: ExposureFigures) -> float:
    value: float
    price = exposures.underlying_price[exposure]
    if opcode == Opcode.NET_DELTA:
        value = np.nan if np.isnan(price) else exposures.delta[exposure]
    elif opcode == Opcode.DELTA_NOTIONAL:
        value = exposures.delta[exposure] * price
    elif opcode == Opcode.GROSS_NOTIONAL:
        value = exposures.gross_notional[exposure]
    elif opcode == Opcode.GAMMA:
        value = exposures.gamma[exposure]
    elif opcode == Opcode.DOLLAR_GAMMA:
        value = exposures.dollar_gamma[exposure]
    elif opcode == Opcode.VEGA:
        value = exposures.vega[exposure]
    else:
        value = exposures.theta[exposure]
    return value
