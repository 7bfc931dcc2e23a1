"""Sizes that reach a target: published parameters, and every size put back into its equation exactly."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from app.quant.leverage import (
    SizeStatus,
    boost_sizes,
    leverage_trades,
    recentred,
    reduction_fractions,
    repay_sizes,
    volatility_scales,
)

# Index Coop's ETH2x-FLI: target 2.0, minimum 1.74, maximum 2.30, speed 5 %, ripcord from 3.0.
FLI = {"targets": 2.0, "minimums": 1.74, "maximums": 2.3, "speeds": 0.05, "emergencies": 3.0}

# "Boost and Repay" of DeFi Saver's knowledge base: 50 ETH, $78,979, against 35,002 DAI, a ratio of 225.63 %.
DEFI_SAVER = {"collaterals": 78_979.0, "debts": 35_002.0}

values = st.floats(1.0, 1e9)
costs = st.floats(0.0, 0.05)
thresholds = st.floats(0.3, 1.0)


@pytest.mark.parametrize(
    ("now", "then"),
    [
        (2.0, 2.0),
        (2.2, 2.19),  # 2.2 x 0.95 + 2.0 x 0.05
        (2.1, 2.095),
        (1.8, 1.81),
        (1.6, 1.74),  # 1.62 is below the minimum
        (2.5, 2.3),  # 2.475 is above the maximum
        (2.99, 2.3),
        (3.0, 2.3),
        (np.inf, 2.3),
    ],
)
def test_recentring_of_fli_on_its_own_parameters(now, then):
    """FlexibleLeverageStrategyExtension, `_calculateNewLeverageRatio`:
    CLRt+1 = max(MINLR, min(MAXLR, CLRt (1 - RS) + TLR RS)); `ripcord` goes to MAXLR.
    """
    assert recentred(leverages=now, **FLI) == pytest.approx(then, rel=1e-15)


def test_from_the_ripcord_on_the_way_is_to_the_maximum_even_at_full_speed():
    at_once = {**FLI, "speeds": 1.0}
    assert recentred(leverages=[2.9, 3.0, np.inf], **at_once).tolist() == [2.0, 2.3, 2.3]


def test_the_repay_of_defi_savers_position():
    """Down to 180 % and repaid to 225.63 %, at the service fee of 0.3 % and without slippage."""
    collateral = 35_002.0 * 1.8
    sold = repay_sizes(collaterals=collateral, debts=35_002.0, targets=2.2563, cost_rates=0.003)
    assert sold.statuses == SizeStatus.SOLVED
    # (2.2563 x 35,002 - 63,003.6) / (2.2563 x 0.997 - 1)
    assert sold.sizes == pytest.approx(12_781.9248, abs=5e-5)
    assert (collateral - sold.sizes) / (35_002 - sold.sizes * 0.997) == pytest.approx(2.2563, rel=1e-14)


def test_the_boost_of_defi_savers_position():
    """From 225.63 % to 200 %."""
    drawn = boost_sizes(**DEFI_SAVER, targets=2.0, cost_rates=0.003)
    # (78,979 - 2 x 35,002) / (2 - 0.997)
    assert drawn.sizes == pytest.approx(8_948.1555, abs=5e-5)
    assert (78_979 + drawn.sizes * 0.997) / (35_002 + drawn.sizes) == pytest.approx(2.0, rel=1e-15)


def test_a_health_factor_is_a_ratio_with_a_threshold():
    """The same page: $19,337 at a liquidation factor of 0.83 against $9,998.70 is a health of 1.60."""
    loan = {"collaterals": 19_337.0, "debts": 9_998.7, "liquidation_thresholds": 0.83}
    sold = repay_sizes(**loan, targets=2.0, cost_rates=0.003)
    # (2 x 9,998.7 - 0.83 x 19,337) / (2 x 0.997 - 0.83)
    assert sold.sizes == pytest.approx(3_391.4863, abs=5e-5)
    assert 0.83 * (19_337 - sold.sizes) / (9_998.7 - 0.997 * sold.sizes) == pytest.approx(2.0, rel=1e-14)


@given(collateral=values, debt=values, target=st.floats(1.05, 10.0), cost=costs, threshold=thresholds)
def test_a_repay_put_into_its_equation(collateral, debt, target, cost, threshold):
    found = repay_sizes(
        collaterals=collateral, debts=debt, targets=target, cost_rates=cost,
        liquidation_thresholds=threshold,
    )  # fmt: skip
    c, d, t, k, h = map(Fraction, (collateral, debt, target, cost, threshold))
    if found.statuses == SizeStatus.MET:
        assert threshold * collateral >= target * debt
    elif found.statuses == SizeStatus.UNREACHABLE:
        assert debt > collateral * (1.0 - cost) or target * (1.0 - cost) <= threshold
    else:
        x = Fraction(float(found.sizes))
        assert 0 < x <= c * Fraction(1 + 1e-12)
        assert abs(h * (c - x) - t * (d - x * (1 - k))) <= Fraction(1e-12) * (h * c + t * d + (h + t) * x)


@given(collateral=values, debt=values, target=st.floats(0.9, 10.0), cost=costs, threshold=thresholds)
def test_a_boost_put_into_its_equation(collateral, debt, target, cost, threshold):
    found = boost_sizes(
        collaterals=collateral, debts=debt, targets=target, cost_rates=cost,
        liquidation_thresholds=threshold,
    )  # fmt: skip
    c, d, t, k, h = map(Fraction, (collateral, debt, target, cost, threshold))
    if found.statuses == SizeStatus.MET:
        assert threshold * collateral <= target * debt
    elif found.statuses == SizeStatus.UNREACHABLE:
        assert target <= threshold * (1.0 - cost)
    else:
        x = Fraction(float(found.sizes))
        assert x > 0
        assert abs(h * (c + x * (1 - k)) - t * (d + x)) <= Fraction(1e-12) * (h * c + t * d + (h + t) * x)


@given(
    maintenance=values, equity=st.floats(-1e8, 1e9), gross=values, target=st.floats(0.05, 0.95), cost=costs,
    top_up=st.floats(0.0, 1e8),
)  # fmt: skip
def test_a_reduction_put_into_its_equation(maintenance, equity, gross, target, cost, top_up):
    found = reduction_fractions(
        maintenance_margins=maintenance, equities=equity, gross_notionals=gross, targets=target,
        cost_rates=cost, top_ups=top_up,
    )  # fmt: skip
    m, e, n, r, k = map(Fraction, (maintenance, equity + top_up, gross, target, cost))
    if found.statuses == SizeStatus.MET:
        assert maintenance <= target * (equity + top_up)
    elif found.statuses == SizeStatus.UNREACHABLE:
        assert cost * gross > equity + top_up
    else:
        f = Fraction(float(found.sizes))
        assert 0 < f <= Fraction(1 + 1e-12)
        assert abs((1 - f) * m - r * (e - f * k * n)) <= Fraction(1e-12) * (m + r * (abs(e) + k * n))


@given(gross=values, equity=st.floats(-1e8, 1e9), target=st.floats(0.0, 20.0), cost=costs)
def test_a_trade_for_a_leverage_put_into_its_equation(gross, equity, target, cost):
    assume(target == 0.0 or target > 1e-6)
    found = leverage_trades(gross_notionals=gross, equities=equity, targets=target, cost_rates=cost)
    n, e, level, k = map(Fraction, (gross, equity, target, cost))
    if found.statuses == SizeStatus.UNREACHABLE:
        assert cost * gross >= equity or target * cost >= 1.0
    else:
        x = Fraction(float(found.sizes))
        assert n + x >= -Fraction(1e-12) * n
        assert abs(n + x - level * (e - k * abs(x))) <= Fraction(1e-12) * (n + abs(x) + level * abs(e))


def test_a_trade_for_a_leverage():
    """3x on 10,000 down to 2x at ten basis points: (20,000 - 30,000) / (1 - 0.002)."""
    sold = leverage_trades(gross_notionals=30_000.0, equities=10_000.0, targets=2.0, cost_rates=0.001)
    assert sold.sizes == pytest.approx(-10_020.040080160321, rel=1e-15)
    bought = leverage_trades(gross_notionals=10_000.0, equities=10_000.0, targets=2.0, cost_rates=0.001)
    assert bought.sizes == pytest.approx(9_980.039920159681, rel=1e-15)


@pytest.mark.parametrize(
    "column", [{"collaterals": np.nan}, {"debts": -1.0}, {"targets": 0.0}, {"cost_rates": 1.0}]
)
def test_what_means_nothing_is_named(column):
    loan = {**DEFI_SAVER, "targets": 2.5, "cost_rates": 0.003, **column}
    for found in (repay_sizes(**loan), boost_sizes(**loan)):
        assert (found.sizes, found.statuses) == (0.0, SizeStatus.INVALID)


def test_a_scale_is_the_targets_share_of_the_volatility_within_its_limits():
    scales = volatility_scales(
        target_volatilities=0.4, volatilities=[0.8, 0.4, 0.1, 4.0, 0.0, np.nan], minimums=0.25, maximums=2.0
    )
    np.testing.assert_array_equal(scales, [0.5, 1.0, 2.0, 0.25, 2.0, np.nan])
