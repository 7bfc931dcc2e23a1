"""The compiled loop that computes the figures of many views, each on a frame of its own.

A pair's figures do not depend on its neighbours: sums are made one after the other, in stored order. Unknown
prices make figures NaN, and nothing fires on NaN.
"""

from typing import NamedTuple

import numpy as np

from app.engine.book import ViewColumns
from app.engine.market_view import RecordNumbers
from app.engine.universe import ConversionColumns, PathColumns, Terms
from app.engine.view_rows import (
    AccountColumns,
    BalanceColumns,
    ExposureColumns,
    PositionColumns,
    TriggerColumns,
    TriggerKind,
)
from app.quant.arrays import BoolArray, FloatArray, IntArray
from app.quant.compiled import compiled, inlined

_DELTA_OUTSIDE_BAND = int(TriggerKind.DELTA_OUTSIDE_BAND)


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


class Market(NamedTuple):
    """A block of frames, and what its instruments and conversions are."""

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


class AccountFigures(NamedTuple):
    equity: FloatArray
    initial_margin: FloatArray
    maintenance_margin: FloatArray
    margin_ratio: FloatArray


class ExposureFigures(NamedTuple):
    delta: FloatArray
    gross_notional: FloatArray
    underlying_price: FloatArray
    gamma: FloatArray
    vega: FloatArray
    theta: FloatArray


class TriggerFigures(NamedTuple):
    """What was compared, and whether it fires."""

    value: FloatArray
    fired: BoolArray


class Findings(NamedTuple):
    """Of each pair: a trigger fired; an account that Ballast closes is below maintenance."""

    fired: BoolArray
    broken: BoolArray


@compiled
def starts_of(pairs: PairColumns, views: ViewColumns, starts: IntArray) -> None:
    """Where each pair's accounts, exposures and triggers begin in the results: rows of `starts`."""
    starts[:, 0] = 0
    for j in range(pairs.number.size):
        view = pairs.number[j]
        starts[0, j + 1] = starts[0, j] + views.account_stop[view] - views.account[view]
        starts[1, j + 1] = starts[1, j] + views.exposure_stop[view] - views.exposure[view]
        starts[2, j + 1] = starts[2, j] + views.trigger_stop[view] - views.trigger[view]


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
    findings: Findings,
) -> None:
    """Fills the figures; accounts and exposures come as zeros."""
    views = tables.views
    option_at = 0
    for j in range(pairs.number.size):
        view, k = pairs.number[j], pairs.frame[j]
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
            ratio = _margin_ratio(accounts.equity[at], accounts.maintenance_margin[at])
            accounts.margin_ratio[at] = ratio
            if tables.accounts.liquidates[row] and ratio >= 1.0:
                findings.broken[j] = True
        for row in range(views.trigger[view], views.trigger_stop[view]):
            at = trigger + row - views.trigger[view]
            value = _compared(row, tables.triggers, account, exposure, accounts, exposures)
            fires = _fires(row, tables.triggers, value)
            triggers.value[at], triggers.fired[at] = value, fires
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
    return option_at


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
    accounts.equity[first_account + balances.account[row]] += worth * counted
    if balances.exposure[row] >= 0:
        exposure = first_exposure + balances.exposure[row]
        exposures.delta[exposure] += amount
        exposures.gross_notional[exposure] += abs(worth)


@inlined
def _margin_ratio(equity: float, maintenance: float) -> float:
    if np.isnan(equity) or np.isnan(maintenance):
        return np.nan
    if maintenance <= 0.0:
        return 0.0
    return maintenance / equity if equity > 0.0 else np.inf


@inlined
def _compared(
    row: int,
    triggers: TriggerColumns,
    first_account: int,
    first_exposure: int,
    accounts: AccountFigures,
    exposures: ExposureFigures,
) -> float:
    value: float
    if triggers.kind[row] == _DELTA_OUTSIDE_BAND:
        exposure = first_exposure + triggers.exposure[row]
        value = exposures.delta[exposure]
        if np.isnan(exposures.underlying_price[exposure]):
            value = np.nan
    else:
        value = accounts.margin_ratio[first_account + triggers.account[row]]
    return value


@inlined
def _fires(row: int, triggers: TriggerColumns, value: float) -> bool:
    fires: bool = value >= triggers.limit[row]
    if triggers.kind[row] == _DELTA_OUTSIDE_BAND:
        fires = abs(value - triggers.target[row]) > triggers.limit[row]
    return fires
