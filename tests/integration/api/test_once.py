"""Idempotency-Key: the same request happens once (fault 20)."""

import asyncio
import re
from uuid import uuid4

from tests.integration.api.client import assert_problem, portfolio_document, start_market


def fill(**changes):
    return {"account": "main", "instrument": "BTC-USDT-PERP", "quantity": "1", "price": "60000"} | changes


async def test_a_repeated_request_gets_the_stored_answer(api):
    document = portfolio_document()
    first = await api("POST", "/v1/portfolios", document, Idempotency_Key="one")
    again = await api("POST", "/v1/portfolios", document, Idempotency_Key="one")
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.headers["Location"] == first.headers["Location"]
    assert "Idempotency-Replayed" not in first.headers
    assert len((await api.ok("GET", "/v1/portfolios"))["items"]) == 1


async def test_every_post_needs_a_key(api):
    document = (await api.http.get("/openapi.json")).json()
    posts = [path for path, item in document["paths"].items() if "post" in item]
    posts.remove("/v1/policies/preview")  # which stores nothing
    posts.remove("/v1/oracle/ticks")  # what is sent again is refused by its sequence
    posts.remove("/v1/stream/tickets")  # each is another one
    assert len(posts) > 10
    for path in posts:
        headers = [p for p in document["paths"][path]["post"]["parameters"] if p["in"] == "header"]
        assert ("idempotency-key", True) in [(p["name"], p["required"]) for p in headers]
        filled = re.sub(r"\{[a-z_]+\}", str(uuid4()), path)
        problem = assert_problem(await api("POST", filled, {}, Idempotency_Key=None), 400, "bad-request")
        assert problem["detail"] == "header /idempotency-key: is needed"


async def test_f20_the_same_key_with_another_body_or_path_is_refused(api, redis):
    await start_market(redis)
    one, two = await api.portfolio(), await api.portfolio()
    await api.ok("POST", f"/v1/portfolios/{one['id']}/fills", fill(), Idempotency_Key="k")
    for portfolio, body in ((one, fill(price="60001")), (two, fill())):
        path = f"/v1/portfolios/{portfolio['id']}/fills"
        refused = await api("POST", path, body, Idempotency_Key="k")
        assert_problem(refused, 422, "idempotency-other-request")
    assert await api.revision(two["id"]) == 1


async def test_f20_the_same_key_concurrently_trades_once(api, redis, asyncpg_pool):
    await start_market(redis)
    portfolio = await api.portfolio()
    path = f"/v1/portfolios/{portfolio['id']}/fills"
    answers = await asyncio.gather(*(api("POST", path, fill(), Idempotency_Key="k") for _ in range(8)))
    done = [a for a in answers if a.status_code == 201]
    assert done
    assert len({a.content for a in done}) == 1
    for answer in answers:
        if answer not in done:
            assert_problem(answer, 409, "idempotency-in-flight")
    assert await asyncpg_pool.fetchval("SELECT count(*) FROM fills") == 1
    assert await api.revision(portfolio["id"]) == 2


async def test_f20_while_one_is_in_flight_another_gets_409(api, redis, asyncpg_pool):
    """The first is held at the portfolio's row, by a transaction of ours."""
    await start_market(redis)
    portfolio = await api.portfolio()
    path = f"/v1/portfolios/{portfolio['id']}/fills"
    async with asyncpg_pool.acquire() as holder, holder.transaction():
        await holder.execute("SELECT 1 FROM portfolios FOR UPDATE")
        first = asyncio.create_task(api("POST", path, fill(), Idempotency_Key="k"))
        async with asyncio.timeout(10):
            while not await asyncpg_pool.fetchval(
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted "
                "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            ):
                await asyncio.sleep(0)
        refused = await api("POST", path, fill(), Idempotency_Key="k")
        assert_problem(refused, 409, "idempotency-in-flight")
        assert refused.headers["Retry-After"]
        assert not first.done()
    assert (await first).status_code == 201
    again = await api("POST", path, fill(), Idempotency_Key="k")
    assert again.headers["Idempotency-Replayed"] == "true"


async def test_what_failed_may_be_tried_again_with_its_key(api, redis):
    await start_market(redis)
    portfolio = await api.portfolio()
    path = f"/v1/portfolios/{portfolio['id']}/fills"
    body = fill(instrument="ETH-USDT-PERP")
    assert_problem(await api("POST", path, body, Idempotency_Key="k"), 422, "invalid-input")
    await api.ok("POST", path, fill(), Idempotency_Key="k")


async def test_a_fill_outlives_its_stored_answer(api, redis, asyncpg_pool):
    await start_market(redis)
    portfolio = await api.portfolio()
    path = f"/v1/portfolios/{portfolio['id']}/fills"
    await api.ok("POST", path, fill(), Idempotency_Key="k")
    await asyncpg_pool.execute("DELETE FROM idempotency_keys")
    await api.ok("POST", path, fill(), Idempotency_Key="k")
    assert await asyncpg_pool.fetchval("SELECT count(*) FROM fills") == 1
    assert await api.revision(portfolio["id"]) == 2
