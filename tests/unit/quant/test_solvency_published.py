"""Liquidation prices that others printed, from whole books: isolated, and cross with another position."""

import numpy as np
import pytest
from numpy.typing import ArrayLike

from app.quant.solvency.books import PositionKind, TierTables, books_of, tier_tables
from app.quant.solvency.figures import account_figures
from app.quant.solvency.liquidation import CrossingStatus, liquidation_levels
from tests.market_data import read_csv, reference_dir
from tests.unit.quant.liquidation_cases import maintenance_terms, printed_precision


def _column(rows: list[dict[str, str]], name: str) -> np.ndarray:
    return np.array([float(row[name] or 0.0) for row in rows])


def _tiers(rates: ArrayLike, amounts: ArrayLike) -> TierTables:
    """A table of one tier for each."""
    ones = np.ones(len(rates), dtype=int)
    return tier_tables(tier_counts=ones, floors=0.0 * ones, rates=rates, amounts=amounts)


def test_isolated_positions_as_published():
    rows = list(read_csv(reference_dir() / "isolated_liquidation_price_cases.csv"))
    assert len(rows) == 24
    amounts, entries = _column(rows, "amount"), _column(rows, "entry_price")
    rates, deducted = np.transpose([maintenance_terms(row) for row in rows])
    books = books_of(
        position_counts=np.ones(24, dtype=int),
        cash=amounts * entries / _column(rows, "leverage"),
        kinds=np.full(24, PositionKind.LINEAR),
        underlyings=np.arange(24),
        quantities=np.where([row["is_short"] == "true" for row in rows], -amounts, amounts),
        entry_prices=entries,
        maintenance_tiers=np.arange(24),
        tiers=_tiers(rates, deducted),
    )
    levels = liquidation_levels(books=books, underlying_prices=entries, underlyings=np.arange(24))
    for number, row in enumerate(rows):
        short = row["is_short"] == "true"
        solved = levels.statuses_above if short else levels.statuses_below
        price = (levels.prices_above if short else levels.prices_below)[number]
        assert solved[number] == CrossingStatus.SOLVED
        printed = row["expected_liq_price"]
        assert abs(price - float(printed)) <= printed_precision(printed), row


def test_binance_positions_as_published():
    rows = list(read_csv(reference_dir() / "binance_liquidation_price_cases.csv"))
    assert len(rows) == 4
    for row in rows:
        others = ("other_",) if row["mode"] == "cross" else ()
        amounts, rates = (
            [float(row[name]), *(float(row[f"{other}{name}"]) for other in others)]
            for name in ("amount", "mm_ratio")
        )
        entries = [float(row["entry_price"]), *(float(row[f"{other}entry"]) for other in others)]
        marks = [entries[0], *(float(row[f"{other}mark"]) for other in others)]
        deducted = [float(row["cum_maintenance_amount"]), *(float(row[f"{other}cum"]) for other in others)]
        books = books_of(
            position_counts=[len(marks)],
            cash=[float(row["wallet_balance"])],
            kinds=[PositionKind.LINEAR] * len(marks),
            underlyings=range(len(marks)),
            quantities=amounts,
            entry_prices=entries,
            maintenance_tiers=range(len(marks)),
            tiers=_tiers(rates, deducted),
        )
        levels = liquidation_levels(books=books, underlying_prices=marks, underlyings=0)
        assert levels.statuses_below[0] == CrossingStatus.SOLVED
        assert levels.prices_below[0] == pytest.approx(float(row["expected_liq_price"]), abs=0.005), row
        at = account_figures(books=books, underlying_prices=[levels.prices_below[0], *marks[1:]])
        assert at.margin_ratios[0] == pytest.approx(1.0, abs=1e-12)
