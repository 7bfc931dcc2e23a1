"""Approving and rejecting on the stream: as by HTTP, and once."""

from uuid import uuid4

import httpx
import pytest

from app.entrypoints.api.application import create_app
from app.entrypoints.api.dependencies import Dependencies
from app.services.authenticate import digest_of
from tests import factories
from tests.integration.api.client import Client, add_adjustment, events_of, start_market


@pytest.fixture
async def recommended(stream, engine, redis):
    """An adjustment that waits for consent, of a portfolio that holds what it sells."""
    await start_market(redis)
    portfolio = await factories.create_portfolio(engine, stream.tenant)
    document = {"id": str(portfolio.id), "accounts": [{"id": str(portfolio.accounts[0].id)}]}

    async def add(**changes):
        return await add_adjustment(engine, stream.tenant, document, **changes)

    add.portfolio = str(portfolio.id)
    return add


@pytest.fixture
async def trader(stream, dial):
    client = await dial(stream, "trader")
    await client.hear()
    return client


@pytest.fixture
async def http(stream, units, market):
    transport = httpx.ASGITransport(create_app(Dependencies(units=units, market=market)))
    async with httpx.AsyncClient(transport=transport, base_url="http://api") as http:
        yield Client(http, stream.keys["trader"])


async def types_of(asyncpg_pool, portfolio):
    return [kind for _, kind, _ in await events_of(asyncpg_pool, portfolio)]


async def test_approved_once_however_often_it_is_said(stream, dial, trader, recommended, asyncpg_pool, http):
    adjustment = await recommended()
    said = {"op": "approve", "id": "yes-1", "adjustment_id": adjustment}
    done = await trader.ask(**said)
    assert (done["op"], done["id"], done["replayed"]) == ("result", "yes-1", False)
    assert (done["adjustment"]["adjustment_id"], done["adjustment"]["state"]) == (adjustment, "queued")
    elsewhere = await dial(stream, "trader")
    await elsewhere.hear()
    assert await elsewhere.ask(**said) == done | {"replayed": True}
    by_http = await http("POST", f"/v1/adjustments/{adjustment}/approve", Idempotency_Key="yes-1")
    assert (by_http.status_code, by_http.headers["Idempotency-Replayed"]) == (200, "true")
    assert by_http.json() == done["adjustment"]
    assert await types_of(asyncpg_pool, recommended.portfolio) == ["adjustment.approved", "adjustment.queued"]


async def test_rejected_with_a_reason(trader, recommended, asyncpg_pool):
    adjustment = await recommended()
    said = {"op": "reject", "id": "no-1", "adjustment_id": adjustment, "reason": "hedged elsewhere"}
    done = await trader.ask(**said)
    assert (done["adjustment"]["state"], done["adjustment"]["outcome"]) == ("rejected", "hedged elsewhere")
    other = await trader.ask(**said | {"reason": "changed my mind"})
    assert (other["op"], other["code"], other["status"]) == ("error", "idempotency-other-request", 422)
    late = await trader.ask(op="approve", id="yes-2", adjustment_id=adjustment)
    assert (late["id"], late["code"], late["status"]) == ("yes-2", "illegal-transition", 409)
    assert await types_of(asyncpg_pool, recommended.portfolio) == ["adjustment.rejected"]


async def test_the_same_checks_as_by_http(stream, dial, trader, recommended, redis):
    adjustment = await recommended(mode="recommend")
    refused = await trader.ask(op="approve", id="1", adjustment_id=adjustment)
    assert (refused["code"], refused["status"]) == ("conflict", 409)
    unknown = await trader.ask(op="approve", id="2", adjustment_id=str(uuid4()))
    assert (unknown["code"], unknown["status"]) == ("not-found", 404)
    for key, code in (("good", "denied"), ("other", "denied")):
        client = await dial(stream, key)
        await client.hear()
        answer = await client.ask(op="approve", id="3", adjustment_id=adjustment)
        assert (answer["code"], answer["status"]) == (code, 403)
    await redis.flushdb()
    away = await trader.ask(op="approve", id="4", adjustment_id=adjustment)
    assert (away["code"], away["status"]) == ("unavailable", 503)


async def test_a_revoked_key_approves_nothing(stream, trader, recommended, asyncpg_pool):
    adjustment = await recommended()
    await asyncpg_pool.execute(
        "UPDATE api_keys SET revoked_at = now() WHERE hash = $1", digest_of(stream.keys["trader"])
    )
    await trader.say(op="approve", id="1", adjustment_id=adjustment)
    heard, code = await trader.until_closed()
    assert code == 3500
    assert "result" not in [message["op"] for message in heard]
    assert await types_of(asyncpg_pool, recommended.portfolio) == []


@pytest.mark.parametrize("said", [{"id": ""}, {"id": "ü"}, {"adjustment_id": "x"}, {"id": "x" * 256}])
async def test_a_command_that_is_none_closes_with_3501(trader, said):
    await trader.say(**{"op": "approve", "id": "1", "adjustment_id": str(uuid4())} | said)
    assert (await trader.until_closed())[1] == 3501


async def test_a_reason_that_cannot_be_stored_closes_with_3501(trader):
    await trader.say(op="reject", id="1", adjustment_id=str(uuid4()), reason="a\0b")
    assert (await trader.until_closed())[1] == 3501
