"""What the API says of what its clients did. That it is as documented is checked of every test's database."""

from decimal import Decimal
from uuid import UUID

from app.domain.adjustment_json import legs_to_json
from app.domain.adjustments import TransferLeg
from app.domain.events import EVENTS, Emitter
from tests.event_documents import emitted
from tests.integration.api.client import add_adjustment, delta_neutral, events_of, start_market


async def test_the_api_emits_what_the_registry_says(api, engine, tenant, redis, database_url):
    await start_market(redis)
    portfolio = await api.portfolio()
    path = f"/v1/portfolios/{portfolio['id']}"
    approved, rejected, reported, superseded = [
        await add_adjustment(engine, tenant, portfolio) for _ in range(4)
    ]
    await api.ok("POST", f"/v1/adjustments/{approved}/approve", Idempotency_Key="approve")
    await api.ok("POST", f"/v1/adjustments/{rejected}/reject", {})
    fill = {"account": "main", "instrument": "BTC-USDT-PERP", "quantity": "-1", "price": "61000"}
    await api.ok("POST", f"{path}/fills", fill | {"adjustment_id": reported}, Idempotency_Key="fill")
    await api.ok("PUT", f"{path}/positions", {"account": "main", "positions": []})
    await api.ok("PATCH", path, {"state": "halted"})
    await every_turn_of_a_policy(api, portfolio)
    assert (await api.ok("GET", f"/v1/adjustments/{superseded}"))["state"] == "superseded"
    registered = {spec.type for spec in EVENTS.values() if Emitter.API in spec.emitters}
    assert await emitted(database_url) == registered


async def every_turn_of_a_policy(api, portfolio):
    policy = await api.policy(portfolio["id"])
    path = f"/v1/policies/{policy['id']}"
    await api.ok("PUT", path, delta_neutral(band="0.5"), If_Match='"1"')
    await api.ok("POST", f"{path}/disable")
    await api.ok("POST", f"{path}/enable")
    await api.ok("POST", f"{path}/enable")
    await api.ok("DELETE", path)
    return policy["id"]


async def test_the_life_of_a_policy_is_told_version_by_version(api, redis, asyncpg_pool):
    await start_market(redis)
    portfolio = await api.portfolio()
    policy_id = await every_turn_of_a_policy(api, portfolio)
    told = await events_of(asyncpg_pool, portfolio["id"])
    assert [(n, type_, data["policy_version"], data["enabled"]) for n, type_, data in told] == [
        (1, "policy.created", 1, True),
        (2, "policy.changed", 2, True),
        (3, "policy.disabled", 3, False),
        (4, "policy.enabled", 4, True),
        (5, "policy.deleted", 4, True),
    ]
    assert {data["policy_id"] for _, _, data in told} == {policy_id}


async def test_what_ended_says_why_and_with_which_fill(api, engine, tenant, redis, asyncpg_pool):
    await start_market(redis)
    portfolio = await api.portfolio()
    account_id = portfolio["accounts"][0]["id"]
    leg = TransferLeg(UUID(account_id), "USDT", Decimal(500))
    topped_up = await add_adjustment(engine, tenant, portfolio, legs=legs_to_json([leg]))
    rejected = await add_adjustment(engine, tenant, portfolio)
    transfer = {"asset": "USDT", "amount": "500", "to_account": "main", "adjustment_id": topped_up}
    await api.ok("POST", f"/v1/portfolios/{portfolio['id']}/transfers", transfer)
    await api.ok("POST", f"/v1/adjustments/{rejected}/reject", {"reason": "hedged elsewhere"})
    (_, executed, first), (_, _, second) = await events_of(asyncpg_pool, portfolio["id"])
    assert (executed, first["outcome"]) == ("adjustment.executed", "reported by the client")
    (fill,) = first["fills"]
    (recorded,) = (await api.ok("GET", f"/v1/portfolios/{portfolio['id']}/fills"))["items"]
    assert fill == {name: recorded[name] for name in fill}
    assert second["outcome"] == "hedged elsewhere"
