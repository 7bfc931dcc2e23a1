"""A guard on a loan: collateral and repayments from the reserve, or collateral sold for debt."""

from decimal import Decimal
from uuid import UUID

import pytest
from msgspec import structs

from app.domain.adjustments import LendingAction, LendingLeg, TradeLeg, TransferLeg
from app.domain.instruments import Instrument, InstrumentKind
from app.domain.market import Change, Frame, Quality, TickKind
from app.domain.policies import Cure, DeltaNeutral, Guards, LeverageBand, LiquidationGuard, Mode, StoredPolicy
from app.domain.portfolios import Account, Balance, MarginMode, Portfolio, PortfolioState, Position, Reserve
from app.engine.book import Book
from app.engine.decide import affected, decide
from app.engine.fills import apply_legs_as_if_done
from app.engine.market_view import MarketView
from app.engine.risk import portfolio_risk
from app.engine.universe import Universe
from app.quant.leverage import repay_sizes

NOW_NS = 1_767_225_600_000_000_000
ETH = Instrument(
    id="ETH-USDC", kind="spot", underlying="ETH", quote="USDC", lot_size="0.0001", tick_size="0.01",
    taker_fee_rate="0.001", slippage_bps="10",
)  # fmt: skip
COLLATERAL = Instrument(
    id="POOL-ETH", kind="lending", underlying="ETH", quote="USDC", liquidation_threshold="0.825",
    loan_to_value="0.8", liquidation_bonus="0.05",
)  # fmt: skip
DEBT = Instrument(
    id="POOL-USDC", kind="lending", underlying="USDC", quote="USD", liquidation_threshold="0.78",
    loan_to_value="0.75", liquidation_bonus="0.045",
)  # fmt: skip
PERPETUAL = Instrument(
    id="ETH-PERP", kind="perpetual", underlying="ETH", quote="USDC", lot_size="0.0001", tick_size="0.01",
)  # fmt: skip
UNIVERSE = Universe([ETH, PERPETUAL, COLLATERAL, DEBT])
PRICE = 2_000.0


def guard(*cures, metric="health_factor", trigger="1.3", restore="1.6"):
    return LiquidationGuard(
        name="loan", metric=metric, trigger=trigger, restore=restore, mode=Mode.AUTO, cures=cures,
        guards=Guards(cooldown_seconds=0),
    )  # fmt: skip


def loan(policy, *, reserves=(), wallet="0", owed="13200"):
    """Ten ETH against 13,200 USDC: a health factor of 1.25."""
    held = (
        Position(COLLATERAL.instrument_id, Decimal(10), Decimal(0)),
        Position(DEBT.instrument_id, -Decimal(owed), Decimal(0)),
    )
    wallets = (Balance("USDC", Decimal(wallet)),)
    account = Account(UUID(int=3), "loan", "paper", MarginMode.LENDING, held, wallets)
    return Portfolio(
        UUID(int=1), UUID(int=2), "one", "USDC", PortfolioState.ACTIVE, 1, (account,),
        tuple(Reserve(asset, Decimal(amount)) for asset, amount in reserves),
        (StoredPolicy(UUID(int=9), 1, policy),),
    )  # fmt: skip


def beside_a_loan(policy):
    """Five contracts bought on 2,500 USDC: a leverage of 4, on the same venue as a loan."""
    with_loan = loan(policy)
    held = (Position(PERPETUAL.instrument_id, Decimal(5), Decimal(2_000)),)
    wallet = (Balance("USDC", Decimal(2_500)),)
    traded = Account(UUID(int=4), "traded", "paper", MarginMode.CROSS, held, wallet)
    return structs.replace(with_loan, accounts=(*with_loan.accounts, traded))


def decided(holdings, universe=UNIVERSE):
    book, market = Book(universe), MarketView(universe)
    book.put(holdings)
    changes = tuple(
        Change(TickKind.PRICE, each.id, PRICE, 0.0, 1, Quality.VALID, NOW_NS)
        for each in universe.instruments.values()
        if each.kind is not InstrumentKind.LENDING
    )
    block = market.advance([Frame(1, 1, NOW_NS, "", 0, changes)])
    return decide(book, {}, block, affected(book, block))[holdings.id], market


def planned(holdings, universe=UNIVERSE):
    """The adjustment, and the account's risk once it is done."""
    verdict, market = decided(holdings, universe)
    (adjustment,) = verdict.adjustments
    done = apply_legs_as_if_done(holdings, adjustment.legs, universe.instruments)
    return adjustment, portfolio_risk(done, market).accounts[0], done


def test_debt_is_repaid_out_of_the_reserve():
    adjustment, after, _ = planned(loan(guard(Cure.TOP_UP), reserves=[("USDC", "9000")]))
    transfer, repayment = adjustment.legs
    assert isinstance(transfer, TransferLeg)
    assert (repayment.action, repayment.instrument) == (LendingAction.REPAY, DEBT.id)
    # 16,500 of weighted collateral carries 10,312.5 at 1.6.
    assert float(repayment.amount) == pytest.approx(13_200 - 16_500 / 1.6, rel=1e-9)
    assert adjustment.reaches_target
    assert after.health_factor == pytest.approx(1.6, rel=1e-6)


def test_collateral_is_supplied_where_the_reserve_holds_only_that():
    adjustment, after, _ = planned(loan(guard(Cure.TOP_UP), reserves=[("ETH", "9")]))
    supplied = adjustment.legs[-1]
    assert (supplied.action, supplied.instrument) == (LendingAction.SUPPLY, COLLATERAL.id)
    assert float(supplied.amount) == pytest.approx((1.6 * 13_200 - 16_500) / (PRICE * 0.825), rel=1e-7)
    assert after.health_factor == pytest.approx(1.6, rel=1e-6)


def test_collateral_in_the_wallet_is_supplied():
    holdings = loan(guard(Cure.TOP_UP))
    wallet = structs.replace(holdings.accounts[0], balances=(Balance("ETH", Decimal(9)),))
    adjustment, after, _ = planned(holdings.with_account(wallet))
    (supplied,) = adjustment.legs
    assert (supplied.action, supplied.instrument) == (LendingAction.SUPPLY, COLLATERAL.id)
    assert adjustment.reaches_target
    assert after.health_factor == pytest.approx(1.6, rel=1e-6)


def test_what_lies_in_the_wallet_repays():
    adjustment, after, _ = planned(loan(guard(Cure.TOP_UP), wallet="5000"))
    (repayment,) = adjustment.legs
    assert repayment.action is LendingAction.REPAY
    assert after.health_factor == pytest.approx(1.6, rel=1e-6)


def test_collateral_is_sold_for_debt_as_the_closed_form_says():
    """Withdrawn, sold for a fee and slippage of ten basis points each, repaid."""
    adjustment, after, done = planned(loan(guard(Cure.REDUCE)))
    kinds = [type(leg) for leg in adjustment.legs]
    assert kinds == [LendingLeg, TradeLeg, LendingLeg]
    assert all(leg.reduces for leg in adjustment.legs)
    sold = -float(adjustment.legs[1].quantity) * PRICE
    asked = repay_sizes(
        collaterals=20_000.0,
        debts=13_200.0,
        targets=1.6,
        cost_rates=1.0 - (1.0 - 0.001) * (1.0 - 0.001),
        liquidation_thresholds=0.825,
    )
    assert sold == pytest.approx(float(asked.sizes), rel=1e-4)
    assert adjustment.reaches_target
    assert after.health_factor == pytest.approx(1.6, rel=1e-4)
    assert all(balance.amount >= 0 for balance in done.accounts[0].balances)


def test_the_reserve_first_for_it_costs_nothing_and_the_rest_by_selling():
    adjustment, after, _ = planned(loan(guard(Cure.TOP_UP, Cure.REDUCE), reserves=[("USDC", "1000")]))
    assert {type(leg) for leg in adjustment.legs} == {TransferLeg, LendingLeg, TradeLeg}
    assert after.health_factor == pytest.approx(1.6, rel=1e-4)


def in_lots_of(lot):
    return Universe([ETH.model_copy(update={"lot_size": Decimal(lot)}), PERPETUAL, COLLATERAL, DEBT])


@pytest.mark.parametrize("lot", ["0.3", "0.5", "0.7"])
def test_what_a_pool_gives_and_takes_follows_the_lots_of_the_trade(lot):
    adjustment, _, done = planned(loan(guard(Cure.REDUCE)), in_lots_of(lot))
    withdrawn, trade, repaid = adjustment.legs
    assert -trade.quantity % Decimal(lot) == 0
    assert float(withdrawn.amount) == pytest.approx(-float(trade.quantity), abs=1e-7)
    assert float(repaid.amount) == pytest.approx(-float(trade.quantity) * PRICE * 0.999 * 0.999, rel=1e-6)
    assert all(0 <= balance.amount < Decimal("0.01") for balance in done.accounts[0].balances)


def test_nothing_is_lent_for_a_trade_that_is_less_than_a_lot():
    verdict, _ = decided(loan(guard(Cure.REDUCE)), in_lots_of("20"))
    assert not [leg for adjustment in verdict.adjustments for leg in adjustment.legs]


def test_leverage_beside_a_loan_is_brought_down_by_what_can_be_traded():
    """A gross of 20,000 in the pool and 10,000 in contracts, on 9,300 in all."""
    band = LeverageBand(
        name="band", minimum="1", target="3", maximum="3.1", mode=Mode.AUTO, guards=Guards(cooldown_seconds=0)
    )
    adjustment, _, _ = planned(beside_a_loan(band))
    (trade,) = adjustment.legs
    assert (trade.account_id, trade.instrument) == (UUID(int=4), PERPETUAL.id)
    assert float(trade.quantity) == pytest.approx(-(30_000 - 3 * 9_300) / PRICE, rel=0.01)
    assert adjustment.reaches_target


def test_a_hedge_is_traded_in_the_account_that_may_hold_it():
    flat = DeltaNeutral(
        name="flat", underlying="ETH", band="0.5", hedge_instruments=[PERPETUAL.id], mode=Mode.AUTO,
        guards=Guards(cooldown_seconds=0),
    )  # fmt: skip
    adjustment, _, _ = planned(beside_a_loan(flat))
    (trade,) = adjustment.legs
    assert trade.account_id == UUID(int=4)
    assert float(trade.quantity) == pytest.approx(-15.0, abs=1e-3)


@pytest.mark.parametrize(
    ("cure", "reserves"),
    [(Cure.TOP_UP, [("USDC", "9000")]), (Cure.TOP_UP, [("ETH", "9")]), (Cure.REDUCE, [])],
)
def test_a_loan_is_kept_at_a_distance_from_liquidation(cure, reserves):
    """16,500 of weighted collateral and 13,200 of debt: a fall of a fifth liquidates."""
    policy = guard(cure, metric="liquidation_distance", trigger="0.25", restore="0.4")
    adjustment, after, _ = planned(loan(policy, reserves=reserves))
    assert adjustment.reaches_target
    assert after.liquidation_distance == pytest.approx(0.4, rel=1e-4)
