"""A leverage band on a loan: debt repaid out of its collateral, or borrowed for more of it."""

from decimal import Decimal
from uuid import UUID

import pytest
from msgspec import structs

from app.domain.adjustments import LendingAction, MissReason, Outcome, Reason, TradeLeg
from app.domain.policies import Guards, LeverageBand, Mode
from app.domain.portfolios import PortfolioState, Position
from app.engine.fills import apply_legs_as_if_done, fitted
from app.engine.universe import Universe
from tests.unit.engine.test_loan_plans import (
    COLLATERAL,
    DEBT,
    ETH,
    PERPETUAL,
    PRICE,
    UNIVERSE,
    beside_a_loan,
    decided,
    loan,
    planned,
)

LEVERED, LOW = "12307.69", "6666.67"
"""What ten ETH at 2,000 are levered 2.6 and 1.5 times with."""
DEAR = ETH.model_copy(update={"id": "ETH-USDC-2", "taker_fee_rate": Decimal("0.002")})
RATE = 1.0 - 0.999 * 0.999
"""Slippage and the fee, of what is sold."""


def band(*, guards=(), **terms):
    return LeverageBand(
        name="2x", mode=Mode.AUTO, guards=Guards(cooldown_seconds=0, **dict(guards)),
        **({"minimum": "1.7", "target": "2", "maximum": "2.3"} | terms),
    )  # fmt: skip


def leverage(done, after):
    """Of the ETH supplied or owed."""
    held = done.accounts[0].position(COLLATERAL.instrument_id).quantity
    return abs(float(held)) * PRICE / after.equity


def assert_no_wallet_is_short(holdings, legs, universe=UNIVERSE):
    """Every leg finds what it needs: it is done as it is planned, but for what prices are rounded by."""
    for leg in legs:
        done = fitted(holdings, leg, universe.instruments)
        if isinstance(leg, TradeLeg):
            assert done == leg
        else:
            assert done.amount == pytest.approx(leg.amount, abs=Decimal("0.01"))
        holdings = apply_legs_as_if_done(holdings, [leg], universe.instruments)
        assert all(balance.amount >= 0 for balance in holdings.accounts[0].balances)


@pytest.mark.parametrize(("speed", "wanted"), [("0.05", 2.3), ("0.8", 2.12), ("1", 2.0)])
def test_too_high_a_leverage_is_brought_down_by_repaying(speed, wanted):
    """2.6 to max(1.7, min(2.3, 2.6 (1 - speed) + 2 speed))."""
    holdings = loan(band(recentring_speed=speed), owed=LEVERED)
    adjustment, after, done = planned(holdings)
    withdrawn, _, repaid = adjustment.legs
    assert (withdrawn.action, repaid.action) == (LendingAction.WITHDRAW, LendingAction.REPAY)
    assert adjustment.reaches_target
    assert adjustment.risk_reducing
    assert leverage(done, after) == pytest.approx(wanted, rel=2e-4)
    assert_no_wallet_is_short(holdings, adjustment.legs)


@pytest.mark.parametrize(("speed", "wanted"), [("0.2", 1.7), ("0.6", 1.8), ("1", 2.0)])
def test_too_low_a_leverage_is_brought_up_by_borrowing(speed, wanted):
    """1.5 to max(1.7, min(2.3, 1.5 (1 - speed) + 2 speed))."""
    holdings = loan(band(recentring_speed=speed), owed=LOW)
    adjustment, after, done = planned(holdings)
    borrowed, bought, supplied = adjustment.legs
    assert (borrowed.action, borrowed.instrument) == (LendingAction.BORROW, DEBT.id)
    assert (supplied.action, supplied.instrument) == (LendingAction.SUPPLY, COLLATERAL.id)
    assert supplied.amount == bought.quantity
    assert adjustment.reaches_target
    assert not adjustment.risk_reducing
    assert leverage(done, after) == pytest.approx(wanted, rel=2e-4)
    assert_no_wallet_is_short(holdings, adjustment.legs)
    assert sum(balance.amount for balance in done.accounts[0].balances) < Decimal("0.05")


def test_what_is_repaid_and_borrowed_is_what_defi_saver_would():
    """Its knowledge base, "Boost and Repay": for C / D = t collateral worth (t D - C) / (t (1 - c) - 1) is
    sold, and 1 - c of that repaid; or (C - t D) / (t - (1 - c)) is borrowed. A leverage of L is a ratio of
    L / (L - 1), here 2 both ways, and c is what a trade costs.
    """
    ratio = 2.0
    adjustment, after, done = planned(loan(band(), owed=LEVERED))
    missing = ratio * float(LEVERED) - 20_000.0
    repaid = (1.0 - RATE) * missing / (ratio * (1.0 - RATE) - 1.0)
    assert float(adjustment.legs[-1].amount) == pytest.approx(repaid, rel=1e-4)
    assert leverage(done, after) == pytest.approx(2.0, rel=1e-4)

    adjustment, _, _ = planned(loan(band(), owed=LOW))
    borrowed = (20_000.0 - ratio * float(LOW)) / (ratio - 1.0 / (1.001 * 1.001))
    assert float(adjustment.legs[0].amount) == pytest.approx(borrowed, rel=1e-4)


def test_a_loan_that_is_short_is_levered_the_other_way_round():
    """USDC supplied and ETH owed: borrowed ETH is sold, and bought back."""
    for owed, first, sign in (("2", LendingAction.BORROW, -1), ("4", LendingAction.WITHDRAW, 1)):
        holdings = loan(band(minimum="0.6", target="0.7", maximum="0.8"))
        held = (
            Position(DEBT.instrument_id, Decimal(14_000), Decimal(0)),
            Position(COLLATERAL.instrument_id, -Decimal(owed), Decimal(0)),
        )
        account = structs.replace(holdings.accounts[0], positions=held)
        holdings = structs.replace(holdings, accounts=(account,))
        adjustment, after, done = planned(holdings)
        lent, trade, _ = adjustment.legs
        assert lent.action is first
        assert trade.quantity * sign > 0
        assert leverage(done, after) == pytest.approx(0.7, rel=2e-4)
        assert_no_wallet_is_short(holdings, adjustment.legs)


@pytest.mark.parametrize("kind", ["boost", "repay"])
def test_what_is_off_is_not_done(kind):
    verdict, _ = decided(loan(band(**{kind: False}), owed={"boost": LOW, "repay": LEVERED}[kind]))
    assert not verdict.adjustments
    assert [decision.outcome for decision in verdict.decisions] == [Outcome.SUPPRESSED]


@pytest.mark.parametrize(("owed", "acts"), [(LEVERED, True), (LOW, False)])
def test_a_portfolio_that_may_only_reduce_repays(owed, acts):
    verdict, _ = decided(structs.replace(loan(band(), owed=owed), state=PortfolioState.REDUCE_ONLY))
    assert [adjustment.risk_reducing for adjustment in verdict.adjustments] == [True] * acts


@pytest.mark.parametrize(
    ("owed", "limits", "acts"),
    [
        (LOW, {"maximum_buy_price": {"ETH": "1999"}}, False),
        (LOW, {"maximum_buy_price": {"ETH": "2001"}}, True),
        (LOW, {"minimum_sell_price": {"ETH": "2001"}}, True),
        (LOW, {"minimum_sell_price": {"USDC": "1.01"}}, False),
        (LEVERED, {"minimum_sell_price": {"ETH": "2001"}}, False),
        (LEVERED, {"maximum_buy_price": {"USDC": "0.99"}}, False),
        (LEVERED, {"maximum_buy_price": {"ETH": "1"}, "minimum_sell_price": {"USDC": "2"}}, True),
    ],
)
def test_limits_of_prices_hold_for_both_sides_of_the_loan(owed, limits, acts):
    verdict, _ = decided(loan(band(**limits), owed=owed))
    assert bool(verdict.adjustments) is acts


@pytest.mark.parametrize("markets", [[ETH], [ETH, DEAR]])
def test_no_more_is_borrowed_than_the_pool_lends_on_the_collateral(markets):
    """At a loan-to-value of 0.8 a leverage of 5 is the most; no equity is burnt for a higher one."""
    universe = Universe([*markets, PERPETUAL, COLLATERAL, DEBT])
    holdings = loan(band(minimum="5.5", target="6", maximum="7"), owed="15000")
    adjustment, after, done = planned(holdings, universe)
    borrowed, _, supplied = adjustment.legs
    assert (borrowed.action, supplied.action) == (LendingAction.BORROW, LendingAction.SUPPLY)
    (miss,) = adjustment.misses
    assert (miss.wanted, miss.why) == ("6", MissReason.VENUE_LIMIT)
    assert float(miss.reached) == pytest.approx(5.0, rel=5e-3)
    assert leverage(done, after) == pytest.approx(5.0, rel=5e-3)
    assert after.initial_margin <= after.backing


def test_no_more_is_supplied_than_the_pool_takes():
    capped = COLLATERAL.model_copy(update={"reserve_cap": Decimal("11.5")})
    universe = Universe([ETH, PERPETUAL, capped, DEBT])
    holdings = loan(band(), owed=LOW)
    adjustment, _, done = planned(holdings, universe)
    (miss,) = adjustment.misses
    assert miss.why is MissReason.VENUE_LIMIT
    assert done.accounts[0].position(COLLATERAL.instrument_id).quantity == Decimal("11.5")
    assert_no_wallet_is_short(holdings, adjustment.legs, universe)


@pytest.mark.parametrize("limit", ["maximum_trade_notional", "maximum_turnover_per_day"])
@pytest.mark.parametrize(("owed", "sign"), [(LEVERED, -1), (LOW, 1)])
def test_no_more_is_traded_than_the_policy_may(owed, sign, limit):
    adjustment, _, _ = planned(loan(band(guards={limit: "1000"}), owed=owed))
    assert adjustment.legs[1].quantity == pytest.approx(sign * Decimal("0.5"))
    assert [miss.why for miss in adjustment.misses] == [MissReason.TRADE_LIMIT]


def test_what_costs_too_much_to_cross_is_not_traded():
    names = [ETH.id, COLLATERAL.id, DEBT.id]
    policy = band(guards={"maximum_slippage_bps": "9"}, trade_instruments=names)
    verdict, _ = decided(loan(policy, owed=LEVERED))
    assert [decision.reason for decision in verdict.decisions] == [Reason.SLIPPAGE]


def test_collateral_alone_is_levered_where_the_pool_to_borrow_from_is_named():
    alone = loan(band())
    held = (Position(COLLATERAL.instrument_id, Decimal(10), Decimal(0)),)
    alone = structs.replace(alone, accounts=(structs.replace(alone.accounts[0], positions=held),))
    verdict, _ = decided(alone)
    assert not verdict.adjustments
    named = structs.replace(alone, policies=loan(band(trade_instruments=[DEBT.id])).policies)
    adjustment, after, done = planned(named)
    assert [leg.instrument for leg in adjustment.legs] == [DEBT.id, ETH.id, COLLATERAL.id]
    assert leverage(done, after) == pytest.approx(2.0, rel=2e-4)


def test_only_the_spot_markets_that_are_named_are_traded():
    universe = Universe([ETH, DEAR, PERPETUAL, COLLATERAL, DEBT])
    cheapest, _, _ = planned(loan(band(), owed=LOW), universe)
    assert cheapest.legs[1].instrument == ETH.id
    for wallet in ("0", "9000"):
        named = loan(band(trade_instruments=[DEAR.id]), owed=LOW, wallet=wallet)
        adjustment, _, _ = planned(named, universe)
        assert [leg.instrument for leg in adjustment.legs] == [DEBT.id, DEAR.id, COLLATERAL.id]


def test_a_loan_stays_where_only_contracts_are_named():
    terms = {"minimum": "1", "target": "3", "maximum": "3.1"}
    adjustment, _, _ = planned(beside_a_loan(band(trade_instruments=[PERPETUAL.id], **terms)))
    assert [leg.account_id for leg in adjustment.legs] == [UUID(int=4)]


def test_a_band_of_the_loans_account_leaves_the_others():
    adjustment, after, done = planned(beside_a_loan(band(account="loan")))
    assert {leg.account_id for leg in adjustment.legs} == {UUID(int=3)}
    assert leverage(done, after) == pytest.approx(2.0, rel=2e-4)
    assert float(adjustment.legs[1].reference_price) == PRICE
