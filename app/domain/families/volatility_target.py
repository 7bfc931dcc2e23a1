"""Size by volatility: exposure x volatility at a target share of equity."""

from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator
from typing_extensions import override

from app.domain.families.terms import (
    DAY_SECONDS,
    AccountName,
    InstrumentNames,
    PolicyCommon,
    Terms,
)
from app.domain.instruments import AssetCode, InstrumentName


class Estimator(StrEnum):
    """How bars of prices become a volatility (docs/quant/estimators.md)."""

    CLOSE_TO_CLOSE = "close_to_close"
    EWMA = "ewma"
    PARKINSON = "parkinson"
    GARMAN_KLASS = "garman_klass"
    ROGERS_SATCHELL = "rogers_satchell"
    YANG_ZHANG = "yang_zhang"
    BIPOWER = "bipower"


class RealizedVolatility(Terms):
    """Measured on bars of an instrument's prices, by the market clock."""

    kind: Literal["realized"] = "realized"
    instrument: InstrumentName
    estimator: Estimator = Estimator.EWMA
    bar_seconds: Annotated[int, Field(ge=1, le=DAY_SECONDS)] = 300
    window_bars: Annotated[int, Field(ge=2, le=10_000)] = 288
    half_life_bars: Annotated[int, Field(ge=1, le=10_000, description="Of the ewma alone.")] = 72


class ImpliedVolatility(Terms):
    """What an option is quoted at."""

    kind: Literal["implied"] = "implied"
    instrument: Annotated[InstrumentName, Field(description="An option.")]


class ForecastVolatility(Terms):
    """What is expected next, as the service forecasts it."""

    kind: Literal["forecast"] = "forecast"
    instrument: InstrumentName


VolatilitySource = Annotated[
    RealizedVolatility | ImpliedVolatility | ForecastVolatility, Field(discriminator="kind")
]


class VolatilityTarget(PolicyCommon):
    """Keeps |net delta| x price = equity x target / volatility, for one underlying.

    That leverage is clipped to the scale limits. The sign of the position stays what it is.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "kind": "volatility_target",
                    "name": "BTC at 40 % a year",
                    "mode": "auto",
                    "underlying": "BTC",
                    "volatility": {
                        "kind": "realized",
                        "instrument": "BTC-USDT-PERP",
                        "estimator": "ewma",
                        "bar_seconds": 300,
                    },
                    "target_volatility_annual": "0.4",
                    "minimum_leverage": "0",
                    "maximum_leverage": "3",
                    "band": "0.15",
                }
            ]
        }
    )

    kind: Literal["volatility_target"] = "volatility_target"
    underlying: AssetCode
    volatility: VolatilitySource
    target_volatility_annual: Annotated[Decimal, Field(gt=0, le=10, description="As a decimal: 0.4 is 40 %.")]
    minimum_leverage: Annotated[Decimal, Field(ge=0, description="Of the scaled exposure.")] = Decimal(0)
    maximum_leverage: Annotated[Decimal, Field(gt=0, le=100)] = Decimal(3)
    band: Annotated[
        Decimal, Field(gt=0, lt=1, description="Relative deviation of the exposure that is let be.")
    ] = Decimal("0.1")
    account: AccountName | None = None
    trade_instruments: Annotated[
        InstrumentNames, Field(description="What is traded; the positions in scope when empty.")
    ] = ()

    @model_validator(mode="after")
    def _limits_fit(self) -> Self:
        if self.minimum_leverage >= self.maximum_leverage:
            raise ValueError("minimum_leverage < maximum_leverage is needed")
        return self

    @property
    @override
    def instruments(self) -> tuple[str, ...]:
        return (*self.trade_instruments, self.volatility.instrument)
