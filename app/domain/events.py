"""The registry of events: every type, its version, its one emitter and what it tells.

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
    PORTFOLIO_STATE_CHANGED = "portfolio.state_changed"


class Emitter(StrEnum):
    EVALUATOR = "evaluator"
    EXECUTOR = "executor"
    API = "api"


@dataclass(frozen=True, slots=True)
class EventSpec:
    type: EventType
    version: int
    emitter: Emitter
    summary: str


_T = EventType
EVENTS: dict[EventType, EventSpec] = {
    spec.type: spec
    for spec in (
        EventSpec(_T.ADJUSTMENT_RECOMMENDED, 1, Emitter.EVALUATOR, "A policy fired; the client should act."),
        EventSpec(_T.ADJUSTMENT_APPROVED, 1, Emitter.API, "The client approved it; it was re-checked."),
        EventSpec(
            _T.ADJUSTMENT_QUEUED, 1, Emitter.EVALUATOR, "An automatic adjustment waits for the executor."
        ),
        EventSpec(_T.ADJUSTMENT_EXECUTING, 1, Emitter.EXECUTOR, "The executor took it."),
        EventSpec(_T.ADJUSTMENT_EXECUTED, 1, Emitter.EXECUTOR, "Every leg was filled."),
        EventSpec(_T.ADJUSTMENT_PARTIALLY_EXECUTED, 1, Emitter.EXECUTOR, "Some legs were filled."),
        EventSpec(_T.ADJUSTMENT_FAILED, 1, Emitter.EXECUTOR, "Nothing was filled."),
        EventSpec(_T.ADJUSTMENT_REJECTED, 1, Emitter.API, "The client rejected it."),
        EventSpec(_T.ADJUSTMENT_EXPIRED, 1, Emitter.EVALUATOR, "Its time passed on the market clock."),
        EventSpec(
            _T.ADJUSTMENT_SUPERSEDED, 1, Emitter.API, "A newer statement of the portfolio replaced it."
        ),
        EventSpec(_T.ACCOUNT_LIQUIDATED, 1, Emitter.EVALUATOR, "A paper account fell below maintenance."),
        EventSpec(_T.PORTFOLIO_STATE_CHANGED, 1, Emitter.API, "active, reduce_only or halted."),
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
