"""A scenario file: instruments, portfolios and policies as the API takes them, created under one tenant.

Identifiers derive from names, so that loading it again, here or elsewhere, means the same things.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from app.domain.errors import InvalidInput, NotFound
from app.domain.identifiers import OperatorPolicyId, PolicyId, PortfolioId, TenantId, derived_id
from app.domain.instruments import Instrument
from app.domain.policies import Policy
from app.ports.management import UnitOfWork
from app.services.declared_series import DeclaredSeries
from app.services.documents import Document, OperatorPolicyDocument
from app.services.manage_instruments import create_instrument
from app.services.manage_keys import ensure_tenant
from app.services.manage_operator_policies import create_operator_policy
from app.services.manage_policies import create_policy
from app.services.manage_portfolios import create_portfolio
from app.services.parse_document import parse_document
from app.services.place_scenario import ScenarioPortfolio, StartingMarket, place


class ScenarioOperatorPolicy(Document):
    """`portfolios`: those of the scenario that it binds, by name."""

    policy: Policy
    portfolios: Annotated[tuple[str, ...], Field(min_length=1)]


class Scenario(Document):
    """`series`: what the replay's market has besides the recording (`declared_series.py`)."""

    instruments: tuple[Instrument, ...] = ()
    series: tuple[DeclaredSeries, ...] = ()
    portfolios: tuple[ScenarioPortfolio, ...] = ()
    operator_policies: tuple[ScenarioOperatorPolicy, ...] = ()


@dataclass(frozen=True, slots=True)
class LoadedScenario:
    tenant_id: TenantId
    portfolios: dict[str, PortfolioId]


def parse_scenario(text: str) -> Scenario:
    return parse_document(text, Scenario, called="the scenario")


async def load_scenario(
    unit: UnitOfWork,
    tenant_name: str,
    scenario: Scenario,
    first_prices: Mapping[str, float] | None = None,
) -> LoadedScenario:
    """Creates what is not there; a portfolio or instrument that is there is left alone.

    `first_prices` place what the scenario says relative to the market it starts in (`place_scenario.py`).
    """
    tenant_id = await ensure_tenant(unit, tenant_name)
    known = await unit.instruments.some({instrument.id for instrument in scenario.instruments})
    for instrument in scenario.instruments:
        if instrument.instrument_id not in known:
            await create_instrument(unit, instrument)
    accounts = [account for portfolio in scenario.portfolios for account in portfolio.accounts]
    held = {position.instrument for account in accounts for position in account.positions}
    market = StartingMarket(await unit.instruments.some(held), first_prices or {})
    loaded = {}
    for index, portfolio in enumerate(scenario.portfolios):
        portfolio_id = PortfolioId(derived_id("scenario", tenant_name, portfolio.name))
        loaded[portfolio.name] = portfolio_id
        if not await unit.portfolios.exists(portfolio_id):
            placed = place(portfolio, market, f"/portfolios/{index}")
            await create_portfolio(unit, tenant_id, portfolio_id, placed, time_ns=0)
            for number, policy in enumerate(portfolio.policies):
                policy_id = PolicyId(derived_id("scenario", tenant_name, portfolio.name, number, policy.name))
                await create_policy(unit, tenant_id, portfolio_id, policy_id, policy, time_ns=0)
    await _load_operator_policies(unit, tenant_name, scenario.operator_policies, loaded)
    return LoadedScenario(tenant_id, loaded)


async def _load_operator_policies(
    unit: UnitOfWork,
    tenant_name: str,
    policies: Sequence[ScenarioOperatorPolicy],
    loaded: Mapping[str, PortfolioId],
) -> None:
    for number, each in enumerate(policies):
        unknown = next((name for name in each.portfolios if name not in loaded), None)
        if unknown is not None:
            path = f"/operator_policies/{number}/portfolios"
            raise InvalidInput(f"{path}: the scenario has no portfolio {unknown!r}", path=path)
        key = OperatorPolicyId(derived_id("scenario", tenant_name, "operator", number, each.policy.name))
        bound = tuple(loaded[name] for name in each.portfolios)
        document = OperatorPolicyDocument(policy=each.policy, portfolios=bound)
        try:
            await unit.operator_policies.get(key)
        except NotFound:
            await create_operator_policy(unit, key, document, time_ns=0)
