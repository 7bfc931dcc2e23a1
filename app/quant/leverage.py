"""How much to trade for a leverage, a collateral ratio or a margin ratio, costs included; and which leverage.

Who trades pays c of what is traded, fee and slippage together, out of what the trade raises or out of equity.
So the size that reaches a target solves an equation with the size on both sides, and selling for too high a
cost reaches nothing. Loans are those of DeFi Saver's repay and boost, C the collateral and D the debt, t the
target:

    repay: collateral x is sold, the debt repaid with it     λ (C - x) / (D - x (1 - c)) = t
    boost: x is borrowed, collateral bought with it          λ (C + x (1 - c)) / (D + x) = t

With λ = 1 that is a collateral ratio, with the liquidation threshold a health factor. Margin accounts, of
equity E, gross notional N and maintenance margin M:

    reduction to a margin ratio: the fraction f is closed    (1 - f) M = r (E + top-up - f c N)
    leverage: n is bought (sold, when negative)              (N + n) / (E - c |n|) = L

Sources: Index Coop, FlexibleLeverageStrategyExtension (recentring, ripcord). DeFi Saver's knowledge base,
"Boost and Repay". Oasis Multiply solves the same equations with a flash loan's fee beside
(`calculateParamsIncreaseMP`, `calculateParamsDecreaseMP`).
"""

from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from app.quant.arrays import BoolArray, FloatArray, StatusArray


class SizeStatus(IntEnum):
    """What a size means; anything but `SOLVED` comes with 0.0."""

    SOLVED = 0
    MET = 1  # on the right side of the target as it is: nothing to do
    UNREACHABLE = 2  # no size reaches the target: costs eat up what it gains, or too little is there
    INVALID = 3  # not finite, or out of its range


class Sizes(NamedTuple):
    sizes: FloatArray
    statuses: StatusArray


def recentred(
    *,
    leverages: ArrayLike,
    targets: ArrayLike,
    minimums: ArrayLike,
    maximums: ArrayLike,
    speeds: ArrayLike,
    emergencies: ArrayLike = np.inf,
) -> FloatArray:
    """The leverage to go to: ``max(minimum, min(maximum, leverage (1 - speed) + target speed))``.

    Parameters
    ----------
    leverages : array_like
        As they are; infinite where no equity is left.
    targets, minimums, maximums : array_like
    speeds : array_like
        In (0, 1]; 1 goes to the target at once.
    emergencies : array_like
        From here on the way is to the maximum, however slow the speed (the "ripcord").
    """
    leverage, target, minimum, maximum, speed, emergency = (
        np.asarray(each, dtype=np.float64)
        for each in (leverages, targets, minimums, maximums, speeds, emergencies)
    )
    urgent = leverage >= emergency
    moved = np.where(urgent, maximum, leverage) * (1.0 - speed) + target * speed
    return np.where(urgent, maximum, np.maximum(minimum, np.minimum(maximum, moved)))


def repay_sizes(
    *,
    collaterals: ArrayLike,
    debts: ArrayLike,
    targets: ArrayLike,
    cost_rates: ArrayLike,
    liquidation_thresholds: ArrayLike = 1.0,
) -> Sizes:
    """Value of the collateral to sell so that the ratio, or the health factor, rises to the target.

    Parameters
    ----------
    collaterals, debts : array_like
        Values in one currency, 0 and above.
    targets : array_like
        Positive: collateral / debt, or the health factor where thresholds are given.
    cost_rates : array_like
        In [0, 1).
    liquidation_thresholds : array_like
        In (0, 1].

    Returns
    -------
    Sizes
        ``UNREACHABLE`` where selling lowers the ratio (target (1 - cost) <= threshold), or all collateral
        does not repay the debt.
    """
    collateral, debt, target, cost, threshold = _floats(
        collaterals, debts, targets, cost_rates, liquidation_thresholds
    )
    counted = threshold * collateral
    gain = target * (1.0 - cost) - threshold
    return _sizes(
        target * debt - counted,
        gain,
        valid=_loans(collateral, debt, target, cost, threshold),
        met=counted >= target * debt,
        reachable=debt <= collateral * (1.0 - cost),
    )


def boost_sizes(
    *,
    collaterals: ArrayLike,
    debts: ArrayLike,
    targets: ArrayLike,
    cost_rates: ArrayLike,
    liquidation_thresholds: ArrayLike = 1.0,
) -> Sizes:
    """What to borrow, for more collateral, so that the ratio, or the health factor, falls to the target.

    Arguments as in `repay_sizes`. ``UNREACHABLE`` where borrowing does not lower it that far: a target at or
    below threshold (1 - cost).
    """
    collateral, debt, target, cost, threshold = _floats(
        collaterals, debts, targets, cost_rates, liquidation_thresholds
    )
    counted = threshold * collateral
    return _sizes(
        counted - target * debt,
        target - threshold * (1.0 - cost),
        valid=_loans(collateral, debt, target, cost, threshold),
        met=counted <= target * debt,
        reachable=np.True_,
    )


def reduction_fractions(
    *,
    maintenance_margins: ArrayLike,
    equities: ArrayLike,
    gross_notionals: ArrayLike,
    targets: ArrayLike,
    cost_rates: ArrayLike,
    top_ups: ArrayLike = 0.0,
) -> Sizes:
    """Which fraction of all positions to close so that the margin ratio falls to the target.

    Parameters
    ----------
    maintenance_margins, gross_notionals : array_like
        In one currency, 0 and above; both shrink with what is closed.
    equities, top_ups : array_like
        Equity may be negative; what is topped up comes first.
    targets : array_like
        Maintenance margin / equity, positive.
    cost_rates : array_like
        In [0, 1), of the notional that is closed.

    Returns
    -------
    Sizes
        In [0, 1]. ``UNREACHABLE`` where closing everything costs more than there is.
    """
    maintenance, equity, gross, target, cost, top_up = _floats(
        maintenance_margins, equities, gross_notionals, targets, cost_rates, top_ups
    )
    backed = equity + top_up
    valid = _finite(maintenance, backed, gross, target) & (target > 0.0) & (cost >= 0.0) & (cost < 1.0)
    return _sizes(
        maintenance - target * backed,
        maintenance - target * cost * gross,
        valid=valid & (maintenance >= 0.0) & (gross >= 0.0),
        met=maintenance <= target * backed,
        reachable=cost * gross <= backed,
    )


def leverage_trades(
    *, gross_notionals: ArrayLike, equities: ArrayLike, targets: ArrayLike, cost_rates: ArrayLike
) -> Sizes:
    """By how much the gross notional has to grow (shrink, when negative) for a leverage.

    Parameters
    ----------
    gross_notionals, equities : array_like
        In one currency; the notional 0 and above.
    targets : array_like
        Gross notional / equity, 0 and above.
    cost_rates : array_like
        In [0, 1), of the notional that is traded.

    Returns
    -------
    Sizes
        ``UNREACHABLE`` where nothing would be left of the equity once everything is closed.
    """
    gross, equity, target, cost = _floats(gross_notionals, equities, targets, cost_rates)
    short = target * equity - gross
    valid = _finite(gross, equity, target) & (gross >= 0.0) & (target >= 0.0) & (cost >= 0.0) & (cost < 1.0)
    return _sizes(
        short,
        1.0 + np.copysign(target * cost, short),
        valid=valid,
        met=short == 0.0,
        reachable=(short > 0.0) | (cost * gross < equity),
    )


def volatility_scales(
    *, target_volatilities: ArrayLike, volatilities: ArrayLike, minimums: ArrayLike, maximums: ArrayLike
) -> FloatArray:
    """By which factor to scale what is held: target / volatility, between a minimum and a maximum.

    NaN where a volatility is; the maximum where it is 0.
    """
    target, volatility = _floats(target_volatilities, volatilities)
    still = volatility == 0.0
    wanted = np.where(still, np.inf, target / np.where(still, 1.0, volatility))
    return np.minimum(np.maximum(wanted, minimums), maximums)


def _sizes(
    missing: FloatArray,
    gain: FloatArray,
    *,
    valid: BoolArray,
    met: BoolArray,
    reachable: BoolArray | np.bool_,
) -> Sizes:
    """What is missing over what each unit brings nearer."""
    statuses = np.select(
        [~valid, met, ~reachable | (gain <= 0.0)],
        [np.int8(SizeStatus.INVALID), np.int8(SizeStatus.MET), np.int8(SizeStatus.UNREACHABLE)],
        np.int8(SizeStatus.SOLVED),
    )
    solved = statuses == SizeStatus.SOLVED
    sizes = np.where(solved, missing, 0.0) / np.where(solved, gain, 1.0)
    return Sizes(sizes, statuses)


def _floats(*inputs: ArrayLike) -> tuple[FloatArray, ...]:
    return tuple(np.asarray(each, dtype=np.float64) for each in inputs)


def _finite(*columns: FloatArray) -> BoolArray:
    finite: BoolArray = np.isfinite(columns[0])
    for column in columns[1:]:
        finite = finite & np.isfinite(column)
    return finite


def _loans(
    collateral: FloatArray, debt: FloatArray, target: FloatArray, cost: FloatArray, threshold: FloatArray
) -> BoolArray:
    in_range = (collateral >= 0.0) & (debt >= 0.0) & (target > 0.0)
    rates = (cost >= 0.0) & (cost < 1.0) & (threshold > 0.0) & (threshold <= 1.0)
    return in_range & rates & _finite(collateral, debt, target)
