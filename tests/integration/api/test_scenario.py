"""A scenario file becomes a tenant's portfolios, once."""

from uuid import uuid4

import pytest

from app.domain.errors import InvalidInput
from app.domain.identifiers import ApiKeyId, derived_id
from app.ports.management import Scope
from app.services.load_scenario import load_scenario, parse_scenario
from app.services.manage_keys import create_key, ensure_tenant
from tests.integration.api.client import Client

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
