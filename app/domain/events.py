"""The registry of events: every type, its version, the roles that emit it and what it tells.

OpenAPI's `webhooks`, AsyncAPI and the docs are generated from `EVENTS`.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from msgspec import Struct

from app.domain.identifiers import PortfolioId, TenantId, derived_id


class EventType(StrEnum):
    ADJUSTMENT_RECOMMENDED = "adjustment.recommended"
    ADJUSTMENT_APPROVED = "adjustment.approved"
    ADJUSTMENT_QUEUED = "adjustment.queued"
    ADJUSTMENT_EXECUTING = "adjustment.executing"
    ADJUSTMENT_EXECUTED = "adjustment.executed"
    ADJUSTMENT_PARTIALLY_EXECUTED = "adjustment.partially_executed"
    ADJUSTMENT_FAILED = "adjustment.failed"
    ADJUSTMENT_REJECTED = "adjustment.rejected"
    ADJUSTMENT_EXPIRED = "adjustment.expired"
    ADJUSTMENT_SUPERSEDED = "adjustment.superseded"
    ACCOUNT_LIQUIDATED = "account.liquidated"
    FUNDING_ACCRUED = "funding.accrued"
    INTEREST_ACCRUED = "interest.accrued"
    POSITION_SETTLED = "position.settled"
    PORTFOLIO_STATE_CHANGED = "portfolio.state_changed"
    POLICY_NOTIFIED = "policy.notified"


class Emitter(StrEnum):
    EVALUATOR = "evaluator"
    EXECUTOR = "executor"
    API = "api"


@dataclass(frozen=True, slots=True)
class EventSpec:
    type: EventType
    version: int
    emitters: frozenset[Emitter]
    summary: str


def _spec(kind: EventType, summary: str, *emitters: Emitter, version: int = 1) -> EventSpec:
    return EventSpec(kind, version, frozenset(emitters), summary)


_T, _E = EventType, Emitter
EVENTS: dict[EventType, EventSpec] = {
    spec.type: spec
    for spec in (
        _spec(_T.ADJUSTMENT_RECOMMENDED, "A policy fired; the client should act.", _E.EVALUATOR),
        _spec(_T.ADJUSTMENT_APPROVED, "The client approved it; it was re-checked.", _E.API),
        _spec(_T.ADJUSTMENT_QUEUED, "It waits for the executor.", _E.EVALUATOR, _E.API),
        _spec(_T.ADJUSTMENT_EXECUTING, "The executor took it.", _E.EXECUTOR),
        _spec(_T.ADJUSTMENT_EXECUTED, "Every leg was filled.", _E.EXECUTOR, _E.API),
        _spec(_T.ADJUSTMENT_PARTIALLY_EXECUTED, "Some legs were filled.", _E.EXECUTOR),
        _spec(_T.ADJUSTMENT_FAILED, "Nothing was filled.", _E.EXECUTOR),
        _spec(
            _T.ADJUSTMENT_REJECTED,
            "The client rejected it, or its portfolio allows it no more.",
            _E.EXECUTOR,
            _E.API,
        ),
        _spec(_T.ADJUSTMENT_EXPIRED, "Its time passed on the market clock.", _E.EVALUATOR, _E.EXECUTOR),
        _spec(_T.ADJUSTMENT_SUPERSEDED, "A newer plan or statement replaced it.", _E.EVALUATOR, _E.API),
        _spec(_T.ACCOUNT_LIQUIDATED, "A paper account fell below maintenance.", _E.EVALUATOR),
        _spec(_T.PORTFOLIO_STATE_CHANGED, "active, reduce_only or halted.", _E.EVALUATOR, _E.API),
        _spec(_T.POLICY_NOTIFIED, "A rule had something to say.", _E.EVALUATOR),
        _spec(_T.FUNDING_ACCRUED, "A paper account paid or received funding.", _E.EVALUATOR),
        _spec(_T.INTEREST_ACCRUED, "Interest was added to what a paper account lent and owes.", _E.EVALUATOR),
        _spec(_T.POSITION_SETTLED, "A paper account's futures or options expired.", _E.EVALUATOR),
    )
}


class NewEvent(Struct, frozen=True):
    """An event before its sequence is taken. `data` is JSON-ready: decimals and times as strings."""

    type: EventType
    tenant_id: TenantId
    portfolio_id: PortfolioId
    time_ns: int
    data: dict[str, Any]


class Event(Struct, frozen=True):
    """An event in its portfolio's log. The sequence has no gaps."""

    type: EventType
    version: int
    tenant_id: TenantId
    portfolio_id: PortfolioId
    sequence: int
    time_ns: int
    data: dict[str, Any]

    @property
    def id(self) -> str:
        """Derived from its place in the log, so that whoever sends it again sends the same id."""
        return f"evt_{derived_id('event', self.portfolio_id, self.sequence).hex}"
