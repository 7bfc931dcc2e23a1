"""What clients hear of a portfolio that is deleted: all of it, once, and nothing of it afterwards."""

import pytest

from app.services.manage_portfolios import delete_portfolio
from tests import factories
from tests.integration.api.client import CLOCK_NS, SECOND_NS, add_adjustment, start_market
from tests.waiting import eventually


@pytest.fixture
def connected(stream, dial):
    async def enter():
        client = await dial(stream)
        assert await client.hear() == {"op": "authenticated"}
        return client

    return enter


@pytest.fixture
async def delete(stream, units, asyncpg_pool):
    """Deleted, and nobody is told: what was committed with it has not been published."""

    async def silently(portfolio):
        publish, units._publish = units._publish, _to_nobody
        try:
            async with units() as unit:
                await delete_portfolio(unit, stream.tenant, portfolio, time_ns=CLOCK_NS)
        finally:
            units._publish = publish

    return silently


async def _to_nobody(_events):
    return


@pytest.fixture
async def doomed(stream, engine, committed):
    """A portfolio with three events and an adjustment that its deletion supersedes: the fourth."""
    made = await factories.create_portfolio(engine, stream.tenant)
    await committed.commit(stream.tenant, made.id, 3)
    document = {"id": str(made.id), "accounts": [{"id": str(made.accounts[0].id)}]}
    await add_adjustment(engine, stream.tenant, document)
    return made.id


async def is_silent(client):
    return await client.ask(op="ping") == {"op": "pong"}


async def test_its_last_events_are_found_though_they_were_lost_on_the_way(stream, connected, doomed, delete):
    clients = [await connected(), await connected()]
    for client, channel in zip(clients, ("adjustments", f"portfolio.{doomed}"), strict=True):
        await client.look(channel)
    await delete(doomed)
    for client in clients:
        assert await client.events(1) == [(str(doomed), 4)]
    logs = stream.hub.listeners.logs
    await clients[1].socket.close()
    await eventually(lambda: doomed not in logs, what="the log of what is gone is forgotten")
    assert await is_silent(clients[0])


async def test_who_was_away_hears_of_it_up_to_its_end(connected, doomed, delete, stream):
    client = await connected()
    granted, _ = await client.look("adjustments")
    client.drop()
    await delete(doomed)
    for _ in range(2):  # alone, and with another one that listens already
        client = await connected()
        again = await client.recover("adjustments", granted["cursor"], granted["epoch"])
        assert again["recovered"] is True
        assert await client.events(1) == [(str(doomed), 4)]
        assert await is_silent(client)


async def test_who_comes_afterwards_hears_nothing_of_it(
    connected, doomed, delete, stream, feed, outbox, committed
):
    """Neither from the log that another client has kept open here, nor from what is published late."""
    other = await connected()
    await other.look("adjustments")
    await delete(doomed)
    assert await other.events(1) == [(str(doomed), 4)]
    client = await connected()
    await client.look("adjustments")
    assert await is_silent(client)
    await other.socket.close()
    await eventually(lambda: len(stream.hub.listeners.tenants[stream.tenant].subscriptions) == 1)
    await eventually(lambda: doomed not in stream.hub.listeners.logs, what="the log is forgotten")
    await feed.publish(await outbox.after(doomed, 3, limit=1))
    alive = await committed.portfolio(stream.tenant)
    await feed.publish(await committed.commit(stream.tenant, alive))
    assert await client.events(1) == [(str(alive), 1)]


async def test_metrics_of_it_end_with_a_word(connected, doomed, delete, stream, redis):
    await start_market(redis, value=60_000.0)
    client = await connected()
    channel = f"risk.{doomed}"
    await client.ask(op="subscribe", channel=channel, interval_ms=100)
    assert (await client.hear())["op"] == "risk"
    await delete(doomed)
    await start_market(redis, clock_ns=CLOCK_NS + SECOND_NS, value=60_000.0)
    ended = await client.hear()
    assert (ended["op"], ended["channel"], ended["code"]) == ("error", channel, "not_found")
    assert not stream.services.sources.risks._watches
    assert (await client.ask(op="subscribe", channel=channel))["code"] == "not_found"
