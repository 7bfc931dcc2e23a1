"""What may keep a fired policy from acting. Each answer is a reason code, or None to go on."""

from decimal import Decimal

from app.domain.adjustments import Leg, Reason, TradeLeg
from app.domain.identifiers import Asset
from app.domain.market import Quality
from app.domain.policies import LiquidationGuard, StoredPolicy
from app.domain.portfolios import Portfolio, PortfolioState
from app.domain.times import NS_PER_SECOND
from app.engine.memory import PolicyMemory
from app.engine.plan import Situation


def before_planning(
    stored: StoredPolicy,
    *,
    portfolio: Portfolio,
    memory: PolicyMemory,
    time_ns: int,
    price_age_ns: int,
    quality: Quality,
) -> Reason | None:
    """A halt or an uncertain price never blocks the way out: a liquidation guard only reduces risk."""
    policy = stored.policy
    guards_liquidation = isinstance(policy, LiquidationGuard)
    if portfolio.state is PortfolioState.HALTED and not guards_liquidation:
        return Reason.PORTFOLIO_HALTED
    if any(work.policy_id == stored.id for work in portfolio.in_flight):
        return Reason.OPEN_ADJUSTMENT
    if time_ns < memory.cooldown_until_ns:
        return Reason.COOLDOWN
    if price_age_ns > policy.guards.maximum_price_age_seconds * NS_PER_SECOND:
        return Reason.STALE_PRICE
    if quality > Quality.VALID and not guards_liquidation:
        return Reason.PRICE_QUALITY
    return None


def after_planning(stored: StoredPolicy, legs: tuple[Leg, ...], situation: Situation) -> Reason | None:
    policy = stored.policy
    guards_liquidation = isinstance(policy, LiquidationGuard)
    if not legs:
        return Reason.NO_CURE if guards_liquidation else Reason.DUST
    trades = [leg for leg in legs if isinstance(leg, TradeLeg)]
    if situation.holdings.state is PortfolioState.REDUCE_ONLY and not all(leg.reduces for leg in trades):
        return Reason.REDUCE_ONLY
    if not guards_liquidation and all(
        _is_dust(leg, policy.guards.minimum_notional, situation) for leg in trades
    ):
        return Reason.DUST
    return None


def _is_dust(leg: TradeLeg, minimum_notional: Decimal, situation: Situation) -> bool:
    """Below the policy's minimum, or below what the venue takes."""
    instrument = situation.instrument(leg.instrument)
    venue_minimum = float(instrument.minimum_notional) * situation.value_of(Asset(instrument.quote))
    return situation.notional(instrument, leg.quantity) < max(float(minimum_notional), venue_minimum)
