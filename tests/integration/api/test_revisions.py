"""Law 4: every write to a portfolio, its holdings or its policies takes a revision, in its transaction."""

import re

import pytest

from app.entrypoints.api.application import describe_app
from tests.integration.api.client import (
    add_adjustment,
    assert_problem,
    delta_neutral,
    portfolio_document,
    start_market,
)

FILL = {"account": "main", "instrument": "BTC-USDT-PERP", "quantity": "1", "price": "60000"}
TRANSFER = {"asset": "USDT", "amount": "1", "to_account": "main"}
ONCE = {"Idempotency_Key": "k"}

# Template, body, headers. What is not here must be in NOT_OF_A_PORTFOLIO.
WRITES = {
    "PATCH /v1/portfolios/{portfolio_id}": ({"state": "reduce_only"}, {}),
    "PUT /v1/portfolios/{portfolio_id}/positions": ({"account": "main", "positions": []}, {}),
    "POST /v1/portfolios/{portfolio_id}/fills": (FILL, ONCE),
    "PUT /v1/portfolios/{portfolio_id}/collateral": ({"reserves": []}, {}),
    "POST /v1/portfolios/{portfolio_id}/transfers": (TRANSFER, {}),
    "POST /v1/portfolios/{portfolio_id}/policies": (delta_neutral(), {}),
    "PUT /v1/policies/{policy_id}": (delta_neutral(band="2"), {"If_Match": '"1"'}),
    "POST /v1/policies/{policy_id}/enable": (None, {}),
    "POST /v1/policies/{policy_id}/disable": (None, {}),
    "DELETE /v1/policies/{policy_id}": (None, {}),
    "POST /v1/adjustments/{adjustment_id}/approve": (None, ONCE),
    "POST /v1/adjustments/{adjustment_id}/reject": ({}, {}),
}
GONE = "DELETE /v1/portfolios/{portfolio_id}"
NOT_OF_A_PORTFOLIO = re.compile(
    r"\w+ /v1/(keys|instruments|webhooks|operator|oracle|stream)\b|POST /v1/(portfolios|policies/preview)$"
)


def test_no_write_is_forgotten_here():
    paths = describe_app().openapi()["paths"]
    served = {f"{method.upper()} {path}" for path, item in paths.items() for method in item}
    writes = {route for route in served if not route.startswith("GET ")}
    assert {route for route in writes if not NOT_OF_A_PORTFOLIO.match(route)} == {*WRITES, GONE}


@pytest.mark.parametrize("route", WRITES)
async def test_a_write_takes_a_revision_and_hints(api, engine, tenant, redis, route):
    await start_market(redis)
    portfolio = await api.portfolio()
    policy = await api.policy(portfolio["id"], enabled=not route.endswith("/enable"))
    adjustment = await add_adjustment(engine, tenant, portfolio, policy_id=policy["id"])
    before = await api.revision(portfolio["id"])
    hints = await redis.xlen("{market}:hints")
    method, template = route.split()
    path = template.format(portfolio_id=portfolio["id"], policy_id=policy["id"], adjustment_id=adjustment)
    body, headers = WRITES[route]
    await api.ok(method, path, body, **headers)
    assert await api.revision(portfolio["id"]) == before + 1
    assert await redis.xlen("{market}:hints") == hints + 1


async def test_a_deleted_portfolio_takes_one_too(api, asyncpg_pool):
    portfolio = await api.portfolio()
    await api.ok("DELETE", f"/v1/portfolios/{portfolio['id']}")
    assert await asyncpg_pool.fetchval("SELECT revision FROM portfolios") == 2


async def test_what_is_refused_takes_none(api, redis):
    await start_market(redis)
    portfolio = await api.portfolio()
    path = f"/v1/portfolios/{portfolio['id']}"
    unfillable = FILL | {"price": "0"}
    assert_problem(await api("POST", f"{path}/fills", unfillable, Idempotency_Key="k"), 422, "invalid-input")
    assert_problem(await api("PATCH", path, {"state": "odd"}), 422, "invalid-input")
    assert_problem(await api("POST", "/v1/portfolios", portfolio_document(accounts=[])), 422, "invalid-input")
    assert await api.revision(portfolio["id"]) == 1
