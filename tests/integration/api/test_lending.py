"""Loans over HTTP: pools listed, accounts that lend and borrow, their figures and what is reported."""

from decimal import Decimal
from uuid import UUID

import pytest

from app.domain.adjustment_json import legs_to_json
from app.domain.adjustments import LendingAction, LendingLeg, TransferLeg
from tests.integration.api.client import add_adjustment, assert_problem, start_market

POOLS = [
    {
        "id": "AAVE-BTC", "kind": "lending", "underlying": "BTC", "quote": "USDT",
        "loan_to_value": "0.73", "liquidation_threshold": "0.78", "liquidation_bonus": "0.05",
        "supply_rate_annual": "0.001", "borrow_rate_annual": "0.012",
    },
    {
        "id": "AAVE-USDT", "kind": "lending", "underlying": "USDT", "quote": "USDT",
        "loan_to_value": "0.75", "liquidation_threshold": "0.78", "liquidation_bonus": "0.045",
    },
]  # fmt: skip
LOAN = {
    "name": "loan",
    "margin_mode": "lending",
    "balances": [{"asset": "USDT", "amount": "1500"}],
    "positions": [
        {"instrument": "AAVE-BTC", "quantity": "1"},
        {"instrument": "AAVE-USDT", "quantity": "-40000"},
    ],
}


@pytest.fixture
async def pools(api):
    for terms in POOLS:
        await api.ok("POST", "/v1/instruments", terms)


@pytest.fixture
async def loan(api, redis, pools):
    await start_market(redis)
    await start_market(redis, instrument="BTC-USDT", value=61_000.0)
    return await api.portfolio(accounts=[LOAN, {"name": "main"}])


async def test_a_pool_is_listed_with_its_terms(api, pools):
    shown = await api.ok("GET", "/v1/instruments/AAVE-BTC")
    assert {name: shown[name] for name in POOLS[0]} == POOLS[0]
    wrong = POOLS[0] | {"id": "AAVE-X", "loan_to_value": "0.8"}
    problem = assert_problem(await api("POST", "/v1/instruments", wrong), 422, "invalid-input")
    assert "loan_to_value is at most the liquidation_threshold" in str(problem)


async def test_a_loan_is_read_as_it_was_created_and_risk_shows_its_health(api, loan):
    held = loan["accounts"][0]
    assert held["margin_mode"] == "lending"
    assert held["positions"] == [p | {"entry_price": "0"} for p in LOAN["positions"]]
    risk = await api.ok("GET", f"/v1/portfolios/{loan['id']}/risk")
    figures = risk["accounts"][0]
    assert float(figures["health_factor"]) == pytest.approx(0.78 * 61_000 / 40_000, rel=1e-11)
    assert float(figures["equity"]) == 61_000 - 40_000 + 1_500
    assert float(figures["maintenance_margin"]) == 40_000
    assert float(figures["initial_margin"]) == pytest.approx(40_000 + 0.05 * 61_000)
    assert risk["health_factor"] == figures["health_factor"]
    assert [(u["underlying"], u["net_delta"]) for u in risk["underlyings"]] == [("BTC", "1")]


@pytest.mark.parametrize(
    ("account", "pointer"),
    [
        (LOAN | {"margin_mode": "cross"}, "/accounts/0/positions/0/instrument"),
        (
            LOAN | {"positions": [{"instrument": "BTC-USDT-PERP", "quantity": "1", "entry_price": "1"}]},
            "/accounts/0/positions/0/instrument",
        ),
        (
            LOAN | {"positions": [{"instrument": "AAVE-BTC", "quantity": "1", "entry_price": "60000"}]},
            "/accounts/0/positions/0/entry_price",
        ),
        (
            {"name": "main", "positions": [{"instrument": "BTC-USDT-PERP", "quantity": "1"}]},
            "/accounts/0/positions/0/entry_price",
        ),
    ],
)
async def test_what_an_account_cannot_hold_is_refused_with_its_place(api, pools, account, pointer):
    document = {"name": "x", "valuation_currency": "USDT", "accounts": [account]}
    problem = assert_problem(await api("POST", "/v1/portfolios", document), 422, "invalid-input")
    assert problem["errors"][0]["pointer"] == pointer


async def test_steps_of_lending_are_reported_as_fills(api, loan):
    path = f"/v1/portfolios/{loan['id']}"
    repaid = {"account": "loan", "instrument": "AAVE-USDT", "quantity": "1000", "fee": "0.5"}
    answer = await api.ok("POST", f"{path}/fills", repaid)
    assert (answer["fill"]["kind"], answer["fill"]["price"], answer["fill"]["asset"]) == (
        "lending", "0", "USDT",
    )  # fmt: skip
    await api.ok("POST", f"{path}/fills", repaid | {"instrument": "AAVE-BTC", "quantity": "-0.1", "fee": "0"})
    account = (await api.ok("GET", path))["accounts"][0]
    assert [p["quantity"] for p in account["positions"]] == ["0.9", "-39000"]
    assert [(b["asset"], b["amount"]) for b in account["balances"]] == [("USDT", "499.5"), ("BTC", "0.1")]
    for wrong, pointer in (
        ({"price": "60000"}, "/price"),
        ({"account": "main"}, "/account"),
        ({"instrument": "BTC-USDT-PERP", "price": "60000"}, "/account"),
        ({"instrument": "BTC-USDT"}, "/price"),
    ):
        problem = assert_problem(await api("POST", f"{path}/fills", repaid | wrong), 422, "invalid-input")
        assert problem["errors"][0]["pointer"] == pointer


async def test_a_recommended_deleveraging_is_carried_out_step_by_step(api, engine, tenant, loan):
    account, main = (UUID(a["id"]) for a in loan["accounts"])
    legs = [
        TransferLeg(account, "USDT", Decimal(300), main, Decimal(1)),
        LendingLeg(account, "AAVE-USDT", LendingAction.REPAY, Decimal(1_200), reduces=True),
    ]
    adjustment_id = await add_adjustment(engine, tenant, loan, mode="recommend", legs=legs_to_json(legs))
    shown = await api.ok("GET", f"/v1/adjustments/{adjustment_id}")
    assert shown["legs"] == legs_to_json(legs)
    path = f"/v1/portfolios/{loan['id']}"
    await api.ok("POST", f"{path}/transfers", {"to_account": "main", "asset": "USDT", "amount": "400"})
    named = {"adjustment_id": adjustment_id}
    moved = {"from_account": "main", "to_account": "loan", "asset": "USDT", "amount": "300", "fee": "1"}
    assert_problem(
        await api("POST", f"{path}/transfers", moved | {"to_account": None} | named), 422, "invalid-input"
    )
    await api.ok("POST", f"{path}/transfers", moved | named)
    repaid = {"account": "loan", "instrument": "AAVE-USDT", "quantity": "1000"} | named
    await api.ok("POST", f"{path}/fills", repaid)
    shown = await api.ok("GET", f"/v1/adjustments/{adjustment_id}")
    assert [(leg["action"], leg["amount"]) for leg in shown["remaining"]] == [("repay", "200")]
    await api.ok("POST", f"{path}/fills", repaid | {"quantity": "200"})
    assert (await api.ok("GET", f"/v1/adjustments/{adjustment_id}"))["state"] == "executed"
    held = (await api.ok("GET", path))["accounts"][0]
    assert (held["positions"][1]["quantity"], held["balances"][0]["amount"]) == ("-38800", "599")


async def test_the_wallet_of_a_loan_backs_nothing_and_may_leave(api, loan):
    path = f"/v1/portfolios/{loan['id']}"
    moved = await api.ok(
        "POST", f"{path}/transfers", {"from_account": "loan", "asset": "USDT", "amount": "1500"}
    )
    assert moved["accounts"][0]["balances"][0]["amount"] == "0"
    risk = await api.ok("GET", f"{path}/risk")
    assert float(risk["health_factor"]) == pytest.approx(0.78 * 61_000 / 40_000, rel=1e-11)


async def test_a_snapshot_states_a_loan_anew(api, loan):
    path = f"/v1/portfolios/{loan['id']}/positions"
    positions = [{"instrument": "AAVE-BTC", "quantity": "2"}]
    changed = await api.ok("PUT", path, {"account": "loan", "positions": positions})
    assert changed["accounts"][0]["positions"] == [positions[0] | {"entry_price": "0"}]
    wrong = [{"instrument": "BTC-USDT-PERP", "quantity": "1", "entry_price": "60000"}]
    problem = assert_problem(
        await api("PUT", path, {"account": "loan", "positions": wrong}), 422, "invalid-input"
    )
    assert problem["errors"][0]["pointer"] == "/positions/0/instrument"


async def test_new_terms_of_a_pool_move_the_portfolios_that_use_it(api, loan):
    await api.ok("PUT", "/v1/instruments/AAVE-BTC", POOLS[0] | {"liquidation_threshold": "0.75"})
    assert await api.revision(loan["id"]) == 2
    risk = await api.ok("GET", f"/v1/portfolios/{loan['id']}/risk")
    assert float(risk["health_factor"]) == pytest.approx(0.75 * 61_000 / 40_000, rel=1e-11)
