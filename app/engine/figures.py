"""Figures of accounts and exposures, pair after pair, and how operands of conditions are read from them."""

from typing import NamedTuple

import numpy as np

from app.engine.conditions import Opcode
from app.quant.arrays import FloatArray
from app.quant.compiled import inlined_in_place


class AccountFigures(NamedTuple):
    """Notionals are of deltas: their sum, and the sum of their magnitudes.

    `backing` is what margins are held against: the equity; of a loan, Σ collateral x liquidation threshold.
    `distance` is how far prices may move until it is liquidated. A spread is what one confidence of every
    price, against the account, takes of its positions and of its collateral, and adds to the maintenance
    margin. All of these are NaN where no policy asks.
    """

    equity: FloatArray
    initial_margin: FloatArray
    maintenance_margin: FloatArray
    margin_ratio: FloatArray
    net_notional: FloatArray
    gross_notional: FloatArray
    distance: FloatArray
    backing: FloatArray
    position_spread: FloatArray
    collateral_spread: FloatArray
    maintenance_spread: FloatArray


@inlined_in_place
def margin_ratio_of(backing: float, maintenance: float) -> float:
    if np.isnan(backing) or np.isnan(maintenance):
        return np.nan
    if maintenance <= 0.0:
        return 0.0
    return maintenance / backing if backing > 0.0 else np.inf


class ExposureFigures(NamedTuple):
    delta: FloatArray
    gross_notional: FloatArray
    underlying_price: FloatArray
    gamma: FloatArray
    vega: FloatArray
    theta: FloatArray
    dollar_gamma: FloatArray


@inlined_in_place
def of_account(
    opcode: int,
    equity: float,
    initial_margin: float,
    maintenance_margin: float,
    margin_ratio: float,
    distance: float,
) -> float:
    if opcode == Opcode.ACCOUNT_EQUITY:
        return equity
    if opcode == Opcode.ACCOUNT_INITIAL_MARGIN:
        return initial_margin
    if opcode == Opcode.ACCOUNT_MAINTENANCE_MARGIN:
        return maintenance_margin
    if opcode == Opcode.ACCOUNT_LIQUIDATION_DISTANCE:
        return distance
    return margin_ratio if opcode == Opcode.ACCOUNT_MARGIN_RATIO else 1.0 / margin_ratio


@inlined_in_place
def of_exposure(
    opcode: int,
    price: float,
    delta: float,
    gross_notional: float,
    gamma: float,
    dollar_gamma: float,
    vega: float,
    theta: float,
) -> float:
    """A delta without a price is none that could be acted on."""
    if opcode == Opcode.NET_DELTA:
        return np.nan if np.isnan(price) else delta
    if opcode == Opcode.DELTA_NOTIONAL:
        return delta * price
    if opcode == Opcode.GROSS_NOTIONAL:
        return gross_notional
    if opcode == Opcode.GAMMA:
        return gamma
    if opcode == Opcode.DOLLAR_GAMMA:
        return dollar_gamma
    return vega if opcode == Opcode.VEGA else theta


@inlined_in_place
def of_portfolio(
    opcode: int,
    first_account: int,
    stop_account: int,
    first_exposure: int,
    stop_exposure: int,
    equity: FloatArray,
    initial_margin: FloatArray,
    maintenance_margin: FloatArray,
    margin_ratio: FloatArray,
    distance: FloatArray,
    gross_notional: FloatArray,
) -> float:
    if opcode == Opcode.PORTFOLIO_EQUITY:
        return _sum(equity, first_account, stop_account)
    if opcode == Opcode.PORTFOLIO_INITIAL_MARGIN:
        return _sum(initial_margin, first_account, stop_account)
    if opcode == Opcode.PORTFOLIO_MAINTENANCE_MARGIN:
        return _sum(maintenance_margin, first_account, stop_account)
    if opcode == Opcode.PORTFOLIO_MARGIN_RATIO:
        return _worst(margin_ratio, first_account, stop_account)
    if opcode == Opcode.PORTFOLIO_HEALTH_FACTOR:
        return 1.0 / _worst(margin_ratio, first_account, stop_account)
    if opcode == Opcode.PORTFOLIO_LIQUIDATION_DISTANCE:
        return _nearest(distance, first_account, stop_account)
    gross = _sum(gross_notional, first_exposure, stop_exposure)
    if opcode == Opcode.PORTFOLIO_GROSS_NOTIONAL:
        return gross
    total = _sum(equity, first_account, stop_account)
    return np.inf if total <= 0.0 else gross / total


@inlined_in_place
def _sum(values: FloatArray, start: int, stop: int) -> float:
    total = 0.0
    for at in range(start, stop):
        total += values[at]
    return total


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
