"""Loans against collateral with liquidation thresholds, as Aave v3 keeps them.

    health factor = Σ collateral x price x liquidation threshold / Σ debt x price

An account is liquidated below 1. Both sums are straight lines in the price of an asset, so the price at which
the health factor is 1 is exact. An asset may stand on both sides of an account (a loop).

Sources: Aave v3 technical paper (2022), sections 3.1 and 4.1; `GenericLogic` and `LiquidationLogic` of
aave-v3-core 1.19 (health factor, close factor, bonus).
"""

from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from app.quant.arrays import BoolArray, FloatArray, IntArray, StatusArray

CLOSE_FACTOR_HEALTH = (
    0.95  # CLOSE_FACTOR_HF_THRESHOLD: below it the whole debt may be repaid in one liquidation
)
DEFAULT_CLOSE_FACTOR = 0.5  # above it half of it
TOGETHER = -1  # in place of an asset: all that move, by the same factor


class LoanStatus(IntEnum):
    VALID = 0
    NO_DEBT = 1  # the health factor is unbounded, and given as 0
    INVALID = 2  # an amount or threshold out of its range, or an asset that is not listed; every figure is 0


class ThresholdStatus(IntEnum):
    """Whether a price exists; anything but `SOLVED` and `BREACHED` comes with 0.0."""

    SOLVED = 0
    NONE = 1  # at no price of that asset
    BREACHED = 2  # below 1 as it is; the factor is 1
    INVALID = 3


class Loans(NamedTuple):
    """Account a is the rows ``starts[a]:starts[a + 1]``: what it has supplied and borrowed of an asset."""

    starts: IntArray
    assets: IntArray
    collaterals: FloatArray
    debts: FloatArray
    liquidation_thresholds: FloatArray
    loan_to_values: FloatArray


class LoanFigures(NamedTuple):
    """Of each account, in the currency of the prices; shape (accounts,)."""

    health_factors: FloatArray
    collateral_values: FloatArray
    debt_values: FloatArray
    equity: FloatArray
    borrowable: (
        FloatArray  # what more may be borrowed: Σ collateral x loan-to-value less the debt, not below 0
    )
    leverage: FloatArray  # collateral / equity; 0 where equity is not positive
    statuses: StatusArray  # of LoanStatus


class LoanLevels(NamedTuple):
    """Of each account: the factors of the present price at which the health factor falls to 1."""

    factors_below: FloatArray
    factors_above: FloatArray
    distances: FloatArray  # the smaller relative move of the two; 0 where breached, or where there is none
    statuses_below: StatusArray  # of ThresholdStatus
    statuses_above: StatusArray


class Liquidations(NamedTuple):
    """What one liquidation may take; amounts in units of the assets."""

    repaid: FloatArray
    seized: FloatArray  # of the collateral, the bonus included


def loans_of(
    *,
    row_counts: ArrayLike,
    assets: ArrayLike,
    collaterals: ArrayLike = 0.0,
    debts: ArrayLike = 0.0,
    liquidation_thresholds: ArrayLike = 0.0,
    loan_to_values: ArrayLike = 0.0,
) -> Loans:
    """Loans of many accounts, from columns with a row for each asset of each account.

    Parameters
    ----------
    row_counts : array_like of int, shape (accounts,)
    assets : array_like of int, shape (rows,)
        Which of the prices.
    collaterals, debts : array_like
        Units of the asset, interest included, 0 and above.
    liquidation_thresholds, loan_to_values : array_like
        Fractions in [0, 1] of the asset as collateral (in an e-mode: those of the mode).

    Raises
    ------
    ValueError
        Where the columns do not fit each other.
    """
    counts = np.array(row_counts, dtype=np.int64).reshape(-1)
    asset = np.array(assets, dtype=np.int64).reshape(-1)
    if np.any(counts < 0) or counts.sum() != asset.size:
        raise ValueError("row_counts and assets do not fit each other")
    columns = (
        np.array(np.broadcast_to(np.asarray(column, np.float64), asset.shape))
        for column in (collaterals, debts, liquidation_thresholds, loan_to_values)
    )
    return Loans(np.concatenate((np.zeros(1, np.int64), np.cumsum(counts))), asset, *columns)


def loan_figures(*, loans: Loans, prices: ArrayLike) -> LoanFigures:
    """Health factor, equity, debt and what may still be borrowed of every account.

    Parameters
    ----------
    loans : Loans
    prices : array_like, shape (assets,)
        Positive, in one currency.
    """
    valid, price = _judged(loans, prices)
    collateral, debt = loans.collaterals * price, loans.debts * price
    held, owed, covered, lendable = (
        np.where(valid, _sums(loans, column), 0.0)
        for column in (
            collateral,
            debt,
            collateral * loans.liquidation_thresholds,
            collateral * loans.loan_to_values,
        )
    )
    health = np.where(owed > 0.0, covered / np.where(owed > 0.0, owed, 1.0), 0.0)
    equity = held - owed
    statuses = np.select(
        [~valid, owed == 0.0],
        [np.int8(LoanStatus.INVALID), np.int8(LoanStatus.NO_DEBT)],
        np.int8(LoanStatus.VALID),
    )
    leverage = np.where(equity > 0.0, held / np.where(equity > 0.0, equity, 1.0), 0.0)
    return LoanFigures(health, held, owed, equity, np.maximum(lendable - owed, 0.0), leverage, statuses)


def loan_levels(
    *, loans: Loans, prices: ArrayLike, assets: ArrayLike = TOGETHER, move_together: ArrayLike = True
) -> LoanLevels:
    """The price of an asset, as a factor of the present one, at which each account's health factor is 1.

    Parameters
    ----------
    loans : Loans
    prices : array_like, shape (assets,)
    assets : array_like of int, broadcast to (accounts,)
        Whose price moves, for each account; `TOGETHER` moves several by one factor.
    move_together : array_like of bool, broadcast to (prices,)
        Which these are: a borrowed stablecoin rather stays.
    """
    valid, price = _judged(loans, prices)
    size = np.asarray(prices).size
    accounts = np.repeat(np.arange(loans.starts.size - 1), np.diff(loans.starts))
    chosen = np.broadcast_to(np.asarray(assets, np.int64), (loans.starts.size - 1,))[accounts]
    together = np.broadcast_to(np.asarray(move_together, np.bool_), (size,))
    moves = np.where(chosen == TOGETHER, together[np.clip(loans.assets, 0, size - 1)], chosen == loans.assets)
    excess = loans.collaterals * price * loans.liquidation_thresholds - loans.debts * price
    slope, level = (_sums(loans, np.where(mask, excess, 0.0)) for mask in (moves, ~moves))
    factors = np.where(slope != 0.0, -level / np.where(slope != 0.0, slope, 1.0), 0.0)
    breached = level + slope < 0.0
    below, above = (slope > 0.0) & (factors > 0.0), slope < 0.0
    lower, low_statuses = _side(factors, valid, breached, below)
    upper, high_statuses = _side(factors, valid, breached, above)
    nearest = np.where(lower > 0.0, 1.0 - lower, np.inf)
    nearest = np.minimum(nearest, np.where(upper > 0.0, upper - 1.0, np.inf))
    distances = np.where(np.isfinite(nearest), nearest, 0.0)
    return LoanLevels(lower, upper, distances, low_statuses, high_statuses)


def _side(
    factors: FloatArray, valid: BoolArray, breached: BoolArray, crosses: BoolArray
) -> tuple[FloatArray, StatusArray]:
    statuses = np.select(
        [~valid, breached, crosses],
        [
            np.int8(ThresholdStatus.INVALID),
            np.int8(ThresholdStatus.BREACHED),
            np.int8(ThresholdStatus.SOLVED),
        ],
        np.int8(ThresholdStatus.NONE),
    )
    at_once = np.where(statuses == ThresholdStatus.BREACHED, 1.0, 0.0)
    return np.where(statuses == ThresholdStatus.SOLVED, factors, at_once), statuses


def liquidations(
    *,
    health_factors: ArrayLike,
    debts: ArrayLike,
    debt_prices: ArrayLike,
    collaterals: ArrayLike,
    collateral_prices: ArrayLike,
    liquidation_bonuses: ArrayLike,
) -> Liquidations:
    """The most that one liquidation repays of a debt, and the collateral it takes for that.

    Below a health factor of 0.95 the whole debt may be repaid, else half; ``repaid x price x (1 + bonus)`` of
    collateral goes, and where there is less the repayment is cut to what that buys. Nothing from 1 upwards.
    Bonuses are fractions (0.05 for 5 %).
    """
    health, debt, debt_price, held, price, bonus = (
        np.asarray(each, dtype=np.float64)
        for each in (health_factors, debts, debt_prices, collaterals, collateral_prices, liquidation_bonuses)
    )
    share = np.where(health < CLOSE_FACTOR_HEALTH, 1.0, np.where(health < 1.0, DEFAULT_CLOSE_FACTOR, 0.0))
    wanted = share * debt * debt_price * (1.0 + bonus) / price
    seized = np.minimum(wanted, held)
    repaid = np.where(wanted > held, held * price / (debt_price * (1.0 + bonus)), share * debt)
    return Liquidations(repaid, seized)


def _judged(loans: Loans, prices: ArrayLike) -> tuple[BoolArray, FloatArray]:
    """Which accounts are sound, and the price of each row (1 where there is none)."""
    listed = np.array(prices, dtype=np.float64).reshape(-1)
    known = (loans.assets >= 0) & (loans.assets < listed.size)
    price = np.where(known, np.append(listed, 1.0)[np.where(known, loans.assets, listed.size)], 1.0)
    sound = known & (price > 0.0) & (price < np.inf)
    for amounts in (loans.collaterals, loans.debts):
        sound &= (amounts >= 0.0) & (amounts < np.inf)
    for fractions in (loans.liquidation_thresholds, loans.loan_to_values):
        sound &= (fractions >= 0.0) & (fractions <= 1.0)
    faults = _sums(loans, (~sound).astype(np.float64))
    return faults == 0.0, np.where(sound, price, 1.0)


def _sums(loans: Loans, column: FloatArray) -> FloatArray:
    """Of each account, in stored order: bincount adds row by row, so neighbours change nothing."""
    accounts = np.repeat(np.arange(loans.starts.size - 1), np.diff(loans.starts))
    sums: FloatArray = np.bincount(accounts, column, minlength=loans.starts.size - 1).astype(np.float64)
    return sums
