"""What is told of an adjustment: one event for each of its states, with what that state adds.

One that ended says why; one that was executed, wholly, partly or not at all, says what was filled. One that
expired or was superseded tells only which: whoever ends it may not know the rest of it.
"""

from collections.abc import Sequence
from typing import Any

from app.domain.adjustment_json import account_text, adjustment_data
from app.domain.adjustments import OPEN_STATES, Adjustment, AdjustmentState, Fill, InFlight
from app.domain.events import EventType, NewEvent
from app.domain.identifiers import PortfolioId, TenantId
from app.domain.times import rfc3339
from app.domain.values import decimal_text

_SETTLED = frozenset({AdjustmentState.EXECUTED, AdjustmentState.PARTIALLY_EXECUTED, AdjustmentState.FAILED})


def adjustment_event(
    tenant_id: TenantId,
    adjustment: Adjustment,
    time_ns: int,
    *,
    outcome: str = "",
    fills: Sequence[Fill] = (),
) -> NewEvent:
    """Of the state that the adjustment has now; `fills` are those that brought it there."""
    kind = EventType(f"adjustment.{adjustment.state}")
    data = _data(adjustment, outcome, fills)
    return NewEvent(kind, tenant_id, adjustment.portfolio_id, time_ns, data)


def expired_event(tenant_id: TenantId, portfolio_id: PortfolioId, work: InFlight, time_ns: int) -> NewEvent:
    data = _expired_data(portfolio_id, work)
    return NewEvent(EventType.ADJUSTMENT_EXPIRED, tenant_id, portfolio_id, time_ns, data)


def superseded_event(
    tenant_id: TenantId, portfolio_id: PortfolioId, work: InFlight, outcome: str, time_ns: int
) -> NewEvent:
    data = _superseded_data(portfolio_id, work, outcome)
    return NewEvent(EventType.ADJUSTMENT_SUPERSEDED, tenant_id, portfolio_id, time_ns, data)


def _data(adjustment: Adjustment, outcome: str, fills: Sequence[Fill]) -> dict[str, Any]:
    if adjustment.state is AdjustmentState.EXPIRED:
        return _expired_data(adjustment.portfolio_id, adjustment)
    if adjustment.state is AdjustmentState.SUPERSEDED:
        return _superseded_data(adjustment.portfolio_id, adjustment, outcome)
    data = adjustment_data(adjustment)
    if adjustment.state not in OPEN_STATES:
        data["outcome"] = outcome
    if adjustment.state in _SETTLED:
        data["fills"] = [_fill_data(fill) for fill in fills]
    return data


def _expired_data(portfolio_id: PortfolioId, work: Adjustment | InFlight) -> dict[str, Any]:
    return _which(portfolio_id, work, AdjustmentState.EXPIRED) | {"expires_at": rfc3339(work.expires_at_ns)}


def _superseded_data(portfolio_id: PortfolioId, work: Adjustment | InFlight, outcome: str) -> dict[str, Any]:
    return _which(portfolio_id, work, AdjustmentState.SUPERSEDED) | {"outcome": outcome}


def _which(portfolio_id: PortfolioId, work: Adjustment | InFlight, state: AdjustmentState) -> dict[str, Any]:
    return {
        "adjustment_id": str(work.id),
        "portfolio_id": str(portfolio_id),
        "policy_id": str(work.policy_id),
        "policies": [str(policy_id) for policy_id in work.policies],
        "state": state.value,
    }


def _fill_data(fill: Fill) -> dict[str, Any]:
    return {
        "id": str(fill.id),
        "leg": fill.leg,
        "kind": fill.kind,
        "account_id": account_text(fill.account_id),
        "source_account_id": account_text(fill.source),
        "instrument": fill.instrument,
        "asset": fill.asset,
        "quantity": decimal_text(fill.quantity),
        "price": decimal_text(fill.price),
        "fee": decimal_text(fill.fee),
    }
