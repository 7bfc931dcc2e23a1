"""Who gets in to the stream, by what, and who has to go again."""

import asyncio
import json
import logging

import pytest
from websockets.exceptions import InvalidStatus

from app.services.admit_client import issue_ticket
from app.services.authenticate import digest_of
from app.services.manage_keys import TOKEN_PREFIX

ORIGIN = "https://desk.example"


@pytest.fixture
def ticket(tickets, stream):
    async def issue(key="good", secret=bytes(32)):
        return await issue_ticket(tickets, stream.keys[key], secret)

    return issue


@pytest.fixture
async def asked_ok(stream, dial):
    """Whether that ticket opens the stream, in the address or in the first message."""

    async def is_admitted(given, *, in_address=True):
        client = await dial(stream, key=None, query=f"?ticket={given}" if in_address else "")
        answer = await client.hear() if in_address else await client.ask(op="authenticate", ticket=given)
        return answer == {"op": "authenticated"}

    return is_admitted


@pytest.mark.parametrize("in_address", [True, False])
async def test_a_ticket_opens_one_connection(ticket, asked_ok, in_address):
    given = await ticket()
    assert await asked_ok(given, in_address=in_address)
    for again in (True, False):
        assert not await asked_ok(given, in_address=again)
    assert not await asked_ok(given[:-1] + "_")


async def test_a_ticket_that_two_use_at_once_opens_one_connection(ticket, asked_ok):
    for number in range(5):
        given = await ticket(secret=bytes([number]) * 32)
        admitted = await asyncio.gather(*(asked_ok(given) for _ in range(4)))
        assert sorted(admitted) == [False, False, False, True]


async def test_a_ticket_is_void_with_its_key_and_when_it_is_old(ticket, asked_ok, redis, engine, stream):
    first, second = await ticket(secret=b"1" * 32), await ticket(secret=b"2" * 32)
    (name, other) = await redis.keys("stream:ticket:*")
    assert 0 < await redis.pttl(name) <= 30_000
    assert first.encode() not in name + other
    assert digest_of(first).hex() in (name + other).decode()
    await redis.pexpire(f"stream:ticket:{digest_of(first).hex()}", 0)
    assert not await asked_ok(first)
    await revoke(engine, stream.keys["good"])
    assert not await asked_ok(second)


async def revoke(engine, key):
    async with engine.begin() as connection:
        await connection.exec_driver_sql(
            "UPDATE api_keys SET revoked_at = now() WHERE hash = $1", (digest_of(key),)
        )


async def test_a_revoked_key_closes_what_it_opened(stream, dial, engine):
    client, other = await dial(stream), await dial(stream, key="other")
    for each in (client, other):
        await each.hear()
    await revoke(engine, stream.keys["good"])
    assert (await client.until_closed())[1] == 3500
    assert await other.ask(op="ping") == {"op": "pong"}


@pytest.mark.parametrize("origin", ["https://evil.example", "null", f"{ORIGIN}.evil.example", ""])
async def test_f39_a_foreign_origin_is_refused_before_anything(stream, dial, serve, feed, origin):
    with pytest.raises(InvalidStatus) as refused:
        await dial(stream, origin=origin)
    assert refused.value.response.status_code == 403
    allowing = await serve(feed, origins=[ORIGIN])
    allowing.keys = stream.keys
    with pytest.raises(InvalidStatus):
        await dial(allowing, origin=origin)
    client = await dial(allowing, origin=ORIGIN)
    assert await client.hear() == {"op": "authenticated"}


async def test_f39_neither_key_nor_ticket_is_in_a_log(stream, dial, ticket, caplog):
    given = await ticket()
    caplog.set_level(logging.DEBUG)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)  # as the server leaves it
    for query, key in ((f"?ticket={given}", None), ("", "good"), ("", None)):
        client = await dial(stream, key=key, query=query)
        if key is None and not query:
            await client.say(op="authenticate", key=TOKEN_PREFIX + "mistyped")
        await client.hear()
    server_side = "\n".join(
        r.getMessage() for r in caplog.records if not r.name.startswith("websockets.client")
    )
    for secret in (given, stream.keys["good"], "mistyped", json.dumps("authenticate")):
        assert secret not in server_side
