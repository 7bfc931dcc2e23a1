"""The registry of events: every type, its version, whose log it is in, who emits it and what it tells.

OpenAPI's `webhooks`, AsyncAPI and docs/events.md are generated from `EVENTS`. Each type has one emitter: the
role whose work it belongs to. Where another role may write it, in the transaction that does the same, the
registry says when; nobody else does.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from uuid import UUID

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
    POLICY_CREATED = "policy.created"
    POLICY_CHANGED = "policy.changed"
    POLICY_ENABLED = "policy.enabled"
    POLICY_DISABLED = "policy.disabled"
    POLICY_DELETED = "policy.deleted"
    POLICY_NOTIFIED = "policy.notified"
    PORTFOLIO_STATE_CHANGED = "portfolio.state_changed"
    PORTFOLIO_MARGIN_WARNING = "portfolio.margin_warning"
    PORTFOLIO_LIQUIDATION_RISK = "portfolio.liquidation_risk"
    MARKET_DEGRADED = "market.degraded"
    MARKET_RECOVERED = "market.recovered"
    ACCOUNT_LIQUIDATED = "account.liquidated"
    FUNDING_ACCRUED = "funding.accrued"
    INTEREST_ACCRUED = "interest.accrued"
    POSITION_SETTLED = "position.settled"
    WEBHOOK_DISABLED = "webhook.disabled"


class Emitter(StrEnum):
    EVALUATOR = "evaluator"
    EXECUTOR = "executor"
    API = "api"
    COURIER = "courier"


class LogOf(StrEnum):
    """Whose log, each with a sequence of its own."""

    PORTFOLIO = "portfolio"
    TENANT = "tenant"


@dataclass(frozen=True, slots=True)
class EventSpec:
    """`others` says of roles beside the emitter when they write it."""

    type: EventType
    emitter: Emitter
    summary: str
    others: Mapping[Emitter, str] = field(default_factory=dict)
    version: int = 1
    log: LogOf = LogOf.PORTFOLIO

    @property
    def emitters(self) -> frozenset[Emitter]:
        return frozenset({self.emitter, *self.others})


_T, _E = EventType, Emitter
EVENTS: dict[EventType, EventSpec] = {
    spec.type: spec
    for spec in (
        EventSpec(_T.ADJUSTMENT_RECOMMENDED, _E.EVALUATOR, "A policy fired; the client should act."),
        EventSpec(_T.ADJUSTMENT_APPROVED, _E.API, "The client approved it; it was re-checked."),
        EventSpec(
            _T.ADJUSTMENT_QUEUED,
            _E.EVALUATOR,
            "It waits for the executor.",
            {_E.API: "once the client approved it"},
        ),
        EventSpec(_T.ADJUSTMENT_EXECUTING, _E.EXECUTOR, "The executor took it."),
        EventSpec(
            _T.ADJUSTMENT_EXECUTED,
            _E.EXECUTOR,
            "Every leg was filled.",
            {_E.API: "when the client reports fills of what was only recommended"},
        ),
        EventSpec(_T.ADJUSTMENT_PARTIALLY_EXECUTED, _E.EXECUTOR, "Some legs were filled."),
        EventSpec(_T.ADJUSTMENT_FAILED, _E.EXECUTOR, "Nothing was filled."),
        EventSpec(
            _T.ADJUSTMENT_REJECTED,
            _E.API,
            "The client rejected it, or its portfolio allows it no more.",
            {_E.EXECUTOR: "when the portfolio allows it no more"},
        ),
        EventSpec(
            _T.ADJUSTMENT_EXPIRED,
            _E.EVALUATOR,
            "Its time passed on the market clock.",
            {_E.EXECUTOR: "when the time of what is queued has passed before it was taken"},
        ),
        EventSpec(
            _T.ADJUSTMENT_SUPERSEDED,
            _E.EVALUATOR,
            "A newer plan or statement replaced it.",
            {_E.API: "when the client states positions, or changes the policy or the portfolio"},
        ),
        EventSpec(_T.POLICY_CREATED, _E.API, "A trader's policy is there, in its first version."),
        EventSpec(_T.POLICY_CHANGED, _E.API, "It was replaced by its next version."),
        EventSpec(_T.POLICY_ENABLED, _E.API, "It is evaluated again, as its next version."),
        EventSpec(_T.POLICY_DISABLED, _E.API, "It is evaluated no more, until it is enabled."),
        EventSpec(_T.POLICY_DELETED, _E.API, "It is gone; this was its last version."),
        EventSpec(_T.POLICY_NOTIFIED, _E.EVALUATOR, "A rule had something to say."),
        EventSpec(
            _T.PORTFOLIO_STATE_CHANGED,
            _E.API,
            "active, reduce_only or halted.",
            {_E.EVALUATOR: "when a policy sets it"},
        ),
        EventSpec(
            _T.PORTFOLIO_MARGIN_WARNING,
            _E.EVALUATOR,
            "An account's margin came to the level of a warning, or is back from it.",
        ),
        EventSpec(
            _T.PORTFOLIO_LIQUIDATION_RISK,
            _E.EVALUATOR,
            "An account came close to its liquidation, or is back from there.",
        ),
        EventSpec(
            _T.MARKET_DEGRADED,
            _E.EVALUATOR,
            "Prices that the portfolio's policies depend on have not been valid for a while.",
        ),
        EventSpec(_T.MARKET_RECOVERED, _E.EVALUATOR, "They have been valid again for a while."),
        EventSpec(_T.ACCOUNT_LIQUIDATED, _E.EVALUATOR, "A paper account fell below maintenance."),
        EventSpec(_T.FUNDING_ACCRUED, _E.EVALUATOR, "A paper account paid or received funding."),
        EventSpec(
            _T.INTEREST_ACCRUED,
            _E.EVALUATOR,
            "Interest was added to what a paper account lent and owes.",
        ),
        EventSpec(_T.POSITION_SETTLED, _E.EVALUATOR, "A paper account's futures or options expired."),
        EventSpec(
            _T.WEBHOOK_DISABLED,
            _E.COURIER,
            "A webhook endpoint was switched off: nothing is sent to it until it is enabled.",
            log=LogOf.TENANT,
        ),
    )
}


class NewEvent(Struct, frozen=True):
    """An event before its sequence is taken. `data` is JSON-ready: decimals and times as strings.

    `portfolio_id` says in whose log: what belongs to no portfolio is in its tenant's own, of the tenant's id.
    """

    type: EventType
    tenant_id: TenantId
    portfolio_id: PortfolioId
    time_ns: int
    data: dict[str, Any]

    @property
    def is_tenants_own(self) -> bool:
        return self.portfolio_id == self.tenant_id


class Event(Struct, frozen=True):
    """An event in its log, a portfolio's or the tenant's own. The sequence has no gaps."""

    type: EventType
    version: int
    tenant_id: TenantId
    portfolio_id: PortfolioId
    sequence: int
    time_ns: int
    data: dict[str, Any]

    @property
    def is_tenants_own(self) -> bool:
        return self.portfolio_id == self.tenant_id

    @property
    def id(self) -> str:
        """Derived from its place in the log, so that whoever sends it again sends the same id."""
        return event_id(self.portfolio_id, self.sequence)


def event_id(portfolio_id: UUID, sequence: int) -> str:
    """Of what stands there in a portfolio's log, or (by the tenant's id) in the tenant's own."""
    return f"evt_{derived_id('event', portfolio_id, sequence).hex}"
