"""Figures of accounts and exposures, pair after pair."""

from typing import NamedTuple

import numpy as np

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


class ExposureFigures(NamedTuple):
    delta: FloatArray
    gross_notional: FloatArray
    underlying_price: FloatArray
    gamma: FloatArray
    vega: FloatArray
    theta: FloatArray
    dollar_gamma: FloatArray


@inlined_in_place
def margin_ratio_of(backing: float, maintenance: float) -> float:
    if np.isnan(backing) or np.isnan(maintenance):
        return np.nan
    if maintenance <= 0.0:
        return 0.0
    return maintenance / backing if backing > 0.0 else np.inf


@inlined_in_place
def sum_of(values: FloatArray, start: int, stop: int) -> float:
    total = 0.0
    for at in range(start, stop):
        total += values[at]
    return total
