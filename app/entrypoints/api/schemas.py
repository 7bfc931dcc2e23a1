"""What answers are made of, and those about portfolios, policies and what came of them.

Decimals and times are strings; a list comes in pages. What one set of routes alone answers stands with it.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Generic, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, WithJsonSchema

from app.domain.adjustment_json import adjustment_data, legs_to_json
from app.domain.adjustments import (
    AdjustmentState,
    Decision,
    Fill,
    LendingAction,
    MissReason,
    Outcome,
    Reason,
)
from app.domain.conflicts import Conflict
from app.domain.policies import Mode, Policy
from app.domain.portfolios import MarginMode, Portfolio, PortfolioState
from app.domain.times import rfc3339
from app.domain.values import decimal_text
from app.ports.management import AdjustmentRecord, PolicyRecord, PolicyVersion

Item = TypeVar("Item")

_DECIMAL = {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?$", "examples": ["1.5"]}
DecimalText = Annotated[Decimal, PlainSerializer(decimal_text, return_type=str), WithJsonSchema(_DECIMAL)]
Moment = Annotated[
    str,
    Field(description="RFC 3339, UTC, to the nanosecond.", examples=["2026-11-23T09:00:00.000000000Z"]),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-11-23T09:00:00.000000000Z"]}),
]
_EXAMPLE_ID = "0b6f7c52-6f0e-4d4e-9a55-5c1f2f3a9b10"
Id = Annotated[UUID, Field(examples=[_EXAMPLE_ID])]
WallTime = Annotated[datetime, Field(examples=["2026-11-23T09:00:00.000000Z"])]


class Shown(BaseModel):
    model_config = ConfigDict(frozen=True)


class Listing(Shown, Generic[Item]):
    """One page. `next_cursor` asks for the next one; it is null on the last."""

    items: list[Item]
    next_cursor: str | None = None


class ShownPosition(Shown):
    instrument: str = Field(examples=["BTC-USDT-PERP"])
    quantity: DecimalText
    entry_price: DecimalText


class ShownBalance(Shown):
    asset: str = Field(examples=["USDT"])
    amount: DecimalText
    haircut: DecimalText


class ShownReserve(Shown):
    asset: str = Field(examples=["USDT"])
    amount: DecimalText
    keep: DecimalText


class ShownAccount(Shown):
    id: Id
    name: str = Field(examples=["main"])
    venue: str = Field(examples=["paper"])
    margin_mode: MarginMode
    positions: list[ShownPosition]
    balances: list[ShownBalance]


class ShownPortfolio(Shown):
    """`revision` counts every write to it, its holdings and its policies."""

    id: Id
    name: str = Field(examples=["basis book"])
    valuation_currency: str = Field(examples=["USDT"])
    state: PortfolioState
    revision: int = Field(examples=[7])
    accounts: list[ShownAccount]
    reserves: list[ShownReserve]

    @classmethod
    def of(cls, portfolio: Portfolio) -> "ShownPortfolio":
        return cls(
            id=portfolio.id,
            name=portfolio.name,
            valuation_currency=portfolio.valuation_currency,
            state=portfolio.state,
            revision=portfolio.revision,
            accounts=[
                ShownAccount(
                    id=a.id,
                    name=a.name,
                    venue=a.venue,
                    margin_mode=a.margin_mode,
                    positions=[
                        ShownPosition(instrument=p.instrument, quantity=p.quantity, entry_price=p.entry_price)
                        for p in a.positions
                    ],
                    balances=[
                        ShownBalance(asset=b.asset, amount=b.amount, haircut=b.haircut) for b in a.balances
                    ],
                )
                for a in portfolio.accounts
            ],
            reserves=[ShownReserve(asset=r.asset, amount=r.amount, keep=r.keep) for r in portfolio.reserves],
        )


class PolicyWarning(Shown):
    code: str = Field(examples=["target_outside_band"])
    message: str = Field(examples=["its target lies outside the band of 'BTC flat'"])
    path: str = Field(description="JSON pointer into the policy.", examples=["/target_delta"])

    @classmethod
    def of(cls, conflict: Conflict) -> "PolicyWarning":
        return cls(code=conflict.code, message=conflict.message, path=conflict.path)


class ShownPolicy(Shown):
    id: Id
    portfolio_id: Id
    version: int = Field(description="Also its ETag.", examples=[3])
    operator: bool = Field(
        description="Set by whoever runs the service: it comes first, and the trader cannot change it.",
        examples=[False],
    )
    policy: Policy
    warnings: list[PolicyWarning] = Field(default_factory=list)

    @classmethod
    def of(cls, record: PolicyRecord, warnings: Sequence[Conflict] = ()) -> "ShownPolicy":
        return cls(
            id=record.id,
            portfolio_id=record.portfolio_id,
            version=record.version,
            operator=record.operator,
            policy=record.policy,
            warnings=[PolicyWarning.of(warning) for warning in warnings],
        )


class ShownPolicyVersion(Shown):
    version: int = Field(examples=[2])
    policy: Policy
    created_at: WallTime

    @classmethod
    def of(cls, version: PolicyVersion) -> "ShownPolicyVersion":
        return cls(version=version.version, policy=version.policy, created_at=version.created_at)


class ShownTradeLeg(Shown):
    type: str = Field(examples=["trade"], pattern="^trade$")
    account_id: Id
    instrument: str = Field(examples=["BTC-USDT-PERP"])
    quantity: DecimalText
    reference_price: DecimalText
    reduces: bool


class ShownTransferLeg(Shown):
    type: str = Field(examples=["transfer"], pattern="^transfer$")
    account_id: Id | None = Field(description="Where it goes; null: the reserve.")
    source_account_id: Id | None = Field(default=None, description="Where it comes from; null: the reserve.")
    asset: str = Field(examples=["USDT"])
    amount: DecimalText
    fee: DecimalText = Field(default=Decimal(0), description="What the venue keeps of the amount.")


class ShownLendingLeg(Shown):
    """`amount` of the asset between the account's balances and its position in the pool."""

    type: str = Field(examples=["lending"], pattern="^lending$")
    account_id: Id
    instrument: str = Field(examples=["AAVE-WETH"])
    action: LendingAction
    amount: DecimalText
    reduces: bool


ShownLeg = ShownTradeLeg | ShownTransferLeg | ShownLendingLeg
_METRICS: dict[str, Any] = {"examples": [{"margin_ratio": "0.52", "leverage": "4.1"}]}


class ShownMiss(Shown):
    """A target that the plan does not reach, in the units of the metric, and what stood in the way."""

    policy_id: Id
    figure: str = Field(description="The metric, and of what.", examples=["margin_ratio@main"])
    wanted: str = Field(examples=["0.5"])
    reached: str = Field(examples=["0.58"])
    why: MissReason


class AdjustmentData(Shown):
    """An adjustment as events carry it. `policies` are all that it serves, `policy_id` the first of them."""

    adjustment_id: Id
    portfolio_id: Id
    policy_id: Id
    policy_version: int = Field(examples=[3])
    policies: list[Id]
    state: AdjustmentState
    mode: Mode
    priority: int = Field(description="Lower is first; below zero the operator's.", examples=[100])
    risk_reducing: bool
    legs: list[ShownLeg]
    expected_cost: DecimalText
    metrics_before: dict[str, str] = Field(json_schema_extra=_METRICS)
    metrics_after: dict[str, str] = Field(json_schema_extra=_METRICS)
    reaches_target: bool
    misses: list[ShownMiss]
    market_position: str = Field(description="Entry of the market stream.", examples=["1-48210"])
    decided_at: Moment
    expires_at: Moment


class ShownAdjustment(AdjustmentData):
    """`remaining` are the legs not done yet; `outcome` says why it ended, in words."""

    remaining: list[ShownLeg]
    outcome: str = Field(examples=[""])

    @classmethod
    def of(cls, record: AdjustmentRecord) -> "ShownAdjustment":
        shown = adjustment_data(record.adjustment)
        return cls.model_validate(
            shown | {"remaining": legs_to_json(record.remaining), "outcome": record.outcome}
        )


class ShownDecision(Shown):
    id: Id
    policy_id: Id
    policy_version: int = Field(examples=[3])
    portfolio_id: Id
    portfolio_revision: int = Field(examples=[7])
    market_position: str = Field(examples=["1-48210"])
    time: Moment
    outcome: Outcome
    reason: Reason
    conditions: dict[str, str] = Field(examples=[{"net_delta": "0.31"}])
    inputs: dict[str, str] = Field(examples=[{"BTC-USDT-PERP": "64250.5"}])
    repeats_before: int = Field(description="How often the record before it was repeated.", examples=[0])
    adjustment_id: Id | None = None

    @classmethod
    def of(cls, decision: Decision) -> "ShownDecision":
        return cls(
            id=decision.id,
            policy_id=decision.policy_id,
            policy_version=decision.policy_version,
            portfolio_id=decision.portfolio_id,
            portfolio_revision=decision.portfolio_revision,
            market_position=decision.position.entry_id,
            time=rfc3339(decision.time_ns),
            outcome=decision.outcome,
            reason=decision.reason,
            conditions=decision.conditions,
            inputs=decision.inputs,
            repeats_before=decision.repeats_before,
            adjustment_id=decision.adjustment_id,
        )


class ShownFill(Shown):
    id: Id
    portfolio_id: Id
    account_id: Id | None = Field(description="Null for a transfer to the reserve.")
    source_account_id: Id | None = Field(
        default=None, description="Where a transfer came from; null: the reserve."
    )
    adjustment_id: Id | None = None
    leg: int = Field(examples=[0])
    kind: str = Field(
        examples=["trade"],
        description="trade, transfer, lending, liquidation, expiry, funding or interest",
    )
    instrument: str | None = Field(examples=["BTC-USDT-PERP"])
    asset: str = Field(description="What the fee is in, or what was transferred.", examples=["USDT"])
    quantity: DecimalText
    price: DecimalText
    fee: DecimalText = Field(description="Of funding: what was paid; negative where it was received.")
    time: Moment

    @classmethod
    def of(cls, fill: Fill) -> "ShownFill":
        return cls(
            id=fill.id,
            portfolio_id=fill.portfolio_id,
            account_id=fill.account_id,
            source_account_id=fill.source,
            adjustment_id=fill.adjustment_id,
            leg=fill.leg,
            kind=fill.kind,
            instrument=fill.instrument,
            asset=fill.asset,
            quantity=fill.quantity,
            price=fill.price,
            fee=fill.fee,
            time=rfc3339(fill.time_ns),
        )


class RecordedFill(Shown):
    fill: ShownFill
    revision: int = Field(description="Of the portfolio, with the fill in it.", examples=[8])
