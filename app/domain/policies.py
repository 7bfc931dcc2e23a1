"""Scaling policies: what to keep, when to act, how far to go, and within which guards.

One discriminated union by `kind`. A policy is not a script: its trigger says when, its target says which
state to return to; the plan is found by the arbiter. Later families join `Policy` and nothing else changes.
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from app.domain.identifiers import PolicyId
from app.domain.instruments import AssetCode, InstrumentName
from app.domain.metrics import MetricName


class Mode(StrEnum):
    """`recommend`: the client acts. `confirm`: executed once approved. `auto`: executed."""

    RECOMMEND = "recommend"
    CONFIRM = "confirm"
    AUTO = "auto"


class Cure(StrEnum):
    TOP_UP = "top_up"
    REDUCE = "reduce"


class Guards(BaseModel):
    """Limits on when and how a fired policy may act."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cooldown_seconds: Annotated[
        int, Field(ge=0, le=30 * 86_400, description="Rest after acting, by the market clock.")
    ] = 300
    minimum_notional: Annotated[
        Decimal, Field(ge=0, description="Smaller trades are dust; in the valuation currency.")
    ] = Decimal(10)
    expiry_seconds: Annotated[
        int, Field(ge=1, le=7 * 86_400, description="How long an adjustment stays actionable.")
    ] = 300
    maximum_price_age_seconds: Annotated[
        int, Field(ge=1, le=86_400, description="Older prices suppress acting.")
    ] = 60


class PolicyCommon(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=80)]
    enabled: bool = True
    mode: Mode = Mode.RECOMMEND
    priority: Annotated[int, Field(ge=0, le=1000, description="Lower acts first.")] = 100
    guards: Guards = Guards()


class DeltaNeutral(PolicyCommon):
    """Keeps the net delta of an underlying at a target, within a fixed band."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "kind": "delta_neutral",
                    "name": "BTC flat",
                    "mode": "recommend",
                    "underlying": "BTC",
                    "target_delta": "0",
                    "band": "0.25",
                    "hedge_instrument": "BTC-USDT-PERP",
                    "guards": {"cooldown_seconds": 60, "minimum_notional": "50"},
                }
            ]
        }
    )

    kind: Literal["delta_neutral"] = "delta_neutral"
    underlying: AssetCode
    target_delta: Annotated[Decimal, Field(description="In units of the underlying.")] = Decimal(0)
    band: Annotated[Decimal, Field(gt=0, description="Half width, in units of the underlying.")]
    hedge_instrument: Annotated[
        InstrumentName, Field(description="A linear or inverse perpetual or future on the underlying.")
    ]
    hedge_account: Annotated[
        str | None, Field(description="Account name to trade in; the first that can, when absent.")
    ] = None


class LiquidationGuard(PolicyCommon):
    """Keeps every account in scope away from liquidation: acts at `trigger`, restores to `restore`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "kind": "liquidation_guard",
                    "name": "stay alive",
                    "mode": "auto",
                    "priority": 0,
                    "metric": "margin_ratio",
                    "trigger": "0.5",
                    "restore": "0.3",
                    "cures": ["top_up", "reduce"],
                }
            ]
        }
    )

    kind: Literal["liquidation_guard"] = "liquidation_guard"
    priority: Annotated[int, Field(ge=0, le=1000, description="Lower acts first.")] = 0
    metric: Literal[MetricName.MARGIN_RATIO, MetricName.HEALTH_FACTOR] = MetricName.MARGIN_RATIO
    trigger: Annotated[Decimal, Field(gt=0)]
    restore: Annotated[Decimal, Field(gt=0)]
    cures: Annotated[tuple[Cure, ...], Field(min_length=1, max_length=2)] = (Cure.TOP_UP, Cure.REDUCE)
    account: Annotated[str | None, Field(description="Account name; every account when absent.")] = None

    @model_validator(mode="after")
    def _restore_is_safer(self) -> Self:
        if self.metric is MetricName.MARGIN_RATIO and not self.restore < self.trigger <= 1:
            raise ValueError("margin_ratio: 1 is liquidation, so restore < trigger <= 1 is needed")
        if self.metric is MetricName.HEALTH_FACTOR and not self.restore > self.trigger >= 1:
            raise ValueError("health_factor: 1 is liquidation, so restore > trigger >= 1 is needed")
        if len(set(self.cures)) != len(self.cures):
            raise ValueError("each cure once")
        return self

    @property
    def trigger_margin_ratio(self) -> Decimal:
        return self.trigger if self.metric is MetricName.MARGIN_RATIO else 1 / self.trigger

    @property
    def restore_margin_ratio(self) -> Decimal:
        return self.restore if self.metric is MetricName.MARGIN_RATIO else 1 / self.restore


Policy = Annotated[DeltaNeutral | LiquidationGuard, Field(discriminator="kind")]
POLICY: TypeAdapter[DeltaNeutral | LiquidationGuard] = TypeAdapter(Policy)


@dataclass(frozen=True, slots=True)
class StoredPolicy:
    """A policy with its identity; `version` grows with every edit, older ones are kept."""

    id: PolicyId
    version: int
    policy: DeltaNeutral | LiquidationGuard
