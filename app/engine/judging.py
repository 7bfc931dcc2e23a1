"""The part of the loop over views that judges triggers: their values, and the intervals they rest in.

Figures are handed on one by one: arrays would be counted in and out with every row.
"""

import numpy as np

from app.engine.conditions import evaluate
from app.engine.figures import AccountFigures, ExposureFigures, margin_ratio_of
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
    rows, views = tables.triggers, tables.views
    first_account = starts[0, j]
    stop_account = first_account + views.account_stop[view] - views.account[view]
    for row in range(views.trigger[view], views.trigger_stop[view]):
        kind, low, high, target = rows.kind[row], rows.low[row], rows.high[row], rows.target[row]
        account, exposure = first_account + rows.account[row], starts[1, j] + rows.exposure[row]
        first, stop = (first_account, stop_account) if rows.account[row] == NONE else (account, account + 1)
        if kind <= _ZAKAMOULINE:
            price, value = exposures.underlying_price[exposure], exposures.delta[exposure]
            value = np.nan if np.isnan(price) else value
            gross, gamma = exposures.gross_notional[exposure], exposures.gamma[exposure]
            parameters = tables.parameters.value
            below, above = _band(kind, low, high, price, gross, gamma, parameters, rows.parameters[row])
            low, high = target - below, target + above
        elif kind == _DOLLAR_GAMMA:
            value = exposures.dollar_gamma[exposure]
        elif kind == _DOLLAR_VEGA:
            value = exposures.vega[exposure] * _VOLATILITY_POINT
        elif kind == _LEVERAGE:
            value = _leverage(accounts.gross_notional, accounts.equity, first, stop)
        elif kind == _ADVERSE:
            multiple = tables.parameters.value[rows.parameters[row]]
            taken = accounts.position_spread[account] + accounts.collateral_spread[account]
            value = margin_ratio_of(
                accounts.backing[account] - multiple * taken,
                accounts.maintenance_margin[account] + multiple * accounts.maintenance_spread[account],
            )
        elif kind >= _METRIC:
            programme = views.condition[view]
            value, advances = evaluate(
                programme + rows.condition[row],
                programme + rows.condition_stop[row],
                starts[3, j] + rows.condition[row],
                tables.conditions,
                conditions.result,
                tables.registers.value,
                views.register[view] + rows.register[row],
                float(time_ns // _NS_PER_US),
            )
            findings.advances[j] |= advances
            if kind == _VOLATILITY:
                value = _share_of_allowed(
                    value,
                    target,
                    exposures.delta[exposure] * exposures.underlying_price[exposure],
                    _sum(accounts.equity, first, stop),
                    tables.parameters.value,
                    rows.parameters[row],
                )
        else:
            value = _of_account(
                kind,
                target,
                accounts.equity[account],
                accounts.maintenance_margin[account],
                accounts.margin_ratio[account],
                accounts.distance[account],
            )
        at = starts[2, j] + row - views.trigger[view]
        fires = value < low or value > high
        judged.value[at], judged.low[at], judged.high[at], judged.fired[at] = value, low, high, fires
        findings.fired[j] |= fires


@inlined_in_place
def _of_account(
    kind: int, floor: float, equity: float, maintenance: float, margin_ratio: float, distance: float
) -> float:
    """What is left is the health of a pocket: of one without margin, no health where it is at its floor."""
    if kind == _MARGIN_RATIO:
        return margin_ratio
    if kind == _LIQUIDATION_DISTANCE:
        return distance
    if equity > floor:
        return 1.0 / margin_ratio
    return max(equity, 0.0) / maintenance if maintenance > 0.0 else np.nan


@inlined_in_place
def _leverage(gross_notional: FloatArray, equity: FloatArray, first: int, stop: int) -> float:
    """Without bound where nothing is left, unknown where something is."""
    gross, left = _sum(gross_notional, first, stop), _sum(equity, first, stop)
    if np.isnan(left) or np.isnan(gross):
        return np.nan
    return gross / left if left > 0.0 else np.inf


@inlined_in_place
def _sum(values: FloatArray, first: int, stop: int) -> float:
    total = 0.0
    for at in range(first, stop):
        total += values[at]
    return total


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
    price: float,
    gross_notional: float,
    gamma: float,
    parameters: FloatArray,
    at: int,
) -> tuple[float, float]:
    """Below and above the target. A width that is not known is the policy's cap."""
    if kind == _DELTA:
        return low, high
    if kind == _DELTA_OF_GROSS:
        gross = gross_notional / price
        return low * gross, high * gross
    aversion, cost, years = parameters[at], parameters[at + 1], parameters[at + 2]
    rate, volatility = parameters[at + 3], parameters[at + 4]
    if kind == _ZAKAMOULINE:
        width = zakamouline_half_band(gamma, price, cost, aversion, years, rate, volatility)
    else:
        width = whalley_wilmott_half_band(gamma, price, cost, aversion, years, rate)
    width = high if np.isnan(width) else min(max(width, low), high)
    return width, width
