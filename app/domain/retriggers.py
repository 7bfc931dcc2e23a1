"""Whether what one policy brings about makes another fire, so that the two could act in turn for ever.

Sound, as contradictions are: said only where the other fires wherever its figures are known. A dwell only
delays, and a level is crossed by whatever comes to its other side; both are read as what they wait for.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from app.domain.conditions import AllOf, AnyOf, Comparison, Condition, Crosses, Direction, Dwell, Not, Op
from app.domain.contradictions import Range, is_certain
from app.domain.families.delta_neutral import CostAwareBand, FixedBand
from app.domain.families.rule import Hedge, SetLeverage
from app.domain.metrics import MetricName, MetricRef
from app.domain.policies import AnyPolicy, DeltaNeutral, LeverageBand, LiquidationGuard, Rule


@dataclass(frozen=True, slots=True)
class Firing:
    """One policy brings a metric there, and another fires; the paths are JSON pointers into each."""

    metric: MetricRef
    reached: Range
    outcome_path: str
    trigger_path: str


def firings(policy: AnyPolicy, other: AnyPolicy) -> Iterator[Firing]:
    """What `policy` brings about that certainly fires `other`."""
    trigger_path, trigger = _trigger(other)
    if trigger is None:
        return
    for path, metric, reached in _outcomes(policy):
        if is_certain(trigger, {metric: reached}):
            yield Firing(metric, reached, path, trigger_path)


def delta_limits(policy: DeltaNeutral) -> tuple[Decimal, Decimal]:
    """Between which the policy surely rests at the most; a share of the gross has no such limit."""
    match policy.band:
        case FixedBand(below=below, above=above):
            return policy.target_delta - below, policy.target_delta + above
        case CostAwareBand(cap=cap):
            return policy.target_delta - cap, policy.target_delta + cap
        case _:
            return Decimal("-Infinity"), Decimal("Infinity")


def _outcomes(policy: AnyPolicy) -> Iterator[tuple[str, MetricRef, Range]]:
    match policy:
        case Rule():
            for number, action in enumerate(policy.actions):
                path = f"/actions/{number}"
                if isinstance(action, SetLeverage):
                    yield path, _leverage(action.account), _at(action.leverage)
                elif isinstance(action, Hedge):
                    yield path, _delta(action.underlying), _at(action.target_delta)
        case LeverageBand():
            band = (policy.minimum, policy.maximum)
            low, high = (policy.target, policy.target) if policy.recentring_speed == 1 else band
            yield "/target", _leverage(policy.account), Range(float(low), float(high))
        case DeltaNeutral():
            low, high = delta_limits(policy)
            yield "/target_delta", _delta(policy.underlying), Range(float(low), float(high))
        case LiquidationGuard(account=str(account)) if not policy.confidence_multiple:
            yield "/restore", MetricRef.parse(f"{policy.metric}@{account}"), _at(policy.restore)
        case _:
            return


def _trigger(policy: AnyPolicy) -> tuple[str, Condition | None]:
    """Where it stands, and as a condition; None where it is not one of a few figures."""
    match policy:
        case Rule():
            return "/condition", _settled(policy.condition)
        case LeverageBand():
            return "/maximum", _outside(_leverage(policy.account), policy.minimum, policy.maximum)
        case DeltaNeutral():
            low, high = delta_limits(policy)
            return "/band", _outside(_delta(policy.underlying), low, high) if low.is_finite() else None
        case LiquidationGuard(account=str(account)):
            op = Op.AT_LEAST if policy.metric is MetricName.MARGIN_RATIO else Op.AT_MOST
            metric = MetricRef.parse(f"{policy.metric}@{account}")
            return "/trigger", Comparison(metric=metric, op=op, value=policy.trigger)
        case _:
            return "", None


def _settled(node: Condition) -> Condition:
    match node:
        case Crosses():
            op = Op.ABOVE if node.direction is Direction.ABOVE else Op.BELOW
            return Comparison(metric=node.metric, op=op, value=node.value)
        case Dwell():
            return _settled(node.condition)
        case Not():
            return Not(condition=_settled(node.condition))
        case AllOf() | AnyOf():
            return node.model_copy(update={"conditions": tuple(map(_settled, node.conditions))})
        case _:
            return node


def _outside(metric: MetricRef, low: Decimal, high: Decimal) -> Condition:
    return AnyOf(
        conditions=(
            Comparison(metric=metric, op=Op.BELOW, value=low),
            Comparison(metric=metric, op=Op.ABOVE, value=high),
        )
    )


def _leverage(account: str | None) -> MetricRef:
    return MetricRef.parse(MetricName.LEVERAGE if account is None else f"{MetricName.LEVERAGE}@{account}")


def _delta(underlying: str) -> MetricRef:
    return MetricRef.parse(f"{MetricName.NET_DELTA}.{underlying}")


def _at(value: Decimal) -> Range:
    return Range(float(value), float(value))
