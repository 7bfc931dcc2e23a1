"""Accounts as books: their figures, and the laws that their liquidation prices obey."""

import numpy as np
import pytest

from app.quant import margin
from app.quant.black_scholes import black_76
from app.quant.solvency.books import Books, BookStatus, PositionKind, books_of, tier_tables
from app.quant.solvency.figures import account_figures
from app.quant.solvency.liquidation import (
    TOGETHER,
    CrossingStatus,
    LiquidationLevels,
    liquidation_levels,
)
from tests.unit.quant.random_books import PRICES, gross_notionals, one_book, random_columns

SIDES = ("below", "above")


def _side(levels: LiquidationLevels, side: str) -> tuple[np.ndarray, np.ndarray]:
    return getattr(levels, f"factors_{side}"), getattr(levels, f"statuses_{side}")


def _apart(books: Books) -> Books:
    """The same books, each with underlyings of its own, so that each can be priced at its own prices."""
    book = np.repeat(np.arange(books.cash.size), np.diff(books.starts))
    return books._replace(underlyings=books.underlyings + PRICES.size * book)


def _repriced(apart: Books, target: int, factors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Equity less maintenance margin of every book at its own factor, and its gross notional."""
    prices = np.tile(PRICES, (factors.size, 1))
    moved = slice(None) if target == TOGETHER else slice(target, target + 1)
    prices[:, moved] *= factors[:, None]
    figures = account_figures(books=apart, underlying_prices=prices.reshape(-1))
    return figures.equity - figures.maintenance_margin, gross_notionals(apart, prices.reshape(-1))


def _hold_levels_to_their_word(seed: int, count: int, scan: int) -> dict[str, float]:
    """Solved: equity is maintenance. Jump: it changes sign there. In between, or with none: never below."""
    books = books_of(**random_columns(seed, count))
    apart = _apart(books)
    seen = {"solved": 0, "jumps": 0, "none": 0, "both": 0, "worst": 0.0}
    for target in (0, 1, TOGETHER):
        levels = liquidation_levels(books=books, underlying_prices=PRICES, underlyings=target)
        seen["both"] += np.sum((levels.statuses_below <= 1) & (levels.statuses_above <= 1))
        for side in SIDES:
            factors, statuses = _side(levels, side)
            solved, jump = statuses == CrossingStatus.SOLVED, statuses == CrossingStatus.AT_TIER_JUMP
            none = statuses == CrossingStatus.NONE
            excess, gross = _repriced(apart, target, np.where(solved, factors, 1.0))
            worst = np.max(np.abs(excess[solved]) / gross[solved])
            assert worst <= 1e-9
            before, _ = _repriced(apart, target, np.where(jump, factors * (1 - 1e-9), 1.0))
            after, _ = _repriced(apart, target, np.where(jump, factors * (1 + 1e-9), 1.0))
            assert np.all(np.sign(before[jump]) != np.sign(after[jump]))
            farthest = np.where(none, 1e-6 if side == "below" else 1e6, factors)
            for part in np.linspace(0.0, 1.0, scan + 1)[:-1]:
                judged = solved | jump | none
                excess, gross = _repriced(
                    apart, target, np.where(judged, np.where(judged, farthest, 1.0) ** part, 1.0)
                )
                assert np.all(excess[judged] > -1e-10 * gross[judged])
            seen["solved"] += solved.sum()
            seen["jumps"] += jump.sum()
            seen["none"] += none.sum()
            seen["worst"] = max(seen["worst"], worst)
    return seen


def test_repriced_at_the_liquidation_price_equity_is_the_maintenance_margin():
    seen = _hold_levels_to_their_word(seed=1, count=10_000, scan=4)
    assert seen["solved"] > 10_000
    assert seen["jumps"] > 50
    assert seen["both"] > 200  # a price below and one above


def test_between_here_and_the_liquidation_price_the_account_is_solvent():
    seen = _hold_levels_to_their_word(seed=2, count=1_000, scan=100)
    assert seen["none"] > 1_000


@pytest.mark.long
@pytest.mark.parametrize("seed", [11, 12, 13])
def test_ten_thousand_books_scanned(seed):
    assert _hold_levels_to_their_word(seed=seed, count=10_000, scan=500)["worst"] < 1e-12


def test_a_book_computes_the_same_bits_alone():
    books = books_of(**random_columns(3, 60))
    figures = account_figures(books=books, underlying_prices=PRICES)
    levels = liquidation_levels(books=books, underlying_prices=PRICES, underlyings=0)
    for book in range(60):
        alone = one_book(books, book)
        for whole, part in (
            (figures, account_figures(books=alone, underlying_prices=PRICES)),
            (levels, liquidation_levels(books=alone, underlying_prices=PRICES, underlyings=0)),
        ):
            for of_all, of_one in zip(whole, part, strict=True):
                assert of_all[book : book + 1].tobytes() == of_one.tobytes()


def _row(columns: dict, row: int) -> dict:
    return {name: np.broadcast_to(column, 5)[row] for name, column in columns.items()}


def test_figures_are_the_sums_of_what_the_positions_need():
    """Each term by the package's other kernels: linear and inverse contracts, coins, two short options."""
    tiers = tier_tables(tier_counts=[1, 1], floors=[0, 0], rates=[0.005, 0.006])
    books = books_of(
        position_counts=[5],
        cash=[20_000.0],
        kinds=[1, 2, 0, 5, 4],
        underlyings=0,
        quantities=[0.5, -30.0, 0.2, -1.0, -0.3],
        multipliers=[1.0, 100.0, 0.95, 1.0, 1.0],
        entry_prices=[58_000.0, 61_000.0, 0.0, 0.0, 0.0],
        price_ratios=[1.01, 0.99, 1.0, 1.02, 1.0],
        strikes=[0.0, 0.0, 0.0, 65_000.0, 50_000.0],
        years_to_expiry=0.2,
        volatilities=0.7,
        initial_rates=[0.02, 0.03, 0.0, 0.0, 0.0],
        maintenance_tiers=[0, 1, -1, -1, -1],
        tiers=tiers,
    )
    index = 60_000.0
    marks = index * books.price_ratios
    call, put = (
        black_76(
            forwards=marks[row],
            strikes=books.strikes[row],
            years_to_expiry=0.2,
            volatilities=0.7,
            is_call=row == 3,
        )
        for row in (3, 4)
    )
    needs = margin.coin_option_requirements(
        quantities=books.quantities[3:],
        multipliers=1.0,
        strikes=books.strikes[3:],
        underlying_prices=marks[3:],
        mark_prices_in_coin=[call.values / marks[3], put.values / marks[4]],
        is_call=[True, False],
    )
    held = np.array([call.values / marks[3], put.values / marks[4]]) * np.array([1.0, 0.3])
    inverse = margin.inverse_unrealised_pnl(
        quantities=-30.0, multipliers=100.0, entry_prices=61_000.0, prices=marks[1]
    )
    equity = 20_000 + 0.5 * (marks[0] - 58_000) + inverse * index + 0.19 * index
    equity += -call.values * index / marks[3] - 0.3 * put.values
    figures = account_figures(books=books, underlying_prices=[index])
    assert figures.statuses[0] == BookStatus.VALID
    assert figures.equity[0] == pytest.approx(equity, rel=1e-13)
    linear, coin = 0.5 * marks[0], 3_000 / marks[1] * index
    assert figures.initial_margin[0] == pytest.approx(
        0.02 * linear + 0.03 * coin + (needs.initial - held).sum() * index, rel=1e-12
    )
    maintenance = 0.005 * linear + 0.006 * coin + (needs.maintenance - held).sum() * index
    assert figures.maintenance_margin[0] == pytest.approx(maintenance, rel=1e-12)
    assert figures.margin_ratios[0] == pytest.approx(maintenance / equity, rel=1e-12)
    gross = linear + 3_000 * index / 61_000 + 0.19 * index + call.deltas * index - 0.3 * put.deltas * index
    assert figures.gross_notionals[0] == pytest.approx(gross, rel=1e-12)
    assert figures.leverage[0] == pytest.approx(gross / equity, rel=1e-12)


def test_tiers_make_maintenance_continuous_as_binance_does():
    """Binance's brackets of BTCUSDT, whose 16,300 at 2.5 % is in the published cases."""
    table = tier_tables(
        tier_counts=[4], floors=[0, 50_000, 250_000, 1_000_000], rates=[0.004, 0.005, 0.01, 0.025]
    )
    np.testing.assert_allclose(table.amounts, [0.0, 50.0, 1_300.0, 16_300.0], rtol=1e-12)
    below = table.floors[1:] * table.rates[:-1] - table.amounts[:-1]
    np.testing.assert_allclose(table.floors[1:] * table.rates[1:] - table.amounts[1:], below, rtol=1e-12)


def test_a_short_strangle_is_liquidated_on_both_sides():
    books = books_of(
        position_counts=[2],
        cash=[30_000.0],
        kinds=[PositionKind.COIN_CALL, PositionKind.COIN_PUT],
        underlyings=0,
        quantities=-1.0,
        strikes=[70_000.0, 50_000.0],
        years_to_expiry=0.1,
        volatilities=0.6,
    )
    levels = liquidation_levels(books=books, underlying_prices=[60_000.0], underlyings=0)
    assert levels.statuses_below[0] == levels.statuses_above[0] == CrossingStatus.SOLVED
    assert 0.0 < levels.prices_below[0] < 60_000.0 < levels.prices_above[0]
    nearest = min(1.0 - levels.factors_below[0], levels.factors_above[0] - 1.0)
    assert levels.distances[0] == nearest
    assert levels.reachable[0]


def test_a_hedged_coin_margined_short_has_no_liquidation_price():
    """One coin held and one coin's worth sold inverse: worth 60,000 at every price."""
    books = books_of(
        position_counts=[2],
        cash=[0.0],
        kinds=[PositionKind.HOLDING, PositionKind.INVERSE],
        underlyings=0,
        quantities=[1.0, -600.0],
        multipliers=[1.0, 100.0],
        entry_prices=60_000.0,
    )
    levels = liquidation_levels(books=books, underlying_prices=[60_000.0], underlyings=0)
    assert levels.statuses_below[0] == levels.statuses_above[0] == CrossingStatus.NONE
    assert not levels.reachable[0]


def test_books_without_an_answer_say_why():
    columns = {
        "position_counts": [1, 1, 1, 1],
        "cash": [100.0, -70_000.0, np.nan, 5.0],
        "kinds": [1, 1, 1, 3],
        "underlyings": [1, 0, 0, 0],
        "quantities": 1.0,
        "entry_prices": [3_000.0, 60_000.0, 60_000.0, 0.0],
        "strikes": [0.0, 0.0, 0.0, -1.0],
    }
    levels = liquidation_levels(books=books_of(**columns), underlying_prices=PRICES, underlyings=0)
    expected = [
        CrossingStatus.NO_EXPOSURE,
        CrossingStatus.BREACHED,
        CrossingStatus.INVALID,
        CrossingStatus.INVALID,
    ]
    assert list(levels.statuses_below) == list(levels.statuses_above) == expected
    np.testing.assert_array_equal(levels.factors_below, [0.0, 1.0, 0.0, 0.0])
    figures = account_figures(books=books_of(**columns), underlying_prices=PRICES)
    assert list(figures.statuses) == [
        BookStatus.VALID,
        BookStatus.INSOLVENT,
        BookStatus.INVALID,
        BookStatus.INVALID,
    ]
    assert np.all(np.isfinite(np.array(figures[:-1])))
    unknown = liquidation_levels(books=books_of(**columns), underlying_prices=PRICES, underlyings=7)
    assert set(unknown.statuses_above) == {CrossingStatus.INVALID}


def test_columns_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="do not fit"):
        books_of(position_counts=[2], cash=[0.0], kinds=[1], underlyings=0, quantities=1.0)
    with pytest.raises(ValueError, match="rise from 0"):
        tier_tables(tier_counts=[2], floors=[0, 0], rates=[0.1, 0.2])
    with pytest.raises(ValueError, match="in \\[0, 1\\)"):
        tier_tables(tier_counts=[1], floors=[0], rates=[1.0])
    with pytest.raises(ValueError, match="differ in length"):
        tier_tables(tier_counts=[1], floors=[0, 1], rates=[0.1])
