"""Adjustments and their legs as JSON: in the table, in events, and as the API shows them."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, assert_never
from uuid import UUID

from app.domain.adjustments import (
    Adjustment,
    Leg,
    LendingAction,
    LendingLeg,
    Miss,
    MissReason,
    TradeLeg,
    TransferLeg,
)
from app.domain.identifiers import AccountId, Asset, InstrumentId, PolicyId
from app.domain.times import rfc3339
from app.domain.values import decimal_text


def leg_to_json(leg: Leg) -> dict[str, Any]:
    match leg:
        case TradeLeg():
            return {
                "type": "trade",
                "account_id": str(leg.account_id),
                "instrument": leg.instrument,
                "quantity": decimal_text(leg.quantity),
                "reference_price": decimal_text(leg.reference_price),
                "reduces": leg.reduces,
            }
        case TransferLeg():
            return {
                "type": "transfer",
                "account_id": account_text(leg.account_id),
                "source_account_id": account_text(leg.source),
                "asset": leg.asset,
                "amount": decimal_text(leg.amount),
                "fee": decimal_text(leg.fee),
            }
        case LendingLeg():
            return {
                "type": "lending",
                "account_id": str(leg.account_id),
                "instrument": leg.instrument,
                "action": leg.action.value,
                "amount": decimal_text(leg.amount),
                "reduces": leg.reduces,
            }
        case _:
            assert_never(leg)


def legs_to_json(legs: Iterable[Leg]) -> list[dict[str, Any]]:
    return [leg_to_json(leg) for leg in legs]


def legs_from_json(documents: Iterable[Mapping[str, Any]]) -> tuple[Leg, ...]:
    return tuple(map(_leg, documents))


def _leg(document: Mapping[str, Any]) -> Leg:
    """A transfer that was stored without source and fee came from the reserve, for nothing."""
    if document["type"] == "transfer":
        return TransferLeg(
            _account(document["account_id"]),
            Asset(document["asset"]),
            Decimal(document["amount"]),
            _account(document.get("source_account_id")),
            Decimal(document.get("fee", 0)),
        )
    account_id = AccountId(UUID(document["account_id"]))
    if document["type"] == "lending":
        return LendingLeg(
            account_id,
            InstrumentId(document["instrument"]),
            LendingAction(document["action"]),
            Decimal(document["amount"]),
            document["reduces"],
        )
    return TradeLeg(
        account_id,
        InstrumentId(document["instrument"]),
        Decimal(document["quantity"]),
        Decimal(document["reference_price"]),
        document["reduces"],
    )


def _account(text: str | None) -> AccountId | None:
    return None if text is None else AccountId(UUID(text))


def account_text(account_id: AccountId | None) -> str | None:
    return None if account_id is None else str(account_id)


def misses_to_json(misses: Iterable[Miss]) -> list[dict[str, str]]:
    return [
        {
            "policy_id": str(miss.policy_id),
            "figure": miss.figure,
            "wanted": miss.wanted,
            "reached": miss.reached,
            "why": miss.why.value,
        }
        for miss in misses
    ]


def misses_from_json(documents: Iterable[Mapping[str, str]]) -> tuple[Miss, ...]:
    return tuple(
        Miss(
            PolicyId(UUID(document["policy_id"])),
            document["figure"],
            document["wanted"],
            document["reached"],
            MissReason(document["why"]),
        )
        for document in documents
    )


def adjustment_data(adjustment: Adjustment) -> dict[str, Any]:
    """All of it but what remains; the `data` of events begins with it."""
    return {
        "adjustment_id": str(adjustment.id),
        "portfolio_id": str(adjustment.portfolio_id),
        "policy_id": str(adjustment.policy_id),
        "policy_version": adjustment.policy_version,
        "policies": [str(policy_id) for policy_id in adjustment.policies],
        "state": adjustment.state.value,
        "mode": adjustment.mode,
        "priority": adjustment.priority,
        "risk_reducing": adjustment.risk_reducing,
        "legs": legs_to_json(adjustment.legs),
        "expected_cost": decimal_text(adjustment.expected_cost),
        "metrics_before": adjustment.metrics_before,
        "metrics_after": adjustment.metrics_after,
        "reaches_target": adjustment.reaches_target,
        "misses": misses_to_json(adjustment.misses),
        "market_position": adjustment.position.entry_id,
        "decided_at": rfc3339(adjustment.decided_at_ns),
        "expires_at": rfc3339(adjustment.expires_at_ns),
    }
