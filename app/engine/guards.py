"""What may keep a fired policy from acting, and what is left of it: a reason code, or a permission."""

from collections.abc import Sequence
from math import inf

from msgspec import Struct

from app.domain.adjustments import AdjustmentState, InFlight, Reason
from app.domain.families.liquidation_guard import Emergency
from app.domain.market import Quality
from app.domain.metrics import MetricName
from app.domain.policies import (
    AnyPolicy,
    DeltaNeutral,
    LiquidationGuard,
    OnPoorPrice,
    StoredPolicy,
    StressResponse,
)
from app.domain.portfolios import Portfolio, PortfolioState
from app.domain.times import NS_PER_SECOND
from app.engine.limits import Limits, Turnover
from app.engine.memory import DAY_NS, HOUR_NS, PolicyMemory, Traded, reversals
from app.engine.permitted import Permission
from app.engine.scene import Row
from app.engine.tiers import escalates, recovers

_WIDENED = 2.0
_BASIS_POINT = 1e-4
_RESTORED_REST_SECONDS = 10
"""Time enough for what was done to be filled."""
_COMPARED_AFTER_NS = 10 * NS_PER_SECOND


class Prices(Struct, frozen=True):
    """Of everything that the portfolio's figures are made of, and the underlying's own where there is one."""

    age_ns: int
    quality: Quality
    sources: int
    confidence_bps: float
    underlying: float


def before_planning(
    stored: StoredPolicy,
    rows: list[Row],
    *,
    portfolio: Portfolio,
    memory: PolicyMemory,
    traded_by_others: Sequence[Traded],
    time_ns: int,
    prices: Prices,
) -> Reason | Permission:
    """`rows`: those that fired. An emergency rests less, and the caps on cost and activity do not hold.

    `traded_by_others`: by the portfolio's other policies within the hour.
    """
    policy = stored.policy
    emergency = is_emergency(policy, rows)
    halted = portfolio.state is PortfolioState.HALTED
    if halted and not _acts_when_halted(stored):
        return Reason.PORTFOLIO_HALTED
    open_work = [work for work in portfolio.in_flight if work.serves(stored.id)]
    if open_work and not _may_be_replaced(open_work, policy, memory, time_ns):
        return Reason.OPEN_ADJUSTMENT
    if time_ns < memory.fired_since_ns + dwell_seconds(policy, rows) * NS_PER_SECOND:
        return Reason.NOT_YET
    worsens = isinstance(policy, StressResponse) and any(escalates(policy, row) for row in rows)
    if not worsens and time_ns < cooldown_until_ns(policy, memory, emergency=emergency):
        return Reason.COOLDOWN
    busy = None if emergency else _too_busy(policy, memory, traded_by_others, time_ns)
    if busy is not None:
        return busy
    poor = _poor_price(policy, rows, prices)
    if isinstance(poor, Reason):
        return poor
    if isinstance(policy, DeltaNeutral) and _price_moved_less(policy, memory, prices.underlying):
        return Reason.PRICE_MOVED_LESS
    return Permission(
        limits=_limits(stored, memory, time_ns, emergency=emergency),
        reduces_only=poor
        or (portfolio.state is PortfolioState.REDUCE_ONLY and not _lifts_its_own_state(policy, rows, memory))
        or (halted and not isinstance(policy, LiquidationGuard)),
        lifts_cost_caps=emergency and not _obeys_cost_caps(policy),
    )


def _lifts_its_own_state(policy: AnyPolicy, rows: Sequence[Row], memory: PolicyMemory) -> bool:
    """Whether it is on the way back from the tier that put the portfolio into `reduce_only`."""
    if not isinstance(policy, StressResponse) or not memory.registers or not memory.registers[0]:
        return False
    goes_back = any(row.fired and recovers(policy, row) for row in rows)
    return goes_back and policy.tiers[int(memory.registers[0]) - 1].reduce_only


def _may_be_replaced(
    open_work: Sequence[InFlight], policy: AnyPolicy, memory: PolicyMemory, time_ns: int
) -> bool:
    """Recommendations that nobody has taken up are held against a new plan, once in a cooldown."""
    rests_ns = max(policy.guards.cooldown_seconds * NS_PER_SECOND, _COMPARED_AFTER_NS)
    last_ns = max(memory.acted_ns, memory.compared_ns)
    recommended = all(work.state is AdjustmentState.RECOMMENDED for work in open_work)
    return recommended and time_ns >= last_ns + rests_ns


def _acts_when_halted(stored: StoredPolicy) -> bool:
    """A halt is the trader's, and switches nothing off that the operator has set."""
    policy = stored.policy
    return stored.operator or (isinstance(policy, LiquidationGuard) and policy.act_when_halted)


def dwell_seconds(policy: AnyPolicy, rows: Sequence[Row]) -> int:
    """How long the trigger must have held; the way back from stress has a time of its own."""
    if isinstance(policy, StressResponse) and any(row.fired and recovers(policy, row) for row in rows):
        return policy.recovery_dwell_seconds
    return policy.guards.dwell_seconds


def is_emergency(policy: AnyPolicy, rows: list[Row]) -> bool:
    if not isinstance(policy, LiquidationGuard) or policy.emergency_trigger is None:
        return False
    level = policy.emergency_trigger
    match policy.metric:
        case MetricName.MARGIN_RATIO:
            return any(row.value >= float(level) for row in rows)
        case MetricName.HEALTH_FACTOR:
            return any(row.value >= float(1 / level) for row in rows)
        case _:
            return any(row.value <= float(level) for row in rows)


def rest_seconds(policy: AnyPolicy, *, is_restored: bool) -> int:
    """After acting. What triggers a guard that had brought an account out of danger is a market that went
    on falling, or another account: a long rest would let one be liquidated that could be cured.
    """
    rest = policy.guards.cooldown_seconds
    if is_restored and isinstance(policy, LiquidationGuard):
        return min(rest, _RESTORED_REST_SECONDS)
    return rest


def cooldown_until_ns(policy: AnyPolicy, memory: PolicyMemory, *, emergency: bool) -> int:
    """An emergency rests less."""
    ripcord = _emergency_of(policy)
    if not emergency or ripcord is None or not memory.acted_ns:
        return memory.cooldown_until_ns
    return min(memory.cooldown_until_ns, memory.acted_ns + ripcord.cooldown_seconds * NS_PER_SECOND)


def is_within_cost_caps(policy: AnyPolicy, permission: Permission, *, cost: float, traded: float) -> bool:
    """Whether a plan costs no more than this policy may, in an emergency than that may."""
    absolute, relative = policy.guards.maximum_cost, policy.guards.maximum_cost_bps
    if permission.lifts_cost_caps:
        emergency = _emergency_of(policy)
        absolute, relative = None, emergency.maximum_cost_bps if emergency else None
    within = absolute is None or cost <= float(absolute)
    return within and (relative is None or cost <= traded * float(relative) * _BASIS_POINT)


def _emergency_of(policy: AnyPolicy) -> Emergency | None:
    return policy.emergency if isinstance(policy, LiquidationGuard) else None


def _obeys_cost_caps(policy: AnyPolicy) -> bool:
    emergency = _emergency_of(policy)
    return emergency is None or emergency.obey_cost_caps


def _too_busy(
    policy: AnyPolicy, memory: PolicyMemory, traded_by_others: Sequence[Traded], time_ns: int
) -> Reason | None:
    guards = policy.guards
    hour = memory.traded_since(time_ns - HOUR_NS)
    if guards.maximum_trades_per_hour is not None and len(hour) >= guards.maximum_trades_per_hour:
        return Reason.TRADES_PER_HOUR
    most = guards.maximum_reversals_per_hour
    if most is not None and reversals(hour, traded_by_others) >= most:
        return Reason.OSCILLATION
    if guards.maximum_turnover_per_day is not None and _left_today(policy, memory, time_ns) <= 0.0:
        return Reason.TURNOVER_PER_DAY
    return None


def _left_today(policy: AnyPolicy, memory: PolicyMemory, time_ns: int) -> float:
    most = policy.guards.maximum_turnover_per_day
    if most is None:
        return inf
    return float(most) - sum(each.notional for each in memory.traded_since(time_ns - DAY_NS))


def _limits(stored: StoredPolicy, memory: PolicyMemory, time_ns: int, *, emergency: bool) -> Limits:
    trade = stored.policy.guards.maximum_trade_notional
    left = inf if emergency else _left_today(stored.policy, memory, time_ns)
    turnover = Turnover(stored.id, left) if left < inf else None
    return Limits(inf if trade is None else float(trade), turnover)


def _poor_price(policy: AnyPolicy, rows: list[Row], prices: Prices) -> Reason | bool:
    """A reason to hold, or whether only reducing is left.

    A liquidation guard is not held by uncertainty, for it leads out of risk; old prices hold it too, unless
    it was told to reduce on them.
    """
    guards = policy.guards
    stale = prices.age_ns > guards.maximum_price_age_seconds * NS_PER_SECOND
    if not stale and prices.quality is Quality.VALID and not _is_doubtful(policy, prices):
        return False
    if guards.on_poor_price is OnPoorPrice.REDUCE_ONLY:
        return True
    if guards.on_poor_price is OnPoorPrice.WIDEN and any(_fires_widened(row) for row in rows):
        return False
    if stale:
        return Reason.STALE_PRICE
    return True if isinstance(policy, LiquidationGuard) else Reason.PRICE_QUALITY


def _is_doubtful(policy: AnyPolicy, prices: Prices) -> bool:
    """By the policy's own measure: too few sources, or a consensus that is too wide."""
    widest = policy.guards.maximum_price_confidence_bps
    wide = widest is not None and prices.confidence_bps > float(widest)
    return wide or prices.sources < policy.guards.minimum_price_sources


def _fires_widened(row: Row) -> bool:
    """Whether it is outside of an interval twice as wide around the same middle."""
    middle, half = (row.low + row.high) / 2.0, (row.high - row.low) / 2.0
    return half < inf and abs(row.value - middle) > _WIDENED * half


def _price_moved_less(policy: DeltaNeutral, memory: PolicyMemory, price: float) -> bool:
    least = float(policy.minimum_price_move)
    return memory.acted_price > 0.0 and abs(price / memory.acted_price - 1.0) < least
