"""Policies that would fight: found when one is saved, so that nobody learns of it from his fills.

Each warning says what, why and where in the document that is being saved. Only what is certain from the
documents alone is said: whether two policies meet in the market is for the arbiter, which nets them anyhow.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from app.domain.contradictions import contradictions
from app.domain.metrics import MetricName
from app.domain.policies import (
    AnyPolicy,
    CapitalEfficiency,
    DeltaNeutral,
    LeverageBand,
    LiquidationGuard,
    Rule,
    StressResponse,
    VolatilityTarget,
)
from app.domain.retriggers import delta_limits, firings


@dataclass(frozen=True, slots=True)
class Conflict:
    """`path` is a JSON pointer into the document."""

    code: str
    message: str
    path: str


def conflicts_of(policy: AnyPolicy, others: Sequence[AnyPolicy]) -> list[Conflict]:
    """Of a policy with itself, and with those that are enabled beside it."""
    beside = [other for other in others if other.enabled]
    found = [*_alone(policy)]
    for other in beside:
        found += [
            warning
            for check in (_deltas, _leverages, _guards, _exposures, _collateral, _stress, _rules)
            for warning in check(policy, other)
        ]
    return list(dict.fromkeys(found))


def _alone(policy: AnyPolicy) -> Iterator[Conflict]:
    if isinstance(policy, LiquidationGuard):
        if policy.priority > 0:
            yield Conflict(
                "guard_not_first",
                "policies with a lower priority number come before this liquidation guard",
                "/priority",
            )
        caps = policy.guards.maximum_cost is not None or policy.guards.maximum_cost_bps is not None
        if caps and (policy.emergency is None or policy.emergency.obey_cost_caps):
            yield Conflict(
                "cap_may_disarm_guard",
                "in a crash trading costs more than this cap, and then the guard does nothing; leave it its "
                "emergency level, and let that not obey cost caps",
                "/guards/maximum_cost"
                if policy.guards.maximum_cost is not None
                else "/guards/maximum_cost_bps",
            )
    if isinstance(policy, Rule):
        yield from _vain_conditions(policy)
    if policy.guards.maximum_reversals_per_hour is None and policy.guards.cooldown_seconds == 0:
        yield Conflict(
            "nothing_stops_oscillation",
            "without a cooldown and without a limit of reversals it may trade to and fro on every frame",
            "/guards/cooldown_seconds",
        )


def _vain_conditions(policy: Rule) -> Iterator[Conflict]:
    """What can never be true never acts; what always is, always does."""
    for finding in contradictions(policy.condition):
        code = "always_true" if finding.holds else "never_true"
        yield Conflict(code, finding.message, f"/condition{finding.path}")


def _deltas(policy: AnyPolicy, other: AnyPolicy) -> Iterator[Conflict]:
    """Two targets for one delta: each would find the other's outside its band."""
    if not (isinstance(policy, DeltaNeutral) and isinstance(other, DeltaNeutral)):
        return
    if policy.underlying != other.underlying:
        return
    low, high = delta_limits(other)
    if not low <= policy.target_delta <= high:
        yield Conflict(
            "target_outside_band",
            f"{other.name!r} keeps the {policy.underlying} delta between {low} and {high}; this target is "
            "outside, so the two would trade against each other",
            "/target_delta",
        )
    low, high = delta_limits(policy)
    if not low <= other.target_delta <= high:
        yield Conflict(
            "band_excludes_target",
            f"{other.name!r} brings the {policy.underlying} delta to {other.target_delta}, outside this band",
            "/band",
        )


def _leverages(policy: AnyPolicy, other: AnyPolicy) -> Iterator[Conflict]:
    if not (isinstance(policy, LeverageBand) and isinstance(other, LeverageBand)):
        return
    if policy.account != other.account:
        return
    if not other.minimum <= policy.target <= other.maximum:
        yield Conflict(
            "target_outside_band",
            f"{other.name!r} keeps leverage between {other.minimum} and {other.maximum}, without this target",
            "/target",
        )
    if not policy.minimum <= other.target <= policy.maximum:
        yield Conflict(
            "band_excludes_target",
            f"{other.name!r} brings leverage to {other.target}, outside of this band",
            "/minimum" if other.target < policy.minimum else "/maximum",
        )


def _guards(policy: AnyPolicy, other: AnyPolicy) -> Iterator[Conflict]:
    """What one restores to still fires the other."""
    if not (isinstance(policy, LiquidationGuard) and isinstance(other, LiquidationGuard)):
        return
    shares = policy.account is None or other.account is None or policy.account == other.account
    distances = MetricName.LIQUIDATION_DISTANCE
    if not shares or (policy.metric is distances) != (other.metric is distances):
        return
    if _is_held_by(policy, other) and _danger(policy, policy.restore) >= _danger(other, other.trigger):
        yield Conflict(
            "restores_into_trigger",
            f"restored to {policy.restore}, {other.name!r} fires at once: its trigger is {other.trigger}",
            "/restore",
        )
    if _is_held_by(other, policy) and _danger(other, other.restore) >= _danger(policy, policy.trigger):
        yield Conflict(
            "triggers_after_restore",
            f"{other.name!r} restores to {other.restore}, which fires this one",
            "/trigger",
        )


def _is_held_by(policy: LiquidationGuard, other: LiquidationGuard) -> bool:
    """Whether the other sees at least the danger that this one sees: prices as far against the account."""
    return policy.confidence_multiple <= other.confidence_multiple


def _danger(policy: LiquidationGuard, level: Decimal) -> Decimal:
    """Rising toward liquidation, and alike for margin ratio and health factor."""
    if policy.metric is MetricName.MARGIN_RATIO:
        return level
    return 1 / level if policy.metric is MetricName.HEALTH_FACTOR else -level


def _exposures(policy: AnyPolicy, other: AnyPolicy) -> Iterator[Conflict]:
    """A volatility target that wants leverage where another policy forbids it."""
    for mine, theirs, path in ((policy, other, True), (other, policy, False)):
        if not isinstance(mine, VolatilityTarget):
            continue
        if isinstance(theirs, LeverageBand) and (
            mine.minimum_leverage > theirs.maximum or mine.maximum_leverage < theirs.minimum
        ):
            yield Conflict(
                "leverage_limits_exclude_each_other",
                f"{mine.name!r} keeps leverage between {mine.minimum_leverage} and {mine.maximum_leverage}, "
                f"{theirs.name!r} between {theirs.minimum} and {theirs.maximum}",
                "/minimum_leverage" if path else "/minimum",
            )
        if (
            isinstance(theirs, DeltaNeutral)
            and theirs.underlying == mine.underlying
            and theirs.target_delta == 0
            and mine.minimum_leverage > 0
        ):
            yield Conflict(
                "exposure_against_neutrality",
                f"{mine.name!r} keeps exposure in {mine.underlying} that {theirs.name!r} hedges away",
                "/minimum_leverage" if path else "/target_delta",
            )


def _collateral(policy: AnyPolicy, other: AnyPolicy) -> Iterator[Conflict]:
    """Collateral called idle that a guard would ask for."""
    for mine, theirs, path in ((policy, other, True), (other, policy, False)):
        if not (isinstance(mine, CapitalEfficiency) and isinstance(theirs, LiquidationGuard)):
            continue
        if theirs.metric is MetricName.LIQUIDATION_DISTANCE:
            continue
        trigger = 1 / _danger(theirs, theirs.trigger)
        for number, pocket in enumerate(mine.pockets):
            if theirs.account in (None, pocket.account) and pocket.target_health <= trigger:
                yield Conflict(
                    "drains_into_trigger",
                    f"{pocket.account!r} is brought to a health of {pocket.target_health}, where "
                    f"{theirs.name!r} fires",
                    f"/pockets/{number}/target_health" if path else "/trigger",
                )


def _stress(policy: AnyPolicy, other: AnyPolicy) -> Iterator[Conflict]:
    """Exposure that is cut for stress and built up again by another policy."""
    for mine, theirs in ((policy, other), (other, policy)):
        if not isinstance(mine, StressResponse):
            continue
        place = ""
        if isinstance(theirs, LeverageBand) and theirs.boost and theirs.minimum > 0:
            place = "/boost"
        elif isinstance(theirs, VolatilityTarget) and theirs.minimum_leverage > 0:
            place = "/minimum_leverage"
        if place:
            yield Conflict(
                "boosts_against_stress",
                f"under stress {mine.name!r} cuts exposure, and {theirs.name!r} builds it up again",
                place if theirs is policy else "",
            )


def _rules(policy: AnyPolicy, other: AnyPolicy) -> Iterator[Conflict]:
    """What a rule sets fires another policy, or is what fires it: two such pairs make a wheel."""
    if not (isinstance(policy, Rule) or isinstance(other, Rule)):
        return
    for firing in firings(policy, other):
        yield Conflict(
            "outcome_fires_other",
            f"this brings {firing.metric} to {firing.reached}, where {other.name!r} fires",
            firing.outcome_path,
        )
    for firing in firings(other, policy):
        yield Conflict(
            "fired_by_other_outcome",
            f"{other.name!r} brings {firing.metric} to {firing.reached}, where this one fires",
            firing.trigger_path,
        )
