"""What a policy compared with what, in words: the conditions that a decision record keeps."""

from collections.abc import Sequence

from app.domain.metrics import MetricName
from app.domain.policies import AnyPolicy, DeltaNeutral, LiquidationGuard, StressResponse
from app.domain.values import decimal_text
from app.engine.guard_goals import figure_name
from app.engine.rounding import metric_text
from app.engine.scene import Row
from app.engine.trigger_rows import NONE, TriggerKind


def conditions_of(policy: AnyPolicy, rows: Sequence[Row], *, accounts: Sequence[str]) -> dict[str, str]:
    """For each row its figure, under the name of the registry, and what it was held against."""
    found: dict[str, str] = {}
    if isinstance(policy, LiquidationGuard):
        found["trigger"] = decimal_text(policy.trigger)
        if policy.confidence_multiple:
            found["confidence_multiple"] = decimal_text(policy.confidence_multiple)
    for row in rows:
        name, value = figure_of(policy, row, accounts=accounts)
        found[name] = metric_text(value)
        if isinstance(policy, DeltaNeutral):
            found |= _band_texts(policy, row)
        elif not isinstance(policy, LiquidationGuard):
            found |= {f"{name}.{end}": metric_text(edge) for end, edge in _edges(row) if abs(edge) < 1e300}
    return found


def figure_of(policy: AnyPolicy, row: Row, *, accounts: Sequence[str]) -> tuple[str, float]:
    """The registered name of what a row compares, qualified, and its value."""
    where = "" if row.account == NONE else f".{accounts[row.account]}"
    match row.kind:
        case TriggerKind.MARGIN_RATIO | TriggerKind.ADVERSE_MARGIN_RATIO if isinstance(
            policy, LiquidationGuard
        ):
            inverse = policy.metric is MetricName.HEALTH_FACTOR
            value = (1.0 / row.value if row.value else float("inf")) if inverse else row.value
            return f"{figure_name(policy)}{where}", value
        case TriggerKind.LIQUIDATION_DISTANCE:
            return f"{MetricName.LIQUIDATION_DISTANCE}{where}", row.value
        case TriggerKind.LEVERAGE:
            return f"{MetricName.LEVERAGE}{where}", row.value
        case TriggerKind.HEALTH:
            return f"{MetricName.HEALTH_FACTOR}{where}", row.value
        case TriggerKind.DOLLAR_GAMMA:
            return f"{MetricName.DOLLAR_GAMMA}.{_underlying(policy)}", row.value
        case TriggerKind.METRIC if isinstance(policy, StressResponse):
            return policy.metric, row.value
        case TriggerKind.RULE:
            return "condition", row.value
        case TriggerKind.VOLATILITY:
            return f"share_of_target.{_underlying(policy)}{where}", row.value
        case TriggerKind.DOLLAR_VEGA:
            return f"{MetricName.DOLLAR_VEGA}.{_underlying(policy)}", row.value
        case _:
            return f"{MetricName.NET_DELTA}.{_underlying(policy)}", row.value


def _underlying(policy: AnyPolicy) -> str:
    return str(getattr(policy, "underlying", ""))


def _band_texts(policy: DeltaNeutral, row: Row) -> dict[str, str]:
    """One width where it is the same on both sides."""
    below, above = row.target - row.low, row.high - row.target
    texts = {"target_delta": decimal_text(policy.target_delta)}
    if policy.band.kind == "fixed":
        below_text, above_text = decimal_text(policy.band.below), decimal_text(policy.band.above)
    else:
        below_text, above_text = metric_text(below), metric_text(above)
    if below_text == above_text:
        return texts | {"band": below_text}
    return texts | {"band_below": below_text, "band_above": above_text}


def _edges(row: Row) -> list[tuple[str, float]]:
    return [("low", row.low), ("high", row.high)]
