"""Portfolio margin: the example in Deribit's API reference to its printed digits, and laws."""

import numpy as np
import pytest

from app.quant.black_scholes import black_76
from app.quant.portfolio_liquidation import portfolio_liquidation_levels
from app.quant.portfolio_margin import (
    DERIBIT_BTC,
    okx_rules,
    portfolio_margins,
    risk_units,
    risk_vectors,
)
from app.quant.solvency.books import BookStatus, PositionKind, books_of
from app.quant.solvency.liquidation import CrossingStatus
from tests.unit.quant.random_books import PRICES, gross_notionals, one_book, random_columns

# docs.deribit.com, private/pme/simulate: a perpetual and a future of BTC on 17 June 2024, 10:05:40 UTC
INDEX = 65_666.19
PERPETUAL, FUTURE = 0.314538364, -0.001187534  # coins
PERPETUAL_MARK, FUTURE_MARK = 65_910.57, 67_371.75
DAYS_TO_28_JUNE = 10.913


def _example(**changes):
    columns = {
        "position_counts": [2],
        "cash": [10_000.0],
        "kinds": [PositionKind.INVERSE, PositionKind.INVERSE],
        "underlyings": 0,
        "quantities": [PERPETUAL * PERPETUAL_MARK, FUTURE * FUTURE_MARK],
        "entry_prices": 60_000.0,
        "price_ratios": [PERPETUAL_MARK / INDEX, FUTURE_MARK / INDEX],
        "years_to_expiry": [0.0, DAYS_TO_28_JUNE / 365],
    }
    return books_of(**columns | changes)


def test_the_example_of_the_reference_to_its_printed_digits():
    margins = portfolio_margins(books=_example(), underlying_prices=[INDEX])
    in_coin = {name: figure[0] / INDEX for name, figure in margins._asdict().items() if name != "statuses"}
    assert in_coin["worst_losses"] == pytest.approx(0.05968587238095239, rel=1e-13)
    assert in_coin["roll_shocks"] == pytest.approx(0.00315725898, rel=1e-13)
    assert in_coin["liquidity_shocks"] == 0.0
    # the exchange rounds the worst case to nine digits before it adds the shocks
    assert in_coin["initial_margin"] == pytest.approx(0.06284313098, abs=5e-10)
    assert round(in_coin["worst_losses"], 9) + in_coin["roll_shocks"] == pytest.approx(
        0.06284313098, abs=5e-12
    )
    assert in_coin["maintenance_margin"] == pytest.approx(0.050274504784, abs=4e-10)


def test_risk_vectors_as_printed():
    """The perpetual alone. Before the dampener its tail is what the ladder's ends are."""
    alone = _example(quantities=[PERPETUAL * PERPETUAL_MARK, 0.0])
    rules = DERIBIT_BTC._replace(tail_dampener=0.0)
    units = risk_units(books=alone, underlying_prices=[INDEX], rules=rules)
    vectors = risk_vectors(units=units, underlying_prices=[INDEX], rules=rules)
    printed = [
        -0.05991206933333334, -0.04289159509090909, -0.027351162086956524, -0.013105765166666668, 0.0,
        0.012097629384615385, 0.023299138074074074, 0.033700538999999995, 0.043384601931034494,
    ]  # fmt: skip
    for volatility in range(3):
        np.testing.assert_allclose(vectors.ladder[0, :, volatility], printed, rtol=1e-12, atol=1e-17)
    np.testing.assert_allclose(vectors.tail[0], [printed[0]] * 2 + [printed[-1]] * 6, rtol=1e-12)
    dampened = risk_vectors(units=units, underlying_prices=[INDEX], rules=DERIBIT_BTC)
    np.testing.assert_array_equal(dampened.tail, np.zeros((1, 8)))


def test_a_short_eth_perpetual_as_deribit_answered():
    """ETH's parameters and margins as the exchange gave them on 15 February 2026."""
    rules = DERIBIT_BTC._replace(
        price_range=0.18, volatility_range_up=0.4, tail_dampener=200_000.0, least_roll_move=0.005,
        annual_roll_move=0.05, liquidity_increment=0.000004,
    )  # fmt: skip
    index, mark = 1949.34, 1949.49
    books = books_of(
        position_counts=[1], cash=[1_000.0], kinds=[PositionKind.INVERSE], underlyings=0,
        quantities=-0.999487053 * mark, entry_prices=mark, price_ratios=mark / index,
    )  # fmt: skip
    margins = portfolio_margins(books=books, underlying_prices=[index], rules=rules)
    assert margins.worst_losses[0] / index == pytest.approx(0.15246412672881357, rel=1e-12)
    assert margins.roll_shocks[0] / index == pytest.approx(0.004997435265, rel=1e-12)
    assert margins.initial_margin[0] / index == pytest.approx(0.157461562265, abs=5e-10)
    assert margins.maintenance_margin[0] / index == pytest.approx(0.125969249812, abs=4e-10)


def test_a_short_strangle_by_hand():
    """Linear options 20 days out: the scenarios one by one, by the numpy kernel."""
    strikes, calls = np.array([70_000.0, 52_000.0]), np.array([True, False])
    books = books_of(
        position_counts=[2], cash=[1e6], kinds=[PositionKind.LINEAR_CALL, PositionKind.LINEAR_PUT],
        underlyings=0, quantities=-3.0, strikes=strikes, years_to_expiry=20 / 365, volatilities=[0.6, 0.7],
    )  # fmt: skip
    weight = (30 / 20) ** 0.3

    def worth(move, shock, least):
        return -3 * black_76(
            forwards=60_000 * (1 + move), strikes=strikes, years_to_expiry=20 / 365,
            volatilities=np.maximum(np.array([0.6, 0.7]) * (1 + shock * weight), least), is_call=calls,
        ).values.sum()  # fmt: skip

    now = worth(0.0, 0.0, 0.0)
    ladder = [
        worth(move, shock, least) - now
        for move in np.arange(-4, 5) * 0.04
        for shock, least in ((-0.25, 0.0), (0.0, 0.0), (0.5, 0.5))
    ]
    tail = []
    for move in DERIBIT_BTC.tail_moves:
        counted = (worth(move, 0.5, 0.5) - now) * 0.16 / abs(move)
        tail.append(np.sign(counted) * max(abs(counted) - (abs(move) / 0.16 - 1) * 100_000, 0.0))
    margins = portfolio_margins(books=books, underlying_prices=[60_000.0])
    assert margins.worst_losses[0] == pytest.approx(-min(ladder + tail), rel=1e-12)
    assert margins.statuses[0] == BookStatus.VALID
    assert margins.margin_ratios[0] == pytest.approx(
        margins.maintenance_margin[0] / margins.equity[0], rel=1e-15
    )


def test_large_deltas_cost_more_and_bought_options_only_offset():
    linear = {"cash": [1e9], "underlyings": 0, "entry_prices": 60_000.0}
    future = books_of(position_counts=[1], kinds=[PositionKind.LINEAR], quantities=[1_000.0], **linear)
    shock = portfolio_margins(books=future, underlying_prices=[60_000.0]).liquidity_shocks[0]
    beyond = 1_000 - 20e6 / 60_000
    assert shock == pytest.approx(beyond * 0.00005 * 1_000 * 60_000, rel=1e-12)
    options = {"strikes": 60_000.0, "years_to_expiry": 0.1, "volatilities": 0.5}
    pair = {"position_counts": [2], "quantities": [1_000.0, 500.0]}
    puts, calls = (
        books_of(kinds=[PositionKind.LINEAR, kind], **pair, **linear, **options)
        for kind in (PositionKind.LINEAR_PUT, PositionKind.LINEAR_CALL)
    )
    assert portfolio_margins(books=puts, underlying_prices=[60_000.0]).liquidity_shocks[0] < shock
    assert portfolio_margins(books=calls, underlying_prices=[60_000.0]).liquidity_shocks[0] == shock


def test_hedges_reduce_what_the_positions_need_alone():
    books = books_of(**random_columns(9, 200))
    margins = portfolio_margins(books=books, underlying_prices=PRICES)
    rows = books.kinds.size
    owners = np.repeat(np.arange(200), np.diff(books.starts))
    apart = books._replace(starts=np.arange(rows + 1), cash=np.zeros(rows))
    no_tail = DERIBIT_BTC._replace(tail_dampener=0.0)  # a dampener is per unit: it favours being split
    together = portfolio_margins(books=books, underlying_prices=PRICES, rules=no_tail)
    alone = portfolio_margins(books=apart, underlying_prices=PRICES, rules=no_tail)
    for name in ("worst_losses", "roll_shocks"):
        sums = np.bincount(owners, getattr(alone, name), 200)
        assert np.all(getattr(together, name) <= sums * (1 + 1e-12) + 1e-9)
    assert np.all(margins.initial_margin <= together.initial_margin + 1e-9)


def test_okx_counts_all_of_a_coin_as_one_unit():
    """Coins held hedge a short linear perpetual. Without them half of 24 % is as much as all of 12 %."""
    rules = okx_rules(volatility_range_up=0.5, volatility_range_down=0.3, extreme_part=0.5)
    columns = {"cash": [1e5], "underlyings": 0, "entry_prices": 60_000.0}
    naked = books_of(position_counts=[1], kinds=[PositionKind.LINEAR], quantities=[-1.0], **columns)
    hedged = books_of(
        position_counts=[2],
        kinds=[PositionKind.LINEAR, PositionKind.HOLDING],
        quantities=[-1.0, 1.0],
        **columns,
    )
    alone = portfolio_margins(books=naked, underlying_prices=[60_000.0], rules=rules)
    assert alone.initial_margin[0] == pytest.approx(0.12 * 60_000, rel=1e-12)
    assert alone.maintenance_margin[0] == pytest.approx(0.12 * 60_000 / 1.3, rel=1e-12)
    assert portfolio_margins(books=hedged, underlying_prices=[60_000.0], rules=rules).initial_margin[0] < 1e-9


def test_books_that_cannot_be_need_nothing_and_say_so():
    books = books_of(
        position_counts=[1, 1],
        cash=[np.nan, 10.0],
        kinds=[1, 1],
        underlyings=[0, 5],
        quantities=1.0,
        entry_prices=1.0,
    )
    margins = portfolio_margins(books=books, underlying_prices=[100.0])
    assert list(margins.statuses) == [BookStatus.INVALID, BookStatus.INVALID]
    np.testing.assert_array_equal(margins.initial_margin, [0.0, 0.0])


def test_at_the_liquidation_price_equity_is_the_portfolio_maintenance_margin():
    columns = random_columns(10, 120, widest=5)
    books = books_of(**columns | {"cash": 0.4 * np.abs(columns["cash"])})
    levels = portfolio_liquidation_levels(books=books, underlying_prices=PRICES, underlyings=0)
    solved = 0
    for factors, statuses in (
        (levels.factors_below, levels.statuses_below),
        (levels.factors_above, levels.statuses_above),
    ):
        for book in np.flatnonzero(statuses == CrossingStatus.SOLVED):
            there = PRICES * [factors[book], 1.0]
            alone = one_book(books, book)
            margins = portfolio_margins(books=alone, underlying_prices=there)
            excess = margins.equity - margins.maintenance_margin
            assert np.abs(excess) <= 1e-9 * gross_notionals(alone, there)
            solved += 1
    assert solved > 30
    assert {CrossingStatus.NONE, CrossingStatus.BREACHED} <= set(levels.statuses_below)


def test_a_perpetual_alone_is_liquidated_where_its_rules_say():
    """Long one coin linear: loss 16 % of the price and 1 % roll, of which 80 % keep it open."""
    books = books_of(
        position_counts=[1, 1, 1], cash=[20_000.0, 100.0, np.nan], kinds=np.full(3, PositionKind.LINEAR),
        underlyings=[0, 1, 0], quantities=1.0, entry_prices=[60_000.0, 3_000.0, 1.0],
    )  # fmt: skip
    levels = portfolio_liquidation_levels(books=books, underlying_prices=PRICES, underlyings=0)
    assert levels.prices_below[0] == pytest.approx(40_000 / (1 - 0.8 * 0.17), rel=1e-12)
    assert levels.distances[0] == pytest.approx(1 - levels.prices_below[0] / 60_000, rel=1e-9)
    assert list(levels.statuses_above) == [
        CrossingStatus.NONE, CrossingStatus.NO_EXPOSURE, CrossingStatus.INVALID,
    ]  # fmt: skip
