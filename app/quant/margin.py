"""Margin of single positions: profit, notional, delta, requirements and the price that liquidates.

``multipliers`` is what one contract stands for: coins for a linear contract, quote currency (the 100 USD of
a coin-margined perpetual) for an inverse one. Linear contracts settle in quote currency, inverse ones in
coin, and their profit, requirements and collateral are in that currency. Perpetuals and dated futures are
the same here. Prices, multipliers and strikes must be positive; whoever fills the columns has checked that.

A maintenance requirement is ``max(notional x rate - amount, 0)``: one tier, whose amount makes it continuous
with the tiers below (Binance's "cumulative maintenance amount"). A taker fee on the way out is added to
the rate; a requirement that stays at what it was on entry is a zero rate with a negative amount.

Every operation here is one that IEEE 754 rounds correctly, so results are elementwise to the bit by nature.
"""

from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from app.quant.arrays import BoolArray, FloatArray, StatusArray

# Deribit, standard margin of coin-settled options, as fractions of one coin.
OPTION_INITIAL_RATE = 0.15
OPTION_INITIAL_FLOOR = 0.10
OPTION_MAINTENANCE_RATE = 0.075


class Notionals(NamedTuple):
    """Unsigned size of positions at the given prices."""

    in_quote: FloatArray
    in_coin: FloatArray


class Requirements(NamedTuple):
    """Margin that opens and margin that keeps a position, in its settlement currency."""

    initial: FloatArray
    maintenance: FloatArray


class LiquidationStatus(IntEnum):
    """Whether a price exists; anything but `SOLVED` comes with the price 0.0."""

    SOLVED = 0
    NEVER = 1  # the collateral covers the position at every price
    ALWAYS = 2  # below maintenance at every price
    FLAT = 3  # no position
    INVALID = 4  # not finite, entry price or multiplier not positive, or rate outside [0, 1)


class LiquidationPrices(NamedTuple):
    """Prices at which equity falls to the maintenance requirement."""

    prices: FloatArray
    statuses: StatusArray


def linear_unrealised_pnl(
    *, quantities: ArrayLike, multipliers: ArrayLike, entry_prices: ArrayLike, prices: ArrayLike
) -> FloatArray:
    """In quote currency: ``q m (P - E)``."""
    contracts, sizes, entries, now = _floats(quantities, multipliers, entry_prices, prices)
    return contracts * sizes * (now - entries)


def inverse_unrealised_pnl(
    *, quantities: ArrayLike, multipliers: ArrayLike, entry_prices: ArrayLike, prices: ArrayLike
) -> FloatArray:
    """In coin: ``q m (1/E - 1/P)``, computed as ``q m (P - E) / (E P)`` to keep the digits near entry.

    A flat position has no entry price: its profit is 0 whatever stands there.
    """
    contracts, sizes, entries, now = _floats(quantities, multipliers, entry_prices, prices)
    products = np.where(contracts != 0.0, entries * now, 1.0)
    return contracts * sizes * (now - entries) / products


def linear_notionals(*, quantities: ArrayLike, multipliers: ArrayLike, prices: ArrayLike) -> Notionals:
    """``|q| m`` coins, worth ``|q| m P``."""
    contracts, sizes, now = _floats(quantities, multipliers, prices)
    in_coin = np.abs(contracts) * sizes + np.zeros_like(now)
    return Notionals(in_quote=in_coin * now, in_coin=in_coin)


def inverse_notionals(*, quantities: ArrayLike, multipliers: ArrayLike, prices: ArrayLike) -> Notionals:
    """``|q| m`` of quote currency, which is ``|q| m / P`` coins."""
    contracts, sizes, now = _floats(quantities, multipliers, prices)
    in_quote = np.abs(contracts) * sizes + np.zeros_like(now)
    return Notionals(in_quote=in_quote, in_coin=in_quote / now)


def linear_deltas(*, quantities: ArrayLike, multipliers: ArrayLike) -> FloatArray:
    """In coin, signed: quote currency gained per unit that the price rises, ``q m``."""
    contracts, sizes = _floats(quantities, multipliers)
    return contracts * sizes


def inverse_deltas(*, quantities: ArrayLike, multipliers: ArrayLike, prices: ArrayLike) -> FloatArray:
    """In coin, signed: ``P d(pnl in coin)/dP = q m / P``, the contract alone.

    The coins held as collateral and the profit already made in coin are themselves exposed to the price,
    one delta per coin; they are counted where balances are.
    """
    contracts, sizes, now = _floats(quantities, multipliers, prices)
    return contracts * sizes / now


def initial_requirements(*, notionals: ArrayLike, initial_rates: ArrayLike) -> FloatArray:
    """Margin to open, in the currency of ``notionals`` (the settlement currency)."""
    sizes, rates = _floats(notionals, initial_rates)
    return sizes * rates


def maintenance_requirements(
    *, notionals: ArrayLike, maintenance_rates: ArrayLike, maintenance_amounts: ArrayLike = 0.0
) -> FloatArray:
    """Margin to stay, in the currency of ``notionals``, which the deducted amounts are in too."""
    sizes, rates, amounts = _floats(notionals, maintenance_rates, maintenance_amounts)
    return np.maximum(sizes * rates - amounts, 0.0)


def coin_option_requirements(
    *,
    quantities: ArrayLike,
    multipliers: ArrayLike,
    strikes: ArrayLike,
    underlying_prices: ArrayLike,
    mark_prices_in_coin: ArrayLike,
    is_call: ArrayLike,
) -> Requirements:
    """Coin-settled options under Deribit's standard margin; ``multipliers`` is coins per contract.

    Per coin short, with OTM the amount out of the money over the underlying price::

        call: initial = max(0.15 - OTM, 0.10) + mark           maintenance = 0.075 + mark
        put:  initial = max(max(0.15 - OTM, 0.10) + mark, maintenance)
              maintenance = max(0.075, 0.075 mark) + mark

    Long options are paid in full and need nothing. The mark price is part of the requirement: held against
    an equity that already counts the short option at its mark, it would be counted twice, so subtract it
    there or compare with the balance before the options' market value.

    Source: Deribit's formulas as quoted by TSLab, "Deribit Margin Requirements Calculation" (doc.tslab.pro).
    """
    contracts, sizes, strike, underlying, mark = _floats(
        quantities, multipliers, strikes, underlying_prices, mark_prices_in_coin
    )
    call: BoolArray = np.asarray(is_call, dtype=bool)
    out_of_the_money = np.maximum(np.where(call, strike - underlying, underlying - strike), 0.0) / underlying
    floor = np.where(call, OPTION_MAINTENANCE_RATE, np.maximum(1.0, mark) * OPTION_MAINTENANCE_RATE)
    maintenance = floor + mark
    initial = np.maximum(OPTION_INITIAL_RATE - out_of_the_money, OPTION_INITIAL_FLOOR) + mark
    initial = np.where(call, initial, np.maximum(initial, maintenance))
    coins_short = np.maximum(-contracts, 0.0) * sizes
    return Requirements(initial=coins_short * initial, maintenance=coins_short * maintenance)


def linear_liquidation_prices(
    *,
    quantities: ArrayLike,
    multipliers: ArrayLike,
    entry_prices: ArrayLike,
    collaterals: ArrayLike,
    maintenance_rates: ArrayLike,
    maintenance_amounts: ArrayLike = 0.0,
) -> LiquidationPrices:
    """Where one linear position, alone with its collateral (quote currency), is liquidated.

    With Q = q m coins the price solves ``C + Q (P - E) = max(|Q| P rate - amount, 0)``. Each side of the max
    gives a line; the one that the position meets first counts.

    The first is Binance's published formula for a position alone, ``(C + amount - Q E) / (|Q| rate - Q)``;
    Gate and OKX add the taker fee to the rate, Bybit keeps the requirement at its value on entry.
    """
    contracts, sizes, entries, collateral, rates, amounts = np.broadcast_arrays(
        *_floats(quantities, multipliers, entry_prices, collaterals, maintenance_rates, maintenance_amounts)
    )
    valid = _solvable(sizes, entries, rates, contracts, collateral, amounts)
    with np.errstate(all="ignore"):  # elements that are flat or invalid are given their status below
        coins = contracts * sizes
        cost = coins * entries
        at_margin = (cost - collateral - amounts) / (coins - np.abs(coins) * rates)
        at_zero_equity = (cost - collateral) / coins
        is_long = coins > 0.0
        prices = np.where(
            is_long, np.maximum(at_margin, at_zero_equity), np.minimum(at_margin, at_zero_equity)
        )
    outside = np.where(is_long, np.int8(LiquidationStatus.NEVER), np.int8(LiquidationStatus.ALWAYS))
    return _liquidation(prices, valid=valid, is_flat=contracts == 0.0, outside=outside)


def inverse_liquidation_prices(
    *,
    quantities: ArrayLike,
    multipliers: ArrayLike,
    entry_prices: ArrayLike,
    collaterals: ArrayLike,
    maintenance_rates: ArrayLike,
    maintenance_amounts: ArrayLike = 0.0,
) -> LiquidationPrices:
    """Where one inverse position, alone with its collateral (coin), is liquidated.

    With Q = q m of quote currency and u = 1/P it solves ``C + Q (1/E - u) = max(|Q| u rate - amount, 0)``,
    which is the linear case in u: a long is short of u. Amounts are in coin.
    """
    contracts, sizes, entries, collateral, rates, amounts = np.broadcast_arrays(
        *_floats(quantities, multipliers, entry_prices, collaterals, maintenance_rates, maintenance_amounts)
    )
    valid = _solvable(sizes, entries, rates, contracts, collateral, amounts)
    with np.errstate(all="ignore"):  # elements that are flat or invalid are given their status below
        size = contracts * sizes
        proceeds = size / entries
        at_margin = (proceeds + collateral + amounts) / (size + np.abs(size) * rates)
        at_zero_equity = (proceeds + collateral) / size
        is_long = size > 0.0
        reciprocals = np.where(
            is_long, np.minimum(at_margin, at_zero_equity), np.maximum(at_margin, at_zero_equity)
        )
        prices = np.where(reciprocals > 0.0, 1.0 / reciprocals, 0.0)
    outside = np.where(is_long, np.int8(LiquidationStatus.ALWAYS), np.int8(LiquidationStatus.NEVER))
    return _liquidation(prices, valid=valid, is_flat=contracts == 0.0, outside=outside)


def _floats(*inputs: ArrayLike) -> list[FloatArray]:
    return [np.asarray(each, dtype=np.float64) for each in inputs]


def _solvable(sizes: FloatArray, entries: FloatArray, rates: FloatArray, *others: FloatArray) -> BoolArray:
    finite: BoolArray = np.logical_and.reduce(
        [np.isfinite(each) for each in (sizes, entries, rates, *others)]
    )
    return finite & (sizes > 0.0) & (entries > 0.0) & (rates >= 0.0) & (rates < 1.0)


def _liquidation(
    prices: FloatArray, *, valid: BoolArray, is_flat: BoolArray, outside: StatusArray
) -> LiquidationPrices:
    statuses = np.select(
        [is_flat, ~valid | ~np.isfinite(prices), prices <= 0.0],
        [np.int8(LiquidationStatus.FLAT), np.int8(LiquidationStatus.INVALID), outside],
        np.int8(LiquidationStatus.SOLVED),
    )
    return LiquidationPrices(
        prices=np.where(statuses == LiquidationStatus.SOLVED, prices, 0.0), statuses=statuses
    )
