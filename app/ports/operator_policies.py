"""What managing the operator's policies needs of the outside. They belong to no tenant."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from app.domain.identifiers import OperatorPolicyId, PortfolioId, TenantId
from app.domain.policies import AnyPolicy
from app.domain.portfolios import Portfolio


@dataclass(frozen=True, slots=True)
class Binding:
    """Which portfolios: all, a tenant's, or those named. The first two take in portfolios to come."""

    all: bool = False
    tenant_id: TenantId | None = None
    tenant: str | None = None
    portfolios: tuple[PortfolioId, ...] = ()

    @property
    def selects(self) -> bool:
        return self.all or self.tenant_id is not None


@dataclass(frozen=True, slots=True)
class OperatorPolicyRecord:
    """`ordinal` is its stored order, taken when it is first written; `bound` counts portfolios."""

    id: OperatorPolicyId
    version: int
    policy: AnyPolicy
    binding: Binding
    ordinal: int = 0
    bound: int = 0


class OperatorPolicyStore(Protocol):
    async def get(self, operator_policy_id: OperatorPolicyId) -> OperatorPolicyRecord: ...
    async def lock(self, operator_policy_id: OperatorPolicyId) -> OperatorPolicyRecord: ...
    async def page(self, *, after: int, limit: int) -> list[OperatorPolicyRecord]:
        """In stored order, behind that ordinal."""
        ...

    async def write(self, record: OperatorPolicyRecord) -> None:
        """As a version of its own. Every portfolio bound, or bound no more, moves on by a revision."""
        ...

    async def delete(self, record: OperatorPolicyRecord) -> None: ...
    async def bind_new(self, portfolio: Portfolio) -> None:
        """What binds all or its tenant's, to a portfolio that is being created."""
        ...

    async def portfolios(self, ids: Sequence[PortfolioId]) -> list[Portfolio]:
        """Of any tenant; those that are not there are left out."""
        ...

    async def tenant_named(self, name: str) -> TenantId | None: ...
