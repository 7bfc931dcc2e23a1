"""The move that liquidates: at the prices that it leads to, the figures of the hot path are at the margin."""

from decimal import Decimal
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from app.domain.instruments import Instrument, InstrumentKind, OptionType, Settlement
from app.domain.market import Change, Quality, StreamPosition, TickKind
from app.domain.portfolios import Account, Balance, MarginMode, Portfolio, PortfolioState, Position
from app.engine.book import Book
from app.engine.distances import distances
from app.engine.market_view import MarketView
from app.engine.metrics import observe
from app.engine.tables import PairColumns
from app.engine.universe import Universe

TIME_NS = 1_767_225_600_000_000_000
NOBODY = UUID(int=0)
START = {"BTC": 50_000.0, "ETH": 2_500.0}
IN_USD = 0.998
BASIS = {"": 1.0, "-PERP": 1.0003, "-FUTURE": 1.02, "-USD-PERP": IN_USD}


def instruments_of(asset: str) -> list[Instrument]:
    linear = {"underlying": asset, "quote": "USDT", "maintenance_margin_rate": "0.01"}
    inverse = {**linear, "quote": "USD", "settlement": Settlement.INVERSE}
    future = {"kind": InstrumentKind.FUTURE, "expiry": "2026-06-26T08:00:00Z"}
    option = {**future, "kind": InstrumentKind.OPTION}
    call = {**option, "option_type": OptionType.CALL, "strike": Decimal(START[asset] * 1.1)}
    put = {**option, "option_type": OptionType.PUT, "strike": Decimal(START[asset] * 0.9)}
    return [
        Instrument(id=asset, kind=InstrumentKind.SPOT, **linear),
        Instrument(id=f"{asset}-PERP", kind=InstrumentKind.PERPETUAL, **linear),
        Instrument(id=f"{asset}-FUTURE", **future, **linear),
        Instrument(id=f"{asset}-USD-PERP", kind=InstrumentKind.PERPETUAL, multiplier=100, **inverse),
        Instrument(id=f"{asset}-CALL", marked_by=f"{asset}-FUTURE", **{**linear, **call}),
        Instrument(id=f"{asset}-PUT", marked_by=asset, **{**linear, **put}),
        Instrument(id=f"{asset}-FUTURE-PUT", marked_by=f"{asset}-FUTURE", **{**linear, **put}),
        Instrument(id=f"{asset}-USD-CALL", marked_by=f"{asset}-FUTURE", **{**inverse, **call}),
        Instrument(id=f"{asset}-USD-PUT", marked_by=f"{asset}-FUTURE", **{**inverse, **put}),
    ]


STABLE = Instrument(id="USDT-USD", kind=InstrumentKind.SPOT, underlying="USDT", quote="USD")
CROSS = Instrument(id="ETH-BTC", kind=InstrumentKind.SPOT, underlying="ETH", quote="BTC")
POOLS = [
    Instrument(
        id=f"{asset}-POOL",
        kind=InstrumentKind.LENDING,
        underlying=asset,
        quote="USD",
        loan_to_value="0.75",
        liquidation_threshold="0.8",
    )
    for asset in ("BTC", "ETH", "USDT")
]
UNIVERSE = Universe([STABLE, CROSS, *POOLS, *(each for asset in START for each in instruments_of(asset))])
OPTIONS = {name for name, i in UNIVERSE.instruments.items() if i.kind is InstrumentKind.OPTION}
FREE_WHEN_LONG = OPTIONS | {pool.id for pool in POOLS}
HELD = [
    i
    for i in UNIVERSE.instruments.values()
    if i.kind not in (InstrumentKind.SPOT, InstrumentKind.LENDING)
    if not i.id.endswith("-FUTURE-PUT")
]


def block_of(factors: dict[str, float], *, without: str = ""):
    """The market where each asset's price is so many times what it was."""
    spot = {asset: price * factors.get(asset, 1.0) for asset, price in START.items()}
    prices = {
        f"{asset}{name}": price * basis for asset, price in spot.items() for name, basis in BASIS.items()
    }
    prices |= {"USDT-USD": IN_USD, "ETH-BTC": spot["ETH"] / spot["BTC"]}
    known = [(TickKind.PRICE, name, price) for name, price in prices.items() if name != without]
    known += [(TickKind.IMPLIED_VOL, name, 0.6) for name in OPTIONS]
    changes = [Change(kind, name, value, 0.0, 1, Quality.VALID, TIME_NS) for kind, name, value in known]
    market = MarketView(UNIVERSE)
    market.load(changes, position=StreamPosition(1, 1), time_ns=TIME_NS)
    return market.block()


def amounts(largest: float):
    return st.floats(-largest, largest).map(lambda amount: Decimal(f"{amount:.3f}"))


@st.composite
def positions(draw) -> tuple[Position, ...]:
    found = draw(st.lists(st.sampled_from(HELD), max_size=5, unique_by=lambda i: i.id))
    held = []
    for instrument in found:
        price = START[instrument.underlying]
        contracts = 1_000.0 if instrument.multiplier == 100 else 100_000.0 / price
        entry = Decimal(f"{draw(st.floats(0.8, 1.2)) * price:.1f}")
        held.append(Position(instrument.instrument_id, draw(amounts(contracts)), entry))
    return tuple(position for position in held if position.quantity)


@st.composite
def accounts(draw) -> Account:
    balances = (
        Balance("USDT", draw(amounts(100_000.0))),
        Balance("BTC", draw(amounts(2.0)), Decimal("0.05")),
        Balance("ETH", draw(amounts(20.0)), Decimal("0.1")),
    )
    return Account(NOBODY, "main", "paper", MarginMode.CROSS, draw(positions()), balances)


@st.composite
def loans(draw) -> Account:
    """What is supplied and borrowed of each asset, and a wallet, which backs nothing."""
    most = {"BTC-POOL": 2.0, "ETH-POOL": 40.0, "USDT-POOL": 100_000.0}
    held = (Position(name, draw(amounts(amount)), Decimal(0)) for name, amount in most.items())
    wallet = (Balance("USDT", Decimal(1_000)), Balance("BTC", Decimal("0.1")))
    return Account(NOBODY, "loan", "paper", MarginMode.LENDING, tuple(p for p in held if p.quantity), wallet)


def portfolio_of(*held: Account, currency: str = "USDT", number: int = 0) -> Portfolio:
    return Portfolio(UUID(int=number), NOBODY, "book", currency, PortfolioState.ACTIVE, 1, held)


def pairs_of(*portfolios: Portfolio) -> tuple[Book, PairColumns]:
    book = Book(UNIVERSE)
    for portfolio in portfolios:
        book.put(portfolio)
    count = len(portfolios)
    return book, PairColumns(np.arange(count), np.zeros(count, dtype=np.int64))


def distance_of(*held: Account, currency: str = "USDT", without: str = "") -> list[float]:
    book, pairs = pairs_of(portfolio_of(*held, currency=currency))
    return distances(book, block_of({}, without=without), pairs, np.array([0])).tolist()


def excess(account: Account, currency: str, factors: dict[str, float]) -> tuple[float, float]:
    """Backing less maintenance margin as the hot path has it, and the gross that it is small against."""
    book, pairs = pairs_of(portfolio_of(account, currency=currency))
    figures = observe(book, block_of(factors), pairs).accounts
    backing, maintenance = float(figures.backing[0]), float(figures.maintenance_margin[0])
    return backing - maintenance, abs(backing) + maintenance + float(figures.gross_notional[0])


MOVES = (("BTC", "ETH"), ("BTC",), ("ETH",))


def exceeds(account: Account, currency: str, moved: float) -> list[float]:
    """Of the gross: with all together and with each alone, down and up."""
    found = []
    for assets in MOVES:
        for factor in (1.0 - moved, 1.0 + moved):
            if factor > 0.0:
                over, gross = excess(account, currency, dict.fromkeys(assets, factor))
                found.append(over / gross if gross else 0.0)
    return found


@settings(deadline=None)  # the first one waits for the compiler
@given(account=accounts() | loans(), currency=st.sampled_from(["USDT", "USD", "BTC"]))
def test_at_the_distance_the_margin_is_reached_and_before_it_is_not(account, currency):
    (distance,) = distance_of(account, currency=currency)
    now, gross = excess(account, currency, {})
    needs = any(p.quantity < 0 or p.instrument not in FREE_WHEN_LONG for p in account.positions)
    if not needs:
        assert distance == np.inf
    elif distance == 0.0:
        assert now <= 1e-12 * gross
    else:
        assert now > 0.0
        if distance < np.inf:
            assert min(map(abs, exceeds(account, currency, distance))) < 1e-9
        for share in (0.25, 0.5, 0.75, 0.99):
            assert min(exceeds(account, currency, share * min(distance, 30.0))) > -1e-12


@settings(deadline=None)
@given(held=st.lists(accounts() | loans(), min_size=1, max_size=6), data=st.data())
def test_an_account_has_the_same_distance_in_any_company(held, data):
    """To the bit: alone, with other accounts of its portfolio, and among other portfolios."""
    alone = [distance_of(account)[0] for account in held]
    np.testing.assert_array_equal(distance_of(*held), alone)
    book, pairs = pairs_of(*(portfolio_of(account, number=n) for n, account in enumerate(held)))
    asked = data.draw(st.lists(st.integers(0, len(held) - 1), max_size=6, unique=True))
    found = distances(book, block_of({}), pairs, np.array(asked, dtype=np.int64))
    np.testing.assert_array_equal(found, [alone[number] for number in asked])


def holding(*held: Position, **balances: str) -> Account:
    owned = tuple(Balance(asset, Decimal(amount)) for asset, amount in balances.items())
    return Account(NOBODY, "main", "paper", MarginMode.CROSS, held, owned)


LONG = Position("BTC-PERP", Decimal(1), Decimal(50_000))


def test_a_long_perpetual():
    """(E - collateral) / (1 - rate) is where 10,000 of equity from an entry of 50,000 are all margin."""
    price = 50_000 * BASIS["-PERP"]
    expected = 1.0 - (50_000 - 10_000) / 0.99 / price
    assert distance_of(holding(LONG, USDT="10000")) == [pytest.approx(expected, rel=1e-14)]


def test_the_requirement_of_a_linear_put_that_is_worth_more_than_its_underlying():
    """Follows its mark there: in coin of the forward on the hot path, as it settles here, a basis apart."""
    account = holding(Position("BTC-FUTURE-PUT", Decimal(-1), Decimal(2_000)), USDT="32000")
    (distance,) = distance_of(account)
    over, _ = excess(account, "USDT", {"BTC": 1.0 - distance})
    worth = 45_000 - 50_000 * BASIS["-FUTURE"] * (1.0 - distance)
    assert 0.0 < abs(over) < 0.075 * worth * (1.0 - 1.0 / BASIS["-FUTURE"]) * 1.001


def test_a_loan():
    """10 ETH against 15,000 USDT at a threshold of 0.8: 2,500 down to 1,875. The wallet is no backing."""
    held = (
        Position("ETH-POOL", Decimal(10), Decimal(0)),
        Position("USDT-POOL", Decimal(-15_000), Decimal(0)),
    )
    loan = Account(NOBODY, "loan", "paper", MarginMode.LENDING, held, (Balance("USDT", Decimal(5_000)),))
    assert distance_of(loan) == [pytest.approx(0.25, rel=1e-14)]


def test_one_asset_alone_is_nearer_than_all_together_for_a_hedged_pair():
    hedge = Position("ETH-PERP", Decimal(-20), Decimal(2_500))
    (distance,) = distance_of(holding(LONG, hedge, USDT="10000"))
    together, _ = excess(holding(LONG, hedge, USDT="10000"), "USDT", {"BTC": 0.5, "ETH": 0.5})
    assert together > 0.0
    assert 0.15 < distance < 0.2


@pytest.mark.parametrize("account", [holding(), holding(USDT="100"), holding(BTC="1", USDT="-70000")])
def test_what_needs_no_margin_is_never_liquidated(account):
    assert distance_of(account) == [np.inf]


@settings(max_examples=15, deadline=None)
@given(account=accounts(), currency=st.sampled_from(["USDT", "USD"]))
def test_at_the_distance_a_portfolio_margin_account_needs_what_it_has(account, currency):
    account = replace(account, margin_mode=MarginMode.PORTFOLIO)
    (distance,) = distance_of(account, currency=currency)
    now, gross = excess(account, currency, {})
    if not account.positions:
        assert distance in (0.0, np.inf)
    elif distance == 0.0:
        assert now <= 1e-12 * gross
    else:
        assert now > 0.0
        if distance < np.inf:
            assert min(map(abs, exceeds(account, currency, distance))) < 1e-9


def test_portfolio_margin_accounts_among_others():
    plain = holding(LONG, USDT="10000")
    scenarios = replace(plain, margin_mode=MarginMode.PORTFOLIO)
    (alone,), (standard,) = distance_of(scenarios), distance_of(plain)
    assert 0.0 < alone < standard
    assert distance_of(plain, scenarios, plain) == [standard, alone, standard]
    hedged = holding(LONG, Position("ETH-PERP", Decimal(-20), Decimal(2_500)), USDT="20000")
    (together, single) = distance_of(replace(hedged, margin_mode=MarginMode.PORTFOLIO), scenarios)
    assert single == alone
    assert 0.0 < together < 0.5


def test_below_the_margin_there_is_no_way_to_go():
    assert distance_of(holding(LONG, USDT="400")) == [0.0]


@pytest.mark.parametrize("without", ["BTC-PERP", "BTC"])
def test_what_is_not_known_makes_the_distance_unknown(without):
    (distance, other) = distance_of(holding(LONG, BTC="0.1"), holding(USDT="1"), without=without)
    assert np.isnan(distance) == (without == "BTC-PERP")
    assert other == np.inf
