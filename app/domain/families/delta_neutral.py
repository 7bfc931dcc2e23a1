"""Delta neutrality: the net delta of an underlying at a target, inside a no-trade band."""

from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator
from typing_extensions import override

from app.domain.families.terms import AccountName, Fraction, PolicyCommon, Positive, Terms
from app.domain.instruments import AssetCode, InstrumentName


class FixedBand(Terms):
    """So many units of the underlying below and above the target."""

    kind: Literal["fixed"] = "fixed"
    below: Positive
    above: Positive


class FractionOfGrossBand(Terms):
    """A share of the gross delta of the underlying: long and short together."""

    kind: Literal["fraction_of_gross"] = "fraction_of_gross"
    below: Annotated[Decimal, Field(gt=0, le=1)]
    above: Annotated[Decimal, Field(gt=0, le=1)]


class CostAwareBand(Terms):
    """Where hedging costs more than the risk that it takes away; wide where trading is dear or gamma large.

    `whalley_wilmott`: ((3/2) e^(-r tau) cost S gamma^2 / risk_aversion)^(1/3). `zakamouline`: his closer
    approximation. Risk aversion is per unit of the valuation currency. The cost of a trade is the hedge
    instrument's own (fee and slippage) unless `cost_bps` says otherwise.
    """

    kind: Literal["whalley_wilmott", "zakamouline"]
    risk_aversion: Annotated[Decimal, Field(gt=0, description="Per unit of the valuation currency.")]
    cost_bps: Annotated[Decimal | None, Field(gt=0, le=1_000)] = None
    horizon_days: Annotated[
        Decimal, Field(gt=0, le=3_650, description="Until when the position is hedged; tau.")
    ] = Decimal(30)
    rate_annual: Annotated[Decimal, Field(ge=-1, le=1, description="Continuously compounded; r.")] = Decimal(
        0
    )
    volatility_annual: Annotated[
        Decimal, Field(gt=0, le=10, description="Of the underlying, as a decimal; zakamouline alone.")
    ] = Decimal("0.6")
    floor: Annotated[Decimal, Field(gt=0, description="Half width at the least, in the underlying.")]
    cap: Annotated[Decimal, Field(gt=0, description="Half width at the most, in the underlying.")]

    @model_validator(mode="after")
    def _floor_is_below_cap(self) -> Self:
        if self.floor > self.cap:
            raise ValueError("the band's floor is above its cap: floor <= cap is needed")
        return self


AnyBand = Annotated[FixedBand | FractionOfGrossBand | CostAwareBand, Field(discriminator="kind")]


def _plain_number_is_fixed(given: object) -> object:
    """A half width, below and above alike."""
    if isinstance(given, (FixedBand, FractionOfGrossBand, CostAwareBand, dict)):
        return given
    try:
        width = Decimal(given) if isinstance(given, (str, int, Decimal)) else Decimal("NaN")
    except InvalidOperation:
        width = Decimal("NaN")
    if not width.is_finite() or not 0 < width < _LARGEST:
        raise ValueError("a plain band is a positive decimal as a string, or say its kind")
    return {"kind": "fixed", "below": width, "above": width}


_LARGEST = Decimal("1e20")
_WRITTEN = {"type": ["string", "integer"], "pattern": r"^[0-9]{1,20}(\.[0-9]{1,18})?$", "examples": ["0.25"]}
PlainBand = Annotated[str | int, WithJsonSchema(_WRITTEN)]
Band = Annotated[AnyBand, BeforeValidator(_plain_number_is_fixed, json_schema_input_type=PlainBand | AnyBand)]


class HedgeTo(StrEnum):
    TARGET = "target"
    BAND_EDGE = "band_edge"


class DeltaNeutral(PolicyCommon):
    """Keeps the net delta of an underlying at a target, within a band."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "kind": "delta_neutral",
                    "name": "BTC flat",
                    "mode": "recommend",
                    "underlying": "BTC",
                    "target_delta": "0",
                    "band": {"kind": "fixed", "below": "0.25", "above": "0.25"},
                    "hedge_instruments": ["BTC-USDT-PERP"],
                    "guards": {"cooldown_seconds": 60, "minimum_notional": "50"},
                },
                {
                    "kind": "delta_neutral",
                    "name": "short gamma, hedged where it pays",
                    "mode": "auto",
                    "underlying": "BTC",
                    "band": {
                        "kind": "whalley_wilmott",
                        "risk_aversion": "0.00001",
                        "floor": "0.05",
                        "cap": "1",
                    },
                    "hedge_to": "band_edge",
                    "hedge_instruments": ["BTC-USDT-PERP", "BTC-USD-PERP"],
                },
            ]
        }
    )

    kind: Literal["delta_neutral"] = "delta_neutral"
    underlying: AssetCode
    target_delta: Annotated[Decimal, Field(description="In units of the underlying.")] = Decimal(0)
    band: Annotated[Band, Field(description="No trade inside it; a plain number is a fixed half width.")]
    hedge_to: HedgeTo = HedgeTo.TARGET
    hedging_ratio: Annotated[
        Decimal, Field(ge=0, le=Decimal("1.5"), description="Share of the deviation that is hedged.")
    ] = Decimal(1)
    hedge_instruments: Annotated[
        tuple[InstrumentName, ...],
        Field(min_length=1, max_length=8, description="The cheapest of them is traded."),
    ]
    hedge_account: Annotated[
        AccountName | None,
        Field(description="Account to trade in; the first on the instrument's venue, when absent."),
    ] = None
    minimum_price_move: Annotated[
        Fraction, Field(description="Skipped while the price moved less since the last hedge.")
    ] = Decimal(0)

    @property
    @override
    def instruments(self) -> tuple[str, ...]:
        return self.hedge_instruments
