"""What must not keep a liquidation guard from acting while the market falls: a recorded day of it."""

from decimal import Decimal
from uuid import UUID

import pytest

from app.domain.adjustments import Outcome, Reason
from app.domain.policies import Cure, Guards, LiquidationGuard, Mode, StoredPolicy
from app.domain.portfolios import Account, Balance, MarginMode, Portfolio, PortfolioState, Position
from tests.unit.engine.crash_days import PERP, Day, lived


@pytest.fixture(scope="module")
def day():
    return Day("2022-11-08")


def _life(day, state=PortfolioState.ACTIVE, **terms):
    """Ten coins held on a fifth of their value: a fall of 18 % liquidates them."""
    guard = LiquidationGuard(
        name="alive", mode=Mode.AUTO, trigger="0.3", restore="0.15", cures=[Cure.REDUCE], **terms
    )
    entry = Decimal(str(day.prices[0][PERP]))
    account = Account(
        UUID(int=3), "main", "paper", MarginMode.CROSS, (Position(PERP, Decimal(10), entry),),
        (Balance("USDT", 2 * entry),),
    )  # fmt: skip
    policies = (StoredPolicy(UUID(int=4), 1, guard),)
    one = Portfolio(UUID(int=1), UUID(int=2), "f", "USDT", state, 1, (account,), (), policies)
    life = lived([one], day)[one.id]
    acted = sum(decision.outcome is Outcome.ACTED for _, decision in life.decisions)
    return bool(life.liquidated), acted > 0, {decision.reason for _, decision in life.decisions}


def test_f26_a_halt_does_not_block_the_emergency_exit(day):
    assert _life(day, PortfolioState.HALTED)[:2] == (False, True)


def test_f26_unless_the_user_said_so(day):
    halted = _life(day, PortfolioState.HALTED, act_when_halted=False)
    assert halted == (True, False, {Reason.PORTFOLIO_HALTED})


@pytest.mark.parametrize("cap", [{"maximum_cost": "0.01"}, {"maximum_cost_bps": "0.01"}])
@pytest.mark.parametrize("obeys", [False, True])
def test_f27_a_cost_cap_does_not_disarm_the_guard_unless_the_user_said_so(day, cap, obeys):
    """It holds until the emergency."""
    emergency = {"trigger": "0.5", "obey_cost_caps": obeys}
    liquidated, acted, reasons = _life(day, guards=Guards(**cap), emergency=emergency)
    assert (liquidated, acted) == (obeys, not obeys)
    assert Reason.COST_CAP in reasons
