"""A scenario file becomes a tenant's portfolios, once."""

from pathlib import Path
from uuid import uuid4

import pytest

from app.domain.errors import InvalidInput
from app.domain.identifiers import ApiKeyId, derived_id
from app.ports.management import Scope
from app.services.load_scenario import load_scenario, parse_scenario
from app.services.manage_keys import create_key, ensure_tenant
from tests import factories
from tests.integration.api.client import Client

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("*.yaml"))
TEXT = """
instruments:
  - {id: ETH-PERP, kind: perpetual, underlying: ETH, quote: USDT, tick_size: 0.01}
portfolios:
  - name: guarded
    valuation_currency: USDT
    accounts:
      - name: main
        balances: [{asset: USDT, amount: 1000.1}]
        positions: [{instrument: ETH-PERP, quantity: 1, entry_price: 3000}]
    reserves: [{asset: USDT, amount: 250}]
    policies:
      - {kind: liquidation_guard, name: stay alive, mode: auto, trigger: 0.5, restore: 0.3}
"""


async def test_a_scenario_is_loaded_once_and_means_the_same_everywhere(units, http, market_rows):
    scenario = parse_scenario(TEXT)
    for _ in range(2):
        async with units() as unit:
            loaded = await load_scenario(unit, "demo", scenario)
    assert loaded.portfolios == {"guarded": derived_id("scenario", "demo", "guarded")}
    async with units() as unit:
        tenant_id = await ensure_tenant(unit, "demo")
        assert tenant_id == loaded.tenant_id
        _, token = await create_key(
            unit,
            tenant_id=tenant_id,
            key_id=ApiKeyId(uuid4()),
            name="k",
            scopes=[Scope.READ],
            secret=b"x" * 32,
        )
    client = Client(http, token)
    (portfolio,) = (await client.ok("GET", "/v1/portfolios"))["items"]
    assert portfolio["accounts"][0]["balances"][0]["amount"] == "1000.1"
    (policy,) = (await client.ok("GET", f"/v1/portfolios/{portfolio['id']}/policies"))["items"]
    assert (policy["policy"]["kind"], policy["policy"]["trigger"]) == ("liquidation_guard", "0.5")


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("portfolios: [{name: x}]", "/portfolios/0/valuation_currency"),
        ("instruments: {", ""),
        ("- 1", ""),
        ("surprise: 1", "/surprise"),
        (TEXT.replace("amount: 250", "amount: .nan"), "/portfolios/0/reserves/0/amount"),
    ],
)
def test_a_mistake_is_told_with_its_place(text, path):
    with pytest.raises(InvalidInput) as error:
        parse_scenario(text)
    assert error.value.path == path
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
async def test_every_example_is_placed_on_a_market_and_its_policies_are_taken(example, units, engine):
    scenario = parse_scenario(example.read_text(encoding="utf-8"))
    await factories.create_market(engine, instruments=scenario.instruments)
    async with units() as unit:
        loaded = await load_scenario(unit, "examples", scenario, {"BTC-USDT": 40_000.0})
        for portfolio in scenario.portfolios:
            kept = await unit.portfolios.get(loaded.tenant_id, loaded.portfolios[portfolio.name])
            operators = [each for each in scenario.operator_policies if portfolio.name in each.portfolios]
            assert len(kept.policies) == len(portfolio.policies) + len(operators)


async def test_an_operator_policy_of_a_scenario_binds_the_portfolios_it_names_once(units, market_rows):
    rule = "{kind: leverage_band, name: house limit, minimum: 0, target: 4, maximum: 5, boost: false}"
    text = TEXT + f"operator_policies: [{{portfolios: [guarded], policy: {rule}}}]"
    for _ in range(2):
        async with units() as unit:
            loaded = await load_scenario(unit, "demo", parse_scenario(text))
    async with units() as unit:
        portfolio = await unit.portfolios.get(loaded.tenant_id, loaded.portfolios["guarded"])
    assert [(stored.policy.kind, stored.operator) for stored in portfolio.policies] == [
        ("leverage_band", True),
        ("liquidation_guard", False),
    ]


async def test_an_operator_policy_for_a_portfolio_that_is_not_there_is_told(units, market_rows):
    rule = "{kind: leverage_band, name: house limit, minimum: 0, target: 4, maximum: 5, boost: false}"
    text = TEXT + f"operator_policies: [{{portfolios: [nobody], policy: {rule}}}]"
    with pytest.raises(InvalidInput, match="nobody") as error:
        async with units() as unit:
            await load_scenario(unit, "demo", parse_scenario(text))
    assert error.value.path == "/operator_policies/0/portfolios"
