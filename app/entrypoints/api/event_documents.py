"""Events as OpenAPI describes them: one webhook per entry of the registry."""

from functools import cache
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header
from pydantic import Field, create_model

from app.domain.adjustments import AdjustmentState
from app.domain.events import EVENTS, Emitter, EventSpec, EventType, LogOf
from app.domain.policies import Mode
from app.domain.portfolios import PortfolioState
from app.entrypoints.api.schemas import AdjustmentData, DecimalText, Id, Moment, Shown


class ExpiredData(Shown):
    """An adjustment whose time passed by the market clock."""

    adjustment_id: Id
    portfolio_id: Id
    policy_id: Id
    policies: list[Id]
    state: Literal[AdjustmentState.EXPIRED]
    expires_at: Moment


class SupersededData(Shown):
    """An adjustment that a newer plan or statement took the place of."""

    adjustment_id: Id
    portfolio_id: Id
    policy_id: Id
    policies: list[Id]
    state: Literal[AdjustmentState.SUPERSEDED]
    outcome: str = Field(description="Why it ended, in words.", examples=["its policy was changed"])


class EndedData(AdjustmentData):
    """An adjustment that ended, and why."""

    outcome: str = Field(description="Why it ended, in words; often empty.", examples=[""])


class FillData(Shown):
    """What was done for one leg: `quantity` and `price` of a trade; anything else has the price 0."""

    id: Id
    leg: int = Field(description="Place of the leg in `legs`.", examples=[0])
    kind: Literal["trade", "transfer", "lending"]
    account_id: Id | None = Field(description="Null for a transfer to the reserve.")
    source_account_id: Id | None = Field(
        default=None, description="Where a transfer came from; null: the reserve."
    )
    instrument: str | None = Field(description="Null for a transfer.", examples=["BTC-USDT-PERP"])
    asset: str = Field(description="What the fee is in, or what was transferred.", examples=["USDT"])
    quantity: DecimalText
    price: DecimalText
    fee: DecimalText


class SettledData(EndedData):
    """An adjustment that was executed, wholly, partly or not at all."""

    fills: list[FillData] = Field(
        description="Those that ended it. What the client reported before is among the portfolio's fills."
    )


class AccountData(Shown):
    """What happened to a paper account on one frame."""

    portfolio_id: Id
    account_id: Id
    account: str = Field(examples=["main"])
    market_position: str = Field(examples=["1-48210"])


class LiquidationFillData(Shown):
    instrument: str | None = Field(examples=["BTC-USDT-PERP"])
    quantity: DecimalText
    price: DecimalText
    fee: DecimalText
    fee_asset: str = Field(examples=["USDT"])


class LiquidatedData(AccountData):
    """A paper account that fell below its maintenance margin, and how it was closed."""

    equity_before: str = Field(examples=["120.5"])
    fills: list[LiquidationFillData]


class PolicyData(Shown):
    """A trader's policy as of `policy_version`; `GET /v1/policies/{id}/versions` has all it said."""

    portfolio_id: Id
    policy_id: Id
    policy_version: int = Field(examples=[3])
    policy: str = Field(description="Its name.", examples=["flat"])
    kind: str = Field(examples=["delta_neutral"])
    mode: Mode
    enabled: bool


class EndpointDisabledData(Shown):
    endpoint_id: Id
    url: str = Field(examples=["https://example.com/hooks/ballast"])
    reason: str = Field(description="In words.", examples=["the endpoint answered 410 Gone"])


class NotifiedData(Shown):
    portfolio_id: Id
    policy_id: Id
    policy_version: int = Field(examples=[3])
    policy: str = Field(description="Its name.", examples=["BTC falls fast"])
    message: str = Field(examples=["BTC fell by 3 % within five minutes"])
    market_position: str = Field(examples=["1-48210"])


class FundingPaymentData(Shown):
    instrument: str = Field(examples=["BTC-USDT-PERP"])
    boundary: Moment
    rate: str = Field(description="Of one interval.", examples=["0.0001"])
    quantity: DecimalText
    price: DecimalText = Field(description="The mark.")
    paid: DecimalText = Field(description="Negative where it was received.")
    asset: str = Field(examples=["USDT"])


class FundingAccruedData(AccountData):
    """Funding that a paper account paid and received on one frame."""

    payments: list[FundingPaymentData]


class InterestData(Shown):
    instrument: str = Field(examples=["AAVE-WETH"])
    boundary: Moment
    rate_annual: str = Field(examples=["0.025"])
    quantity: DecimalText = Field(description="Before; negative is owed.")
    added: DecimalText = Field(description="To the quantity; negative where more is owed.")
    asset: str = Field(examples=["WETH"])


class InterestAccruedData(AccountData):
    """Interest of what a paper account lent and owes, for the hours that ended on one frame."""

    interest: list[InterestData]


class SettlementData(Shown):
    instrument: str = Field(examples=["BTC-USDT-CALL-60000"])
    quantity: DecimalText = Field(description="What was held.")
    mark: DecimalText = Field(description="Price of what marks the instrument.")
    price: DecimalText = Field(description="What a unit was worth, in `asset` for an option.")
    gained: DecimalText = Field(description="By the balance of `asset`.")
    asset: str = Field(examples=["USDT"])


class PositionSettledData(AccountData):
    """Positions of a paper account that expired, settled in cash."""

    settlements: list[SettlementData]


class MarginData(AccountData):
    """An account that came above a level of the margin ratio, or back below where that is over."""

    crossed: Literal["above", "below"]
    level: str = Field(examples=["0.8"])
    margin_ratio: str = Field(description="`unbounded` where nothing backs it any more.", examples=["0.8125"])


class TurnedMarketData(Shown):
    instrument: str = Field(examples=["BTC-USDT-PERP"])
    quality: str = Field(
        description="As `GET /v1/market/{instrument}` names it.", examples=["stale_for_trading"]
    )


class MarketData(Shown):
    """Markets that became degraded, or have recovered, with one frame."""

    portfolio_id: Id
    markets: list[TurnedMarketData]
    market_position: str = Field(examples=["1-48210"])


class StateChangedData(Shown):
    portfolio_id: Id
    previous_state: PortfolioState
    state: PortfolioState


_DATA: dict[EventType, type[Shown]] = {
    EventType.ADJUSTMENT_EXECUTED: SettledData,
    EventType.ADJUSTMENT_PARTIALLY_EXECUTED: SettledData,
    EventType.ADJUSTMENT_FAILED: SettledData,
    EventType.ADJUSTMENT_REJECTED: EndedData,
    EventType.ADJUSTMENT_SUPERSEDED: SupersededData,
    EventType.ADJUSTMENT_EXPIRED: ExpiredData,
    EventType.MARKET_DEGRADED: MarketData,
    EventType.MARKET_RECOVERED: MarketData,
    EventType.ACCOUNT_LIQUIDATED: LiquidatedData,
    EventType.FUNDING_ACCRUED: FundingAccruedData,
    EventType.INTEREST_ACCRUED: InterestAccruedData,
    EventType.POSITION_SETTLED: PositionSettledData,
    EventType.PORTFOLIO_STATE_CHANGED: StateChangedData,
    EventType.PORTFOLIO_MARGIN_WARNING: MarginData,
    EventType.PORTFOLIO_LIQUIDATION_RISK: MarginData,
    EventType.POLICY_CREATED: PolicyData,
    EventType.POLICY_CHANGED: PolicyData,
    EventType.POLICY_ENABLED: PolicyData,
    EventType.POLICY_DISABLED: PolicyData,
    EventType.POLICY_DELETED: PolicyData,
    EventType.POLICY_NOTIFIED: NotifiedData,
    EventType.WEBHOOK_DISABLED: EndpointDisabledData,
}


@cache
def data_of(type_: EventType) -> type[Shown]:
    """The form of the event's `data`. Each type of an adjustment's is told of one state."""
    form = _DATA.get(type_, AdjustmentData)
    subject, _, state = type_.value.partition(".")
    if subject != "adjustment" or form in (ExpiredData, SupersededData):
        return form
    told: dict[str, Any] = {"state": (Literal[AdjustmentState(state)], ...)}
    return create_model(f"{_camel(state)}Data", __base__=form, __doc__=form.__doc__, **told)


def envelope_name(spec: EventSpec) -> str:
    """Among the schemas of OpenAPI and AsyncAPI."""
    return f"{_camel(spec.type.value.replace('.', '_'))}Event"


def _camel(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))


def envelope_of(spec: EventSpec) -> type[Shown]:
    """What WebSocket clients and webhooks receive, for one type of event."""
    fields: dict[str, Any] = {
        "id": (str, Field(examples=["evt_5f0d3c5e7b8a4f6e9d2c1b0a99887766"])),
        "type": (Literal[spec.type.value], Field(examples=[spec.type.value])),
        "version": (Literal[spec.version], Field(examples=[spec.version])),
        "portfolio_id": _owner_of(spec),
        "sequence": (int, Field(description=f"In the {spec.log}'s log, without gaps.", examples=[12])),
        "previous_sequence": (int, Field(examples=[11])),
        "time": (Moment, ...),
        "data": (data_of(spec.type), ...),
    }
    return create_model(envelope_name(spec), __base__=Shown, __doc__=spec.summary, **fields)


def _owner_of(spec: EventSpec) -> tuple[Any, Any]:
    if spec.log is LogOf.TENANT:
        return None, Field(description="It belongs to no portfolio.", examples=[None])
    return Id, ...


def emitted_by(spec: EventSpec) -> str:
    """In words: its one emitter, and when another role writes it."""
    others = "".join(f"; by the {_role(role)} {when}" for role, when in spec.others.items())
    return f"Emitted by the {_role(spec.emitter)}{others}."


def _role(emitter: Emitter) -> str:
    return "API" if emitter is Emitter.API else emitter.value


class Heading(Shown):
    """What every event of a portfolio's log begins with."""

    id: str = Field(examples=["evt_5f0d3c5e7b8a4f6e9d2c1b0a99887766"])
    type: EventType
    version: int = Field(examples=[1])
    portfolio_id: Id
    sequence: int = Field(examples=[12])
    previous_sequence: int = Field(examples=[11])
    time: Moment


class LinkedEvent(Heading):
    """What webhooks carry in place of an event of 20,000 bytes or more: the same without `data`."""

    link: str = Field(
        description="Where the API has all of it.",
        examples=["/v1/portfolios/0b6f7c52-6f0e-4d4e-9a55-5c1f2f3a9b10/events/12"],
    )


def event_webhooks() -> APIRouter:
    router = APIRouter()
    for spec in EVENTS.values():
        router.add_api_route(
            spec.type.value,
            _receiver(envelope_of(spec)),
            methods=["POST"],
            name=spec.type.value,
            summary=spec.summary,
            status_code=204,
            operation_id=f"on_{spec.type.replace('.', '_')}",
            tags=["events"],
        )
    return router


def _receiver(envelope: type[Shown]) -> Any:
    async def receive(
        event: Any,
        webhook_id: Annotated[str, Header(description="The event's id; the same on every attempt.")],
        webhook_timestamp: Annotated[str, Header(description="Unix seconds of the attempt.")],
        webhook_signature: Annotated[
            str,
            Header(description="Standard Webhooks signature, `v1,…`; several while secrets are exchanged."),
        ],
    ) -> None:
        """Answer 2xx once it is stored; anything else is tried again."""

    receive.__annotations__["event"] = envelope | LinkedEvent
    return receive
