"""Policies over HTTP: checked, versioned, switched, superseding what they had open."""

import asyncio

import pytest

from tests.integration.api.client import add_adjustment, assert_problem, delta_neutral, start_market


def fixed_band(half_width):
    """What a plain number says."""
    return {"kind": "fixed", "below": half_width, "above": half_width}


@pytest.fixture
async def portfolio(api):
    return await api.portfolio()


async def test_a_policy_is_created_with_defaults_filled_in(api, portfolio):
    response = await api("POST", f"/v1/portfolios/{portfolio['id']}/policies", delta_neutral())
    created = response.json()
    assert response.headers["ETag"] == '"1"'
    assert response.headers["Location"] == f"/v1/policies/{created['id']}"
    assert created["version"] == 1
    assert created["warnings"] == []
    assert created["policy"]["band"] == fixed_band("0.25")
    assert created["policy"]["guards"]["cooldown_seconds"] == 300
    read = await api("GET", f"/v1/policies/{created['id']}")
    assert read.json() == created
    assert read.headers["ETag"] == '"1"'
    listed = await api.ok("GET", f"/v1/portfolios/{portfolio['id']}/policies")
    assert listed["items"] == [created]


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"hedge_instruments": ["NONE"]}, "/hedge_instruments/0"),
        ({"hedge_instruments": ["BTC-USDT"], "underlying": "ETH"}, "/hedge_instruments/0"),
        ({"hedge_instruments": ["BTC-USDT-CALL-60000"]}, "/hedge_instruments/0"),
        ({"underlying": "ETH"}, "/hedge_instruments/0"),
        ({"hedge_account": "third"}, "/hedge_account"),
        ({"band": "-1"}, "/band"),
        ({"band": 0.5}, "/band"),
        ({"band": "NaN"}, "/band"),
        ({"band": "1e400"}, "/band"),
        ({"guards": {"minimum_notional": "1e-30"}}, "/guards/minimum_notional"),
        ({"guards": {"cooldown_seconds": 1.5}}, "/guards/cooldown_seconds"),
        ({"surprise": 1}, "/surprise"),
        ({"kind": "unknown"}, "/kind"),
    ],
)
async def test_what_cannot_be_meant_is_refused_with_its_place(api, portfolio, changes, pointer):
    body = delta_neutral(**changes)
    response = await api("POST", f"/v1/portfolios/{portfolio['id']}/policies", body)
    problem = assert_problem(response, 422, "invalid-input")
    assert [error["pointer"] for error in problem["errors"]] == [pointer]
    assert await api.revision(portfolio["id"]) == 1


async def test_missing_parts_and_impossible_levels_have_their_place(api, portfolio):
    path = f"/v1/portfolios/{portfolio['id']}/policies"
    for name in ("band", "kind"):
        missing = {key: value for key, value in delta_neutral().items() if key != name}
        problem = assert_problem(await api("POST", path, missing), 422, "invalid-input")
        assert problem["detail"] == f"body /{name}: is needed"
        assert problem["errors"] == [{"pointer": f"/{name}", "detail": "is needed", "in": "body"}]
    guard = {"kind": "liquidation_guard", "name": "g", "trigger": "0.3", "restore": "0.5"}
    problem = assert_problem(await api("POST", path, guard), 422, "invalid-input")
    assert problem["errors"][0]["pointer"] == ""
    problem = assert_problem(
        await api("POST", path, guard | {"trigger": "0.5", "restore": "0.3", "account": "nobody"}),
        422,
        "invalid-input",
    )
    assert problem["errors"][0]["pointer"] == "/account"


async def test_an_edit_needs_the_version_it_edits(api, portfolio):
    path = f"/v1/policies/{(await api.policy(portfolio['id']))['id']}"
    body = delta_neutral(band="0.5")
    assert_problem(await api("PUT", path, body), 428, "precondition-required")
    assert_problem(await api("PUT", path, body, If_Match="one"), 400, "bad-request")
    assert_problem(await api("PUT", path, body, If_Match='"2"'), 412, "version-moved")
    edited = await api("PUT", path, body, If_Match='"1"')
    assert (edited.status_code, edited.headers["ETag"]) == (200, '"2"')
    assert_problem(await api("PUT", path, body, If_Match='"1"'), 412, "version-moved")
    versions = (await api.ok("GET", f"{path}/versions"))["items"]
    assert [(v["version"], v["policy"]["band"]) for v in versions] == [
        (2, fixed_band("0.5")),
        (1, fixed_band("0.25")),
    ]
    first = await api.ok("GET", f"{path}/versions?limit=1")
    second = await api.ok("GET", f"{path}/versions?limit=1&cursor={first['next_cursor']}")
    assert ([*first["items"], *second["items"]], second["next_cursor"]) == (versions, None)


async def test_of_concurrent_edits_one_lands(api, portfolio):
    path = f"/v1/policies/{(await api.policy(portfolio['id']))['id']}"
    edits = [api("PUT", path, delta_neutral(band=f"0.{n}"), If_Match='"1"') for n in range(1, 7)]
    statuses = sorted(answer.status_code for answer in await asyncio.gather(*edits))
    assert statuses == [200, 412, 412, 412, 412, 412]
    assert await api.revision(portfolio["id"]) == 3


async def test_switching_is_a_version_and_twice_is_none(api, portfolio):
    path = f"/v1/policies/{(await api.policy(portfolio['id']))['id']}"
    disabled = await api.ok("POST", f"{path}/disable")
    assert (disabled["version"], disabled["policy"]["enabled"]) == (2, False)
    assert (await api.ok("POST", f"{path}/disable"))["version"] == 2
    assert_problem(await api("POST", f"{path}/enable", If_Match='"1"'), 412, "version-moved")
    assert (await api.ok("POST", f"{path}/enable", If_Match='"2"'))["version"] == 3


@pytest.mark.parametrize("change", ["edit", "disable", "delete"])
async def test_what_a_policy_had_open_ends_with_its_version(*, api, portfolio, engine, tenant, redis, change):
    await start_market(redis)
    policy, other = await api.policy(portfolio["id"]), await api.policy(portfolio["id"])
    path = f"/v1/policies/{policy['id']}"
    states = ("recommended", "queued", "executing")
    mine = [
        await add_adjustment(engine, tenant, portfolio, policy_id=policy["id"], state=state)
        for state in states
    ]
    others = await add_adjustment(engine, tenant, portfolio, policy_id=other["id"])
    match change:
        case "edit":
            await api.ok("PUT", path, delta_neutral(band="1"), If_Match="*")
        case "disable":
            await api.ok("POST", f"{path}/disable")
        case "delete":
            await api.ok("DELETE", path)
            assert_problem(await api("GET", path), 404, "not-found")
    now = [(await api.ok("GET", f"/v1/adjustments/{id_}"))["state"] for id_ in (*mine, others)]
    assert now == ["superseded", "superseded", "executing", "recommended"]
