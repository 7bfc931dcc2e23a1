"""The operator's policies over HTTP: they bind portfolios of any tenant, and traders can only look."""

import asyncio
from dataclasses import replace
from uuid import UUID, uuid4

import pytest

from app.adapters.postgres.portfolio_rows import load_portfolios
from app.domain.identifiers import OperatorPolicyId
from app.ports.operator_policies import Binding, OperatorPolicyRecord
from app.services.documents import OperatorPolicyDocument
from app.services.follow_operator_policies import OperatorPolicyFollower
from tests import factories
from tests.integration.api.client import (
    Client,
    add_adjustment,
    assert_problem,
    delta_neutral,
    events_of,
    portfolio_document,
    start_market,
)

PATH = "/v1/operator/policies"


def solvency(**changes):
    return {
        "kind": "liquidation_guard",
        "name": "solvency rule",
        "mode": "auto",
        "priority": 1000,
        "trigger": "0.9",
        "restore": "0.7",
    } | changes


@pytest.fixture
async def operator(engine, http, market_rows):
    """Of a tenant of its own, with no other scope."""
    tenant = await factories.create_tenant(engine, name="the house")
    return Client(http, await factories.create_key(engine, tenant, scopes=["operator"]))


@pytest.fixture
async def trader(engine, http, tenant):
    """Everything that a tenant can give itself."""
    return Client(http, await factories.create_key(engine, tenant, scopes=["read", "trade", "admin"]))


async def policies_of(client, portfolio):
    return (await client.ok("GET", f"/v1/portfolios/{portfolio['id']}/policies"))["items"]


async def test_traders_see_it_first_and_with_all_that_their_own_have(operator, trader):
    portfolio = await trader.portfolio()
    own = await trader.policy(portfolio["id"], priority=0)
    answer = await operator("POST", PATH, {"policy": solvency(), "portfolios": [portfolio["id"]]})
    created = answer.json()
    assert (answer.status_code, answer.headers["ETag"]) == (201, '"1"')
    assert answer.headers["Location"] == f"{PATH}/{created['id']}"
    assert (created["portfolios"], created["tenant"], created["all"]) == ([portfolio["id"]], None, False)
    assert created["bound"] == 1
    bound, listed = await policies_of(trader, portfolio)
    assert (bound["operator"], bound["policy"]["name"]) == (True, "solvency rule")
    assert (listed["operator"], listed["id"]) == (False, own["id"])
    path = f"/v1/policies/{bound['id']}"
    read = await trader("GET", path)
    assert (read.json()["operator"], read.headers["ETag"]) == (True, '"1"')
    assert (await trader.ok("GET", f"{path}/decisions"))["items"] == []
    assert [version["version"] for version in (await trader.ok("GET", f"{path}/versions"))["items"]] == [1]


async def test_a_trader_changes_nothing_of_it(operator, trader):
    portfolio = await trader.portfolio()
    created = await operator.ok("POST", PATH, {"policy": solvency(), "all": True})
    (bound,) = await policies_of(trader, portfolio)
    path = f"/v1/policies/{bound['id']}"
    before = await trader.revision(portfolio["id"])
    for attempt in (
        trader("PUT", path, solvency(trigger="0.99"), If_Match='"1"'),
        trader("POST", f"{path}/disable"),
        trader("POST", f"{path}/enable"),
        trader("DELETE", path),
    ):
        problem = assert_problem(await attempt, 403, "operators-own")
        assert (
            "is the operator's: it binds this portfolio until whoever runs the service" in problem["detail"]
        )
    for attempt in (
        trader("GET", PATH),
        trader("POST", PATH, {"policy": solvency(), "all": True}),
        trader("GET", f"{PATH}/{created['id']}"),
        trader("PUT", f"{PATH}/{created['id']}", {"policy": solvency(), "all": True}, If_Match='"1"'),
        trader("POST", f"{PATH}/{created['id']}/disable"),
        trader("DELETE", f"{PATH}/{created['id']}"),
    ):
        assert_problem(await attempt, 403, "denied")
    assert await policies_of(trader, portfolio) == [bound]
    assert await trader.revision(portfolio["id"]) == before


async def test_a_tenant_cannot_make_itself_the_operator(trader, api):
    body = {"name": "more", "scopes": ["read", "operator"]}
    assert_problem(await trader("POST", "/v1/keys", body), 403, "denied")
    assert (await api.ok("POST", "/v1/keys", body))["scopes"] == ["read", "operator"]


async def test_whom_it_binds_now_and_later(*, operator, trader, stranger, engine, http):
    firm = await factories.create_tenant(engine, name="a firm")
    member = Client(http, await factories.create_key(engine, firm))
    theirs, mine = await member.portfolio(), await trader.portfolio()
    await operator.ok("POST", PATH, {"policy": solvency(name="of the firm"), "tenant": "a firm"})
    await operator.ok("POST", PATH, {"policy": solvency(name="of all"), "all": True})
    await operator.ok("POST", PATH, {"policy": solvency(name="of one"), "portfolios": [mine["id"]]})
    expected = ((member, theirs, ["of the firm", "of all"]), (trader, mine, ["of all", "of one"]))
    for client, portfolio, names in expected:
        assert [item["policy"]["name"] for item in await policies_of(client, portfolio)] == names
        assert await client.revision(portfolio["id"]) == 3
    for client, names in ((member, ["of the firm", "of all"]), (trader, ["of all"]), (stranger, ["of all"])):
        later = await client.portfolio()
        bound = await policies_of(client, later)
        assert [(item["policy"]["name"], item["operator"]) for item in bound] == [(n, True) for n in names]
        assert later["revision"] == 1
    listed = (await operator.ok("GET", PATH))["items"]
    assert [(item["policy"]["name"], item["tenant"], item["all"], item["bound"]) for item in listed] == [
        ("of the firm", "a firm", False, 2),
        ("of all", None, True, 5),
        ("of one", None, False, 1),
    ]
    first = await operator.ok("GET", f"{PATH}?limit=2")
    rest = await operator.ok("GET", f"{PATH}?limit=2&cursor={first['next_cursor']}")
    assert ([*first["items"], *rest["items"]], rest["next_cursor"]) == (listed, None)


async def test_portfolios_created_meanwhile_are_not_missed(operator, trader, asyncpg_pool):
    """Whichever of the two commits first, the other sees it."""
    documents = [portfolio_document() for _ in range(8)]
    work = [trader("POST", "/v1/portfolios", document) for document in documents]
    rules = [operator("POST", PATH, {"policy": solvency(name=f"rule {n}"), "all": True}) for n in range(4)]
    answers = await asyncio.gather(*work[:4], *rules, *work[4:])
    assert {answer.status_code for answer in answers} == {201}
    rows = await asyncpg_pool.fetch("SELECT count(*) AS bound FROM policies GROUP BY portfolio_id")
    assert [row["bound"] for row in rows] == [4] * 8


async def test_a_write_changes_every_copy_and_takes_a_revision_of_each(operator, trader, stranger, redis):
    await start_market(redis)
    pairs = [(client, await client.portfolio()) for client in (trader, stranger)]
    path = f"{PATH}/{(await operator.ok('POST', PATH, {'policy': solvency(), 'all': True}))['id']}"
    document = {"policy": solvency(trigger="0.8"), "all": True}
    assert_problem(await operator("PUT", path, document), 428, "precondition-required")
    assert_problem(await operator("PUT", path, document, If_Match='"2"'), 412, "version-moved")
    steps = (
        ("PUT", path, document, {"If_Match": '"1"'}, (2, True)),
        ("POST", f"{path}/disable", None, {}, (3, False)),
        ("POST", f"{path}/enable", None, {"If_Match": '"3"'}, (4, True)),
    )
    for revision, (method, where, body, headers, (version, enabled)) in enumerate(steps, start=3):
        hints = await redis.xlen("{market}:hints")
        changed = await operator.ok(method, where, body, **headers)
        assert (changed["version"], changed["policy"]["enabled"]) == (version, enabled)
        assert await redis.xlen("{market}:hints") == hints + 2
        for client, portfolio in pairs:
            (bound,) = await policies_of(client, portfolio)
            assert (bound["version"], bound["policy"]) == (version, changed["policy"])
            assert await client.revision(portfolio["id"]) == revision
    (bound,) = await policies_of(trader, pairs[0][1])
    versions = (await trader.ok("GET", f"/v1/policies/{bound['id']}/versions"))["items"]
    assert [version["version"] for version in versions] == [4, 3, 2, 1]
    assert (await operator.ok("POST", f"{path}/enable"))["version"] == 4


async def test_whom_it_binds_no_more_is_released_and_may_be_bound_again(operator, trader):
    one, two = await trader.portfolio(), await trader.portfolio()
    path = (
        f"{PATH}/{(await operator.ok('POST', PATH, {'policy': solvency(), 'portfolios': [one['id']]}))['id']}"
    )
    (first,) = await policies_of(trader, one)
    for version, (bound, released) in enumerate(((two, one), (one, two)), start=1):
        document = {"policy": solvency(), "portfolios": [bound["id"]]}
        changed = await operator.ok("PUT", path, document, If_Match=f'"{version}"')
        assert (changed["portfolios"], changed["bound"]) == ([bound["id"]], 1)
        assert await policies_of(trader, released) == []
    assert [item["id"] for item in await policies_of(trader, one)] == [first["id"]]
    assert (await trader.revision(one["id"]), await trader.revision(two["id"])) == (4, 3)


async def test_deleted_it_binds_nobody_and_keeps_its_records(
    *, operator, trader, engine, tenant, asyncpg_pool, redis
):
    await start_market(redis)
    portfolio = await trader.portfolio()
    created = await operator.ok("POST", PATH, {"policy": solvency(), "all": True})
    (bound,) = await policies_of(trader, portfolio)
    adjustments = [
        await add_adjustment(engine, tenant, portfolio, policy_id=bound["id"], state=state)
        for state in ("recommended", "queued", "executing")
    ]
    assert (await operator("DELETE", f"{PATH}/{created['id']}")).status_code == 204
    assert await policies_of(trader, portfolio) == []
    assert await trader.revision(portfolio["id"]) == 3
    states = [(await trader.ok("GET", f"/v1/adjustments/{id_}"))["state"] for id_ in adjustments]
    assert states == ["superseded", "superseded", "executing"]
    events = await events_of(asyncpg_pool, portfolio["id"])
    assert [(type_, data["outcome"]) for _, type_, data in events] == [
        ("adjustment.superseded", "the operator changed its policy")
    ] * 2
    assert_problem(await operator("GET", f"{PATH}/{created['id']}"), 404, "not-found")
    assert_problem(await operator("DELETE", f"{PATH}/{created['id']}"), 404, "not-found")
    assert (await operator.ok("GET", PATH))["items"] == []
    assert await policies_of(trader, await trader.portfolio()) == []


async def test_those_that_a_transaction_does_not_hold_follow_in_batches(operator, trader, dependencies):
    """A later version overtakes one that not all have yet, and a deletion too."""
    portfolios = [await trader.portfolio() for _ in range(5)]
    follower = OperatorPolicyFollower(dependencies.units, dependencies.market, batch=2)
    rule = OperatorPolicyId(uuid4())
    everybody = OperatorPolicyDocument.model_validate({"policy": solvency(), "all": True})

    async def versions():
        bound = [await policies_of(trader, portfolio) for portfolio in portfolios]
        return [item["version"] for items in bound for item in items]

    async with dependencies.units() as unit:
        record = OperatorPolicyRecord(rule, 1, everybody.policy, Binding(all=True))
        await unit.operator_policies.write(record)
    assert await follower.follow()
    assert await versions() == [1, 1]
    async with dependencies.units() as unit:
        await unit.operator_policies.write(replace(record, version=2))
    shown = []
    while await follower.follow():
        read = await operator.ok("GET", f"{PATH}/{rule}")
        shown.append((read["bound"], read["in_line"]))
    assert (await versions(), shown) == ([2] * 5, [(2, False), (4, False), (5, True)])
    assert sorted([await trader.revision(portfolio["id"]) for portfolio in portfolios]) == [2, 2, 2, 3, 3]
    async with dependencies.units() as unit:
        await unit.operator_policies.delete(rule)
    assert await follower.follow()
    assert await versions() == [2, 2, 2]
    while await follower.follow():
        assert len(await versions()) <= 1
    assert await versions() == []


async def test_what_it_decided_is_not_the_traders_to_reject(*, operator, trader, engine, tenant, redis):
    """Unless the operator left it to him: then it waits for his yes."""
    await start_market(redis)
    portfolio = await trader.portfolio()
    await operator.ok("POST", PATH, {"policy": solvency(), "all": True})
    (bound,) = await policies_of(trader, portfolio)

    async def rejected(mode, state, priority):
        adjustment = await add_adjustment(
            engine, tenant, portfolio, policy_id=bound["id"], mode=mode, state=state, priority=priority
        )
        return await trader("POST", f"/v1/adjustments/{adjustment}/reject", {})

    assert_problem(await rejected("auto", "queued", -1), 403, "operators-own")
    assert (await rejected("auto", "queued", 0)).status_code == 200
    assert (await rejected("confirm", "recommended", -1)).status_code == 200


async def test_the_same_request_happens_once(operator, trader):
    portfolio = await trader.portfolio()
    document = {"policy": solvency(), "portfolios": [portfolio["id"]]}
    first = await operator("POST", PATH, document, Idempotency_Key="k")
    again = await operator("POST", PATH, document, Idempotency_Key="k")
    assert (again.content, again.headers["Idempotency-Replayed"]) == (first.content, "true")
    assert await trader.revision(portfolio["id"]) == 2


@pytest.mark.parametrize(
    ("document", "pointer"),
    [
        ({"policy": solvency()}, ""),
        ({"policy": solvency(), "all": True, "tenant": "the house"}, ""),
        ({"policy": solvency(), "tenant": "nobody"}, "/tenant"),
        ({"policy": solvency(), "portfolios": [str(uuid4())]}, "/portfolios/0"),
        ({"policy": solvency(trigger="soon"), "all": True}, "/policy/trigger"),
        ({"policy": solvency(account="main"), "all": True}, "/policy/account"),
        ({"policy": delta_neutral(hedge_instruments=["NONE"]), "all": True}, "/policy/hedge_instruments/0"),
        ({"policy": solvency(), "everybody": True}, "/everybody"),
    ],
)
async def test_what_cannot_be_meant_is_refused_with_its_place(operator, document, pointer):
    problem = assert_problem(await operator("POST", PATH, document), 422, "invalid-input")
    assert [error["pointer"] for error in problem["errors"]] == [pointer]
    assert (await operator.ok("GET", PATH))["items"] == []


async def test_portfolios_that_are_named_must_have_what_it_names(operator, trader):
    fits, lacks = await trader.portfolio(), await trader.portfolio(accounts=[{"name": "only"}])
    policy = solvency(account="second")
    document = {"policy": policy, "portfolios": [fits["id"], lacks["id"]]}
    problem = assert_problem(await operator("POST", PATH, document), 422, "invalid-input")
    assert problem["errors"][0]["pointer"] == "/policy/account"
    await operator.ok("POST", PATH, document | {"portfolios": [fits["id"]]})


async def test_the_core_takes_it_as_the_operators_and_first(operator, trader, asyncpg_pool):
    portfolio = await trader.portfolio()
    await trader.policy(portfolio["id"], priority=0)
    await operator.ok("POST", PATH, {"policy": solvency(), "all": True})
    (loaded,) = await load_portfolios(asyncpg_pool, [UUID(portfolio["id"])])
    ranked = sorted(loaded.policies, key=lambda stored: stored.rank)
    assert [(stored.operator, stored.rank) for stored in ranked] == [(True, -1), (False, 0)]
