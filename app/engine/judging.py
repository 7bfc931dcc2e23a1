"""The part of the loop over views that judges triggers: their values, and the intervals they rest in."""

import numpy as np

from app.engine.conditions import evaluate
from app.engine.figures import AccountFigures, ExposureFigures
from app.engine.tables import ConditionFigures, Tables
from app.engine.trigger_rows import NONE, TriggerKind
from app.quant.arrays import FloatArray, IntArray
from app.quant.compiled import inlined
from app.quant.no_trade_bands import whalley_wilmott_half_band, zakamouline_half_band

_DELTA, _DELTA_OF_GROSS = int(TriggerKind.DELTA), int(TriggerKind.DELTA_OF_GROSS)
_ZAKAMOULINE = int(TriggerKind.DELTA_ZAKAMOULINE)
_MARGIN_RATIO = int(TriggerKind.MARGIN_RATIO)
_LEVERAGE = int(TriggerKind.LEVERAGE)
_DOLLAR_GAMMA = int(TriggerKind.DOLLAR_GAMMA)
_DOLLAR_VEGA = int(TriggerKind.DOLLAR_VEGA)
_HEALTH = int(TriggerKind.HEALTH)
_METRIC, _VOLATILITY = int(TriggerKind.METRIC), int(TriggerKind.VOLATILITY)
_NS_PER_US = 1_000
_VOLATILITY_POINT = 0.01


@inlined
def observed(
    row: int,
    j: int,
    view: int,
    tables: Tables,
    time_ns: int,
    starts: IntArray,
    accounts: AccountFigures,
    exposures: ExposureFigures,
    conditions: ConditionFigures,
) -> tuple[float, float, float, bool]:
    """A trigger's value, the interval in which it rests, and whether what it remembers would change."""
    triggers, views = tables.triggers, tables.views
    account, exposure = starts[0, j], starts[1, j]
    if triggers.kind[row] < _METRIC:
        value, low, high = _judged(row, tables, view, account, exposure, accounts, exposures)
        return value, low, high, False
    value, advances = evaluate(
        views.condition[view] + triggers.condition[row],
        views.condition[view] + triggers.condition_stop[row],
        starts[3, j] + triggers.condition[row],
        tables.conditions,
        conditions.result,
        tables.registers.value,
        views.register[view] + triggers.register[row],
        float(time_ns // _NS_PER_US),
    )
    if triggers.kind[row] == _VOLATILITY:
        value = _share_of_allowed(row, tables, view, value, account, exposure, accounts, exposures)
    return value, triggers.low[row], triggers.high[row], advances


@inlined
def _judged(
    row: int,
    tables: Tables,
    view: int,
    first_account: int,
    first_exposure: int,
    accounts: AccountFigures,
    exposures: ExposureFigures,
) -> tuple[float, float, float]:
    """A trigger's value, and the interval inside which it rests."""
    triggers = tables.triggers
    kind = triggers.kind[row]
    low, high = triggers.low[row], triggers.high[row]
    value = np.nan
    if kind <= _ZAKAMOULINE:
        exposure = first_exposure + triggers.exposure[row]
        if not np.isnan(exposures.underlying_price[exposure]):
            value = exposures.delta[exposure]
        below, above = low, high
        if kind == _DELTA_OF_GROSS:
            gross = exposures.gross_notional[exposure] / exposures.underlying_price[exposure]
            below, above = low * gross, high * gross
        elif kind != _DELTA:
            at = triggers.parameters[row]
            width = _cost_aware_width(kind, tables.parameters.value, at, exposure, exposures)
            below = above = high if np.isnan(width) else min(max(width, low), high)
        return value, triggers.target[row] - below, triggers.target[row] + above
    if kind == _DOLLAR_GAMMA:
        value = exposures.dollar_gamma[first_exposure + triggers.exposure[row]]
    elif kind == _DOLLAR_VEGA:
        value = exposures.vega[first_exposure + triggers.exposure[row]] * _VOLATILITY_POINT
    elif kind == _LEVERAGE:
        value = _leverage(row, tables, view, first_account, accounts)
    else:
        account = first_account + triggers.account[row]
        if kind == _MARGIN_RATIO:
            value = accounts.margin_ratio[account]
        elif kind == _HEALTH and accounts.backing[account] > triggers.target[row]:
            value = 1.0 / accounts.margin_ratio[account]
        elif kind == _HEALTH and accounts.maintenance_margin[account] > 0.0:
            value = max(accounts.backing[account], 0.0) / accounts.maintenance_margin[account]
    return value, low, high


@inlined
def _share_of_allowed(
    row: int,
    tables: Tables,
    view: int,
    volatility: float,
    first_account: int,
    first_exposure: int,
    accounts: AccountFigures,
    exposures: ExposureFigures,
) -> float:
    """Leverage in an underlying over target / volatility, within limits. Nothing to scale is no share."""
    triggers, limits = tables.triggers, tables.parameters.value
    first, count = first_account, tables.views.account_stop[view] - tables.views.account[view]
    if triggers.account[row] != NONE:
        first, count = first_account + triggers.account[row], 1
    equity = 0.0
    for at in range(first, first + count):
        equity += accounts.equity[at]
    exposure = first_exposure + triggers.exposure[row]
    held = abs(exposures.delta[exposure]) * exposures.underlying_price[exposure]
    if not (volatility > 0.0 and held > 0.0):
        return np.nan
    at = triggers.parameters[row]
    allowed = min(max(triggers.target[row] / volatility, limits[at]), limits[at + 1])
    return held / (allowed * equity) if equity > 0.0 else np.inf


@inlined
def _leverage(row: int, tables: Tables, view: int, first_account: int, accounts: AccountFigures) -> float:
    """Of one account or of all; without bound where nothing is left, unknown where something is."""
    first, count = first_account, tables.views.account_stop[view] - tables.views.account[view]
    if tables.triggers.account[row] != NONE:
        first, count = first_account + tables.triggers.account[row], 1
    gross, equity = 0.0, 0.0
    for at in range(first, first + count):
        gross += accounts.gross_notional[at]
        equity += accounts.equity[at]
    if np.isnan(equity) or np.isnan(gross):
        return np.nan
    return gross / equity if equity > 0.0 else np.inf


@inlined
def _cost_aware_width(
    kind: int, parameters: FloatArray, at: int, exposure: int, exposures: ExposureFigures
) -> float:
    """Half a band; NaN where it is not known, and then the policy's cap counts."""
    gamma, price = exposures.gamma[exposure], exposures.underlying_price[exposure]
    aversion, cost, years = parameters[at], parameters[at + 1], parameters[at + 2]
    rate, volatility = parameters[at + 3], parameters[at + 4]
    if kind == _ZAKAMOULINE:
        return zakamouline_half_band(gamma, price, cost, aversion, years, rate, volatility)
    return whalley_wilmott_half_band(gamma, price, cost, aversion, years, rate)
