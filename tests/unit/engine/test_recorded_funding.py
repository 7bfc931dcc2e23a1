"""Recorded prices and funding rates: what was paid is what they add up to, however the frames are cut."""

from datetime import UTC, datetime
from decimal import Decimal
from heapq import merge
from uuid import UUID

import pytest

from app.domain.instruments import Instrument
from app.domain.market import Change, Frame, Quality, TickKind
from app.domain.portfolios import Account, Balance, MarginMode, Portfolio, PortfolioState, Position
from app.engine.book import Book
from app.engine.decide import affected, decide
from app.engine.market_view import MarketView
from app.engine.universe import Universe
from app.lab.history import read_ticks
from tests.market_data import market_dir

PERP = Instrument(id="BTC-USDT-PERP", kind="perpetual", underlying="BTC", quote="USDT")
MONTHS = {"start": datetime(2023, 3, 1, tzinfo=UTC), "end": datetime(2023, 5, 1, tzinfo=UTC)}


@pytest.fixture(scope="module")
def frames():
    """Two months: a rate every eight hours and four prices an hour, as the oracle makes frames of them."""
    prices = read_ticks(
        market_dir() / "btc-usdt_spot_1h_2017-08_2024-04.csv.gz", instrument=PERP.id, **MONTHS
    )
    rates = read_ticks(market_dir() / "btc-usdt_perp_funding_8h_2023-01_2024-05.csv.gz", **MONTHS)
    found = []
    for sequence, (tick,) in enumerate(merge(prices, rates, key=lambda entry: entry[0].time_ns), start=1):
        change = Change(tick.kind, tick.instrument, tick.value, 0.0, 1, Quality.VALID, tick.time_ns)
        found.append(Frame(1, sequence, tick.time_ns, "", 0, (change,)))
    return found


def accrued(frames, size):
    """The fills and the account at the end, in blocks of so many frames."""
    held = Position(PERP.instrument_id, Decimal("-1.5"), Decimal(23_000))
    account = Account(
        UUID(int=3), "main", "paper", MarginMode.CROSS, (held,), (Balance("USDT", Decimal(90_000)),)
    )
    one = Portfolio(UUID(int=1), UUID(int=2), "one", "USDT", PortfolioState.ACTIVE, 1, (account,))
    universe = Universe([PERP])
    book, market, fills = Book(universe), MarketView(universe), []
    book.put(one)
    for begin in range(0, len(frames), size):
        block = market.advance(frames[begin : begin + size])
        for verdict in decide(book, {}, block, affected(book, block)).values():
            fills += verdict.fills
    return fills, book.portfolio(one.id).accounts[0]


def test_what_was_paid_is_what_rates_and_marks_add_up_to(frames):
    fills, account = accrued(frames, 256)
    expected, mark = [], None
    for (change,) in (frame.changes for frame in frames):
        if change.kind is TickKind.PRICE:
            mark = Decimal(repr(change.value))
        elif mark is not None:
            expected.append((change.time_ns, Decimal("-1.5") * mark * Decimal(repr(change.value))))
    assert [(fill.time_ns, fill.fee) for fill in fills] == expected
    assert len(expected) == 61 * 3 - 1  # the first boundary has no price yet
    assert account.balance("USDT") == 90_000 - sum(paid for _, paid in expected)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_any_blocks_give_the_same_fills(frames, size):
    assert accrued(frames, size) == accrued(frames, 256)
