"""The grid of shocks: every cell is the book re-priced, whatever else is in the grid."""

import numpy as np
import pytest
from scipy.special import ndtr

from app.quant.black_scholes import black_76
from app.quant.scenarios import scenario_grid
from app.quant.solvency.books import BookStatus, PositionKind, books_of
from app.quant.solvency.figures import account_figures
from app.quant.solvency.positions import option_at
from bench.floors import option_book
from bench.floors import scenarios as floor
from bench.floors.c_library import compiler
from tests.unit.quant.random_books import PRICES, one_book, random_columns

SHOCKS = {
    "spot_shocks": np.array([-0.6, -0.1, 0.0, 0.2, 1.5]),
    "volatility_shocks": np.array([-0.5, 0.0, 0.8]),
    "time_shifts_years": np.array([0.0, 0.05, 2.0]),
}


def test_every_cell_is_the_book_repriced():
    columns = random_columns(5, 40)
    books = books_of(**columns)
    grid = scenario_grid(books=books, underlying_prices=PRICES, **SHOCKS)
    now = account_figures(books=books, underlying_prices=PRICES)
    for s, spot in enumerate(SHOCKS["spot_shocks"]):
        for v, vol in enumerate(SHOCKS["volatility_shocks"]):
            for t, shift in enumerate(SHOCKS["time_shifts_years"]):
                then = columns | {
                    "volatilities": columns["volatilities"] * (1.0 + vol),
                    "years_to_expiry": np.maximum(columns["years_to_expiry"] - shift, 0.0),
                }
                figures = account_figures(books=books_of(**then), underlying_prices=PRICES * (1.0 + spot))
                close = {"rtol": 1e-12, "atol": 1e-12 * figures.gross_notionals.max()}
                np.testing.assert_allclose(grid.equity[:, s, v, t], figures.equity, **close)
                np.testing.assert_allclose(grid.profits[:, s, v, t], figures.equity - now.equity, **close)
                np.testing.assert_allclose(
                    grid.maintenance_margin[:, s, v, t], figures.maintenance_margin, **close
                )
                np.testing.assert_allclose(grid.delta_notionals[:, s, v, t], figures.delta_notionals, **close)


def test_a_cell_has_the_same_bits_in_any_grid_and_alone():
    books = books_of(**random_columns(6, 20))
    whole = scenario_grid(books=books, underlying_prices=PRICES, **SHOCKS)
    for book in (0, 7, 19):
        alone = one_book(books, book)
        for s, v, t in ((0, 0, 0), (3, 2, 1), (4, 1, 2)):
            cell = scenario_grid(
                books=alone,
                underlying_prices=PRICES,
                spot_shocks=SHOCKS["spot_shocks"][s],
                volatility_shocks=SHOCKS["volatility_shocks"][v],
                time_shifts_years=SHOCKS["time_shifts_years"][t],
            )
            for of_all, of_one in zip(whole[:-1], cell[:-1], strict=True):
                assert of_all[book, s, v, t].tobytes() == of_one[0, 0, 0, 0].tobytes()


def test_greeks_in_a_cell_are_those_of_the_options_there():
    """Two options by the package's numpy kernel, one of them on an underlying that stays."""
    columns = {"strikes": [70_000.0, 2_500.0], "volatilities": [0.6, 0.8], "years_to_expiry": [0.3, 0.1]}
    books = books_of(
        position_counts=[2], cash=[0.0], kinds=[PositionKind.LINEAR_CALL, PositionKind.LINEAR_PUT],
        underlyings=[0, 1], quantities=[2.0, -5.0], **columns,
    )  # fmt: skip
    grid = scenario_grid(
        books=books, underlying_prices=PRICES, spot_shocks=0.1, volatility_shocks=0.5,
        time_shifts_years=0.05, moved_underlyings=[True, False], volatility_weights=[1.0, 0.2],
        least_volatilities=0.7,
    )  # fmt: skip
    forwards = np.array([66_000.0, 3_000.0])
    greeks = black_76(
        forwards=forwards,
        strikes=columns["strikes"],
        years_to_expiry=[0.25, 0.05],
        volatilities=[0.9, 0.88],
        is_call=[True, False],
    )
    held = np.array([2.0, -5.0])
    assert grid.equity.item() == pytest.approx((held * greeks.values).sum(), rel=1e-12)
    assert grid.delta_notionals.item() == pytest.approx((held * greeks.deltas * forwards).sum(), rel=1e-12)
    assert grid.gamma_notionals.item() == pytest.approx((held * greeks.gammas * forwards**2).sum(), rel=1e-12)
    assert grid.vegas.item() == pytest.approx((held * greeks.vegas).sum(), rel=1e-12)


def test_shocks_and_books_that_cannot_be():
    books = books_of(position_counts=[1, 1], cash=[1.0, np.inf], kinds=[0, 0], underlyings=0, quantities=1.0)
    grid = scenario_grid(books=books, underlying_prices=[10.0], spot_shocks=[0.0, 0.5])
    assert list(grid.statuses) == [BookStatus.VALID, BookStatus.INVALID]
    np.testing.assert_array_equal(grid.profits[:, :, 0, 0], [[0.0, 5.0], [0.0, 0.0]])
    for wrong in (
        {"spot_shocks": -1.0},
        {"spot_shocks": 0.0, "time_shifts_years": -1.0},
        {"spot_shocks": np.nan},
    ):
        with pytest.raises(ValueError, match="shocks are finite"):
            scenario_grid(books=books, underlying_prices=[10.0], **wrong)


def test_the_option_behind_all_of_it():
    """Against the numpy kernel, near and far from the strike, and without time."""
    draw = np.random.default_rng(8)
    count = 2_000
    forwards, strikes = draw.uniform(1e3, 1e5, (2, count))
    years, volatilities = draw.uniform(0.0, 2.0, count), draw.uniform(0.05, 2.0, count)
    years[:100] = 0.0
    call = draw.random(count) < 0.5
    expected = black_76(
        forwards=forwards, strikes=strikes, years_to_expiry=years, volatilities=volatilities, is_call=call
    )
    figures = np.array(
        [option_at(f, k, v, s) for f, k, v, s in zip(
            forwards, strikes, volatilities * np.sqrt(years), np.where(call, 1.0, -1.0), strict=True
        )]
    )  # fmt: skip
    assert np.max(np.abs(figures[:, 0] - expected.values) / (forwards + strikes)) < 1e-15
    assert np.max(np.abs(figures[:, 1] - expected.deltas)) < 1e-15
    assert option_at(0.0, 5.0, 1.0, -1.0) == (5.0, -1.0)


def test_the_tails_are_as_good_as_they_say():
    # at the strike d1 is half the total volatility: a put's delta is the tail
    for deviations, relative in ((0.5, 1e-15), (4.0, 1e-13), (7.0, 4e-9), (20.0, 1e-5)):
        delta = -option_at(1.0, 1.0, 2.0 * deviations, -1.0)[1]
        assert delta == pytest.approx(ndtr(-deviations), rel=relative)


@pytest.mark.skipif(compiler() is None, reason="no C compiler")
def test_the_benchmarks_floor_computes_the_same_grid(tmp_path):
    book = option_book.option_book()
    books = books_of(
        position_counts=[book.quantities.size], cash=[0.0], kinds=3 + book.is_put + 2 * book.is_coin_settled,
        underlyings=0, quantities=book.quantities, price_ratios=book.ratios, strikes=book.strikes,
        years_to_expiry=book.years, volatilities=book.volatilities,
    )  # fmt: skip
    grid = scenario_grid(
        books=books, underlying_prices=[option_book.INDEX], spot_shocks=option_book.SPOT_SHOCKS,
        volatility_shocks=option_book.VOLATILITY_SHOCKS,
    )  # fmt: skip
    _, sums = floor.run(tmp_path, calls=1)
    for ours, theirs in zip(grid[1:6], sums, strict=True):
        cells = ours[0, :, :, 0].T.reshape(-1)
        assert np.max(np.abs(cells - theirs)) < 1e-13 * np.max(np.abs(theirs))
