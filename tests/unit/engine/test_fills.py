"""Laws of fills: what is bought is owned, what is paid is gone, and nothing else moves."""

from datetime import UTC, datetime
from decimal import Context, Decimal, localcontext
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from app.domain.adjustments import TradeLeg, TransferLeg
from app.domain.errors import InvalidInput, PriceUnknown
from app.domain.identifiers import AccountId, Asset, PortfolioId, TenantId, derived_id
from app.domain.instruments import Instrument, InstrumentKind, OptionType, Settlement
from app.domain.market import StreamPosition
from app.domain.portfolios import (
    Account,
    Balance,
    MarginMode,
    Portfolio,
    PortfolioState,
    Position,
    Reserve,
)
from app.engine.fills import (
    Unfillable,
    apply_legs_as_if_done,
    apply_trade,
    apply_transfer,
    fitted,
    notional,
    paper_fill,
)
from app.engine.liquidation import LIQUIDATION_FEE_RATE, liquidate

EXACT = Context(prec=200)
ACCOUNT = AccountId(UUID(int=1))
USDT, BTC = Asset("USDT"), Asset("BTC")
ZERO = Decimal(0)

PERP = Instrument(
    id="BTC-USDT-PERP",
    kind=InstrumentKind.PERPETUAL,
    underlying="BTC",
    quote="USDT",
    tick_size=Decimal("0.1"),
)
INVERSE = Instrument(
    id="BTC-USD-PERP",
    kind=InstrumentKind.PERPETUAL,
    settlement=Settlement.INVERSE,
    underlying="BTC",
    quote="USD",
    multiplier=Decimal(100),
    lot_size=Decimal(1),
    tick_size=Decimal("0.5"),
)
SPOT = Instrument(id="BTC-USDT", kind=InstrumentKind.SPOT, underlying="BTC", quote="USDT")
_EXPIRY = datetime(2026, 12, 25, 8, tzinfo=UTC)
OPTION = Instrument(
    id="BTC-25DEC26-60000-C",
    kind=InstrumentKind.OPTION,
    underlying="BTC",
    quote="USDT",
    strike=Decimal(60_000),
    expiry=_EXPIRY,
    option_type=OptionType.CALL,
    marked_by="BTC-USDT-PERP",
)
COIN_OPTION = Instrument(
    id="BTC-25DEC26-60000-C.COIN",
    kind=InstrumentKind.OPTION,
    settlement=Settlement.INVERSE,
    underlying="BTC",
    quote="USD",
    strike=Decimal(60_000),
    expiry=_EXPIRY,
    option_type=OptionType.CALL,
    marked_by="BTC-USDT-PERP",
    tick_size=Decimal("0.0005"),
)
INSTRUMENTS = {i.instrument_id: i for i in (PERP, INVERSE, SPOT, OPTION, COIN_OPTION)}

contracts = st.decimals("-500", "500", places=3).filter(bool)
prices = st.decimals("1000", "100000", places=2)
fees = st.decimals("0", "50", places=4)
instruments = st.sampled_from(list(INSTRUMENTS.values()))


def portfolio_with(*positions: Position, balances: tuple[Balance, ...] | None = None) -> Portfolio:
    held = balances if balances is not None else (Balance(USDT, Decimal(10**6)), Balance(BTC, Decimal(10)))
    account = Account(ACCOUNT, "main", "paper", MarginMode.CROSS, positions, held)
    return Portfolio(
        id=PortfolioId(UUID(int=2)),
        tenant_id=TenantId(UUID(int=3)),
        name="p",
        valuation_currency=USDT,
        state=PortfolioState.ACTIVE,
        revision=1,
        accounts=(account,),
        reserves=(Reserve(USDT, Decimal(1000), keep=Decimal(100)),),
    )


def balance(portfolio: Portfolio, asset: Asset) -> Decimal:
    return next((b.amount for b in portfolio.account(ACCOUNT).balances if b.asset == asset), ZERO)


def trade(portfolio: Portfolio, instrument: Instrument, quantity, price, fee=ZERO) -> Portfolio:
    return apply_trade(
        portfolio,
        instrument=instrument,
        account_id=ACCOUNT,
        quantity=Decimal(quantity),
        price=Decimal(price),
        fee=Decimal(fee),
    )


def worth(portfolio: Portfolio, instrument: Instrument, price: Decimal) -> Decimal:
    """Equity in the settlement asset when `instrument` stands at `price`: by definition."""
    with localcontext(EXACT):
        held = portfolio.account(ACCOUNT).position(instrument.instrument_id)
        size = held.quantity * instrument.multiplier
        cash = balance(portfolio, instrument.settlement_asset)
        if instrument.kind is InstrumentKind.SPOT:
            return cash + balance(portfolio, BTC) * price
        if instrument.kind is InstrumentKind.OPTION:
            return cash + size * price
        if not held.quantity:
            return cash
        if instrument.settlement is Settlement.INVERSE:
            return cash + size * (1 / held.entry_price - 1 / price)
        return cash + size * (price - held.entry_price)


def close_to(left: Decimal, right: Decimal, *, scale: Decimal = Decimal(10**6)) -> bool:
    """Within what eighteen decimals of an entry price can lose on a book of that size."""
    with localcontext(EXACT):
        return abs(left - right) <= Decimal("1e-18") * max(scale, 1)


@given(instruments, st.lists(st.tuples(contracts, prices, fees), min_size=1, max_size=6))
def test_a_trade_at_the_mark_costs_its_fee_and_nothing_else(instrument, trades):
    portfolio = portfolio_with()
    for quantity, price, fee in trades:
        after = trade(portfolio, instrument, quantity, price, fee)
        lost = worth(portfolio, instrument, price) - worth(after, instrument, price)
        assert close_to(lost, fee)
        portfolio = after


@given(instruments, contracts, prices)
def test_the_paper_venue_costs_fee_and_slippage(instrument, quantity, price):
    leg = TradeLeg(ACCOUNT, instrument.instrument_id, quantity, price, reduces=False)
    filled_at, fee = paper_fill(leg, instrument)
    assert (filled_at - price) * quantity > 0
    before = portfolio_with()
    after = trade(before, instrument, quantity, filled_at, fee)
    with localcontext(EXACT):
        size = quantity * instrument.multiplier
        inverse = instrument is INVERSE
        slippage = size * (1 / price - 1 / filled_at) if inverse else size * (filled_at - price)
        lost = worth(before, instrument, price) - worth(after, instrument, price)
    assert close_to(lost, fee + slippage)


@given(st.sampled_from([PERP, INVERSE, OPTION, COIN_OPTION]), contracts, prices, contracts, prices)
def test_going_through_zero_is_closing_and_opening(instrument, first, opened_at, beyond, price):
    held = trade(portfolio_with(), instrument, first, opened_at)
    rest = abs(beyond).copy_sign(-first)
    at_once = trade(held, instrument, -first + rest, price)
    in_two = trade(trade(held, instrument, -first, price), instrument, rest, price)
    assert at_once.account(ACCOUNT).positions == in_two.account(ACCOUNT).positions
    asset = instrument.settlement_asset
    assert close_to(balance(at_once, asset), balance(in_two, asset))
    if instrument.kind is not InstrumentKind.OPTION:
        assert at_once.account(ACCOUNT).position(instrument.instrument_id).entry_price == price


@given(
    st.sampled_from([PERP, INVERSE, OPTION, COIN_OPTION]),
    st.lists(st.tuples(contracts.map(abs), prices), min_size=2, max_size=5),
    st.randoms(use_true_random=False),
)
def test_the_order_of_partial_fills_does_not_matter(instrument, fills, random):
    shuffled = random.sample(fills, len(fills))
    one, other = portfolio_with(), portfolio_with()
    for quantity, price in fills:
        one = trade(one, instrument, quantity, price)
    for quantity, price in shuffled:
        other = trade(other, instrument, quantity, price)
    left = one.account(ACCOUNT).position(instrument.instrument_id)
    right = other.account(ACCOUNT).position(instrument.instrument_id)
    assert left.quantity == right.quantity
    assert close_to(left.entry_price, right.entry_price, scale=Decimal(10**5))


@given(contracts, prices, prices, st.decimals("0.001", "1", places=3))
def test_inverse_profit_is_its_definition_in_coin(quantity, entry, price, fraction):
    held = trade(portfolio_with(), INVERSE, quantity, entry)
    reduced = trade(held, INVERSE, -quantity * fraction, price)
    with localcontext(EXACT):
        gained = balance(reduced, BTC) - balance(held, BTC)
        assert close_to(gained, quantity * fraction * 100 * (1 / entry - 1 / price))
    if fraction < 1:
        assert reduced.account(ACCOUNT).position(INVERSE.instrument_id).entry_price == entry


def test_an_inverse_entry_is_the_harmonic_mean():
    # 100 contracts at 40,000 and 100 at 60,000: 2 / (1/40,000 + 1/60,000) = 48,000
    held = trade(trade(portfolio_with(), INVERSE, 100, 40_000), INVERSE, 100, 60_000)
    assert held.account(ACCOUNT).position(INVERSE.instrument_id) == Position(
        INVERSE.instrument_id, Decimal(200), Decimal(48_000)
    )


def test_spot_moves_two_balances_and_opens_no_position():
    after = trade(portfolio_with(), SPOT, "0.5", 50_000, 10)
    assert balance(after, BTC) == Decimal("10.5")
    assert balance(after, USDT) == 10**6 - 25_000 - 10
    assert after.account(ACCOUNT).positions == ()


def test_a_coin_settled_option_pays_its_premium_in_coin():
    after = trade(portfolio_with(), COIN_OPTION, 10, "0.05", "0.003")
    assert balance(after, BTC) == Decimal("9.497")
    assert balance(after, USDT) == 10**6


@given(instruments, st.lists(st.tuples(contracts, prices, fees), max_size=5), prices)
def test_every_figure_is_what_numeric_38_18_stores(instrument, trades, price):
    portfolio = portfolio_with(balances=())
    for quantity, at, fee in trades:
        portfolio = trade(portfolio, instrument, quantity, at, fee)
    marks = {instrument.instrument_id: price}
    after, fills = liquidate(portfolio, ACCOUNT, marks, INSTRUMENTS, position=StreamPosition(1, 5), time_ns=9)
    figures = [b.amount for p in (portfolio, after) for b in p.account(ACCOUNT).balances]
    figures += [x for p in portfolio.account(ACCOUNT).positions for x in (p.quantity, p.entry_price)]
    figures += [x for fill in fills for x in (fill.quantity, fill.price, fill.fee)]
    with localcontext(EXACT):
        for figure in figures:
            assert figure == figure.quantize(Decimal("1e-18"))
            assert abs(figure) < 10**20
            assert not (figure == 0 and figure.is_signed())


def test_a_figure_that_cannot_be_stored_is_refused():
    with pytest.raises(InvalidInput, match="beyond what can be stored"):
        trade(portfolio_with(), SPOT, Decimal("9e19"), 60_000)


@pytest.mark.parametrize(("instrument", "price"), [(PERP, 0), (INVERSE, 0), (SPOT, -1), (OPTION, "NaN")])
def test_a_price_that_cannot_be_is_refused(instrument, price):
    with pytest.raises(InvalidInput, match="cannot be filled"):
        trade(portfolio_with(), instrument, 1, price)


def test_slippage_is_against_the_trader_and_ends_on_the_worse_tick():
    # 50,000 moved by 2 bps is 50,010 and 49,990; 50,001.37 gives 50,011.370274 and 49,991.369726.
    assert fill_price("1", "50000") == Decimal("50010.0")
    assert fill_price("-1", "50000") == Decimal("49990.0")
    assert fill_price("1", "50001.37") == Decimal("50011.4")
    assert fill_price("-1", "50001.37") == Decimal("49991.3")


def test_a_price_below_one_tick_is_not_sold_at_zero():
    assert fill_price("-1", "0.05") == Decimal("0.04999")
    worthless = TradeLeg(ACCOUNT, COIN_OPTION.instrument_id, Decimal(-1), Decimal("0.0001"), reduces=True)
    assert paper_fill(worthless, COIN_OPTION) == (0, 0)


def fill_price(quantity: str, reference: str) -> Decimal:
    leg = TradeLeg(ACCOUNT, PERP.instrument_id, Decimal(quantity), Decimal(reference), reduces=False)
    return paper_fill(leg, PERP)[0]


def test_fees_are_on_the_notional_in_the_settlement_asset():
    assert notional(PERP, quantity=Decimal(-2), price=Decimal(50_000)) == 100_000
    assert notional(INVERSE, quantity=Decimal(-20), price=Decimal(50_000)) == Decimal("0.04")
    assert notional(COIN_OPTION, quantity=Decimal(10), price=Decimal("0.05")) == Decimal("0.5")
    leg = TradeLeg(ACCOUNT, INVERSE.instrument_id, Decimal(20), Decimal(50_000), reduces=False)
    # 2,000 / 50,010 x 0.0005 = 0.00001999600079984003… coin, rounded up
    assert paper_fill(leg, INVERSE) == (50_010, Decimal("0.000019996000799841"))


def test_a_transfer_comes_from_the_reserve():
    after = apply_transfer(portfolio_with(), account_id=ACCOUNT, asset=USDT, amount=Decimal(250))
    assert balance(after, USDT) == 10**6 + 250
    assert after.reserves == (Reserve(USDT, Decimal(750), keep=Decimal(100)),)


def test_a_reducing_leg_never_turns_a_position_round():
    held = portfolio_with(Position(PERP.instrument_id, Decimal(3), Decimal(50_000)))
    leg = TradeLeg(ACCOUNT, PERP.instrument_id, Decimal(-5), Decimal(50_000), reduces=True)
    assert fitted(held, leg, INSTRUMENTS) == replace(leg, quantity=Decimal(-3))
    assert fitted(held, replace(leg, reduces=False), INSTRUMENTS) == replace(leg, reduces=False)
    same_way = replace(leg, quantity=Decimal(1))
    assert isinstance(fitted(held, same_way, INSTRUMENTS), Unfillable)


@pytest.mark.parametrize("amount", ["900.01", "0", "-5"])
def test_a_transfer_leaves_what_must_be_kept(amount):
    leg = TransferLeg(ACCOUNT, USDT, Decimal(amount))
    assert isinstance(fitted(portfolio_with(), leg, INSTRUMENTS), Unfillable)


def test_legs_as_if_done_are_the_fills_and_skip_what_no_longer_fits():
    gone = TransferLeg(AccountId(UUID(int=99)), USDT, Decimal(1))
    top_up = TransferLeg(ACCOUNT, USDT, Decimal(100))
    sell = TradeLeg(ACCOUNT, PERP.instrument_id, Decimal(-2), Decimal(50_000), reduces=False)
    before = portfolio_with()
    price, fee = paper_fill(sell, PERP)
    by_hand = apply_transfer(before, account_id=ACCOUNT, asset=USDT, amount=Decimal(100))
    by_hand = trade(by_hand, PERP, -2, price, fee)
    assert apply_legs_as_if_done(before, [gone, top_up, sell], INSTRUMENTS) == by_hand


@settings(max_examples=50)
@given(st.lists(st.tuples(st.sampled_from([PERP, INVERSE, OPTION]), contracts, prices), max_size=4), prices)
def test_liquidation_closes_everything_and_owes_nothing(trades, mark):
    portfolio = portfolio_with()
    for instrument, quantity, price in trades:
        portfolio = trade(portfolio, instrument, quantity, price)
    held = portfolio.account(ACCOUNT).positions
    marks = dict.fromkeys(INSTRUMENTS, mark)
    where = StreamPosition(2, 7)
    after, fills = liquidate(portfolio, ACCOUNT, marks, INSTRUMENTS, position=where, time_ns=11)
    assert after.account(ACCOUNT).positions == ()
    assert all(b.amount >= 0 for b in after.account(ACCOUNT).balances)
    closing = fills[: len(held)]
    assert [(f.instrument, f.quantity) for f in closing] == [(p.instrument, -p.quantity) for p in held]
    assert [f.leg for f in fills] == list(range(len(fills)))
    assert {(f.kind, f.time_ns, f.adjustment_id) for f in fills} <= {("liquidation", 11, None)}
    assert [f.id for f in fills] == [derived_id("liquidation", ACCOUNT, "2-7", f.instrument) for f in fills]
    again = liquidate(portfolio, ACCOUNT, marks, INSTRUMENTS, position=where, time_ns=11)
    assert again == (after, fills)


def test_liquidation_charges_its_fee_and_the_insurance_fund_takes_the_rest():
    position = Position(PERP.instrument_id, Decimal(1), Decimal(50_000))
    rich = portfolio_with(position, balances=(Balance(USDT, Decimal(10_000)),))
    marks = {PERP.instrument_id: Decimal(45_000)}
    after, (fill,) = liquidate(rich, ACCOUNT, marks, INSTRUMENTS, position=StreamPosition(1, 1), time_ns=0)
    assert fill.fee == 45_000 * (PERP.taker_fee_rate + LIQUIDATION_FEE_RATE)
    assert balance(after, USDT) == 10_000 - 5_000 - fill.fee
    poor = portfolio_with(position, balances=(Balance(USDT, Decimal(1_000)),))
    after, _ = liquidate(poor, ACCOUNT, marks, INSTRUMENTS, position=StreamPosition(1, 1), time_ns=0)
    assert balance(after, USDT) == 0


def test_a_shortfall_is_covered_by_selling_other_collateral_first():
    position = Position(PERP.instrument_id, Decimal(1), Decimal(50_000))
    portfolio = portfolio_with(position, balances=(Balance(USDT, ZERO), Balance(BTC, Decimal(1))))
    marks = {PERP.instrument_id: Decimal(30_000), SPOT.instrument_id: Decimal(30_000)}
    after, fills = liquidate(portfolio, ACCOUNT, marks, INSTRUMENTS, position=StreamPosition(1, 1), time_ns=0)
    assert [f.instrument for f in fills] == [PERP.instrument_id, SPOT.instrument_id]
    # 20,000 lost and 165 of fees: 20,165 / (30,000 x 0.9945) = 0.67588…, sold as 0.676
    assert balance(after, BTC) == Decimal("0.324")
    assert 0 <= balance(after, USDT) < 30


def test_liquidation_without_a_mark_says_which():
    portfolio = portfolio_with(Position(PERP.instrument_id, Decimal(1), Decimal(50_000)))
    with pytest.raises(PriceUnknown, match="BTC-USDT-PERP"):
        liquidate(portfolio, ACCOUNT, {}, INSTRUMENTS, position=StreamPosition(1, 1), time_ns=0)
