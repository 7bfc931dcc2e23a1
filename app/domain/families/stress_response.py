"""Exposure inside what the market can absorb: tiers on a stress metric, and a way back in steps."""

from decimal import Decimal
from typing import Annotated, Literal, Self, cast

from pydantic import ConfigDict, Field, model_validator

from app.domain.families.terms import DAY_SECONDS, AccountName, PolicyCommon, Positive, Terms


class StressTier(Terms):
    """From `above` on, exposure is cut to `exposure_multiplier` of what it was before the stress.

    It is left again once the metric has been below `recover_below` for the dwell. A metric of which less is
    worse, a depth say, has `below` and `recover_above` instead.
    """

    name: Annotated[str, Field(min_length=1, max_length=32, examples=["orange"])]
    above: Positive | None = None
    recover_below: Positive | None = None
    below: Positive | None = None
    recover_above: Positive | None = None
    exposure_multiplier: Annotated[Decimal, Field(ge=0, lt=1)]
    reduce_only: Annotated[bool, Field(description="Whether the portfolio may only reduce meanwhile.")] = (
        False
    )

    @model_validator(mode="after")
    def _has_one_direction(self) -> Self:
        given = [
            term is not None for term in (self.above, self.recover_below, self.below, self.recover_above)
        ]
        if given not in ([True, True, False, False], [False, False, True, True]):
            raise ValueError("a tier needs above and recover_below, or below and recover_above")
        if self.falls and self.leaves_at <= self.enters_at:
            raise ValueError("recover_above > below is needed, or the tier would flicker")
        if not self.falls and self.leaves_at >= self.enters_at:
            raise ValueError("recover_below < above is needed, or the tier would flicker")
        return self

    @property
    def falls(self) -> bool:
        """Whether stress is where the metric is low."""
        return self.below is not None

    @property
    def enters_at(self) -> Decimal:
        return cast(Decimal, self.below if self.falls else self.above)

    @property
    def leaves_at(self) -> Decimal:
        return cast(Decimal, self.recover_above if self.falls else self.recover_below)


class StressResponse(PolicyCommon):
    """Scales exposure down as stress passes its tiers, and up again, a tier at a time, as it eases.

    What the exposure was before the first tier is remembered, position by position.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "kind": "stress_response",
                    "name": "step back when liquidity dries up",
                    "mode": "auto",
                    "metric": "stress.MARKET",
                    "tiers": [
                        {
                            "name": "yellow",
                            "above": "0.5",
                            "recover_below": "0.4",
                            "exposure_multiplier": "0.7",
                        },
                        {
                            "name": "orange",
                            "above": "0.75",
                            "recover_below": "0.6",
                            "exposure_multiplier": "0.4",
                        },
                        {
                            "name": "red",
                            "above": "0.9",
                            "recover_below": "0.75",
                            "exposure_multiplier": "0.1",
                            "reduce_only": True,
                        },
                    ],
                    "recovery_dwell_seconds": 1800,
                }
            ]
        }
    )

    kind: Literal["stress_response"] = "stress_response"
    metric: Annotated[str, Field(min_length=1, max_length=128, description="Any metric of the registry.")] = (
        "stress.MARKET"
    )
    tiers: Annotated[tuple[StressTier, ...], Field(min_length=1, max_length=8)]
    recovery_dwell_seconds: Annotated[int, Field(ge=0, le=7 * DAY_SECONDS)] = 1_800
    re_risk: Annotated[bool, Field(description="Whether exposure is built up again afterwards.")] = True
    account: AccountName | None = None

    @property
    def falls(self) -> bool:
        return self.tiers[0].falls

    @model_validator(mode="after")
    def _tiers_worsen(self) -> Self:
        sign = -1 if self.falls else 1
        for lower, higher in zip(self.tiers, self.tiers[1:], strict=False):
            if higher.falls is not self.falls:
                raise ValueError("tiers: all of them go by above, or all by below")
            worsens = sign * lower.enters_at < sign * higher.enters_at
            if not (worsens and sign * lower.leaves_at <= sign * higher.leaves_at):
                raise ValueError(
                    "tiers: from one to the next, below must fall and recover_above not rise"
                    if self.falls
                    else "tiers: from one to the next, above must rise and recover_below not fall"
                )
            if lower.exposure_multiplier <= higher.exposure_multiplier:
                raise ValueError("tiers: from one to the next, exposure_multiplier must fall")
        return self
