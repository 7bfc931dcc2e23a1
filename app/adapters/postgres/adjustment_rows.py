"""Adjustments from rows of their table, whichever driver read them; JSON columns come as text."""

from collections.abc import Mapping
from typing import Any

import msgspec

from app.domain.adjustment_json import legs_from_json, misses_from_json
from app.domain.adjustments import Adjustment, AdjustmentState, Leg
from app.domain.market import StreamPosition


def adjustment_of(row: Mapping[str, Any]) -> Adjustment:
    return Adjustment(
        id=row["id"],
        portfolio_id=row["portfolio_id"],
        policy_id=row["policy_id"],
        policy_version=row["policy_version"],
        state=AdjustmentState(row["state"]),
        mode=row["mode"],
        priority=row["priority"],
        risk_reducing=row["risk_reducing"],
        legs=legs_from_json(msgspec.json.decode(row["legs"])),
        expected_cost=row["expected_cost"],
        metrics_before=msgspec.json.decode(row["metrics_before"]),
        metrics_after=msgspec.json.decode(row["metrics_after"]),
        reaches_target=row["reaches_target"],
        position=StreamPosition(row["generation"], row["sequence"]),
        decided_at_ns=row["decided_at_ns"],
        expires_at_ns=row["expires_at_ns"],
        policies=tuple(row["policies"]),
        misses=misses_from_json(msgspec.json.decode(row["misses"])),
    )


def remaining_of(row: Mapping[str, Any]) -> tuple[Leg, ...]:
    return legs_from_json(msgspec.json.decode(row["remaining"]))
