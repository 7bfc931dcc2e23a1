"""What can be held and traded. Static facts only: prices live in the market, positions in accounts.

Lending markets (collateral / debt) are a further kind that the schema already leaves room for.
"""

from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from app.domain.identifiers import Asset, InstrumentId
from app.domain.times import NS_PER_HOUR

InstrumentName = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,63}$", examples=["BTC-USDT-PERP"])
]
AssetCode = Annotated[str, Field(pattern=r"^[A-Za-z0-9.]{1,16}$", examples=["USDT"])]

FUNDING_INTERVAL_HOURS = 8
"""Of a perpetual that names none: what most exchanges have."""


class InstrumentKind(StrEnum):
    SPOT = "spot"
    PERPETUAL = "perpetual"
    FUTURE = "future"
    OPTION = "option"


class Settlement(StrEnum):
    """`linear` profits in the quote currency, `inverse` (coin-settled) in the underlying."""

    LINEAR = "linear"
    INVERSE = "inverse"


class OptionType(StrEnum):
    CALL = "call"
    PUT = "put"


class Instrument(BaseModel):
    """One tradable thing on one venue.

    `multiplier`: linear, units of underlying per contract; inverse perpetuals and futures, quote currency
    per contract (a 100 USD contract has 100); options, units of underlying per contract.
    `marked_by` names the instrument whose price marks this one (itself when absent); of an option, the one
    whose price is its forward.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "id": "BTC-USDT-PERP",
                    "kind": "perpetual",
                    "settlement": "linear",
                    "underlying": "BTC",
                    "quote": "USDT",
                    "venue": "paper",
                    "lot_size": "0.001",
                    "tick_size": "0.1",
                    "initial_margin_rate": "0.05",
                    "maintenance_margin_rate": "0.005",
                    "taker_fee_rate": "0.0005",
                }
            ]
        },
    )

    id: InstrumentName
    kind: InstrumentKind
    settlement: Settlement = Settlement.LINEAR
    underlying: AssetCode = Field(description="Base asset; what a delta is a delta of.", examples=["BTC"])
    quote: AssetCode = Field(description="Currency of its price.", examples=["USDT"])
    venue: str = Field(default="paper", min_length=1, max_length=32)
    chain: str | None = Field(default=None, max_length=32)
    multiplier: Decimal = Field(default=Decimal(1), gt=0)
    lot_size: Decimal = Field(default=Decimal("0.001"), gt=0, description="Smallest step of a quantity.")
    tick_size: Decimal = Field(default=Decimal("0.01"), gt=0, description="Smallest step of a price.")
    minimum_notional: Decimal = Field(default=Decimal(0), ge=0, description="In the quote currency.")
    initial_margin_rate: Decimal = Field(default=Decimal("0.1"), ge=0, le=1)
    maintenance_margin_rate: Decimal = Field(default=Decimal("0.005"), ge=0, le=1)
    taker_fee_rate: Decimal = Field(default=Decimal("0.0005"), ge=0, lt=Decimal("0.1"))
    slippage_bps: Decimal = Field(
        default=Decimal(2), ge=0, le=1000, description="Expected cost of crossing, in basis points."
    )
    funding_interval_hours: int | None = Field(
        default=None, ge=1, le=168, description="Of a perpetual; 8 when absent.", examples=[8]
    )
    strike: Decimal | None = Field(default=None, gt=0)
    expiry: AwareDatetime | None = None
    option_type: OptionType | None = None
    marked_by: InstrumentName | None = None

    @model_validator(mode="after")
    def _terms_fit_kind(self) -> Self:
        option_terms = (self.strike is not None, self.option_type is not None)
        if self.kind is InstrumentKind.OPTION and not all((*option_terms, self.expiry)):
            raise ValueError("an option needs strike, expiry and option_type")
        if self.kind is InstrumentKind.OPTION and self.marked_by is None:
            raise ValueError("an option needs marked_by: the instrument whose price is its forward")
        if self.kind is not InstrumentKind.OPTION and any(option_terms):
            raise ValueError(f"strike and option_type belong to options, this is a {self.kind}")
        if self.kind is InstrumentKind.FUTURE and self.expiry is None:
            raise ValueError("a future needs an expiry; without one it is a perpetual")
        if self.kind in (InstrumentKind.SPOT, InstrumentKind.PERPETUAL) and self.expiry is not None:
            raise ValueError(f"a {self.kind} has no expiry")
        if self.kind is not InstrumentKind.PERPETUAL and self.funding_interval_hours is not None:
            raise ValueError(f"funding belongs to perpetuals, this is a {self.kind}")
        if self.kind is InstrumentKind.SPOT and self.settlement is Settlement.INVERSE:
            raise ValueError("spot is linear")
        if self.underlying == self.quote:
            raise ValueError("underlying and quote are the same asset")
        return self

    @property
    def instrument_id(self) -> InstrumentId:
        return InstrumentId(self.id)

    @property
    def price_source(self) -> InstrumentId:
        """Whose price marks it."""
        return InstrumentId(self.marked_by or self.id)

    @property
    def funding_interval_ns(self) -> int:
        """Funding is paid at whole multiples of it since 1970, UTC; 0 where there is no funding."""
        if self.kind is not InstrumentKind.PERPETUAL:
            return 0
        return (self.funding_interval_hours or FUNDING_INTERVAL_HOURS) * NS_PER_HOUR

    @property
    def settlement_asset(self) -> Asset:
        """What profit and loss, margin and fees are paid in."""
        return Asset(self.underlying if self.settlement is Settlement.INVERSE else self.quote)
