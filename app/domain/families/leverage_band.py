"""Leverage in a band: recentred toward a target at a chosen speed once it has left the band."""

from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator
from typing_extensions import override

from app.domain.families.terms import AccountName, InstrumentNames, PolicyCommon, Positive
from app.domain.instruments import AssetCode


class LeverageBand(PolicyCommon):
    """Keeps leverage between a minimum and a maximum.

    Outside of them it moves to max(minimum, min(maximum, current x (1 - speed) + target x speed)).
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "kind": "leverage_band",
                    "name": "2x ETH",
                    "mode": "auto",
                    "minimum": "1.74",
                    "target": "2.0",
                    "maximum": "2.30",
                    "recentring_speed": "0.05",
                    "maximum_buy_price": {"ETH": "6000"},
                    "guards": {"cooldown_seconds": 86400},
                }
            ]
        }
    )

    kind: Literal["leverage_band"] = "leverage_band"
    minimum: Annotated[Decimal, Field(ge=0)]
    target: Positive
    maximum: Positive
    recentring_speed: Annotated[Decimal, Field(gt=0, le=1, description="1 goes to the target at once.")] = (
        Decimal(1)
    )
    boost: Annotated[bool, Field(description="Whether it may increase positions, and borrow for them.")] = (
        True
    )
    repay: Annotated[bool, Field(description="Whether it may reduce them, and repay.")] = True
    account: Annotated[AccountName | None, Field(description="The whole portfolio when absent.")] = None
    trade_instruments: Annotated[
        InstrumentNames,
        Field(
            description="What is traded, for loans spot markets and pools; the positions in scope when empty."
        ),
    ] = ()
    maximum_buy_price: Annotated[
        dict[AssetCode, Positive], Field(description="By underlying: nothing is bought above it.")
    ] = Field(default_factory=dict)
    minimum_sell_price: Annotated[
        dict[AssetCode, Positive], Field(description="By underlying: nothing is sold below it.")
    ] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _target_is_inside(self) -> Self:
        if not self.minimum < self.target < self.maximum:
            raise ValueError("leverage: minimum < target < maximum is needed")
        if not (self.boost or self.repay):
            raise ValueError("boost and repay are both off: the policy could never act")
        return self

    @property
    @override
    def instruments(self) -> tuple[str, ...]:
        return self.trade_instruments
