"""Away from liquidation: acts at a trigger, restores to a level, by the cheapest mix of permitted cures."""

from decimal import Decimal
from enum import StrEnum
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator
from typing_extensions import override

from app.domain.families.terms import (
    DAY_SECONDS,
    AccountName,
    InstrumentNames,
    NotNegative,
    PolicyCommon,
    Terms,
)
from app.domain.instruments import AssetCode
from app.domain.metrics import MetricName


class Cure(StrEnum):
    """`reduce` shrinks positions in proportion to nothing but cost; `close` may only end them whole."""

    TOP_UP = "top_up"
    REDUCE = "reduce"
    CLOSE = "close"
    HEDGE = "hedge"


class TopUpSource(Terms):
    """A reserve that may be used, and what of it stays back (besides what the reserve itself keeps)."""

    asset: AssetCode
    keep: NotNegative = Decimal(0)


class Emergency(Terms):
    """The ripcord: past this level the guard rests less and pays more.

    The cost caps of the guards do not hold here unless `obey_cost_caps` says so: a cap that was meant for
    quiet days must not disarm the guard in a crash.
    """

    trigger: Annotated[
        Decimal | None,
        Field(gt=0, description="Nearer to liquidation than the guard's; half way there when absent."),
    ] = None
    cooldown_seconds: Annotated[int, Field(ge=0, le=DAY_SECONDS)] = 60
    maximum_cost_bps: Annotated[
        Decimal | None, Field(gt=0, le=10_000, description="Of what is traded; none unless stated.")
    ] = None
    obey_cost_caps: bool = False


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
                    "top_up_from": [{"asset": "USDT", "keep": "500"}],
                    "emergency": {"trigger": "0.8", "cooldown_seconds": 60},
                },
                {
                    "kind": "liquidation_guard",
                    "name": "alive even if the price is a little worse",
                    "mode": "auto",
                    "metric": "health_factor",
                    "account": "loan",
                    "trigger": "1.3",
                    "restore": "1.5",
                    "confidence_multiple": "2",
                },
            ]
        }
    )

    kind: Literal["liquidation_guard"] = "liquidation_guard"
    priority: Annotated[int, Field(ge=0, le=1000, description="Lower acts first.")] = 0
    metric: Literal[MetricName.MARGIN_RATIO, MetricName.HEALTH_FACTOR, MetricName.LIQUIDATION_DISTANCE] = (
        MetricName.MARGIN_RATIO
    )
    trigger: Annotated[Decimal, Field(gt=0)]
    restore: Annotated[Decimal, Field(gt=0)]
    confidence_multiple: Annotated[
        Decimal,
        Field(
            ge=0,
            le=10,
            description="Every price is taken so many of its confidences against the account: what it is "
            "long below the consensus, what it is short or owes above. 0 takes the consensus.",
        ),
    ] = Decimal(0)
    cures: Annotated[tuple[Cure, ...], Field(min_length=1, max_length=4)] = (Cure.TOP_UP, Cure.REDUCE)
    account: Annotated[AccountName | None, Field(description="Every account when absent.")] = None
    top_up_from: Annotated[
        tuple[TopUpSource, ...] | None, Field(max_length=16, description="Every reserve when absent.")
    ] = None
    hedge_instruments: InstrumentNames = ()
    reduce_options: Annotated[bool, Field(description="Whether options may be closed too.")] = False
    act_when_halted: Annotated[
        bool, Field(description="Whether a halted portfolio is still kept from liquidation.")
    ] = True
    emergency: Annotated[
        Emergency | None, Field(description="`null`: there is none, and the cost caps hold in a crash too.")
    ] = Emergency()

    @model_validator(mode="after")
    def _restore_is_safer(self) -> Self:
        stated = self.emergency.trigger if self.emergency else None
        levels = (self.restore, self.trigger, *((stated,) if stated is not None else ()))
        if self.metric is MetricName.MARGIN_RATIO:
            if not _falling(tuple(-level for level in levels)) or levels[-1] > 1:
                raise ValueError(
                    "margin_ratio: 1 is liquidation, so restore < trigger < emergency.trigger <= 1 is needed"
                )
        elif self.metric is MetricName.HEALTH_FACTOR:
            if not _falling(levels) or levels[-1] < 1:
                raise ValueError(
                    "health_factor: 1 is liquidation, so restore > trigger > emergency.trigger >= 1 is needed"
                )
        elif not _falling(levels) or self.restore >= 1:
            raise ValueError(
                "liquidation_distance: 0 is liquidation, so 1 > restore > trigger > emergency.trigger"
            )
        return self

    @model_validator(mode="after")
    def _metric_has_confidence(self) -> Self:
        if self.confidence_multiple and self.metric is MetricName.LIQUIDATION_DISTANCE:
            raise ValueError(
                "confidence_multiple: a liquidation_distance is found from the consensus; guard margin_ratio "
                "or health_factor"
            )
        return self

    @model_validator(mode="after")
    def _cures_can_be_done(self) -> Self:
        if len(set(self.cures)) != len(self.cures):
            raise ValueError("cures: each cure once")
        if Cure.HEDGE in self.cures and not self.hedge_instruments:
            raise ValueError("cures: hedge needs hedge_instruments to trade")
        if Cure.HEDGE not in self.cures and self.hedge_instruments:
            raise ValueError("hedge_instruments are given, but cures do not name hedge")
        if self.top_up_from is not None and Cure.TOP_UP not in self.cures:
            raise ValueError("top_up_from is given, but cures do not name top_up")
        return self

    @property
    def emergency_trigger(self) -> Decimal | None:
        """None where there is no emergency."""
        if self.emergency is None:
            return None
        if self.emergency.trigger is not None:
            return self.emergency.trigger
        liquidation = 0 if self.metric is MetricName.LIQUIDATION_DISTANCE else 1
        return (self.trigger + liquidation) / 2

    @property
    @override
    def instruments(self) -> tuple[str, ...]:
        return self.hedge_instruments


def _falling(levels: tuple[Decimal, ...]) -> bool:
    return all(first > second for first, second in pairwise(levels))
