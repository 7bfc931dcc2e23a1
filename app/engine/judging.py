"""The part of the loop over views that judges triggers: their values, and the intervals they rest in."""

import numpy as np

from app.engine.conditions import evaluate
from app.engine.figures import AccountFigures, ExposureFigures, margin_ratio_of, sum_of
from app.engine.tables import ConditionFigures, Findings, Tables, TriggerFigures
from app.engine.trigger_rows import NONE, TriggerKind
from app.quant.arrays import FloatArray, IntArray
from app.quant.compiled import inlined_in_place
from app.quant.no_trade_bands import whalley_wilmott_half_band, zakamouline_half_band

_DELTA, _DELTA_OF_GROSS = int(TriggerKind.DELTA), int(TriggerKind.DELTA_OF_GROSS)
_ZAKAMOULINE = int(TriggerKind.DELTA_ZAKAMOULINE)
_MARGIN_RATIO, _ADVERSE = int(TriggerKind.MARGIN_RATIO), int(TriggerKind.ADVERSE_MARGIN_RATIO)
_LIQUIDATION_DISTANCE = int(TriggerKind.LIQUIDATION_DISTANCE)
_LEVERAGE = int(TriggerKind.LEVERAGE)
_DOLLAR_GAMMA = int(TriggerKind.DOLLAR_GAMMA)
_DOLLAR_VEGA = int(TriggerKind.DOLLAR_VEGA)
_METRIC, _VOLATILITY = int(TriggerKind.METRIC), int(TriggerKind.VOLATILITY)
_NS_PER_US = 1_000
_VOLATILITY_POINT = 0.01


@inlined_in_place
def judge_triggers(
    j: int,
    view: int,
    time_ns: int,
    tables: Tables,
    starts: IntArray,
    accounts: AccountFigures,
    exposures: ExposureFigures,
    conditions: ConditionFigures,
    judged: TriggerFigures,
    findings: Findings,
) -> None:
    """Of one pair."""
    rows, views, parameters = tables.triggers, tables.views, tables.parameters.value
    first_account = starts[0, j]
    stop_account = first_account + views.account_stop[view] - views.account[view]
    for row in range(views.trigger[view], views.trigger_stop[view]):
        kind, low, high, target = rows.kind[row], rows.low[row], rows.high[row], rows.target[row]
        account, exposure = first_account + rows.account[row], starts[1, j] + rows.exposure[row]
        first, stop = (first_account, stop_account) if rows.account[row] == NONE else (account, account + 1)
        further = rows.parameters[row]
        if kind <= _ZAKAMOULINE:
            value = np.nan if np.isnan(exposures.underlying_price[exposure]) else exposures.delta[exposure]
            below, above = _band(kind, low, high, exposure, exposures, parameters, further)
            low, high = target - below, target + above
        elif _METRIC <= kind <= _VOLATILITY:
            value, advances = _condition(
                row, view, starts[3, j], tables, conditions, float(time_ns // _NS_PER_US)
            )
            findings.advances[j] |= advances
            if kind == _VOLATILITY:
                notional = exposures.delta[exposure] * exposures.underlying_price[exposure]
                equity = sum_of(accounts.equity, first, stop)
                value = _share_of_allowed(value, target, notional, equity, parameters, further)
        elif kind == _DOLLAR_GAMMA:
            value = exposures.dollar_gamma[exposure]
        elif kind == _DOLLAR_VEGA:
            value = exposures.vega[exposure] * _VOLATILITY_POINT
        elif kind == _LEVERAGE:
            value = _leverage(accounts, first, stop)
        elif kind == _ADVERSE:
            value = _adverse_margin_ratio(parameters[further], account, accounts)
        else:
            value = _of_account(kind, target, account, accounts)
        at = starts[2, j] + row - views.trigger[view]
        fires = value < low or value > high
        judged.value[at], judged.low[at], judged.high[at], judged.fired[at] = value, low, high, fires
        findings.fired[j] |= fires


@inlined_in_place
def _condition(
    row: int, view: int, at: int, tables: Tables, conditions: ConditionFigures, time_us: float
) -> tuple[float, bool]:
    """What the programme of a trigger comes to. The results of the view's conditions begin `at`."""
    rows, views = tables.triggers, tables.views
    return evaluate(
        views.condition[view] + rows.condition[row],
        views.condition[view] + rows.condition_stop[row],
        at + rows.condition[row],
        tables.conditions,
        conditions.result,
        tables.registers.value,
        views.register[view] + rows.register[row],
        time_us,
    )


@inlined_in_place
def _of_account(kind: int, floor: float, account: int, accounts: AccountFigures) -> float:
    """What is left is the health of a pocket: of one without margin, no health where it is at its floor."""
    value: float = accounts.margin_ratio[account]
    if kind == _LIQUIDATION_DISTANCE:
        value = accounts.distance[account]
    elif kind != _MARGIN_RATIO:
        equity, maintenance = accounts.equity[account], accounts.maintenance_margin[account]
        if equity > floor:
            value = 1.0 / value
        else:
            value = max(equity, 0.0) / maintenance if maintenance > 0.0 else np.nan
    return value


@inlined_in_place
def _adverse_margin_ratio(multiple: float, account: int, accounts: AccountFigures) -> float:
    """With every price so many of its confidences against the account."""
    taken = accounts.position_spread[account] + accounts.collateral_spread[account]
    return margin_ratio_of(
        accounts.backing[account] - multiple * taken,
        accounts.maintenance_margin[account] + multiple * accounts.maintenance_spread[account],
    )


@inlined_in_place
def _leverage(accounts: AccountFigures, first: int, stop: int) -> float:
    """Without bound where nothing is left, unknown where something is."""
    gross = sum_of(accounts.gross_notional, first, stop)
    left = sum_of(accounts.equity, first, stop)
    if np.isnan(left) or np.isnan(gross):
        return np.nan
    return gross / left if left > 0.0 else np.inf


@inlined_in_place
def _share_of_allowed(
    volatility: float, target: float, notional: float, equity: float, limits: FloatArray, at: int
) -> float:
    """Leverage in an underlying over target / volatility, within limits. Nothing to scale is no share."""
    if not (volatility > 0.0 and abs(notional) > 0.0):
        return np.nan
    allowed = min(max(target / volatility, limits[at]), limits[at + 1])
    return abs(notional) / (allowed * equity) if equity > 0.0 else np.inf


@inlined_in_place
def _band(
    kind: int,
    low: float,
    high: float,
    exposure: int,
    exposures: ExposureFigures,
    parameters: FloatArray,
    at: int,
) -> tuple[float, float]:
    """Below and above the target. A width that is not known is the policy's cap."""
    if kind == _DELTA:
        return low, high
    price, gamma = exposures.underlying_price[exposure], exposures.gamma[exposure]
    if kind == _DELTA_OF_GROSS:
        gross = exposures.gross_notional[exposure] / price
        return low * gross, high * gross
    aversion, cost, years = parameters[at], parameters[at + 1], parameters[at + 2]
    rate, volatility = parameters[at + 3], parameters[at + 4]
    if kind == _ZAKAMOULINE:
        width = zakamouline_half_band(gamma, price, cost, aversion, years, rate, volatility)
    else:
        width = whalley_wilmott_half_band(gamma, price, cost, aversion, years, rate)
    width = high if np.isnan(width) else min(max(width, low), high)
    return width, width
