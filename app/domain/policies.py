"""Scaling policies: what to keep, when to act, how far to go, and within which guards.

One discriminated union by `kind`. A policy is not a script: its trigger says when, its target says which
state to return to; the plan is found by the arbiter. A further family is a file in `families` and a member
of `Policy`.
"""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, TypeAdapter

from app.domain.families.capital_efficiency import CapitalEfficiency
from app.domain.families.delta_neutral import DeltaNeutral
from app.domain.families.gamma_band import GammaBand
from app.domain.families.leverage_band import LeverageBand
from app.domain.families.liquidation_guard import Cure, LiquidationGuard
from app.domain.families.rule import Rule
from app.domain.families.stress_response import StressResponse
from app.domain.families.terms import Guards, Mode, OnPoorPrice, PolicyCommon
from app.domain.families.volatility_target import VolatilityTarget
from app.domain.identifiers import PolicyId

__all__ = [
    "POLICY",
    "CapitalEfficiency",
    "Cure",
    "DeltaNeutral",
    "GammaBand",
    "Guards",
    "LeverageBand",
    "LiquidationGuard",
    "Mode",
    "OnPoorPrice",
    "Policy",
    "PolicyCommon",
    "Rule",
    "StoredPolicy",
    "StressResponse",
    "VolatilityTarget",
]

AnyPolicy = (
    DeltaNeutral
    | LiquidationGuard
    | LeverageBand
    | VolatilityTarget
    | GammaBand
    | Rule
    | CapitalEfficiency
    | StressResponse
)
Policy = Annotated[AnyPolicy, Field(discriminator="kind")]
POLICY: TypeAdapter[AnyPolicy] = TypeAdapter(Policy)


_PRIORITIES = 1001  # a priority is 0 to 1000


@dataclass(frozen=True, slots=True)
class StoredPolicy:
    """A policy with its identity; `version` grows with every edit, older ones are kept."""

    id: PolicyId
    version: int
    policy: AnyPolicy
    operator: bool = False

    @property
    def rank(self) -> int:
        """Who comes first, the lowest: the operator's, below zero, before every trader's own.

        Policies of the same rank keep their stored order.
        """
        return self.policy.priority - (_PRIORITIES if self.operator else 0)
