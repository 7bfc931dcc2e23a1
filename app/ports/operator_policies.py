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
    """`ordinal` is its stored order, taken when it is first written; `bound` counts portfolios.

    `in_line`: every portfolio has this version, or is released. Until then batches of them follow.
    """

    id: OperatorPolicyId
    version: int
    policy: AnyPolicy
    binding: Binding
    ordinal: int = 0
    bound: int = 0
    in_line: bool = False


class OperatorPolicyStore(Protocol):
    async def get(self, operator_policy_id: OperatorPolicyId) -> OperatorPolicyRecord: ...
    async def lock(self, operator_policy_id: OperatorPolicyId) -> OperatorPolicyRecord: ...
    async def page(self, *, after: int, limit: int) -> list[OperatorPolicyRecord]:
        """In stored order, behind that ordinal."""
        ...

    async def write(self, record: OperatorPolicyRecord) -> None:
        """As a version of its own, which no portfolio has yet."""
        ...

    async def delete(self, operator_policy_id: OperatorPolicyId) -> None: ...
    async def behind(self) -> tuple[OperatorPolicyId, AnyPolicy] | None:
        """One, locked, that portfolios have still to follow, and that nobody else is at."""
        ...

    async def bring_in_line(
        self, operator_policy_id: OperatorPolicyId, policy: AnyPolicy, named: Sequence[PortfolioId] = (), *,
        limit: int,
    ) -> list[PortfolioId]:  # fmt: skip
        """So many of the portfolios that are behind, each of which moves on by a revision.

        Those bound come before those to be released. `named` are those that a write names one by one.
        """
        ...

    async def bind_new(self, portfolio: Portfolio) -> None:
        """What binds all or its tenant's, to a portfolio that is being created."""
        ...

    async def portfolios(self, ids: Sequence[PortfolioId]) -> list[Portfolio]:
        """Of any tenant; those that are not there are left out."""
        ...

    async def tenant_named(self, name: str) -> TenantId | None: ...
