"""What a policy would do and is doing, over HTTP: nothing is stored, and the numbers are the evaluator's."""

import pytest

from tests.integration.api.client import assert_problem, delta_neutral, start_market


@pytest.fixture
async def portfolio(api, redis):
    """Long one bitcoin of a perpetual, at 61,000.5."""
    await start_market(redis)
    return await api.portfolio()


async def preview(api, portfolio, policy, **more):
    body = {"portfolio_id": portfolio["id"], "policy": policy} | more
    return await api.ok("POST", "/v1/policies/preview", body)


async def test_a_preview_says_what_would_be_done_and_stores_nothing(api, portfolio):
    shown = await preview(api, portfolio, delta_neutral(band="0.1"))
    (trigger,) = shown["triggers"]
    assert trigger == {
        "figure": "net_delta.BTC", "value": "1", "low": "-0.1", "high": "0.1", "fires": True,
        "distance": "-0.9",
    }  # fmt: skip
    assert (shown["outcome"], shown["reason"]) == ("acted", "target_reached")
    adjustment = shown["adjustment"]
    assert [(leg["instrument"], leg["quantity"]) for leg in adjustment["legs"]] == [("BTC-USDT-PERP", "-1")]
    assert adjustment["metrics_before"] == shown["metrics"]
    assert adjustment["metrics_after"]["net_delta.BTC"] == "0"
    assert float(adjustment["expected_cost"]) > 0
    assert await api.ok("GET", f"/v1/portfolios/{portfolio['id']}/policies") == {
        "items": [],
        "next_cursor": None,
    }
    assert await api.revision(portfolio["id"]) == portfolio["revision"]


async def test_a_policy_that_rests_would_do_nothing(api, portfolio):
    shown = await preview(api, portfolio, delta_neutral(band="2"))
    assert (shown["outcome"], shown["reason"], shown["adjustment"]) == (None, None, None)
    assert shown["triggers"][0]["distance"] == "1"


async def test_a_preview_warns_of_policies_that_would_fight(api, portfolio):
    other = await api.policy(portfolio["id"], name="one long", target_delta="1", band="0.2")
    shown = await preview(api, portfolio, delta_neutral())
    assert [(w["code"], w["path"]) for w in shown["warnings"]] == [
        ("target_outside_band", "/target_delta"),
        ("band_excludes_target", "/band"),
    ]
    replacing = await preview(api, portfolio, delta_neutral(), replaces=other["id"])
    assert replacing["warnings"] == []
    saved = await api.policy(portfolio["id"])
    assert saved["warnings"] == shown["warnings"]


async def test_a_preview_of_what_cannot_be_meant_is_refused(api, portfolio):
    body = {"portfolio_id": portfolio["id"], "policy": delta_neutral(hedge_account="third")}
    problem = assert_problem(await api("POST", "/v1/policies/preview", body), 422, "invalid-input")
    assert [error["pointer"] for error in problem["errors"]] == ["/hedge_account"]


async def test_a_status_says_how_far_the_trigger_is(api, portfolio):
    policy = await api.policy(portfolio["id"], band="2")
    status = await api.ok("GET", f"/v1/policies/{policy['id']}/status")
    assert (status["armed"], status["fires"], status["suppressed_by"]) == (True, False, None)
    assert [(t["value"], t["distance"]) for t in status["triggers"]] == [("1", "1")]
    assert (status["cooldown_left_seconds"], status["open_adjustments"]) == ("0", [])
    assert status["rest"]["text"] == "rests at every price"
    await api.ok("POST", f"/v1/policies/{policy['id']}/disable")
    assert (await api.ok("GET", f"/v1/policies/{policy['id']}/status"))["armed"] is False


async def test_a_status_says_between_which_prices_it_rests(api, portfolio):
    terms = {"kind": "leverage_band", "name": "band", "minimum": "0.0001", "target": "5", "maximum": "50"}
    policy = await api.ok("POST", f"/v1/portfolios/{portfolio['id']}/policies", terms)
    rest = (await api.ok("GET", f"/v1/policies/{policy['id']}/status"))["rest"]
    (price,) = rest["prices"]
    assert float(price["low"]) == pytest.approx(2_000_000 / 49)  # S = 50 (S - 40,000)
    assert price["high"] == "unbounded"
    assert rest["text"] == f"rests above {price['low']} of BTC-USDT-PERP"


async def test_nobody_sees_the_policies_of_others(api, stranger, portfolio):
    policy = await api.policy(portfolio["id"])
    assert_problem(await stranger("GET", f"/v1/policies/{policy['id']}/status"), 404, "not-found")
    body = {"portfolio_id": portfolio["id"], "policy": delta_neutral()}
    assert_problem(await stranger("POST", "/v1/policies/preview", body), 404, "not-found")
