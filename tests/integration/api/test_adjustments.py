"""A client's answer to an adjustment, and the lists it reads."""

from uuid import UUID, uuid4

import pytest
from sqlalchemy import insert

from app.adapters.postgres.tables.adjustments import decisions
from app.domain.market import Quality
from tests.integration.api.client import (
    CLOCK_NS,
    SECOND_NS,
    add_adjustment,
    assert_problem,
    events_of,
    start_market,
)


@pytest.fixture
async def portfolio(api):
    return await api.portfolio()


async def approve(api, adjustment_id, key="k"):
    return await api("POST", f"/v1/adjustments/{adjustment_id}/approve", Idempotency_Key=key)


async def test_an_approved_one_is_queued_on_the_prices_of_now(
    *, api, portfolio, engine, tenant, redis, asyncpg_pool
):
    await start_market(redis)
    adjustment_id = await add_adjustment(engine, tenant, portfolio)
    answer = await approve(api, adjustment_id)
    shown = answer.json()
    assert shown["state"] == "queued"
    assert shown["legs"][0]["reference_price"] == shown["remaining"][0]["reference_price"] == "61000.5"
    row = await asyncpg_pool.fetchrow("SELECT state, fill_time_ns FROM adjustments")
    assert tuple(row) == ("queued", CLOCK_NS)
    events = await events_of(asyncpg_pool, portfolio["id"])
    assert [(n, type_, data["state"]) for n, type_, data in events] == [
        (1, "adjustment.approved", "approved"),
        (2, "adjustment.queued", "queued"),
    ]
    assert await api.revision(portfolio["id"]) == 2
    again = await approve(api, adjustment_id)
    assert (again.headers["Idempotency-Replayed"], again.content) == ("true", answer.content)
    assert_problem(await approve(api, adjustment_id, "other"), 409, "illegal-transition")


@pytest.mark.parametrize(
    ("market", "status", "code"),
    [
        ({"clock_ns": CLOCK_NS + 300 * SECOND_NS}, 409, "conflict"),
        ({"instrument": "OTHER"}, 503, "price-unknown"),
        ({"time_ns": CLOCK_NS - 61 * SECOND_NS}, 503, "unavailable"),
        ({"quality": Quality.STALE_FOR_MARGIN}, 503, "unavailable"),
        ({"quality": Quality.NON_POSITIVE}, 503, "unavailable"),
    ],
    ids=["expired", "no price", "old price", "stale price", "no price at all"],
)
async def test_what_does_not_hold_any_more_is_not_approved(
    *, api, portfolio, engine, tenant, redis, market, status, code
):
    await start_market(redis, **market)
    adjustment_id = await add_adjustment(engine, tenant, portfolio)
    assert_problem(await approve(api, adjustment_id), status, code)
    assert (await api.ok("GET", f"/v1/adjustments/{adjustment_id}"))["state"] == "recommended"
    assert await api.revision(portfolio["id"]) == 1


@pytest.mark.parametrize(
    "quality",
    [
        Quality.DIVERGING,
        Quality.STALE_FOR_TRADING,
        Quality.INSUFFICIENT_SOURCES,
        Quality.TOO_UNCERTAIN,
        Quality.TOO_VOLATILE,
    ],
)
async def test_a_doubtful_price_lets_only_the_way_out_pass(*, api, portfolio, engine, tenant, redis, quality):
    await start_market(redis, quality=quality)
    more_risk = await add_adjustment(engine, tenant, portfolio, risk_reducing=False)
    assert_problem(await approve(api, more_risk, "1"), 503, "unavailable")
    less_risk = await add_adjustment(engine, tenant, portfolio)
    assert (await approve(api, less_risk, "2")).status_code == 200


async def test_before_the_market_starts_nothing_is_approved(api, portfolio, engine, tenant):
    adjustment_id = await add_adjustment(engine, tenant, portfolio)
    response = await approve(api, adjustment_id)
    assert_problem(response, 503, "unavailable")
    assert response.headers["Retry-After"]


async def test_a_halt_blocks_risk_but_not_the_way_out(api, portfolio, engine, tenant, redis):
    await start_market(redis)
    await api.ok("PATCH", f"/v1/portfolios/{portfolio['id']}", {"state": "halted"})
    more_risk = await add_adjustment(engine, tenant, portfolio, risk_reducing=False)
    assert_problem(await approve(api, more_risk, "1"), 409, "conflict")
    less_risk = await add_adjustment(engine, tenant, portfolio)
    assert (await approve(api, less_risk, "2")).status_code == 200


async def test_what_is_only_recommended_is_not_for_the_executor(api, portfolio, engine, tenant, redis):
    await start_market(redis)
    adjustment_id = await add_adjustment(engine, tenant, portfolio, mode="recommend")
    assert_problem(await approve(api, adjustment_id), 409, "conflict")


@pytest.mark.parametrize(
    ("state", "allowed"),
    [
        ("recommended", True),
        ("approved", True),
        ("queued", True),
        ("executing", False),
        ("executed", False),
        ("rejected", False),
    ],
)
async def test_rejecting_follows_the_table_of_states(
    *, api, portfolio, engine, tenant, redis, asyncpg_pool, state, allowed
):
    await start_market(redis)
    adjustment_id = await add_adjustment(engine, tenant, portfolio, state=state)
    response = await api("POST", f"/v1/adjustments/{adjustment_id}/reject", {"reason": "hedged elsewhere"})
    if not allowed:
        problem = assert_problem(response, 409, "illegal-transition")
        assert f"that is {state} cannot become rejected" in problem["detail"]
        assert await api.revision(portfolio["id"]) == 1
        return
    assert (response.json()["state"], response.json()["outcome"]) == ("rejected", "hedged elsewhere")
    assert [type_ for _, type_, _ in await events_of(asyncpg_pool, portfolio["id"])] == [
        "adjustment.rejected"
    ]
    assert await api.revision(portfolio["id"]) == 2


async def test_one_that_an_executor_is_taking_is_not_answered(
    *, api, portfolio, engine, tenant, redis, asyncpg_pool
):
    await start_market(redis)
    adjustment_id = await add_adjustment(engine, tenant, portfolio, state="queued")
    async with asyncpg_pool.acquire() as executor, executor.transaction():
        await executor.execute("SELECT 1 FROM adjustments WHERE id = $1 FOR UPDATE", UUID(adjustment_id))
        response = await api("POST", f"/v1/adjustments/{adjustment_id}/reject", {})
        assert_problem(response, 409, "conflict")
    rejected = await api.ok("POST", f"/v1/adjustments/{adjustment_id}/reject")
    assert rejected["outcome"] == "rejected by the client"  # a reason may be given, and so may a body


async def test_lists_are_filtered_and_paged(api, portfolio, engine, tenant):
    other = await api.portfolio()
    mine = [await add_adjustment(engine, tenant, portfolio) for _ in range(5)]
    await add_adjustment(engine, tenant, other, state="executed")
    seen, cursor = [], ""
    while cursor is not None:
        page = await api.ok("GET", f"/v1/adjustments?portfolio={portfolio['id']}&limit=2{cursor}")
        seen += [item["adjustment_id"] for item in page["items"]]
        cursor = page["next_cursor"] and f"&cursor={page['next_cursor']}"
    assert seen == mine[::-1]
    executed = await api.ok("GET", "/v1/adjustments?state=executed")
    assert [item["portfolio_id"] for item in executed["items"]] == [other["id"]]
    for query in ("cursor=abc", "cursor=W10", "limit=0", "state=odd", "portfolio=1"):
        assert_problem(await api("GET", f"/v1/adjustments?{query}"), 422, "invalid-input")


async def test_one_that_serves_several_policies_belongs_to_each(*, api, portfolio, engine, tenant, redis):
    """It is listed under each, says what it misses of whom, and ends with any of them."""
    await start_market(redis)
    leading, second, third = [await api.policy(portfolio["id"]) for _ in range(3)]
    served = [UUID(policy["id"]) for policy in (leading, second)]
    miss = {
        "policy_id": second["id"],
        "figure": "leverage",
        "wanted": "3",
        "reached": "3.5",
        "why": "trade_limit",
    }
    adjustment_id = await add_adjustment(
        engine, tenant, portfolio, policy_id=leading["id"], policies=served, misses=[miss]
    )
    for policy, listed in ((leading, 1), (second, 1), (third, 0)):
        items = (await api.ok("GET", f"/v1/adjustments?policy={policy['id']}"))["items"]
        assert [item["adjustment_id"] for item in items] == [adjustment_id] * listed
    shown = await api.ok("GET", f"/v1/adjustments/{adjustment_id}")
    assert (shown["policies"], shown["misses"]) == ([leading["id"], second["id"]], [miss])
    for policy, state in ((third, "recommended"), (second, "superseded")):
        await api.ok("POST", f"/v1/policies/{policy['id']}/disable")
        assert (await api.ok("GET", f"/v1/adjustments/{adjustment_id}"))["state"] == state


async def test_decisions_of_a_policy_in_pages(api, portfolio, engine, tenant):
    policy = await api.policy(portfolio["id"])
    rows = [
        {
            "id": uuid4(),
            "tenant_id": tenant,
            "portfolio_id": UUID(portfolio["id"]),
            "policy_id": UUID(policy["id"]),
            "policy_version": 1,
            "portfolio_revision": 2,
            "generation": 1,
            "sequence": sequence,
            "time_ns": CLOCK_NS,
            "outcome": "suppressed",
            "reason": "cooldown",
            "conditions": {"net_delta": "1"},
            "inputs": {"BTC-USDT-PERP": "61000.5"},
            "repeats_before": 0,
        }
        for sequence in (1, 2, 2, 3)
    ]
    async with engine.begin() as connection:
        await connection.execute(insert(decisions), rows)
    path = f"/v1/policies/{policy['id']}/decisions?limit=3"
    first = await api.ok("GET", path)
    second = await api.ok("GET", f"{path}&cursor={first['next_cursor']}")
    assert second["next_cursor"] is None
    positions = [item["market_position"] for item in first["items"] + second["items"]]
    assert positions == ["1-3", "1-2", "1-2", "1-1"]
    assert len({item["id"] for item in first["items"]}) == 3
    assert first["items"][0]["conditions"] == {"net_delta": "1"}
