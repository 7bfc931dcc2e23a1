"""What every family of policies shares: how it acts, how urgent it is, and within which guards."""

from decimal import Decimal
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from app.domain.instruments import AssetCode, InstrumentName

AccountName = Annotated[str, Field(min_length=1, max_length=64, examples=["main"])]
Positive = Annotated[Decimal, Field(gt=0)]
NotNegative = Annotated[Decimal, Field(ge=0)]
Fraction = Annotated[Decimal, Field(ge=0, le=1)]
InstrumentNames = Annotated[tuple[InstrumentName, ...], Field(max_length=16)]
AssetCodes = Annotated[tuple[AssetCode, ...], Field(max_length=16)]

DAY_SECONDS = 86_400


class Terms(BaseModel):
    """Frozen, and an unknown field is an error: a misspelt limit must never be silently absent."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Mode(StrEnum):
    """`recommend`: the client acts. `confirm`: executed once approved. `auto`: executed."""

    RECOMMEND = "recommend"
    CONFIRM = "confirm"
    AUTO = "auto"


class OnPoorPrice(StrEnum):
    """What is left of a policy while its prices are too old, too uncertain or from too few sources.

    `hold`: it does not act. `reduce_only`: it acts as far as positions shrink. `widen`: it acts as far as
    its trigger fires at twice the band too.
    """

    HOLD = "hold"
    REDUCE_ONLY = "reduce_only"
    WIDEN = "widen"


class Guards(Terms):
    """Limits on when and how a fired policy may act. Amounts are in the valuation currency."""

    cooldown_seconds: Annotated[
        int, Field(ge=0, le=30 * DAY_SECONDS, description="Rest after acting, by the market clock.")
    ] = 300
    dwell_seconds: Annotated[
        int, Field(ge=0, le=DAY_SECONDS, description="The trigger must have held for so long.")
    ] = 0
    minimum_notional: Annotated[Decimal, Field(ge=0, description="Smaller trades are dust.")] = Decimal(10)
    maximum_trade_notional: Annotated[
        Decimal | None, Field(gt=0, description="Of one instrument in one adjustment.")
    ] = None
    maximum_turnover_per_day: Annotated[
        Decimal | None, Field(gt=0, description="Notional traded within 24 hours.")
    ] = None
    maximum_trades_per_hour: Annotated[
        int | None, Field(ge=1, le=3_600, description="Adjustments with trades, within an hour.")
    ] = 60
    maximum_reversals_per_hour: Annotated[
        int | None,
        Field(ge=1, le=3_600, description="Changes of direction within an hour; more is an oscillation."),
    ] = 6
    maximum_slippage_bps: Annotated[
        Decimal | None,
        Field(gt=0, le=10_000, description="Expected of an instrument; what costs more is not traded."),
    ] = Decimal(200)
    maximum_cost: Annotated[
        Decimal | None, Field(gt=0, description="Of one adjustment: fees, slippage and impact.")
    ] = None
    maximum_cost_bps: Annotated[
        Decimal | None, Field(gt=0, le=10_000, description="The same, as a share of what is traded.")
    ] = None
    expiry_seconds: Annotated[
        int, Field(ge=1, le=7 * DAY_SECONDS, description="How long an adjustment stays actionable.")
    ] = 300
    maximum_price_age_seconds: Annotated[
        int, Field(ge=1, le=DAY_SECONDS, description="Older prices are poor ones.")
    ] = 60
    minimum_price_sources: Annotated[int, Field(ge=1, le=100)] = 1
    maximum_price_confidence_bps: Annotated[
        Decimal | None,
        Field(gt=0, le=10_000, description="Half width of the consensus, as a share of the price."),
    ] = Decimal(200)
    on_poor_price: OnPoorPrice = OnPoorPrice.HOLD


class PolicyCommon(Terms):
    name: Annotated[str, Field(min_length=1, max_length=80)]
    enabled: bool = True
    mode: Mode = Mode.RECOMMEND
    priority: Annotated[int, Field(ge=0, le=1000, description="Lower acts first.")] = 100
    guards: Guards = Guards()

    @property
    def instruments(self) -> tuple[str, ...]:
        """What it may trade or reads the price of, besides what is held."""
        return ()
