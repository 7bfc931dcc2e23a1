"""Keys, scopes and tenants: who may do what, and who sees nothing."""

import asyncio
from dataclasses import replace
from functools import partial
from uuid import uuid4

import httpx
import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import text

from app.adapters.postgres.management import PostgresUnitsOfWork, management_engine
from app.adapters.redis_streams.events import EventStream
from app.adapters.redis_streams.hints import hint
from app.entrypoints.api.application import create_app
from tests import factories
from tests.integration.api.client import (
    Client,
    add_adjustment,
    assert_problem,
    delta_neutral,
    portfolio_document,
    start_market,
)
from tests.waiting import eventually

FILL = {"account": "main", "instrument": "BTC-USDT-PERP", "quantity": "1", "price": "60000"}


async def test_a_key_is_shown_once_and_stored_as_a_hash(api, http, asyncpg_pool):
    answer = await api("POST", "/v1/keys", {"name": "bot", "scopes": ["read"]})
    assert answer.headers["Cache-Control"] == "no-store"
    created = answer.json()
    assert created["key"].startswith("blst_")
    assert created["key"].startswith(created["prefix"])
    listed = await api.ok("GET", "/v1/keys")
    assert all("key" not in item for item in listed["items"])
    rows = await asyncpg_pool.fetch("SELECT * FROM api_keys")
    assert created["key"] not in str([dict(row) for row in rows])
    bot = Client(http, created["key"])
    await bot.ok("GET", "/v1/portfolios")
    revoked = await api.ok("DELETE", f"/v1/keys/{created['id']}")
    assert revoked["revoked_at"] is not None
    assert_problem(await bot("GET", "/v1/portfolios"), 401, "unauthenticated")


async def test_a_repeated_creation_does_not_show_the_key_again(api, asyncpg_pool):
    body = {"name": "bot", "scopes": ["read"]}
    first = await api.ok("POST", "/v1/keys", body, Idempotency_Key="k")
    again = await api("POST", "/v1/keys", body, Idempotency_Key="k")
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.json() == first | {"key": None}
    rows = await asyncpg_pool.fetch("SELECT * FROM idempotency_keys")
    assert first["key"] not in str([dict(row) for row in rows])


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Bearer blst_wrong", "Basic YTpi", "Bearer ünï", "Bearer " + "x" * 5000]
)
async def test_without_a_valid_key_nothing_is_told(http, market_rows, authorization):
    headers = {"Authorization": authorization.encode()} if authorization else {}
    response = await http.get("/v1/portfolios", headers=headers)
    assert_problem(response, 401, "unauthenticated")
    assert response.headers["WWW-Authenticate"].startswith("Bearer")


async def test_scopes_deny_by_default(http, engine, tenant):
    reader = Client(http, await factories.create_key(engine, tenant, scopes=["read"]))
    trader = Client(http, await factories.create_key(engine, tenant, scopes=["trade"]))
    ticker = Client(http, await factories.create_key(engine, tenant, scopes=["ticks"]))
    await reader.ok("GET", "/v1/portfolios")
    assert_problem(await trader("GET", "/v1/portfolios"), 403, "denied")
    assert_problem(await ticker("GET", "/v1/portfolios"), 403, "denied")
    assert_problem(await reader("POST", "/v1/portfolios", portfolio_document()), 403, "denied")
    await trader.ok("POST", "/v1/portfolios", portfolio_document())
    for caller in (reader, trader):
        assert_problem(await caller("GET", "/v1/keys"), 403, "denied")
        body = factories.BTC_PERP.model_dump(mode="json") | {"id": "BTC-PERP-2"}
        assert_problem(await caller("POST", "/v1/instruments", body), 403, "denied")


async def test_every_route_under_v1_asks_for_a_key(http, dependencies):
    document = (await http.get("/openapi.json")).json()
    asked = 0
    for path, item in document["paths"].items():
        if not path.startswith("/v1"):
            continue
        for method in item:
            filled = path.replace("{instrument_id}", "BTC-USDT")
            for name in ("portfolio_id", "policy_id", "adjustment_id", "endpoint_id", "key_id"):
                filled = filled.replace(f"{{{name}}}", str(uuid4()))
            headers = {"Content-Type": "application/json"}
            response = await http.request(method.upper(), filled, content=b"{}", headers=headers)
            assert_problem(response, 401, "unauthenticated")
            asked += 1
    assert asked > 30


async def test_another_tenants_things_are_not_there(api, stranger, engine, tenant, redis):
    await start_market(redis)
    portfolio = await api.portfolio()
    policy = await api.policy(portfolio["id"])
    adjustment = await add_adjustment(engine, tenant, portfolio)
    webhook = await api.ok("POST", "/v1/webhooks", {"url": "https://example.com/x"})
    key = (await api.ok("POST", "/v1/keys", {"name": "k", "scopes": ["read"]}))["id"]
    p, q = f"/v1/portfolios/{portfolio['id']}", f"/v1/policies/{policy['id']}"
    a, w = f"/v1/adjustments/{adjustment}", f"/v1/webhooks/{webhook['id']}"
    once = {"Idempotency_Key": "x"}
    requests = [
        ("GET", p, None, {}),
        ("PATCH", p, {"state": "halted"}, {}),
        ("DELETE", p, None, {}),
        ("PUT", f"{p}/positions", {"account": "main", "positions": []}, {}),
        ("POST", f"{p}/fills", FILL, once),
        ("GET", f"{p}/fills", None, {}),
        ("PUT", f"{p}/collateral", {"reserves": []}, {}),
        ("POST", f"{p}/transfers", {"asset": "USDT", "amount": "1", "to_account": "main"}, {}),
        ("GET", f"{p}/risk", None, {}),
        ("GET", f"{p}/policies", None, {}),
        ("POST", f"{p}/policies", delta_neutral(), {}),
        ("GET", q, None, {}),
        ("PUT", q, delta_neutral(), {"If_Match": '"1"'}),
        ("POST", f"{q}/enable", None, {}),
        ("POST", f"{q}/disable", None, {}),
        ("DELETE", q, None, {}),
        ("GET", f"{q}/versions", None, {}),
        ("GET", f"{q}/decisions", None, {}),
        ("GET", a, None, {}),
        ("POST", f"{a}/approve", None, once),
        ("POST", f"{a}/reject", {}, {}),
        ("GET", w, None, {}),
        ("GET", f"{w}/deliveries", None, {}),
        ("POST", f"{w}/disable", None, {}),
        ("DELETE", w, None, {}),
        ("DELETE", f"/v1/keys/{key}", None, {}),
    ]
    for method, path, body, headers in requests:
        assert_problem(await stranger(method, path, body, **headers), 404, "not-found")
    for path in (
        "/v1/portfolios",
        "/v1/adjustments",
        f"/v1/adjustments?portfolio={portfolio['id']}",
        "/v1/webhooks",
    ):
        assert (await stranger.ok("GET", path))["items"] == []
    assert (await api.ok("GET", p))["revision"] == 2
    assert (await api.ok("GET", a))["state"] == "recommended"


async def test_f47_one_pooled_connection_never_carries_the_previous_tenant(
    dependencies, database_url, engine, wire
):
    """Requests of three tenants take turns on one connection; some fail halfway, some are broken off."""
    pool = management_engine(database_url, connections=1)
    stream = EventStream(reading=wire, writing=wire)
    units = PostgresUnitsOfWork(pool, publish=stream.publish, hint=partial(hint, wire))
    app = create_app(replace(dependencies, units=units, registry=CollectorRegistry()))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://api") as http:
        tenants = [await factories.create_tenant(engine) for _ in range(3)]
        clients = [Client(http, await factories.create_key(engine, tenant)) for tenant in tenants]
        own = [(await client.portfolio(name="book"))["id"] for client in clients]
        taken = portfolio_document(name="book")

        async def turn(client, portfolio_id):
            assert_problem(await client("POST", "/v1/portfolios", taken), 409, "already-exists")
            broken_off = asyncio.create_task(client("POST", "/v1/portfolios", portfolio_document()))
            await eventually(lambda: pool.pool.checkedout() or broken_off.done())
            broken_off.cancel()
            await asyncio.gather(broken_off, return_exceptions=True)
            listed = (await client.ok("GET", "/v1/portfolios?limit=500"))["items"]
            assert portfolio_id in [item["id"] for item in listed]
            return {item["id"] for item in listed}

        seen = await asyncio.gather(
            *(turn(*pair) for pair in zip(clients, own, strict=True) for _ in range(5))
        )
        for index, portfolios in enumerate(seen):
            assert set(own) & portfolios == {own[index // 5]}
    async with pool.connect() as connection:
        left = text("SELECT current_setting('lock_timeout'), current_setting('statement_timeout')")
        assert tuple((await connection.execute(left)).one()) == ("0", "0")
    await pool.dispose()
