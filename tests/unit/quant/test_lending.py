"""Loans as Aave v3 keeps them: figures seen on its own contracts, and the law of the threshold."""

import numpy as np
import pytest

from app.quant.lending import (
    TOGETHER,
    LoanStatus,
    ThresholdStatus,
    liquidations,
    loan_figures,
    loan_levels,
    loans_of,
)

# 10 WETH supplied, 20,000 USDC borrowed, threshold 82.5 %, bonus 5 %: aave-v3-core 1.19.3 on a local chain.
SEEN_HEALTH = {3000.0: 1.2375, 2600.0: 1.0725, 2400.0: 0.99, 2300.0: 0.94875}


def _one_loan() -> dict:
    return {
        "row_counts": [2],
        "assets": [0, 1],
        "collaterals": [10.0, 0.0],
        "debts": [0.0, 20_000.0],
        "liquidation_thresholds": [0.825, 0.0],
        "loan_to_values": [0.8, 0.0],
    }


@pytest.mark.parametrize(("price", "health"), SEEN_HEALTH.items())
def test_health_factors_as_the_contracts_gave_them(price, health):
    figures = loan_figures(loans=loans_of(**_one_loan()), prices=[price, 1.0])
    assert figures.health_factors[0] == pytest.approx(health, rel=1e-15)
    assert figures.equity[0] == 10 * price - 20_000
    assert figures.borrowable[0] == pytest.approx(max(8 * price - 20_000, 0.0), abs=1e-9)
    assert figures.leverage[0] == pytest.approx(10 * price / (10 * price - 20_000), rel=1e-15)


def test_a_liquidation_seizes_what_the_contracts_gave():
    loan = {"debts": 20_000.0, "debt_prices": 1.0, "liquidation_bonuses": 0.05}
    taken = liquidations(health_factors=0.94875, collaterals=10.0, collateral_prices=2300.0, **loan)
    assert taken.repaid == 20_000.0
    assert taken.seized == pytest.approx(9.130434782608695, rel=1e-15)
    half = liquidations(health_factors=0.99, collaterals=10.0, collateral_prices=2400.0, **loan)
    assert half.repaid == 10_000.0
    cut = liquidations(health_factors=0.5, collaterals=2.0, collateral_prices=2100.0, **loan)
    assert (cut.repaid, cut.seized) == (pytest.approx(4_000.0), 2.0)
    assert liquidations(health_factors=1.0, collaterals=10.0, collateral_prices=2500.0, **loan).repaid == 0.0


def test_the_price_that_liquidates():
    """At 20,000 / (10 x 0.825) the health factor is 1."""
    loans = loans_of(**_one_loan())
    levels = loan_levels(loans=loans, prices=[3000.0, 1.0], assets=0)
    assert levels.statuses_below[0] == ThresholdStatus.SOLVED
    assert levels.statuses_above[0] == ThresholdStatus.NONE
    assert 3000.0 * levels.factors_below[0] == pytest.approx(20_000 / 8.25, rel=1e-15)
    assert levels.distances[0] == pytest.approx(1 - 20_000 / 8.25 / 3000, rel=1e-14)
    stable = loan_levels(loans=loans, prices=[3000.0, 1.0], assets=1)
    assert stable.factors_above[0] == pytest.approx(1.2375, rel=1e-15)
    alone = loan_levels(loans=loans, prices=[3000.0, 1.0], assets=TOGETHER, move_together=[True, False])
    assert alone.factors_below[0] == levels.factors_below[0]
    both = loan_levels(loans=loans, prices=[3000.0, 1.0])
    assert both.statuses_below[0] == both.statuses_above[0] == ThresholdStatus.NONE
    breached = loan_levels(loans=loans, prices=[2300.0, 1.0], assets=0)
    assert breached.statuses_below[0] == ThresholdStatus.BREACHED
    assert (breached.factors_below[0], breached.distances[0]) == (1.0, 0.0)


def test_random_accounts_have_health_one_where_they_say():
    draw = np.random.default_rng(4)
    accounts, prices = 2_000, np.array([60_000.0, 3_000.0, 1.0, 150.0])
    counts = draw.integers(1, 6, accounts)
    rows = int(counts.sum())
    assets = draw.integers(0, 4, rows)
    held = draw.random((2, rows)) < [[0.8], [0.5]]
    worth = draw.lognormal(8.0, 1.0, (2, rows)) * held / prices[assets]
    columns = {
        "assets": assets, "collaterals": worth[0], "debts": 0.6 * worth[1],
        "liquidation_thresholds": draw.uniform(0.6, 0.95, rows), "loan_to_values": 0.5,
    }  # fmt: skip
    loans = loans_of(row_counts=counts, **columns)
    solved = 0
    for asset in (0, 1, 3, TOGETHER):
        levels = loan_levels(
            loans=loans, prices=prices, assets=asset, move_together=[True, True, False, True]
        )
        for factors, statuses in (
            (levels.factors_below, levels.statuses_below),
            (levels.factors_above, levels.statuses_above),
        ):
            at = np.repeat(np.where(statuses == ThresholdStatus.SOLVED, factors, 1.0), counts)
            moved = (assets != 2) if asset == TOGETHER else (assets == asset)
            apart = loans_of(row_counts=counts, **columns | {"assets": np.arange(rows)})
            there = loan_figures(loans=apart, prices=prices[assets] * np.where(moved, at, 1.0))
            found = statuses == ThresholdStatus.SOLVED
            np.testing.assert_allclose(there.health_factors[found], 1.0, rtol=1e-12)
            solved += found.sum()
    assert solved > 500


def test_accounts_without_debt_or_sense():
    loans = loans_of(
        row_counts=[1, 1, 1, 0],
        assets=[0, 0, 9],
        collaterals=[1.0, -1.0, 1.0],
        debts=[0.0, 1.0, 1.0],
        liquidation_thresholds=0.8,
    )
    figures = loan_figures(loans=loans, prices=[100.0])
    expected = [LoanStatus.NO_DEBT, LoanStatus.INVALID, LoanStatus.INVALID, LoanStatus.NO_DEBT]
    assert list(figures.statuses) == expected
    assert np.all(np.isfinite(np.array(figures[:-1])))
    levels = loan_levels(loans=loans, prices=[100.0], assets=0)
    assert list(levels.statuses_below) == [
        ThresholdStatus.NONE, ThresholdStatus.INVALID, ThresholdStatus.INVALID, ThresholdStatus.NONE,
    ]  # fmt: skip
    with pytest.raises(ValueError, match="do not fit"):
        loans_of(row_counts=[3], assets=[0])
