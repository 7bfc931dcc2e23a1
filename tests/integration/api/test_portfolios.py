"""Portfolios, snapshots, fills and collateral over HTTP."""

from decimal import Decimal
from uuid import UUID

from app.adapters.redis_streams.client import read_range
from app.adapters.redis_streams.events import EventStream
from app.adapters.redis_streams.keys import HINTS
from app.domain.adjustment_json import legs_to_json
from app.domain.adjustments import TransferLeg
from app.domain.portfolios import MarginMode
from tests.integration.api.client import (
    CLOCK,
    add_adjustment,
    assert_problem,
    events_of,
    portfolio_document,
    start_market,
)


def fill(**changes):
    return {"account": "main", "instrument": "BTC-USDT-PERP", "quantity": "-1", "price": "61000"} | changes


async def test_a_portfolio_is_read_as_it_was_created(api):
    created = await api.portfolio()
    assert created["revision"] == 1
    assert created["state"] == "active"
    (main, second) = created["accounts"]
    assert main["positions"] == [{"instrument": "BTC-USDT-PERP", "quantity": "1", "entry_price": "60000"}]
    assert main["balances"] == [{"asset": "USDT", "amount": "20000", "haircut": "0"}]
    assert second["positions"] == second["balances"] == []
    assert created["reserves"] == [{"asset": "USDT", "amount": "5000", "keep": "1000"}]
    assert await api.ok("GET", f"/v1/portfolios/{created['id']}") == created


async def test_names_are_unique_until_deleted(api):
    created = await api.portfolio(name="one")
    refused = await api("POST", "/v1/portfolios", portfolio_document(name="one"))
    assert_problem(refused, 409, "already-exists")
    await api.ok("DELETE", f"/v1/portfolios/{created['id']}")
    assert_problem(await api("GET", f"/v1/portfolios/{created['id']}"), 404, "not-found")
    await api.portfolio(name="one")


async def test_an_account_has_one_of_the_margin_modes(api):
    for mode in MarginMode:
        document = portfolio_document(accounts=[{"name": "main", "margin_mode": mode}])
        created = await api.ok("POST", "/v1/portfolios", document)
        assert created["accounts"][0]["margin_mode"] == mode
    document = portfolio_document(accounts=[{"name": "main", "margin_mode": "other"}])
    problem = assert_problem(await api("POST", "/v1/portfolios", document), 422, "invalid-input")
    assert problem["errors"][0]["pointer"] == "/accounts/0/margin_mode"


async def test_pages_of_portfolios_join_without_gap(api):
    names = [(await api.portfolio(name=f"p{n}"))["name"] for n in range(5)]
    seen, cursor = [], ""
    while cursor is not None:
        page = await api.ok("GET", f"/v1/portfolios?limit=2{cursor}")
        seen += [item["name"] for item in page["items"]]
        cursor = page["next_cursor"] and f"&cursor={page['next_cursor']}"
    assert seen == names


async def test_a_position_in_spot_is_refused_and_told_where_it_belongs(api):
    document = portfolio_document()
    document["accounts"][0]["positions"][0]["instrument"] = "BTC-USDT"
    problem = assert_problem(await api("POST", "/v1/portfolios", document), 422, "invalid-input")
    assert problem["errors"][0]["pointer"] == "/accounts/0/positions/0/instrument"
    assert "balance" in problem["detail"]


async def test_a_snapshot_replaces_one_account_and_supersedes(
    *, api, engine, redis, wire, tenant, asyncpg_pool
):
    await start_market(redis)
    created = await api.portfolio()
    adjustment_id = await add_adjustment(engine, tenant, created)
    path = f"/v1/portfolios/{created['id']}/positions"
    position = {"instrument": "BTC-USD-PERP", "quantity": "-30", "entry_price": "59000"}
    changed = await api.ok("PUT", path, {"account": "main", "as_of": CLOCK, "positions": [position]})
    assert changed["accounts"][0]["positions"] == [position]
    assert changed["revision"] == 2
    adjustment = await api.ok("GET", f"/v1/adjustments/{adjustment_id}")
    assert adjustment["state"] == "superseded"
    ((sequence, type_, data),) = await events_of(asyncpg_pool, created["id"])
    assert (sequence, type_, data["adjustment_id"]) == (1, "adjustment.superseded", adjustment_id)
    ((_, streamed),) = await EventStream(reading=wire, writing=wire).read("0", block_ms=None)
    assert (str(streamed.portfolio_id), streamed.sequence) == (created["id"], 1)
    hints = await read_range(redis, HINTS, "-", "+", count=10)
    assert {flat[1] for _, flat in hints} == {UUID(created["id"]).bytes}


async def test_a_snapshot_older_than_what_is_known_is_refused(api, redis):
    await start_market(redis)
    created = await api.portfolio()
    path = f"/v1/portfolios/{created['id']}/positions"

    def snapshot(as_of):
        return {"account": "main", "as_of": as_of, "positions": []}

    await api.ok("PUT", path, snapshot("2023-11-14T22:13:19Z"))
    assert_problem(await api("PUT", path, snapshot("2023-11-14T22:13:18Z")), 409, "conflict")
    await api.ok("PUT", path, snapshot("2023-11-14T22:13:19Z"))
    late = assert_problem(await api("PUT", path, snapshot("2023-11-14T22:13:30Z")), 422, "invalid-input")
    assert late["errors"][0]["pointer"] == "/as_of"
    await api.ok("POST", f"/v1/portfolios/{created['id']}/fills", fill(), Idempotency_Key="a")
    assert_problem(await api("PUT", path, snapshot("2023-11-14T22:13:19Z")), 409, "conflict")
    await api.ok("PUT", path, {"account": "main", "positions": []})
    old = fill(time="2023-11-14T22:13:19Z")
    assert_problem(
        await api("POST", f"/v1/portfolios/{created['id']}/fills", old, Idempotency_Key="b"), 409, "conflict"
    )


async def test_a_fill_changes_position_balance_and_revision(api, redis):
    await start_market(redis)
    created = await api.portfolio()
    path = f"/v1/portfolios/{created['id']}/fills"
    answer = await api.ok("POST", path, fill(quantity="-0.4", fee="12.2"), Idempotency_Key="f1")
    assert answer["revision"] == 2
    assert answer["fill"]["time"] == "2023-11-14T22:13:20.000000000Z"
    account = (await api.ok("GET", f"/v1/portfolios/{created['id']}"))["accounts"][0]
    assert account["positions"] == [
        {"instrument": "BTC-USDT-PERP", "quantity": "0.6", "entry_price": "60000"}
    ]
    assert account["balances"][0]["amount"] == "20387.8"  # 0.4 * (61000 - 60000) - 12.2
    assert (await api.ok("GET", path))["items"] == [answer["fill"]]


async def test_fills_execute_the_recommendation_they_name(api, engine, redis, tenant, asyncpg_pool):
    await start_market(redis)
    created = await api.portfolio()
    adjustment_id = await add_adjustment(engine, tenant, created, mode="recommend")
    path = f"/v1/portfolios/{created['id']}/fills"
    part = fill(quantity="-0.4", adjustment_id=adjustment_id)
    answer = await api.ok("POST", path, part, Idempotency_Key="1")
    assert answer["fill"]["adjustment_id"] == adjustment_id
    adjustment = await api.ok("GET", f"/v1/adjustments/{adjustment_id}")
    assert (adjustment["state"], adjustment["remaining"][0]["quantity"]) == ("recommended", "-0.6")
    assert adjustment["legs"][0]["quantity"] == "-1"
    wrong_side = fill(quantity="0.1", adjustment_id=adjustment_id)
    problem = assert_problem(await api("POST", path, wrong_side, Idempotency_Key="2"), 422, "invalid-input")
    assert problem["errors"][0]["pointer"] == "/adjustment_id"
    rest = fill(quantity="-0.6", adjustment_id=adjustment_id)
    await api.ok("POST", path, rest, Idempotency_Key="3")
    adjustment = await api.ok("GET", f"/v1/adjustments/{adjustment_id}")
    assert (adjustment["state"], adjustment["remaining"]) == ("executed", [])
    assert [type_ for _, type_, _ in await events_of(asyncpg_pool, created["id"])] == ["adjustment.executed"]
    assert_problem(await api("POST", path, rest, Idempotency_Key="4"), 409, "conflict")
    assert await api.revision(created["id"]) == 3


async def test_collateral_is_stated_anew(api):
    created = await api.portfolio()
    path = f"/v1/portfolios/{created['id']}/collateral"
    stated = {
        "accounts": [{"account": "main", "balances": [{"asset": "BTC", "amount": "2", "haircut": "0.1"}]}],
        "reserves": [],
    }
    changed = await api.ok("PUT", path, stated)
    assert changed["accounts"][0]["balances"] == [{"asset": "BTC", "amount": "2", "haircut": "0.1"}]
    assert changed["reserves"] == []
    assert await api.ok("GET", f"/v1/portfolios/{created['id']}") == changed
    assert_problem(await api("PUT", path, {}), 422, "invalid-input")


async def test_transfers_move_what_is_there(api, engine, redis, tenant, asyncpg_pool):
    await start_market(redis)
    created = await api.portfolio()
    path = f"/v1/portfolios/{created['id']}/transfers"
    usdt = {"asset": "USDT", "amount": "1500.25"}
    moved = await api.ok("POST", path, usdt | {"from_account": "main", "to_account": "second"})
    assert [a["balances"][0]["amount"] for a in moved["accounts"]] == ["18499.75", "1500.25"]
    moved = await api.ok("POST", path, usdt | {"from_account": "second"})
    assert moved["reserves"][0]["amount"] == "6500.25"
    refused = await api("POST", path, {"asset": "USDT", "amount": "7000", "to_account": "main"})
    problem = assert_problem(refused, 422, "invalid-input")
    assert problem["errors"][0]["pointer"] == "/amount"
    assert problem["detail"] == "the reserve has 6500.25 USDT, not 7000"
    leg = TransferLeg(UUID(created["accounts"][0]["id"]), "USDT", Decimal(500))
    adjustment_id = await add_adjustment(engine, tenant, created, legs=legs_to_json([leg]))
    document = {"asset": "USDT", "amount": "500", "to_account": "main", "adjustment_id": adjustment_id}
    await api.ok("POST", path, document)
    assert (await api.ok("GET", f"/v1/adjustments/{adjustment_id}"))["state"] == "executed"
    recorded = (await api.ok("GET", f"/v1/portfolios/{created['id']}/fills"))["items"]
    assert [(f["kind"], f["quantity"]) for f in recorded] == [
        ("transfer", "500"), ("transfer", "1500.25"), ("transfer", "1500.25"),
    ]  # fmt: skip
    main, second = (account["id"] for account in created["accounts"])
    assert [(f["source_account_id"], f["account_id"]) for f in recorded] == [
        (None, main), (second, None), (main, second),
    ]  # fmt: skip


async def test_a_transfer_leaves_an_account_its_initial_margin(api, redis):
    """20,000 and 1,000.5 of profit, less 5 % of 61,000.5, are 17,950.475."""
    await start_market(redis)
    created = await api.portfolio()
    path = f"/v1/portfolios/{created['id']}/transfers"
    out = {"asset": "USDT", "from_account": "main"}
    problem = assert_problem(await api("POST", path, out | {"amount": "18000"}), 422, "invalid-input")
    assert "can spare 17950.475 USDT, not 18000" in problem["detail"]
    assert problem["errors"][0]["pointer"] == "/amount"
    assert await api.revision(created["id"]) == 1
    assert (await api.ok("GET", f"/v1/portfolios/{created['id']}/fills"))["items"] == []
    moved = await api.ok("POST", path, out | {"amount": "17950.475"})
    risk = await api.ok("GET", f"/v1/portfolios/{created['id']}/risk")
    assert float(risk["accounts"][0]["equity"]) == float(risk["accounts"][0]["initial_margin"])
    assert moved["reserves"][0]["amount"] == "22950.475"
    assert_problem(await api("POST", path, out | {"amount": "0.01"}), 422, "invalid-input")


async def test_what_an_account_can_spare_is_not_guessed(api, redis):
    created = await api.portfolio()
    path = f"/v1/portfolios/{created['id']}/transfers"
    out = {"asset": "USDT", "from_account": "main", "amount": "1"}
    assert_problem(await api("POST", path, out), 503, "unavailable")
    await start_market(redis, instrument="BTC-USDT", value=61_000.0)
    assert_problem(await api("POST", path, out), 503, "unavailable")
    await api.ok("POST", path, {"asset": "USDT", "to_account": "second", "amount": "3"})
    moved = await api.ok("POST", path, out | {"from_account": "second", "fee": "0.25"})
    assert (moved["accounts"][1]["balances"][0]["amount"], moved["reserves"][0]["amount"]) == ("2", "4997.75")


async def test_a_transfer_happens_once_however_long_ago_it_was(api, redis, asyncpg_pool):
    await start_market(redis)
    created = await api.portfolio()
    path = f"/v1/portfolios/{created['id']}/transfers"
    document = {"asset": "USDT", "to_account": "main", "amount": "3000"}
    await api.ok("POST", path, document, Idempotency_Key="k")
    await asyncpg_pool.execute("DELETE FROM idempotency_keys")
    again = await api.ok("POST", path, document, Idempotency_Key="k")
    assert (again["revision"], again["reserves"][0]["amount"]) == (2, "2000")


async def test_a_change_of_state_is_an_event(api, redis, asyncpg_pool):
    await start_market(redis)
    created = await api.portfolio()
    path = f"/v1/portfolios/{created['id']}"
    changed = await api.ok("PATCH", path, {"state": "halted"})
    assert (changed["state"], changed["revision"]) == ("halted", 2)
    assert (await api.ok("PATCH", path, {"state": "halted"}))["revision"] == 2
    ((_, type_, data),) = await events_of(asyncpg_pool, created["id"])
    assert type_ == "portfolio.state_changed"
    assert (data["previous_state"], data["state"]) == ("active", "halted")


async def test_a_portfolio_that_is_executing_is_not_deleted(api, engine, tenant, asyncpg_pool):
    created = await api.portfolio()
    adjustment_id = await add_adjustment(engine, tenant, created, state="executing")
    assert_problem(await api("DELETE", f"/v1/portfolios/{created['id']}"), 409, "conflict")
    async with asyncpg_pool.acquire() as connection:
        await connection.execute("UPDATE adjustments SET state = 'queued' WHERE id = $1", UUID(adjustment_id))
    await api.ok("DELETE", f"/v1/portfolios/{created['id']}")
    assert (await api.ok("GET", f"/v1/adjustments/{adjustment_id}"))["state"] == "superseded"
