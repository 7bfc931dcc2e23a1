"""What policies are doing and would do: routes that store nothing."""

from collections.abc import Sequence
from math import inf

from fastapi import APIRouter
from pydantic import Field

from app.domain.adjustment_json import adjustment_data
from app.domain.adjustments import Outcome, Reason
from app.domain.identifiers import PolicyId, PortfolioId
from app.domain.policies import Policy
from app.domain.portfolios import PortfolioState
from app.domain.times import NS_PER_SECOND, rfc3339
from app.engine.inspection import Standing, Trigger
from app.engine.rounding import metric_text
from app.engine.sleeping import Rest
from app.engine.universe import NEVER_NS
from app.entrypoints.api.dependencies import Deps, Reader
from app.entrypoints.api.risk import Figure
from app.entrypoints.api.schemas import AdjustmentData, Id, Moment, PolicyWarning, Shown
from app.entrypoints.api.strict_json import StrictRoute
from app.services.documents import Document
from app.services.preview_policy import PolicyPreview, PolicyStatus, preview_policy, show_status

router = APIRouter(prefix="/v1/policies", tags=["policies"], route_class=StrictRoute)


class RestingPrice(Shown):
    """`unbounded` is no limit on that side."""

    instrument: str = Field(examples=["BTC-USDT-PERP"])
    low: Figure
    high: Figure

    def words(self) -> str:
        below, above = (edge != metric_text(inf) for edge in (self.low, self.high))
        if below and above:
            return f"between {self.low} and {self.high} of {self.instrument}"
        if not (below or above):
            return ""
        return f"{'above' if below else 'below'} {self.low if below else self.high} of {self.instrument}"


class ShownTrigger(Shown):
    """A figure, and between which values the policy rests; `unbounded` is no limit."""

    figure: str = Field(examples=["net_delta.BTC"])
    value: Figure
    low: Figure
    high: Figure
    fires: bool
    distance: Figure = Field(description="To the nearer limit; negative where it is passed.")

    @classmethod
    def of(cls, trigger: Trigger) -> "ShownTrigger":
        return cls(
            figure=trigger.figure,
            value=metric_text(trigger.value),
            low=metric_text(trigger.low),
            high=metric_text(trigger.high),
            fires=trigger.fired,
            distance=metric_text(min(trigger.value - trigger.low, trigger.high - trigger.value)),
        )


class ShownRest(Shown):
    """Between these prices, and until then, the policy certainly does not fire, nor for news of anything else
    that stays with them. Other prices of the same underlying may move against the named one by a tenth of the
    way, and by half a percent.
    """

    prices: list[RestingPrice]
    until: Moment | None = Field(description="When it is looked at anew, at these prices too; null is never.")
    text: str = Field(examples=["rests between 61240 and 68910 of BTC-USDT-PERP"])

    @classmethod
    def of(cls, rest: Rest, names: Sequence[str]) -> "ShownRest":
        prices = [
            RestingPrice(instrument=names[row], low=metric_text(low), high=metric_text(high))
            for row, (low, high) in rest.prices.items()
        ]
        until = None if rest.until_ns == NEVER_NS else rfc3339(rest.until_ns)
        spans = [span for each in prices if (span := each.words())]
        text = "rests " + " and ".join(spans or ["at every price"]) + (f" until {until}" if until else "")
        return cls(prices=prices, until=until, text=text)


class ShownPolicyStatus(Shown):
    """`armed`: it is enabled, and nothing but its own trigger and the guards keeps it from acting."""

    policy_id: Id
    version: int = Field(examples=[3])
    armed: bool
    clock: Moment
    triggers: list[ShownTrigger]
    fires: bool
    suppressed_by: Reason | None = Field(description="Of its last record, while that still holds.")
    cooldown_left_seconds: Figure
    rest: ShownRest | None = Field(description="Null while it fires, or where no bound is known.")
    open_adjustments: list[Id]

    @classmethod
    def of(cls, status: PolicyStatus) -> "ShownPolicyStatus":
        record, standing, portfolio = status.record, status.standing, status.portfolio
        left = max(standing.cooldown_until_ns - standing.time_ns, 0)
        return cls(
            policy_id=record.id,
            version=record.version,
            armed=record.policy.enabled and portfolio.state is not PortfolioState.HALTED,
            clock=rfc3339(standing.time_ns),
            triggers=_triggers(standing),
            fires=any(trigger.fired for trigger in standing.triggers),
            suppressed_by=standing.memory.suppressed,
            cooldown_left_seconds=metric_text(left / NS_PER_SECOND),
            rest=ShownRest.of(standing.rest, status.instruments) if standing.rest else None,
            open_adjustments=[work.id for work in portfolio.in_flight if work.serves(record.id)],
        )


class PreviewRequest(Document):
    portfolio_id: Id
    policy: Policy
    replaces: Id | None = Field(default=None, description="A stored policy that it would take the place of.")


class ShownPreview(Shown):
    """`outcome` and `reason` are null where the policy does not fire; the adjustment is what it would do.

    Other policies of the portfolio that fire now are served by the same adjustment.
    """

    portfolio_id: Id
    portfolio_revision: int = Field(examples=[7])
    clock: Moment
    triggers: list[ShownTrigger]
    metrics: dict[str, str] = Field(examples=[{"margin_ratio": "0.52", "leverage": "4.1"}])
    outcome: Outcome | None
    reason: Reason | None
    adjustment: AdjustmentData | None
    warnings: list[PolicyWarning]

    @classmethod
    def of(cls, found: PolicyPreview) -> "ShownPreview":
        preview = found.preview
        decision, adjustment = preview.decision, preview.adjustment
        return cls(
            portfolio_id=found.portfolio.id,
            portfolio_revision=found.portfolio.revision,
            clock=rfc3339(preview.standing.time_ns),
            triggers=_triggers(preview.standing),
            metrics=preview.standing.metrics,
            outcome=decision.outcome if decision else None,
            reason=decision.reason if decision else None,
            adjustment=AdjustmentData.model_validate(adjustment_data(adjustment)) if adjustment else None,
            warnings=[PolicyWarning.of(conflict) for conflict in found.warnings],
        )


def _triggers(standing: Standing) -> list[ShownTrigger]:
    return [ShownTrigger.of(trigger) for trigger in standing.triggers]


@router.post("/preview")
async def preview(request: PreviewRequest, caller: Reader, deps: Deps) -> ShownPreview:
    """What this policy would do now, beside the portfolio's others. Nothing is stored."""
    found = await preview_policy(
        deps.units,
        deps.market,
        caller.tenant_id,
        PortfolioId(request.portfolio_id),
        request.policy,
        policy_id=PolicyId(request.replaces or deps.new_id()),
    )
    return ShownPreview.of(found)


@router.get("/{policy_id}/status")
async def status(policy_id: Id, caller: Reader, deps: Deps) -> ShownPolicyStatus:
    """Computed now, on the newest frame."""
    return ShownPolicyStatus.of(
        await show_status(deps.units, deps.market, caller.tenant_id, PolicyId(policy_id))
    )
