"""What can be held and traded. Static facts only: prices live in the market, positions in accounts."""

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
INTEREST_INTERVAL_HOURS = 1
"""Of a perpetual that names none: what most exchanges have."""
LENDING_TERMS = (
    "liquidation_threshold", "loan_to_value", "liquidation_bonus", "supply_rate_annual", "borrow_rate_annual",
    "reserve_cap",
)  # fmt: skip


class InstrumentKind(StrEnum):
    SPOT = "spot"
    PERPETUAL = "perpetual"
    FUTURE = "future"
    OPTION = "option"
    LENDING = "lending"


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

    A `lending` instrument is one asset in a lending pool, counted in units of the asset. What it is worth
    follows from the prices of the asset elsewhere, so it has no price of its own; lots, margin rates, fees
    and slippage do not apply to it.
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
                },
                {
                    "id": "AAVE-WETH",
                    "kind": "lending",
                    "underlying": "WETH",
                    "quote": "USDC",
                    "venue": "aave",
                    "chain": "ethereum",
                    "loan_to_value": "0.805",
                    "liquidation_threshold": "0.83",
                    "liquidation_bonus": "0.05",
                    "supply_rate_annual": "0.018",
                    "borrow_rate_annual": "0.025",
                },
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
    liquidation_threshold: Decimal = Field(
        default=Decimal(0),
        ge=0,
        le=1,
        description="Of lending: what a unit of value supplied backs; 0: none.",
    )
    loan_to_value: Decimal = Field(
        default=Decimal(0), ge=0, le=1, description="Of lending: what may be borrowed on a unit of value."
    )
    liquidation_bonus: Decimal = Field(
        default=Decimal(0), ge=0, lt=1, description="Of lending: what a liquidator gets on top, a fraction."
    )
    supply_rate_annual: Decimal = Field(default=Decimal(0), ge=0, le=10, description="Of lending.")
    borrow_rate_annual: Decimal = Field(default=Decimal(0), ge=0, le=10, description="Of lending.")
    reserve_cap: Decimal | None = Field(
        default=None, gt=0, description="Of lending: the most that one account may supply."
    )

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
        if self.kind not in (InstrumentKind.FUTURE, InstrumentKind.OPTION) and self.expiry is not None:
            raise ValueError(f"{self.kind} has no expiry")
        if self.kind is not InstrumentKind.PERPETUAL and self.funding_interval_hours is not None:
            raise ValueError(f"funding belongs to perpetuals, this is a {self.kind}")
        if self.kind is InstrumentKind.SPOT and self.settlement is Settlement.INVERSE:
            raise ValueError("spot is linear")
        if self.underlying == self.quote and self.kind is not InstrumentKind.LENDING:
            raise ValueError("underlying and quote are the same asset")
        return self

    @model_validator(mode="after")
    def _lending_terms_fit(self) -> Self:
        if self.kind is not InstrumentKind.LENDING:
            named = [term for term in LENDING_TERMS if getattr(self, term)]
            if named:
                raise ValueError(f"{named[0]} belongs to lending, this is a {self.kind}")
            return self
        if self.multiplier != 1 or self.settlement is Settlement.INVERSE:
            raise ValueError("lending is linear and counted in units of the asset: its multiplier is 1")
        if self.marked_by is not None:
            raise ValueError("lending is valued by the prices of its asset: leave marked_by out")
        if self.loan_to_value > self.liquidation_threshold:
            raise ValueError("loan_to_value is at most the liquidation_threshold")
        return self

    @property
    def instrument_id(self) -> InstrumentId:
        return InstrumentId(self.id)

    @property
    def price_source(self) -> InstrumentId:
        """Whose price marks it."""
        return InstrumentId(self.marked_by or self.id)

    @property
    def accrual_interval_ns(self) -> int:
        """Funding is paid, or interest added, at whole multiples of it since 1970, UTC; 0: never."""
        if self.kind is InstrumentKind.PERPETUAL:
            return (self.funding_interval_hours or FUNDING_INTERVAL_HOURS) * NS_PER_HOUR
        bears_interest = self.supply_rate_annual or self.borrow_rate_annual
        return INTEREST_INTERVAL_HOURS * NS_PER_HOUR if bears_interest else 0

    def interest_rate_annual(self, quantity: Decimal) -> Decimal:
        """Of what is supplied; of what is owed, where that is negative."""
        return self.supply_rate_annual if quantity > 0 else self.borrow_rate_annual

    @property
    def settlement_asset(self) -> Asset:
        """What profit and loss, margin, interest and fees are paid in."""
        in_coin = self.settlement is Settlement.INVERSE or self.kind is InstrumentKind.LENDING
        return Asset(self.underlying if in_coin else self.quote)
