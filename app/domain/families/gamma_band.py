"""Gamma and vega within limits, the delta kept where it was."""

from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator
from typing_extensions import override

from app.domain.families.terms import AccountName, InstrumentNames, PolicyCommon
from app.domain.instruments import AssetCode


class GammaBand(PolicyCommon):
    """Keeps dollar gamma (change of the delta's value for a 1 % move) and dollar vega (per volatility
    point) of an underlying within limits, all in the valuation currency.

    Outside of them it comes back to `restore` of the limit. The delta stays where it was, by the hedge
    instruments, or as far as options alone allow.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "kind": "gamma_band",
                    "name": "never more short gamma than this",
                    "mode": "confirm",
                    "underlying": "BTC",
                    "minimum_dollar_gamma": "-20000",
                    "minimum_dollar_vega": "-5000",
                    "options": ["BTC-28MAR25-100000-C", "BTC-28MAR25-80000-P"],
                    "hedge_instruments": ["BTC-USDT-PERP"],
                }
            ]
        }
    )

    kind: Literal["gamma_band"] = "gamma_band"
    underlying: AssetCode
    minimum_dollar_gamma: Decimal | None = None
    maximum_dollar_gamma: Decimal | None = None
    minimum_dollar_vega: Decimal | None = None
    maximum_dollar_vega: Decimal | None = None
    restore: Annotated[Decimal, Field(gt=0, le=1, description="Of the limit that was passed.")] = Decimal(
        "0.8"
    )
    options: Annotated[InstrumentNames, Field(description="What may be bought and sold.")] = ()
    scale_options: Annotated[bool, Field(description="Whether held options may be reduced.")] = False
    hedge_instruments: Annotated[InstrumentNames, Field(description="Keep the delta where it was.")] = ()
    account: AccountName | None = None

    @model_validator(mode="after")
    def _limits_fit(self) -> Self:
        pairs = (
            ("gamma", self.minimum_dollar_gamma, self.maximum_dollar_gamma),
            ("vega", self.minimum_dollar_vega, self.maximum_dollar_vega),
        )
        if all(limit is None for _, *limits in pairs for limit in limits):
            raise ValueError("a gamma_band needs at least one limit")
        for greek, low, high in pairs:
            if low is not None and high is not None and low >= high:
                raise ValueError(f"minimum_dollar_{greek} < maximum_dollar_{greek} is needed")
        if not (self.options or self.scale_options):
            raise ValueError("nothing to act with: name options, or set scale_options")
        return self

    @property
    @override
    def instruments(self) -> tuple[str, ...]:
        return (*self.options, *self.hedge_instruments)
