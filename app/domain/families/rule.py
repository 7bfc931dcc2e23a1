"""Anything else: a tree of conditions, and what is done while it is true."""

from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator
from typing_extensions import override

from app.domain.conditions import ConditionTree
from app.domain.families.terms import AccountName, InstrumentNames, PolicyCommon, Positive, Terms
from app.domain.instruments import AssetCode, InstrumentName


class Scale(Terms):
    """Positions in scope become `factor` of what they are; below 1 they shrink, 0 closes them."""

    kind: Literal["scale"] = "scale"
    factor: Annotated[Decimal, Field(ge=0, le=3)]
    underlying: AssetCode | None = None
    account: AccountName | None = None


class Close(Terms):
    """Positions in scope are closed."""

    kind: Literal["close"] = "close"
    underlying: AssetCode | None = None
    account: AccountName | None = None


class Hedge(Terms):
    """The net delta of an underlying is brought to a target."""

    kind: Literal["hedge"] = "hedge"
    underlying: AssetCode
    target_delta: Decimal = Decimal(0)
    hedge_instruments: Annotated[tuple[InstrumentName, ...], Field(min_length=1, max_length=8)]
    hedge_account: AccountName | None = None


class SetLeverage(Terms):
    """Leverage is brought to a level, by the named instruments or by all positions in scope alike."""

    kind: Literal["set_leverage"] = "set_leverage"
    leverage: Annotated[Decimal, Field(ge=0, le=100)]
    account: AccountName | None = None
    trade_instruments: InstrumentNames = ()


class MoveCollateral(Terms):
    """An amount of collateral goes from one account to another; `reserve` is the portfolio's reserve."""

    kind: Literal["move_collateral"] = "move_collateral"
    source: AccountName
    destination: AccountName
    asset: AssetCode
    amount: Positive

    @model_validator(mode="after")
    def _leads_elsewhere(self) -> Self:
        if self.source == self.destination:
            raise ValueError("collateral moves from one place to another, not back to itself")
        return self


class Notify(Terms):
    """An event says so; nothing is traded."""

    kind: Literal["notify"] = "notify"
    message: Annotated[str, Field(min_length=1, max_length=500)]


class SetState(Terms):
    """The portfolio may only reduce from now on, or nothing at all, or everything again."""

    kind: Literal["set_state"] = "set_state"
    state: Literal["active", "reduce_only", "halted"]


Action = Annotated[
    Scale | Close | Hedge | SetLeverage | MoveCollateral | Notify | SetState, Field(discriminator="kind")
]


class Rule(PolicyCommon):
    """While the condition is true, its actions are taken: together, in one plan with all other policies."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "kind": "rule",
                    "name": "halve BTC when the price falls fast and margin is thin",
                    "mode": "auto",
                    "condition": {
                        "kind": "all",
                        "conditions": [
                            {
                                "kind": "rate_of_change",
                                "metric": "price.BTC-USDT-PERP",
                                "window_seconds": 300,
                                "op": "below",
                                "value": "-0.03",
                                "relative": True,
                            },
                            {"kind": "comparison", "metric": "margin_ratio", "op": "above", "value": "0.3"},
                        ],
                    },
                    "actions": [
                        {"kind": "scale", "factor": "0.5", "underlying": "BTC"},
                        {"kind": "notify", "message": "BTC fell by 3 % within five minutes"},
                    ],
                    "guards": {"cooldown_seconds": 3600},
                }
            ]
        }
    )

    kind: Literal["rule"] = "rule"
    condition: ConditionTree
    actions: Annotated[tuple[Action, ...], Field(min_length=1, max_length=8)]

    @property
    @override
    def instruments(self) -> tuple[str, ...]:
        return tuple(
            name
            for action in self.actions
            for name in (
                action.hedge_instruments
                if isinstance(action, Hedge)
                else action.trade_instruments
                if isinstance(action, SetLeverage)
                else ()
            )
        )
