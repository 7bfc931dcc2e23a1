"""The compiled loop that computes the figures of many views, each on a frame of its own.

A pair's figures do not depend on its neighbours: sums are made one after the other, in stored order. Unknown
prices make figures NaN, and nothing fires on NaN.
"""

from typing import NamedTuple

import numpy as np

from app.engine.book import ViewColumns
from app.engine.conditions import (
    FIRST_ACCOUNT_OPCODE,
    FIRST_EXPOSURE_OPCODE,
    FIRST_MARKET_OPCODE,
    FIRST_OPERATION,
    ConditionColumns,
    Opcode,
    RegisterColumns,
    evaluate,
)
from app.engine.figures import AccountFigures, ExposureFigures, of_account, of_exposure, of_portfolio
from app.engine.market_view import RecordNumbers
from app.engine.trigger_rows import NONE, ParameterColumns, TriggerColumns, TriggerKind
from app.engine.universe import NEVER_NS, ConversionColumns, PathColumns, Terms
from app.engine.view_rows import AccountColumns, BalanceColumns, ExposureColumns, PositionColumns
from app.quant.arrays import BoolArray, FloatArray, IntArray
from app.quant.compiled import compiled, inlined

_DELTA, _DELTA_OF_GROSS, _WHALLEY_WILMOTT, _ZAKAMOULINE = range(4)
_MARGIN_RATIO = int(TriggerKind.MARGIN_RATIO)
_LEVERAGE = int(TriggerKind.LEVERAGE)
_DOLLAR_GAMMA = int(TriggerKind.DOLLAR_GAMMA)
_DOLLAR_VEGA = int(TriggerKind.DOLLAR_VEGA)
_HEALTH = int(TriggerKind.HEALTH)
_METRIC, _VOLATILITY = int(TriggerKind.METRIC), int(TriggerKind.VOLATILITY)
_ONE_PERCENT = 0.01
_NS_PER_US = 1_000
_VOLATILITY_POINT = 0.01


class PairColumns(NamedTuple):
    """Views to look at, and on which frame of the block each."""

    number: IntArray
    frame: IntArray


class Tables(NamedTuple):
    """Of the book."""

    views: ViewColumns
    accounts: AccountColumns
    positions: PositionColumns
    balances: BalanceColumns
    exposures: ExposureColumns
    triggers: TriggerColumns
    parameters: ParameterColumns
    conditions: ConditionColumns
    registers: RegisterColumns


class Market(NamedTuple):
    """A block of frames, and what its instruments and conversions are.

    `clock_ns` is the time before the block and after each of its frames.
    """

    clock_ns: IntArray
    standing: RecordNumbers
    value: FloatArray
    terms: Terms
    conversions: ConversionColumns
    paths: PathColumns


class OptionFigures(NamedTuple):
    """Of the options that all pairs hold, in the order in which `option_positions` meets them.

    Signed holdings: values in the settlement asset, requirements in coin, greeks in the quote.
    """

    value: FloatArray
    delta: FloatArray
    gamma: FloatArray
    vega: FloatArray
    theta: FloatArray
    initial: FloatArray
    maintenance: FloatArray
    forward: FloatArray


class TriggerFigures(NamedTuple):
    """What was compared, the interval it may be in, and whether it is outside."""

    value: FloatArray
    low: FloatArray
    high: FloatArray
    fired: BoolArray


class ConditionFigures(NamedTuple):
    """What the rows of the programmes came to: figures, constants, and truths as 1.0, 0.0 or NaN."""

    result: FloatArray


class Findings(NamedTuple):
    """Of each pair: a trigger fired; an account that Ballast closes is below maintenance; the clock came to
    a holding that Ballast keeps; what a condition remembers would change.
    """

    fired: BoolArray
    broken: BoolArray
    due: BoolArray
    advances: BoolArray


@compiled
def starts_of(pairs: PairColumns, views: ViewColumns, starts: IntArray) -> None:
    """Where each pair's accounts, exposures, triggers and conditions begin in the results."""
    starts[:, 0] = 0
    for j in range(pairs.number.size):
        view = pairs.number[j]
        starts[0, j + 1] = starts[0, j] + views.account_stop[view] - views.account[view]
        starts[1, j + 1] = starts[1, j] + views.exposure_stop[view] - views.exposure[view]
        starts[2, j + 1] = starts[2, j] + views.trigger_stop[view] - views.trigger[view]
        starts[3, j + 1] = starts[3, j] + views.condition_stop[view] - views.condition[view]


@compiled
def option_positions(
    pairs: PairColumns, views: ViewColumns, positions: PositionColumns, option: BoolArray, found: IntArray
) -> int:
    """How many options the pairs hold; (position row, frame) of those that fit into `found`."""
    count = 0
    for j in range(pairs.number.size):
        view = pairs.number[j]
        for row in range(views.position[view], views.position_stop[view]):
            if option[positions.instrument[row]]:
                if count < found.shape[1]:
                    found[0, count] = row
                    found[1, count] = pairs.frame[j]
                count += 1
    return count


@compiled
def observe_pairs(
    pairs: PairColumns,
    tables: Tables,
    market: Market,
    options: OptionFigures,
    starts: IntArray,
    accounts: AccountFigures,
    exposures: ExposureFigures,
    triggers: TriggerFigures,
    conditions: ConditionFigures,
    findings: Findings,
) -> None:
    """Fills the figures; accounts and exposures come as zeros."""
    views = tables.views
    option_at = 0
    for j in range(pairs.number.size):
        view, k = pairs.number[j], pairs.frame[j]
        if views.due_ns[view] <= market.clock_ns[k + 1]:
            for row in range(views.position[view], views.position_stop[view]):
                if _is_due(row, k, tables.positions, market):
                    findings.due[j] = True
        account, exposure, trigger = starts[0, j], starts[1, j], starts[2, j]
        for row in range(views.exposure[view], views.exposure_stop[view]):
            at = exposure + row - views.exposure[view]
            exposures.underlying_price[at] = _value(market, k, tables.exposures.underlying_value[row])
        for row in range(views.position[view], views.position_stop[view]):
            option_at = _add_position(
                row, k, tables.positions, market, options, option_at, account, exposure, accounts, exposures
            )
        for row in range(views.balance[view], views.balance_stop[view]):
            _add_balance(row, k, tables.balances, market, account, exposure, accounts, exposures)
        for row in range(views.account[view], views.account_stop[view]):
            at = account + row - views.account[view]
            if not tables.accounts.lends[row]:
                accounts.backing[at] = accounts.equity[at]
            ratio = _margin_ratio(accounts.backing[at], accounts.maintenance_margin[at])
            accounts.margin_ratio[at] = ratio
            if tables.accounts.liquidates[row] and ratio >= 1.0:
                findings.broken[j] = True
        _read_operands(j, view, k, tables, market, starts, accounts, exposures, conditions)
        for row in range(views.trigger[view], views.trigger_stop[view]):
            at = trigger + row - views.trigger[view]
            value, low, high, advances = _observed(
                row, j, view, tables, market.clock_ns[k + 1], starts, accounts, exposures, conditions
            )
            if advances:
                findings.advances[j] = True
            fires = value < low or value > high
            triggers.value[at], triggers.low[at], triggers.high[at] = value, low, high
            triggers.fired[at] = fires
            if fires:
                findings.fired[j] = True


@inlined
def _price(market: Market, k: int, row: int) -> float:
    price: float = market.value[market.standing[k, row]]
    return price


@inlined
def _value(market: Market, k: int, conversion: int) -> float:
    """Of one unit in the valuation currency, by the first path whose prices are known."""
    paths = market.paths
    for path in range(market.conversions.start[conversion], market.conversions.stop[conversion]):
        first = _price(market, k, paths.first[path])
        second = _price(market, k, paths.second[path])
        if not (np.isnan(first) or np.isnan(second)):
            if paths.first_power[path] < 0:
                first = 1.0 / first
            if paths.second_power[path] < 0:
                second = 1.0 / second
            return first * second
    return np.nan


@inlined
def _is_due(row: int, k: int, positions: PositionColumns, market: Market) -> bool:
    """Whether its funding is to be paid or it expired, and what that takes is known."""
    terms, accrued_ns = market.terms, positions.accrued_ns[row]
    instrument = positions.instrument[row]
    before_ns, now_ns = market.clock_ns[k], market.clock_ns[k + 1]
    if accrued_ns == NEVER_NS or np.isnan(_price(market, k, terms.price_row[instrument])):
        return False
    interval_ns = terms.funding_interval_ns[instrument]
    if interval_ns == 0:
        is_due: bool = terms.expiry_ns[instrument] <= now_ns
        return is_due
    if np.isnan(_price(market, k, terms.funding_column[instrument])):
        return False
    since_ns = accrued_ns if accrued_ns > 0 else before_ns
    has_passed: bool = 0 < since_ns < now_ns - now_ns % interval_ns
    return has_passed


@inlined
def _add_position(
    row: int,
    k: int,
    positions: PositionColumns,
    market: Market,
    options: OptionFigures,
    option_at: int,
    first_account: int,
    first_exposure: int,
    accounts: AccountFigures,
    exposures: ExposureFigures,
) -> int:
    """Answers the number of the next option."""
    terms = market.terms
    instrument = positions.instrument[row]
    if terms.lending[instrument]:
        _add_loan(row, k, positions, market, first_account, first_exposure, accounts, exposures)
        return option_at
    account = first_account + positions.account[row]
    exposure = first_exposure + positions.exposure[row]
    to_value = _value(market, k, positions.settlement_value[row])
    underlying_value = _value(market, k, positions.underlying_value[row])
    if terms.option[instrument]:
        delta = options.delta[option_at]
        value = options.value[option_at] * to_value
        initial = options.initial[option_at] * underlying_value
        maintenance = options.maintenance[option_at] * underlying_value
        quote_value = underlying_value / options.forward[option_at]
        exposures.gamma[exposure] += options.gamma[option_at]
        exposures.vega[exposure] += options.vega[option_at] * quote_value
        exposures.theta[exposure] += options.theta[option_at] * quote_value
        exposures.dollar_gamma[exposure] += (
            options.gamma[option_at] * options.forward[option_at] * underlying_value * _ONE_PERCENT
        )
        option_at += 1
    else:
        price = _price(market, k, terms.price_row[instrument])
        entry = positions.entry_price[row]
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
        initial = size * terms.initial_rate[instrument]
        maintenance = size * terms.maintenance_rate[instrument]
    accounts.equity[account] += value
    accounts.initial_margin[account] += initial
    accounts.maintenance_margin[account] += maintenance
    exposures.delta[exposure] += delta
    exposures.gross_notional[exposure] += abs(delta) * underlying_value
    accounts.net_notional[account] += delta * underlying_value
    accounts.gross_notional[account] += abs(delta) * underlying_value
    return option_at


@inlined
def _add_loan(
    row: int,
    k: int,
    positions: PositionColumns,
    market: Market,
    first_account: int,
    first_exposure: int,
    accounts: AccountFigures,
    exposures: ExposureFigures,
) -> None:
    """Collateral, or debt when negative.

    The debt is the maintenance margin. The initial margin adds collateral x (threshold - loan-to-value): that
    is within the backing as long as the pool would lend as much, debt <= Σ collateral x loan-to-value.
    """
    terms, instrument = market.terms, positions.instrument[row]
    account = first_account + positions.account[row]
    quantity = positions.quantity[row]
    worth = quantity * _value(market, k, positions.underlying_value[row])
    accounts.equity[account] += worth
    if quantity > 0.0:
        threshold = terms.liquidation_threshold[instrument]
        accounts.backing[account] += worth * threshold
        accounts.initial_margin[account] += worth * (threshold - terms.loan_to_value[instrument])
    else:
        accounts.initial_margin[account] -= worth
        accounts.maintenance_margin[account] -= worth
    if positions.exposure[row] >= 0:
        exposure = first_exposure + positions.exposure[row]
        exposures.delta[exposure] += quantity
        exposures.gross_notional[exposure] += abs(worth)
        accounts.net_notional[account] += worth
        accounts.gross_notional[account] += abs(worth)


@inlined
def _add_balance(
    row: int,
    k: int,
    balances: BalanceColumns,
    market: Market,
    first_account: int,
    first_exposure: int,
    accounts: AccountFigures,
    exposures: ExposureFigures,
) -> None:
    amount = balances.amount[row]
    if amount == 0.0:
        return  # nothing is worth nothing, whether or not its price is known
    worth = amount * _value(market, k, balances.asset_value[row])
    counted = 1.0 - balances.haircut[row] if amount > 0.0 else 1.0
    account = first_account + balances.account[row]
    accounts.equity[account] += worth * counted
    if balances.exposure[row] >= 0:
        exposure = first_exposure + balances.exposure[row]
        exposures.delta[exposure] += amount
        exposures.gross_notional[exposure] += abs(worth)
        accounts.net_notional[account] += worth
        accounts.gross_notional[account] += abs(worth)


@inlined
def _margin_ratio(backing: float, maintenance: float) -> float:
    if np.isnan(backing) or np.isnan(maintenance):
        return np.nan
    if maintenance <= 0.0:
        return 0.0
    return maintenance / backing if backing > 0.0 else np.inf


@inlined
def _observed(
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
            below = above = high  # the cost-aware widths come with their formulas
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
def _read_operands(
    j: int,
    view: int,
    k: int,
    tables: Tables,
    market: Market,
    starts: IntArray,
    accounts: AccountFigures,
    exposures: ExposureFigures,
    conditions: ConditionFigures,
) -> None:
    """What the conditions of a pair are made of."""
    views = tables.views
    for row in range(views.condition[view], views.condition_stop[view]):
        if tables.conditions.opcode[row] < FIRST_OPERATION:
            conditions.result[starts[3, j] + row - views.condition[view]] = _operand(
                row,
                k,
                tables.conditions,
                market,
                starts[0, j],
                starts[0, j + 1],
                starts[1, j],
                starts[1, j + 1],
                accounts,
                exposures,
            )


@inlined
def _operand(
    row: int,
    k: int,
    conditions: ConditionColumns,
    market: Market,
    first_account: int,
    stop_account: int,
    first_exposure: int,
    stop_exposure: int,
    accounts: AccountFigures,
    exposures: ExposureFigures,
) -> float:
    opcode, subject = conditions.opcode[row], conditions.subject[row]
    if opcode >= FIRST_MARKET_OPCODE:
        of_column = opcode == Opcode.MARKET_COLUMN
        value = _price(market, k, subject) if of_column else _value(market, k, subject)
    elif opcode >= FIRST_EXPOSURE_OPCODE:
        value = of_exposure(opcode, first_exposure + subject, exposures)
    elif opcode >= FIRST_ACCOUNT_OPCODE:
        value = of_account(opcode, first_account + subject, accounts)
    elif opcode == Opcode.CONSTANT:
        value = 1.0
    elif opcode == Opcode.UNKNOWN:
        value = np.nan
    else:
        value = of_portfolio(
            opcode, first_account, stop_account, first_exposure, stop_exposure, accounts, exposures
        )
    scaled: float = conditions.constant[row] * value
    return scaled
