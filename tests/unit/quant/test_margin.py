"""Margin of single positions: published liquidation prices, exchanges' formulas, and the laws they obey."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.quant import margin
from app.quant.margin import LiquidationStatus
from tests.market_data import read_csv, reference_dir
from tests.unit.quant.liquidation_cases import maintenance_terms, printed_precision


def _isolated_arguments(row: dict[str, str]) -> dict[str, float]:
    amount, entry = float(row["amount"]), float(row["entry_price"])
    maintenance_rate, maintenance_amount = maintenance_terms(row)
    return {
        "quantities": -amount if row["is_short"] == "true" else amount,
        "multipliers": 1.0,
        "entry_prices": entry,
        "collaterals": amount * entry / float(row["leverage"]),
        "maintenance_rates": maintenance_rate,
        "maintenance_amounts": maintenance_amount,
    }


def test_isolated_liquidation_prices_as_published():
    rows = list(read_csv(reference_dir() / "isolated_liquidation_price_cases.csv"))
    assert len(rows) == 24
    for row in rows:
        solved = margin.linear_liquidation_prices(**_isolated_arguments(row))
        assert solved.statuses == LiquidationStatus.SOLVED
        printed = row["expected_liq_price"]
        assert abs(solved.prices - float(printed)) <= printed_precision(printed), row


def test_binance_liquidation_prices_as_published():
    """In cross mode the other position, held at its mark, is part of the collateral."""
    rows = list(read_csv(reference_dir() / "binance_liquidation_price_cases.csv"))
    assert len(rows) == 4
    for row in rows:
        collateral = float(row["wallet_balance"])
        if row["mode"] == "cross":
            other = {"quantities": float(row["other_amount"]), "multipliers": 1.0}
            mark = float(row["other_mark"])
            notional = margin.linear_notionals(**other, prices=mark).in_quote
            collateral += margin.linear_unrealised_pnl(
                **other, entry_prices=float(row["other_entry"]), prices=mark
            )
            collateral -= margin.maintenance_requirements(
                notionals=notional,
                maintenance_rates=float(row["other_mm_ratio"]),
                maintenance_amounts=float(row["other_cum"]),
            )
        solved = margin.linear_liquidation_prices(
            quantities=float(row["amount"]),
            multipliers=1.0,
            entry_prices=float(row["entry_price"]),
            collaterals=collateral,
            maintenance_rates=float(row["mm_ratio"]),
            maintenance_amounts=float(row["cum_maintenance_amount"]),
        )
        assert solved.prices == pytest.approx(float(row["expected_liq_price"]), abs=0.01), row


def test_profit_of_a_coin_margined_position():
    """100 contracts of 100 USD, long at 50,000, at 55,000: 10,000 USD x (1/50,000 - 1/55,000) coins."""
    profit = margin.inverse_unrealised_pnl(
        quantities=[100.0, -100.0, 0.0],
        multipliers=100.0,
        entry_prices=[50_000.0, 50_000.0, 0.0],
        prices=55_000.0,
    )
    np.testing.assert_allclose(profit, [0.2 - 10_000 / 55_000, 10_000 / 55_000 - 0.2, 0.0], rtol=1e-14)


def test_linear_position_in_quote_and_coin():
    position = {"quantities": np.array([-3.0]), "multipliers": 0.1}
    assert margin.linear_unrealised_pnl(**position, entry_prices=200.0, prices=150.0) == pytest.approx(15.0)
    notionals = margin.linear_notionals(**position, prices=150.0)
    assert notionals.in_coin == pytest.approx(0.3)
    assert notionals.in_quote == pytest.approx(45.0)
    assert margin.linear_deltas(**position) == pytest.approx(-0.3)
    requirement = {"notionals": notionals.in_quote, "maintenance_rates": 0.01}
    assert margin.maintenance_requirements(**requirement) == pytest.approx(0.45)
    assert margin.maintenance_requirements(**requirement, maintenance_amounts=1.0) == 0.0
    assert margin.initial_requirements(notionals=45.0, initial_rates=0.1) == pytest.approx(4.5)


positions = st.fixed_dictionaries(
    {
        "quantities": st.floats(-1e3, 1e3).filter(lambda contracts: abs(contracts) > 1e-3),
        "multipliers": st.floats(1e-2, 1e2),
        "entry_prices": st.floats(1e-1, 1e5),
    }
)


@given(positions, st.floats(1e-1, 1e5))
def test_inverse_delta_is_the_dollar_slope_of_its_coin_profit(position, price):
    size = {name: position[name] for name in ("quantities", "multipliers")}
    step = 1e-4 * price
    up, down = (margin.inverse_unrealised_pnl(**position, prices=price + move) for move in (step, -step))
    delta = margin.inverse_deltas(**size, prices=price)
    noise = 1e-9 * abs(position["quantities"] * position["multipliers"] / position["entry_prices"])
    assert price * (up - down) / (2 * step) == pytest.approx(delta, rel=1e-7, abs=noise)
    assert abs(delta) == pytest.approx(margin.inverse_notionals(**size, prices=price).in_coin, rel=1e-15)


def _rates(lowest, highest):
    return st.floats(lowest, highest).map(lambda rate: round(rate, 6))


# Of the notional at entry: collateral, maintenance rate, maintenance amount.
margin_rates = st.tuples(_rates(0.005, 1.5), _rates(0.0, 0.5), _rates(-0.1, 0.1))


@given(positions, st.booleans(), margin_rates)
def test_at_the_liquidation_price_equity_is_the_maintenance_requirement(position, is_inverse, margins):
    collateral_rate, maintenance_rate, amount_rate = margins
    entry = position["entry_prices"]
    size = abs(position["quantities"]) * position["multipliers"]
    notional_at_entry = size / entry if is_inverse else size * entry
    collateral, amount = collateral_rate * notional_at_entry, amount_rate * notional_at_entry
    solve = margin.inverse_liquidation_prices if is_inverse else margin.linear_liquidation_prices
    solved = solve(
        **position,
        collaterals=collateral,
        maintenance_rates=maintenance_rate,
        maintenance_amounts=amount,
    )

    def excess(price):
        profit = margin.inverse_unrealised_pnl if is_inverse else margin.linear_unrealised_pnl
        notionals = margin.inverse_notionals if is_inverse else margin.linear_notionals
        sizes = notionals(
            quantities=position["quantities"], multipliers=position["multipliers"], prices=price
        )
        requirement = margin.maintenance_requirements(
            notionals=sizes.in_coin if is_inverse else sizes.in_quote,
            maintenance_rates=maintenance_rate,
            maintenance_amounts=amount,
        )
        return collateral + profit(**position, prices=price) - requirement

    scan = entry * np.geomspace(1e-6, 1e6, 241)
    if solved.statuses == LiquidationStatus.NEVER:
        assert np.all(excess(scan) > -1e-12 * notional_at_entry)
    elif solved.statuses == LiquidationStatus.ALWAYS:
        assert np.all(excess(scan) < 1e-12 * notional_at_entry)
    else:
        assert solved.statuses == LiquidationStatus.SOLVED
        price = float(solved.prices)
        gross = max(notional_at_entry, size / price if is_inverse else size * price)
        assert abs(excess(price)) <= 1e-13 * gross
        safe = price * (1.01 if position["quantities"] > 0 else 0.99)
        assert excess(safe) > 0.0
        assert excess(price * price / safe) < 0.0


def test_positions_without_a_liquidation_price_say_why():
    position = {"multipliers": 1.0, "entry_prices": 100.0, "maintenance_rates": 0.01}
    quantities = np.array([1.0, -1.0, 0.0, 1.0])
    collaterals = np.array([100.0, -100.0, 5.0, math.nan])
    linear = margin.linear_liquidation_prices(**position, quantities=quantities, collaterals=collaterals)
    assert list(linear.statuses) == [
        LiquidationStatus.NEVER,
        LiquidationStatus.ALWAYS,
        LiquidationStatus.FLAT,
        LiquidationStatus.INVALID,
    ]
    inverse = margin.inverse_liquidation_prices(
        **position, quantities=-quantities, collaterals=collaterals / 100.0**2
    )
    np.testing.assert_array_equal(inverse.statuses, linear.statuses)
    np.testing.assert_array_equal((linear.prices, inverse.prices), np.zeros((2, 4)))


@pytest.mark.parametrize(
    "fault",
    [{"entry_prices": 0.0}, {"multipliers": -1.0}, {"maintenance_rates": 1.0}, {"collaterals": math.inf}],
)
def test_a_position_that_cannot_be_is_invalid(fault):
    position = {
        "quantities": 1.0,
        "multipliers": 1.0,
        "entry_prices": 100.0,
        "collaterals": 10.0,
        "maintenance_rates": 0.01,
    } | fault
    for solve in (margin.linear_liquidation_prices, margin.inverse_liquidation_prices):
        assert solve(**position).statuses == LiquidationStatus.INVALID


def test_short_options_by_deribit_standard_margin():
    """Worked by hand from the published formulas, at an underlying of 50,000 and two coins a contract."""
    required = margin.coin_option_requirements(
        quantities=[-1.0, -1.0, -1.0, -1.0, 3.0],
        multipliers=2.0,
        strikes=[50_000.0, 51_000.0, 40_000.0, 150_000.0, 50_000.0],
        underlying_prices=50_000.0,
        mark_prices_in_coin=[0.05, 0.04, 0.002, 2.1, 0.05],
        is_call=[True, True, False, False, True],
    )
    deep_put = 0.075 * 2.1 + 2.1
    np.testing.assert_allclose(
        required.maintenance, [2 * 0.125, 2 * 0.115, 2 * 0.077, 2 * deep_put, 0.0], rtol=1e-15
    )
    np.testing.assert_allclose(
        required.initial, [2 * 0.2, 2 * 0.17, 2 * 0.102, 2 * deep_put, 0.0], rtol=1e-15
    )


COUNT = 61


@given(
    st.integers(0, 2**32 - 1), st.integers(0, COUNT - 1), st.integers(1, COUNT), st.sampled_from([-2, 1, 3])
)
def test_any_slice_computes_the_same_bits_as_the_whole(seed, start, length, step):
    draw = np.random.default_rng(seed)
    book = {
        "quantities": draw.integers(-5, 6, COUNT).astype(float),
        "multipliers": draw.uniform(0.001, 100.0, COUNT),
        "entry_prices": draw.uniform(1.0, 1e5, COUNT),
    }
    margins = {
        "collaterals": draw.uniform(0.0, 1e3, COUNT),
        "maintenance_rates": draw.uniform(0.0, 0.1, COUNT),
        "maintenance_amounts": draw.uniform(0.0, 10.0, COUNT),
    }
    prices = {"prices": draw.uniform(1.0, 1e5, COUNT)}
    part = slice(start, start + length)
    for kernel, columns in (
        (margin.linear_unrealised_pnl, book | prices),
        (margin.inverse_unrealised_pnl, book | prices),
        (margin.linear_liquidation_prices, book | margins),
        (margin.inverse_liquidation_prices, book | margins),
    ):
        whole = np.atleast_2d(kernel(**columns))
        views = {name: column[part][::step] for name, column in columns.items()}
        assert np.atleast_2d(kernel(**views)).tobytes() == whole[:, part][:, ::step].tobytes()
