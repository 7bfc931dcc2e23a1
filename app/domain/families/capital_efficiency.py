"""Collateral where it is needed: no pocket starved, none idle above its buffer."""

from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from app.domain.families.terms import AccountName, NotNegative, PolicyCommon, Terms
from app.domain.instruments import AssetCode

RESERVE = "reserve"


class Pocket(Terms):
    """An account, with the health that it should have: equity / maintenance margin.

    Below `minimum_health` it is starved and filled to `target_health`, or as far on the way there as those
    who give are left, where there is too little for all; above `maximum_health` what is over the target is
    idle.
    """

    account: AccountName
    minimum_health: Annotated[Decimal, Field(gt=1)] = Decimal(2)
    target_health: Annotated[Decimal, Field(gt=1)] = Decimal(3)
    maximum_health: Annotated[Decimal, Field(gt=1)] = Decimal(6)
    floor_value: Annotated[
        Decimal, Field(ge=0, description="Equity that stays in any case, in the valuation currency.")
    ] = Decimal(0)

    @model_validator(mode="after")
    def _levels_fit(self) -> Self:
        if not self.minimum_health < self.target_health < self.maximum_health:
            raise ValueError("minimum_health < target_health < maximum_health is needed")
        return self


class Route(Terms):
    """A way for collateral, from one pocket to another; `reserve` names the portfolio's reserve."""

    source: AccountName
    destination: AccountName
    asset: AssetCode
    cost_bps: NotNegative = Decimal(0)
    fee: Annotated[Decimal, Field(ge=0, description="Fixed, in the asset: withdrawal fee or gas.")] = Decimal(
        0
    )
    minimum_amount: NotNegative = Decimal(0)
    transit_minutes: Annotated[int, Field(ge=0, le=7 * 1_440)] = 0

    @model_validator(mode="after")
    def _leads_elsewhere(self) -> Self:
        if self.source == self.destination:
            raise ValueError("a route leads from one pocket to another, not back to itself")
        return self


class CapitalEfficiency(PolicyCommon):
    """Moves collateral between accounts and the reserve, by a linear programme: shortages first, then idle
    collateral, then the least cost, time in transit priced at `capital_rate_annual`.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "kind": "capital_efficiency",
                    "name": "feed the isolated pockets",
                    "mode": "auto",
                    "pockets": [
                        {"account": "perps", "minimum_health": "2", "target_health": "3"},
                        {"account": "options", "minimum_health": "2", "target_health": "3"},
                    ],
                    "routes": [
                        {"source": "reserve", "destination": "perps", "asset": "USDT", "fee": "1"},
                        {
                            "source": "options",
                            "destination": "perps",
                            "asset": "USDT",
                            "cost_bps": "1",
                            "transit_minutes": 10,
                        },
                    ],
                }
            ]
        }
    )

    kind: Literal["capital_efficiency"] = "capital_efficiency"
    pockets: Annotated[tuple[Pocket, ...], Field(min_length=1, max_length=32)]
    routes: Annotated[tuple[Route, ...], Field(min_length=1, max_length=128)]
    capital_rate_annual: Annotated[Decimal, Field(ge=0, le=10)] = Decimal("0.1")

    @model_validator(mode="after")
    def _routes_join_pockets(self) -> Self:
        names = [pocket.account for pocket in self.pockets]
        if len(set(names)) != len(names) or RESERVE in names:
            raise ValueError(f"pockets: each account once, and none called {RESERVE!r}")
        for route in self.routes:
            for end in (route.source, route.destination):
                if end not in (*names, RESERVE):
                    raise ValueError(f"routes: {end!r} is no pocket; pockets are {', '.join(names)}")
        return self
