"""Accounts under portfolio margin: what `app.quant.portfolio_margin` says of the same book, for anybody."""

from decimal import Decimal
from uuid import UUID

import numpy as np
import pytest
from msgspec.structs import replace

from app.domain.events import EventType
from app.domain.instruments import Instrument
from app.domain.market import Change, Frame, Quality, TickKind
from app.domain.portfolios import Account, Balance, MarginMode, Portfolio, PortfolioState, Position
from app.domain.times import NS_PER_SECOND, NS_PER_YEAR, to_ns
from app.engine.book import Book
from app.engine.decide import affected, decide
from app.engine.market_view import MarketView
from app.engine.metrics import observe
from app.engine.portfolio_accounts import account_requirements
from app.engine.tables import PairColumns
from app.engine.universe import Universe
from app.quant.portfolio_margin import portfolio_margins
from app.quant.solvency.books import PositionKind, books_of

START_NS = 1_767_225_600_000_000_000
PERP = Instrument(id="BTC-USDT-PERP", kind="perpetual", underlying="BTC", quote="USDT")
INVERSE = Instrument(
    id="BTC-USD-PERP", kind="perpetual", settlement="inverse", underlying="BTC", quote="USD", multiplier=100
)
ETH_PERP = Instrument(id="ETH-USDT-PERP", kind="perpetual", underlying="ETH", quote="USDT", multiplier="0.1")
SPOT = Instrument(id="BTC-USDT", kind="spot", underlying="BTC", quote="USDT")


def dated(name, kind, **terms):
    listed = {"id": name, "kind": kind, "underlying": "BTC", "expiry": "2026-03-27T08:00:00Z"}
    return Instrument.model_validate(listed | terms)


FUTURE = dated("BTC-FUT", "future", quote="USDT")
CALL = dated("C", "option", quote="USDT", strike=55_000, option_type="call", marked_by=PERP.id)
PUT = dated("P", "option", quote="USDT", strike=45_000, option_type="put", marked_by=FUTURE.id)
COIN_PUT = dated(
    "CP", "option", quote="USD", strike=45_000, option_type="put", marked_by=INVERSE.id, settlement="inverse"
)
UNIVERSE = Universe([PERP, INVERSE, ETH_PERP, SPOT, FUTURE, CALL, PUT, COIN_PUT])
PRICES = {PERP: 50_100.0, INVERSE: 49_900.0, ETH_PERP: 2_500.0, SPOT: 50_000.0, FUTURE: 50_800.0}
VOLATILITIES = {CALL: 0.5, PUT: 0.6, COIN_PUT: 0.55}
EXPIRES_YEARS = (to_ns(CALL.expiry) - START_NS) / NS_PER_YEAR
K = PositionKind
# index 0 is bitcoin at its spot price, 1 is ether; a dollar is worth what makes the coin contract's coin so
DOLLAR = 50_000.0 / 49_900.0
MIXED = {PERP: "3", FUTURE: "-2", CALL: "-5", PUT: "4", INVERSE: "-700", COIN_PUT: "-2", ETH_PERP: "300"}
ENTRIES = {PERP: "48000", FUTURE: "48000", INVERSE: "48000", ETH_PERP: "2400"}
SPEC = {
    PERP: (K.LINEAR, 0, 1.0, 50_100 / 50_000, 0.0, 0.0, 0.0),
    FUTURE: (K.LINEAR, 0, 1.0, 50_800 / 50_000, 0.0, EXPIRES_YEARS, 0.0),
    CALL: (K.LINEAR_CALL, 0, 1.0, 50_100 / 50_000, 55_000.0, EXPIRES_YEARS, 0.5),
    PUT: (K.LINEAR_PUT, 0, 1.0, 50_800 / 50_000, 45_000.0, EXPIRES_YEARS, 0.6),
    INVERSE: (K.INVERSE, 0, 100.0 * DOLLAR, 1.0, 0.0, 0.0, 0.0),
    COIN_PUT: (K.COIN_PUT, 0, 1.0, 1.0, 45_000.0 * DOLLAR, EXPIRES_YEARS, 0.55),
    ETH_PERP: (K.LINEAR, 1, 0.1, 1.0, 0.0, 0.0, 0.0),
}


def account(held, *, name="main", mode=MarginMode.PORTFOLIO, cash="500000", number=3):
    positions = tuple(
        Position(i.instrument_id, Decimal(q), Decimal(ENTRIES.get(i, "0.1"))) for i, q in held.items()
    )
    return Account(UUID(int=number), name, "paper", mode, positions, (Balance("USDT", Decimal(cash)),))


def portfolio(*accounts, name=1):
    return Portfolio(UUID(int=name), UUID(int=2), f"{name}", "USDT", PortfolioState.ACTIVE, 1, accounts)


def frame(sequence, prices, volatilities=None):
    time_ns = START_NS + (sequence - 1) * NS_PER_SECOND
    known = [(TickKind.PRICE, i, v) for i, v in prices.items()]
    known += [(TickKind.IMPLIED_VOL, i, v) for i, v in (volatilities or {}).items()]
    changes = tuple(Change(kind, i.id, v, 0.0, 1, Quality.VALID, time_ns) for kind, i, v in known)
    return Frame(1, sequence, time_ns, "", 0, changes)


def observed(portfolios, frames=None, *, pairs=None):
    """Figures of every portfolio on the last frame, and of what they are made."""
    book, market = Book(UNIVERSE), MarketView(UNIVERSE)
    for one in portfolios:
        book.put(one)
    block = market.advance(frames or [frame(1, PRICES, VOLATILITIES)])
    numbers = np.array([int(book.slots.arrays.deciding[book.slot(one.id)]) for one in portfolios])
    pairs = pairs or PairColumns(numbers, np.full(numbers.size, len(block.frames) - 1))
    return observe(book, block, pairs), account_requirements(book, block, pairs)


def expected(*held):
    """By the function of the numeric package, from columns written by hand."""
    rows = [(float(q), *SPEC[i]) for one in held for i, q in one.items()]
    quantities, kinds, underlyings, multipliers, ratios, strikes, years, volatilities = zip(
        *rows, strict=True
    )
    books = books_of(
        position_counts=[len(one) for one in held], cash=[0.0] * len(held), kinds=kinds,
        underlyings=underlyings, quantities=quantities, multipliers=multipliers,
        entry_prices=np.where(np.array(underlyings) == 0, 48_000.0, 2_400.0), price_ratios=ratios,
        strikes=strikes, years_to_expiry=years, volatilities=volatilities,
    )  # fmt: skip
    return portfolio_margins(books=books, underlying_prices=[50_000.0, 2_500.0])


@pytest.mark.parametrize("held", [{i: q} for i, q in MIXED.items()] + [MIXED], ids=[*"pfcpiqe", "all"])
def test_margins_are_those_of_the_numeric_package_on_the_same_book(held):
    figures, required = observed([portfolio(account(held))])
    margins = expected(held)
    assert margins.initial_margin[0] > 0.0
    np.testing.assert_allclose(required.initial, margins.initial_margin, rtol=1e-12)
    np.testing.assert_allclose(required.maintenance, margins.maintenance_margin, rtol=1e-12)
    assert figures.accounts.initial_margin.tolist() == required.initial.tolist()
    assert figures.accounts.maintenance_margin.tolist() == required.maintenance.tolist()
    assert figures.accounts.margin_ratio[0] == required.maintenance[0] / figures.accounts.equity[0]


def test_equity_and_exposure_do_not_depend_on_the_margin_mode():
    whole, _ = observed([portfolio(account(MIXED))])
    single, required = observed([portfolio(account(MIXED, mode=MarginMode.CROSS))])
    assert whole.accounts.equity.tolist() == single.accounts.equity.tolist()
    assert whole.exposures.delta.tolist() == single.exposures.delta.tolist()
    assert required.initial.size == 0
    assert single.accounts.initial_margin[0] != whole.accounts.initial_margin[0]


def test_neighbours_change_no_bit():
    """Other portfolios, other accounts of the same one, and accounts without anything."""
    plain = account({PERP: "1"}, name="plain", mode=MarginMode.CROSS, number=4)
    books = [
        portfolio(plain, account({PERP: "3", CALL: "-5"}), name=1),
        portfolio(account({}), name=2),
        portfolio(plain, name=3),
        portfolio(account(MIXED), plain, account({INVERSE: "-100"}, name="b", number=5), name=4),
    ]
    together, _ = observed(books)
    at = 0
    for one in books:
        alone, _ = observed([one])
        for field in ("initial_margin", "maintenance_margin", "margin_ratio", "equity"):
            mine = getattr(alone.accounts, field)
            np.testing.assert_array_equal(mine, getattr(together.accounts, field)[at : at + mine.size])
        at += mine.size
    assert at == together.accounts.equity.size


def test_each_frame_of_a_block_has_its_own_prices():
    moved = {PERP: 46_000.0, SPOT: 46_000.0}
    frames = [frame(1, PRICES, VOLATILITIES), frame(2, moved), frame(3, PRICES)]
    one = portfolio(account(MIXED))
    book, market = Book(UNIVERSE), MarketView(UNIVERSE)
    book.put(one)
    block = market.advance(frames)
    three = account_requirements(book, block, PairColumns(np.zeros(3, dtype=np.int64), np.arange(3)))
    for k in range(3):
        _, alone = observed([one], frames[: k + 1])
        assert three.initial[k] == alone.initial[0]
    assert three.initial[0] != three.initial[1]


def test_imagined_holdings_are_margined_as_those_that_stand():
    one = portfolio(account({PERP: "1"}))
    book, market = Book(UNIVERSE), MarketView(UNIVERSE)
    book.put(one)
    block = market.advance([frame(1, PRICES, VOLATILITIES)])
    with book.imagined(portfolio(account(MIXED)), ()) as number:
        pairs = PairColumns(np.array([number]), np.zeros(1, dtype=np.int64))
        required = account_requirements(book, block, pairs)
    assert required.initial[0] == observed([portfolio(account(MIXED))])[1].initial[0]


@pytest.mark.parametrize("missing", [PERP, SPOT, INVERSE])
def test_what_is_not_known_makes_the_requirement_unknown(missing):
    """But not that of an account that does not need it."""
    prices = {i: v for i, v in PRICES.items() if i is not missing}
    if missing is SPOT:
        prices.pop(PERP)  # else the perpetual prices the coin
    books = [portfolio(account(MIXED)), portfolio(account({ETH_PERP: "300"}), name=2)]
    _, required = observed(books, [frame(1, prices, VOLATILITIES)])
    assert np.isnan(required.initial).tolist() == [True, False]
    _, required = observed(books, [frame(1, PRICES, {CALL: 0.5})])
    assert np.isnan(required.maintenance).tolist() == [True, False]


def test_a_hedged_account_is_liquidated_by_what_the_whole_requires():
    """Long and short together need little; alone, the long would have been closed long before."""
    hedged = account({PERP: "10", FUTURE: "-10"}, cash="12000")
    naked = replace(account({PERP: "10"}, cash="12000"), id=UUID(int=9))
    book, market = Book(UNIVERSE), MarketView(UNIVERSE)
    for one in (portfolio(hedged), portfolio(naked, name=2)):
        book.put(one)
    calm = {PERP: 48_000.0, FUTURE: 48_000.0, SPOT: 48_000.0}
    block = market.advance([frame(1, calm)])
    verdicts = decide(book, {}, block, affected(book, block))
    assert list(verdicts) == [UUID(int=2)]
    (event,) = verdicts[UUID(int=2)].events
    assert event.type is EventType.ACCOUNT_LIQUIDATED
