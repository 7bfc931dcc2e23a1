"""Lending accounts: figures as the numeric package has them, legs, and liquidation as the pools do it."""

from decimal import Decimal
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.adjustments import LendingAction, LendingLeg, TradeLeg
from app.domain.errors import InvalidInput
from app.domain.identifiers import AccountId, Asset, InstrumentId, PortfolioId, TenantId
from app.domain.instruments import Instrument
from app.domain.market import Change, Quality, StreamPosition, TickKind
from app.domain.portfolios import Account, Balance, MarginMode, Portfolio, PortfolioState, Position
from app.engine.fills import Unfillable, apply_legs_as_if_done, fitted
from app.engine.liquidation import liquidate
from app.engine.loans import apply_lending
from app.engine.risk import market_view, portfolio_risk
from app.quant.lending import liquidations, loan_figures, loans_of

ACCOUNT = AccountId(UUID(int=1))
PRICES = {"WBTC": 60_000.0, "WETH": 3_000.0, "LINK": 15.5}
TERMS = {  # threshold, loan-to-value, bonus
    "WBTC": ("0.78", "0.73", "0.05"),
    "WETH": ("0.83", "0.805", "0.05"),
    "LINK": ("0.71", "0.66", "0.07"),
    "USDC": ("0.78", "0.75", "0.045"),
    "GHO": ("0", "0", "0"),
}


def pool(asset: str, **terms: object) -> Instrument:
    threshold, loan_to_value, bonus = TERMS[asset]
    known = {
        "liquidation_threshold": threshold, "loan_to_value": loan_to_value, "liquidation_bonus": bonus,
    }  # fmt: skip
    return Instrument(id=f"AAVE-{asset}", kind="lending", underlying=asset, quote="USDC", **(known | terms))


POOLS = {asset: pool(asset) for asset in TERMS}
SPOT = {
    asset: Instrument(
        id=f"{asset}-USDC", kind="spot", underlying=asset, quote="USDC", lot_size="0.0001", tick_size="0.01"
    )
    for asset in PRICES
}
PERPETUAL = Instrument(id="WETH-USDC-PERP", kind="perpetual", underlying="WETH", quote="USDC")
GHO = Instrument(id="GHO-USDC", kind="spot", underlying="GHO", quote="USDC")
INSTRUMENTS = {i.instrument_id: i for i in (*POOLS.values(), *SPOT.values(), GHO, PERPETUAL)}


def lending_portfolio(positions: dict[str, object], balances: dict[str, object] | None = None) -> Portfolio:
    held = tuple(
        Position(POOLS[asset].instrument_id, Decimal(str(q)), Decimal(0)) for asset, q in positions.items()
    )
    wallet = tuple(Balance(Asset(asset), Decimal(str(amount))) for asset, amount in (balances or {}).items())
    account = Account(ACCOUNT, "loan", "paper", MarginMode.LENDING, held, wallet)
    return Portfolio(
        PortfolioId(UUID(int=2)),
        TenantId(UUID(int=3)),
        "p",
        Asset("USDC"),
        PortfolioState.ACTIVE,
        1,
        (account,),
    )


def market(prices: dict[str, float]):
    changes = [
        Change(TickKind.PRICE, f"{asset}-USDC", price, 0.0, 1, Quality.VALID, 1)
        for asset, price in prices.items()
    ]
    return market_view(INSTRUMENTS.values(), changes, position=StreamPosition(1, 1), time_ns=1)


def risk_of(portfolio: Portfolio, prices: dict[str, float] | None = None):
    return portfolio_risk(portfolio, market({**PRICES, "GHO": 0.99} | (prices or {})))


def holdings(portfolio: Portfolio) -> tuple[dict[str, Decimal], dict[str, Decimal]]:
    account = portfolio.account(ACCOUNT)
    positions = {INSTRUMENTS[p.instrument].underlying: p.quantity for p in account.positions}
    return positions, {str(b.asset): b.amount for b in account.balances}


amounts = st.one_of(st.just(0.0), st.floats(1e-4, 1e4))
loans = st.lists(amounts, min_size=5, max_size=5).flatmap(
    lambda collateral: st.tuples(
        st.just(collateral), st.lists(st.floats(1e-4, 1e4), min_size=5, max_size=5), st.integers(0, 31)
    )
)


@settings(deadline=None)  # the first one takes the compiled loops into memory
@given(loans)
def test_figures_are_those_of_the_numeric_package(drawn):
    collaterals, debts, borrowed = drawn
    assets = list(TERMS)
    held = [0.0 if borrowed >> i & 1 else amount for i, amount in enumerate(collaterals)]
    owed = [amount if borrowed >> i & 1 else 0.0 for i, amount in enumerate(debts)]
    positions = {a: h - d for a, h, d in zip(assets, held, owed, strict=True) if h or d}
    report = risk_of(lending_portfolio(positions))
    (account,) = report.accounts
    prices = [*PRICES.values(), 1.0, 0.99]
    expected = loan_figures(
        loans=loans_of(
            row_counts=[5],
            assets=range(5),
            collaterals=held,
            debts=owed,
            liquidation_thresholds=[float(TERMS[a][0]) for a in assets],
            loan_to_values=[float(TERMS[a][1]) for a in assets],
        ),
        prices=prices,
    )
    scale = expected.collateral_values[0] + expected.debt_values[0]
    assert account.equity == pytest.approx(expected.equity[0], rel=1e-12, abs=1e-12 * scale)
    assert account.maintenance_margin == pytest.approx(expected.debt_values[0], rel=1e-12)
    if expected.debt_values[0] and account.backing:
        assert account.health_factor == pytest.approx(expected.health_factors[0], rel=1e-12)
        assert account.margin_ratio == pytest.approx(1 / expected.health_factors[0], rel=1e-12)
    borrowable = account.backing - account.initial_margin
    assert max(borrowable, 0.0) == pytest.approx(expected.borrowable[0], rel=1e-9, abs=1e-11 * scale)


def test_the_health_factor_seen_on_the_contracts():
    """10 WETH at a threshold of 82.5 % against 20,000 USDC at 2,600: 1.0725 (aave-v3-core 1.19.3)."""
    weth = pool("WETH", liquidation_threshold="0.825")
    listed = {**INSTRUMENTS, weth.instrument_id: weth}
    view = market_view(
        listed.values(),
        [Change(TickKind.PRICE, "WETH-USDC", 2_600.0, 0.0, 1, Quality.VALID, 1)],
        position=StreamPosition(1, 1),
        time_ns=1,
    )
    report = portfolio_risk(lending_portfolio({"WETH": 10, "USDC": -20_000}, {"USDC": 500}), view)
    (account,) = report.accounts
    assert account.health_factor == pytest.approx(1.0725, rel=1e-15)
    assert account.equity == pytest.approx(6_500.0)  # the wallet counts in it, and backs nothing
    assert report.leverage == pytest.approx(26_000 / 6_500)


def test_coins_that_are_lent_are_delta_and_cash_is_not():
    report = risk_of(lending_portfolio({"WETH": 10, "WBTC": -0.25, "USDC": -20_000, "GHO": 100}))
    by_asset = {u.underlying: u for u in report.underlyings}
    assert set(by_asset) == {"WETH", "WBTC", "GHO"}  # GHO has a price of its own
    assert (by_asset["WETH"].net_delta, by_asset["WBTC"].net_delta) == (10.0, -0.25)
    assert by_asset["WBTC"].gross_delta_notional == 15_000.0


def test_a_price_that_is_missing_makes_the_loan_unknown():
    report = portfolio_risk(
        lending_portfolio({"WETH": 10, "USDC": -20_000}), market({"WBTC": PRICES["WBTC"]})
    )
    assert np.isnan(report.accounts[0].margin_ratio)
    assert np.isnan(report.equity)


def leg(action: str, asset: str, amount: object) -> LendingLeg:
    return LendingLeg(
        ACCOUNT, POOLS[asset].instrument_id, LendingAction(action), Decimal(str(amount)), reduces=False
    )


def test_each_action_moves_the_wallet_and_the_position():
    portfolio = lending_portfolio({}, {"WETH": 3})
    legs = [leg("supply", "WETH", 2), leg("borrow", "USDC", 1000), leg("repay", "USDC", 400)]
    after = apply_legs_as_if_done(portfolio, [*legs, leg("withdraw", "WETH", "0.5")], INSTRUMENTS)
    assert holdings(after) == (
        {"WETH": Decimal("1.5"), "USDC": Decimal(-600)},
        {"WETH": Decimal("1.5"), "USDC": Decimal(600)},
    )


@pytest.mark.parametrize(
    ("wanted", "done"),
    [
        (("repay", "USDC", 5_000), 1_500),  # the wallet has no more
        (("repay", "WBTC", 1), None),
        (("withdraw", "WETH", 12), 10),
        (("supply", "WETH", 5), 1),
        (("supply", "USDC", 5), None),  # owed: it is repaid first
        (("borrow", "WETH", 5), None),  # supplied: it is withdrawn first
        (("borrow", "GHO", 5), 5),
    ],
)
def test_a_leg_does_no_more_than_is_there(wanted, done):
    portfolio = lending_portfolio({"WETH": 10, "USDC": -2_000}, {"WETH": 1, "USDC": 1_500})
    found = fitted(portfolio, leg(*wanted), INSTRUMENTS)
    if done is None:
        assert isinstance(found, Unfillable)
    else:
        assert isinstance(found, LendingLeg)
        assert found.amount == done


def test_a_reserve_that_is_full_takes_no_more():
    capped = pool("WETH", reserve_cap="11.5")
    listed = {**INSTRUMENTS, capped.instrument_id: capped}
    portfolio = lending_portfolio({"WETH": 10}, {"WETH": 5})
    assert fitted(portfolio, leg("supply", "WETH", 5), listed).amount == Decimal("1.5")


def test_what_is_lent_is_not_traded_and_a_lending_account_holds_nothing_else():
    portfolio = lending_portfolio({"WETH": 10})
    for instrument in (POOLS["WETH"], PERPETUAL):
        trade = TradeLeg(ACCOUNT, instrument.instrument_id, Decimal(-1), Decimal(3_000), reduces=False)
        assert isinstance(fitted(portfolio, trade, INSTRUMENTS), Unfillable)
    margined = lending_portfolio({}, {"WETH": 3})
    (account,) = margined.accounts
    cross = Account(ACCOUNT, "main", "paper", MarginMode.CROSS, (), account.balances)
    assert isinstance(fitted(margined.with_account(cross), leg("supply", "WETH", 1), INSTRUMENTS), Unfillable)


def test_a_wallet_never_gives_what_it_has_not():
    portfolio = lending_portfolio({}, {"WETH": "0.50005", "USDC": "300"})
    sale = TradeLeg(ACCOUNT, SPOT["WETH"].instrument_id, Decimal(-2), Decimal(3_000), reduces=True)
    assert fitted(portfolio, sale, INSTRUMENTS).quantity == Decimal("-0.5")
    buying = TradeLeg(ACCOUNT, SPOT["WETH"].instrument_id, Decimal(2), Decimal(3_000), reduces=False)
    after = apply_legs_as_if_done(portfolio, [buying], INSTRUMENTS)
    _, wallet = holdings(after)
    assert 0 <= wallet["USDC"] < Decimal("0.5")  # less than a lot
    assert isinstance(fitted(lending_portfolio({}), buying, INSTRUMENTS), Unfillable)  # nothing to pay with


def test_a_loan_is_deleveraged_by_withdrawing_selling_and_repaying():
    """From a health factor of 1.0375 to 1.2: x = (1.2 D - LT C) / (1.2 - LT) of collateral, before costs."""
    portfolio = lending_portfolio({"WETH": 10, "USDC": -24_000})
    before = risk_of(portfolio).accounts[0]
    assert before.health_factor == pytest.approx(0.83 * 30_000 / 24_000)
    worth = (1.2 * 24_000 - 0.83 * 30_000) / (1.2 - 0.83)
    coins = (Decimal(worth) / 3_000).quantize(Decimal("0.0001"))
    legs = [
        leg("withdraw", "WETH", coins),
        TradeLeg(ACCOUNT, SPOT["WETH"].instrument_id, -coins, Decimal(3_000), reduces=True),
        leg("repay", "USDC", 24_000),  # all that the sale brought
    ]
    after = apply_legs_as_if_done(portfolio, legs, INSTRUMENTS)
    positions, wallet = holdings(after)
    assert positions["WETH"] == 10 - coins
    assert not any(wallet.values())
    assert risk_of(after).accounts[0].health_factor == pytest.approx(1.2, rel=1e-3)
    free = [i.model_copy(update={"slippage_bps": Decimal(0), "taker_fee_rate": Decimal(0)})
            for i in INSTRUMENTS.values()]  # fmt: skip
    ideal = apply_legs_as_if_done(portfolio, legs, {i.instrument_id: i for i in free})
    assert risk_of(ideal).accounts[0].health_factor == pytest.approx(1.2, rel=1e-4)  # a lot is 0.3 USDC


def liquidated(portfolio: Portfolio, prices: dict[str, float] | None = None):
    known = {**PRICES, "USDC": 1.0, "GHO": 0.99} | (prices or {})
    values = {POOLS[asset].instrument_id: Decimal(repr(price)) for asset, price in known.items()}
    return liquidate(portfolio, ACCOUNT, values, INSTRUMENTS, position=StreamPosition(3, 8), time_ns=5)


@pytest.mark.parametrize("price", [2_880.0, 2_700.0, 2_400.0])
def test_one_liquidation_takes_what_the_numeric_package_says(price):
    """Health factors 0.996, 0.934 and 0.83: half of the debt, all of it, all of it."""
    portfolio = lending_portfolio({"WETH": 10, "USDC": -24_000}, {"USDC": 77})
    after, (repaid, seized, *rest) = liquidated(portfolio, {"WETH": price})
    taken = liquidations(
        health_factors=0.83 * 10 * price / 24_000,
        debts=24_000.0,
        debt_prices=1.0,
        collaterals=10.0,
        collateral_prices=price,
        liquidation_bonuses=0.05,
    )
    assert (repaid.instrument, seized.instrument) == ("AAVE-USDC", "AAVE-WETH")
    assert float(repaid.quantity) == pytest.approx(float(taken.repaid), rel=1e-15)
    assert float(seized.quantity) == pytest.approx(-float(taken.seized), rel=1e-15)
    assert (repaid.kind, repaid.price, seized.price) == ("liquidation", 1, Decimal(repr(price)))
    assert not rest or price == 2_400.0  # what is left of a debt that nothing backs is written off
    positions, wallet = holdings(after)
    assert wallet == {"USDC": 77}
    assert positions.get("USDC", 0) == -24_000 + sum(f.quantity for f in (repaid, *rest))


values = st.floats(0.5, 2.0)


@given(
    st.lists(st.floats(1.0, 1e5), min_size=5, max_size=5),
    st.integers(1, 30),
    st.lists(values, min_size=5, max_size=5),
)
def test_liquidators_end_at_a_sound_loan_and_take_no_more_than_the_bonus(worths, borrowed, moves):
    assets = list(TERMS)
    prices = [*PRICES.values(), 1.0, 0.99]
    positions = {
        asset: round(worth / price, 9) * (-1 if borrowed >> i & 1 else 1)
        for i, (asset, worth, price) in enumerate(zip(assets, worths, prices, strict=True))
    }
    now = {a: p * m for a, p, m in zip(assets, prices, moves, strict=True)}
    portfolio = lending_portfolio(positions)
    after, fills = liquidated(portfolio, now)
    paid_for, taken = Decimal(0), Decimal(0)
    for fill in fills:
        assert fill.quantity * Decimal(positions[fill.asset]) < 0  # towards zero
        if fill.quantity > 0:
            paid_for += fill.quantity * fill.price
        else:
            bonus = INSTRUMENTS[fill.instrument].liquidation_bonus
            taken += -fill.quantity * fill.price / (1 + bonus)
    assert taken == pytest.approx(paid_for)
    assert len({fill.id for fill in fills}) == len(fills)
    again, nothing = liquidated(after, now)
    assert (again, nothing) == (after, [])
    held, _ = holdings(after)
    for asset, quantity in held.items():
        assert quantity * Decimal(positions[asset]) > 0
    assert liquidated(portfolio, now) == (after, fills)


def test_what_is_no_collateral_is_not_seized():
    portfolio = lending_portfolio({"GHO": 5_000, "WETH": 1, "USDC": -4_000})
    after, fills = liquidated(portfolio)
    assert holdings(after)[0] == {"GHO": Decimal(5_000)}
    assert [(f.asset, f.price == 0) for f in fills] == [("USDC", False), ("WETH", False), ("USDC", True)]


def test_amounts_that_cannot_be_stored_are_refused():
    with pytest.raises(InvalidInput, match="beyond what can be stored"):
        apply_lending(
            lending_portfolio({}),
            instrument=POOLS["USDC"],
            account_id=ACCOUNT,
            quantity=Decimal("1e20"),
        )


@pytest.mark.parametrize(
    ("terms", "complaint"),
    [
        ({"loan_to_value": "0.9"}, "at most the liquidation_threshold"),
        ({"multiplier": 10}, "its multiplier is 1"),
        ({"marked_by": "WETH-USDC"}, "leave marked_by out"),
        ({"kind": "perpetual"}, "liquidation_threshold belongs to lending"),
    ],
)
def test_terms_that_cannot_be_are_told(terms, complaint):
    with pytest.raises(ValueError, match=complaint):
        pool("WETH", **terms) if "kind" not in terms else Instrument(
            id="X", kind="perpetual", underlying="WETH", quote="USDC", liquidation_threshold="0.5"
        )


def test_an_instrument_of_before_has_no_lending_terms():
    stored = PERPETUAL.model_dump(mode="json")
    old = {k: v for k, v in stored.items() if k not in ("liquidation_threshold", "reserve_cap")}
    assert Instrument.model_validate(old) == PERPETUAL
    assert InstrumentId("AAVE-WETH") in INSTRUMENTS
