"""Documents that clients send: the API's request bodies and what scenario files are made of."""

from base64 import b64decode
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)

from app.domain.errors import InvalidInput
from app.domain.instruments import AssetCode, InstrumentName
from app.domain.policies import Policy
from app.domain.portfolios import MarginMode, PortfolioState

STORED_LIMIT = Decimal("1e20")
STORED_PLACES = 18
_FIRST_TIME = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_TIME = datetime(2262, 1, 1, tzinfo=UTC)  # int64 nanoseconds end in that year


def storable(value: Decimal) -> Decimal:
    """Below 1e20 and with at most 18 places: what NUMERIC(38,18) keeps exactly."""
    if not value.is_finite():
        raise ValueError("not a finite number")
    exponent = value.as_tuple().exponent
    if value.adjusted() >= 20 or not isinstance(exponent, int) or exponent < -STORED_PLACES:
        raise ValueError("more than 20 digits before or 18 after the point")
    return value


def _written_time(value: Any) -> Any:
    if isinstance(value, datetime | str):
        return value
    raise ValueError("a time is a string like 2026-11-23T09:00:00Z")


def _decoded(value: Any) -> Any:
    try:
        return b64decode(value, validate=True)
    except (TypeError, ValueError):
        raise ValueError("a text in base64 is needed") from None


def _storable_time(value: datetime) -> datetime:
    if not _FIRST_TIME <= value < _LAST_TIME:
        raise ValueError("between 1970 and 2262")
    return value.astimezone(UTC)


_DECIMAL_SCHEMA = {
    "type": ["string", "integer"],
    "description": "A decimal as a string; whole numbers may also be JSON integers.",
    "examples": ["1.5"],
    "pattern": r"^-?[0-9]{1,20}(\.[0-9]{1,18})?$",
}
Amount = Annotated[Decimal, AfterValidator(storable), WithJsonSchema(_DECIMAL_SCHEMA, mode="validation")]
Time = Annotated[
    AwareDatetime,
    BeforeValidator(_written_time),
    AfterValidator(_storable_time),
    WithJsonSchema(
        {"type": "string", "format": "date-time", "examples": ["2026-11-23T09:00:00Z"]}, mode="validation"
    ),
]
Name = Annotated[str, Field(min_length=1, max_length=80, examples=["main"])]
Base64 = Annotated[
    bytes,
    BeforeValidator(_decoded),
    WithJsonSchema({"type": "string", "contentEncoding": "base64"}, mode="validation"),
]


class Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PositionTerms(Document):
    instrument: InstrumentName
    quantity: Annotated[Amount, Field(description="Contracts; negative is short, or owed.")]

    @model_validator(mode="after")
    def _holds_something(self) -> Self:
        if self.quantity == 0:
            raise ValueError("a position of 0 is no position: leave it out")
        return self


class PositionDocument(PositionTerms):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"instrument": "BTC-USDT-PERP", "quantity": "-1.5", "entry_price": "64250.5"}]
        }
    )

    entry_price: Annotated[
        Amount | None, Field(description="In the instrument's quote currency; left out of what is lent.")
    ] = None

    @model_validator(mode="after")
    def _paid_something(self) -> Self:
        if self.entry_price is not None and self.entry_price < 0:
            raise ValueError("an entry price is not negative")
        return self


class BalanceDocument(Document):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"asset": "USDT", "amount": "25000", "haircut": "0"}]}
    )

    asset: AssetCode
    amount: Amount
    haircut: Annotated[Amount, Field(ge=0, le=1, description="Fraction that is no collateral.")] = Decimal(0)


class ReserveDocument(Document):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"asset": "USDT", "amount": "5000", "keep": "1000"}]}
    )

    asset: AssetCode
    amount: Annotated[Amount, Field(ge=0)]
    keep: Annotated[Amount, Field(ge=0, description="What top-ups must leave untouched.")] = Decimal(0)


class AccountTerms(Document):
    name: Name
    venue: Annotated[str, Field(min_length=1, max_length=32)] = "paper"
    margin_mode: MarginMode = MarginMode.CROSS
    balances: Annotated[tuple[BalanceDocument, ...], Field(max_length=256)] = ()


class AccountDocument(AccountTerms):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "main",
                    "venue": "paper",
                    "margin_mode": "cross",
                    "balances": [{"asset": "USDT", "amount": "25000"}],
                    "positions": [],
                }
            ]
        }
    )

    positions: Annotated[tuple[PositionDocument, ...], Field(max_length=1024)] = ()


class PortfolioTerms(Document):
    name: Name
    valuation_currency: AssetCode
    state: PortfolioState = PortfolioState.ACTIVE


class PortfolioDocument(PortfolioTerms):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "basis book",
                    "valuation_currency": "USDT",
                    "accounts": [{"name": "main", "balances": [{"asset": "USDT", "amount": "25000"}]}],
                    "reserves": [{"asset": "USDT", "amount": "5000", "keep": "1000"}],
                }
            ]
        }
    )

    accounts: Annotated[tuple[AccountDocument, ...], Field(min_length=1, max_length=64)]
    reserves: Annotated[tuple[ReserveDocument, ...], Field(max_length=256)] = ()


class SnapshotDocument(Document):
    """The positions of one account as they stood at `as_of`; those not named are gone."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "account": "main",
                    "as_of": "2026-11-23T09:00:00Z",
                    "positions": [
                        {"instrument": "BTC-USDT-PERP", "quantity": "-1.5", "entry_price": "64250.5"}
                    ],
                }
            ]
        }
    )

    account: Name
    as_of: Annotated[
        Time | None,
        Field(description="By the market clock; now when absent.", examples=["2026-11-23T09:00:00Z"]),
    ] = None
    positions: Annotated[tuple[PositionDocument, ...], Field(max_length=1024)]


class FillDocument(Document):
    """A trade or step of lending that was done. `adjustment_id` names the recommendation it carries out."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "account": "main",
                    "instrument": "BTC-USDT-PERP",
                    "quantity": "0.5",
                    "price": "64251.3",
                    "fee": "16.06",
                    "time": "2026-11-23T09:00:03Z",
                }
            ]
        }
    )

    account: Name
    instrument: InstrumentName
    quantity: Annotated[
        Amount,
        Field(
            description="Contracts bought, or sold when negative; of lending, units supplied or repaid, or "
            "withdrawn or borrowed when negative."
        ),
    ]
    price: Annotated[Amount | None, Field(ge=0, description="Left out of what was lent.")] = None
    fee: Annotated[Amount, Field(description="In the settlement asset; negative is a rebate.")] = Decimal(0)
    time: Annotated[Time | None, Field(description="By the market clock; now when absent.")] = None
    adjustment_id: UUID | None = None

    @model_validator(mode="after")
    def _trades_something(self) -> Self:
        if self.quantity == 0:
            raise ValueError("a fill of 0 is no fill")
        return self


class AccountBalancesDocument(Document):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"account": "main", "balances": [{"asset": "USDT", "amount": "26000"}]}]
        }
    )

    account: Name
    balances: Annotated[tuple[BalanceDocument, ...], Field(max_length=256)]


class CollateralDocument(Document):
    """Balances of the accounts named, and the reserves: each replaced as a whole, left alone when absent."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "accounts": [{"account": "main", "balances": [{"asset": "USDT", "amount": "26000"}]}],
                    "reserves": [{"asset": "USDT", "amount": "4000", "keep": "1000"}],
                }
            ]
        }
    )

    accounts: Annotated[tuple[AccountBalancesDocument, ...], Field(max_length=64)] = ()
    reserves: Annotated[tuple[ReserveDocument, ...] | None, Field(max_length=256)] = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.accounts and self.reserves is None:
            raise ValueError("name accounts, reserves or both")
        return self


class TransferDocument(Document):
    """Collateral from one pocket to another; an account that is absent means the reserve.

    `amount` leaves the one; less `fee` it arrives at the other.
    """

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"to_account": "main", "asset": "USDT", "amount": "1000"}]}
    )

    from_account: Annotated[Name | None, Field(description="The reserve when absent.")] = None
    to_account: Annotated[Name | None, Field(description="The reserve when absent.")] = None
    asset: AssetCode
    amount: Annotated[Amount, Field(gt=0)]
    fee: Annotated[Amount, Field(ge=0, description="What the venue keeps of it.")] = Decimal(0)
    adjustment_id: Annotated[UUID | None, Field(description="The recommendation it carries out.")] = None

    @model_validator(mode="after")
    def _goes_somewhere(self) -> Self:
        if self.from_account == self.to_account:
            raise ValueError("from_account and to_account are the same pocket")
        if self.fee >= self.amount:
            raise ValueError("the fee leaves nothing of the amount")
        return self


class OperatorPolicyDocument(Document):
    """A policy, and whom it binds: portfolios by their ids, all of a tenant, or all there are.

    Of a tenant, and of all, the portfolios that are created later are bound too.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "policy": {
                        "kind": "liquidation_guard",
                        "name": "solvency rule",
                        "mode": "auto",
                        "trigger": "0.9",
                        "restore": "0.7",
                    },
                    "all": True,
                }
            ]
        }
    )

    policy: Policy
    portfolios: Annotated[tuple[UUID, ...], Field(max_length=1_000)] = ()
    tenant: Annotated[Name | None, Field(description="The tenant's name.")] = None
    all: bool = False

    @model_validator(mode="after")
    def _binds_one_way(self) -> Self:
        if [bool(self.portfolios), self.tenant is not None, self.all].count(True) != 1:
            raise ValueError("say whom it binds in one way: portfolios, tenant or all")
        return self


def check_decimals(document: BaseModel, path: str = "") -> None:
    """InvalidInput, with the place, for a decimal anywhere in it that could not be stored exactly."""
    for place, value in _decimals(document, path):
        try:
            storable(value)
        except ValueError as error:
            raise InvalidInput(str(error), path=place) from error


def _decimals(value: Any, path: str) -> Iterator[tuple[str, Decimal]]:
    if isinstance(value, Decimal):
        yield path, value
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _decimals(getattr(value, name), f"{path}/{name}")
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            yield from _decimals(item, f"{path}/{index}")
