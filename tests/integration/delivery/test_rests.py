"""Between which prices policies rest, heard on real sockets; the market and the portfolios are real too."""

import asyncio
from decimal import Decimal

import pytest

from app.domain.policies import LeverageBand, LiquidationGuard
from app.entrypoints.api.policy_status import ShownRest
from app.services.documents import PositionDocument, SnapshotDocument
from app.services.manage_policies import set_policy_enabled
from app.services.preview_policy import show_status
from app.services.replace_positions import replace_positions
from tests import factories
from tests.factories import BTC_PERP
from tests.integration.api.client import CLOCK_NS, SECOND_NS, start_market
from tests.waiting import eventually

GUARD = LiquidationGuard(name="stay alive", trigger=Decimal("0.05"), restore=Decimal("0.03"))
BAND = LeverageBand(name="band", minimum=Decimal("0.5"), target=Decimal(2), maximum=Decimal(9))


class Watched:
    """Long 1 BTC from 60,000 on 20,000 USDT, under a guard and a band, at 60,000."""

    def __init__(self, rests, redis, portfolio):
        self.portfolio = portfolio
        self.guard, self.band = (str(stored.id) for stored in portfolio.policies)
        self.rests = rests
        self._redis = redis
        self._seconds = 0

    async def price(self, value):
        """The market stands there; whoever is watched is looked at."""
        self._seconds += 1
        await start_market(self._redis, clock_ns=CLOCK_NS + self._seconds * SECOND_NS, value=value)
        await self.rests.look()

    async def hold(self, quantity):
        position = PositionDocument(instrument=BTC_PERP.id, quantity=quantity, entry_price="60000")
        document = SnapshotDocument(account="main", positions=(position,))
        async with self.rests._units() as unit:
            await replace_positions(unit, self.portfolio.tenant_id, self.portfolio.id, document, time_ns=0)
        await self.rests.look()

    async def shown(self, policy_id):
        """As the API answers when it is asked."""
        units, market = self.rests._units, self.rests._market
        status = await show_status(units, market, self.portfolio.tenant_id, policy_id)
        return ShownRest.of(status.standing.rest, status.instruments).model_dump(mode="json")


@pytest.fixture
async def watched(stream, rests, redis, engine):
    portfolio = await factories.create_portfolio(engine, stream.tenant, policies=[GUARD, BAND])
    return Watched(rests, redis, portfolio)


@pytest.fixture
def listener(stream, dial):
    """Subscribed to these channels, and told of what was granted."""

    async def subscribe(*channels):
        client = await dial(stream)
        assert (await client.hear())["op"] == "authenticated"
        for channel in channels:
            await client.look(channel)
        return client

    return subscribe


async def is_silent(client):
    return await client.ask(op="ping") == {"op": "pong"}


async def test_subscribers_of_a_portfolio_and_of_a_policy_are_told_what_the_status_says(watched, listener):
    channel = f"portfolio.{watched.portfolio.id}"
    both, one = await listener(channel), await listener(f"policy.{watched.band}")
    await watched.price(60_000.0)
    heard = {message["policy_id"]: message for message in [await both.hear(), await both.hear()]}
    assert heard[watched.guard] == {
        "op": "rest",
        "channel": channel,
        "portfolio_id": str(watched.portfolio.id),
        "policy_id": watched.guard,
        "version": 1,
        "clock": "2023-11-14T22:13:21.000000000Z",
        "rest": await watched.shown(watched.portfolio.policies[0].id),
    }
    assert await one.hear() == heard[watched.band] | {"channel": f"policy.{watched.band}"}
    assert await is_silent(both)
    assert await is_silent(one)


async def test_they_hear_again_when_an_end_has_moved_by_a_step(watched, listener):
    client = await listener(f"policy.{watched.guard}")
    await watched.price(60_000.0)
    before = (await client.hear())["rest"]
    for price in (60_100.0, 58_000.0, 62_000.0):
        await watched.price(price)  # on one price the interval is the true one: it stays where it is
    await watched.hold("1.001")
    assert await is_silent(client)
    await watched.hold("1.1")
    after = (await client.hear())["rest"]
    assert float(after["prices"][0]["low"]) > float(before["prices"][0]["low"]) + 600.0
    assert after == await watched.shown(watched.portfolio.policies[0].id)


async def test_that_one_no_longer_rests_is_told_when_it_stays_so(watched, listener):
    client = await listener(f"policy.{watched.guard}")
    await watched.price(60_000.0)
    assert (await client.hear())["rest"] is not None
    await watched.price(41_000.0)
    await watched.price(60_000.0)
    await watched.price(41_000.0)
    assert await is_silent(client)
    await watched.price(41_001.0)
    assert (await client.hear())["rest"] is None
    await watched.price(60_000.0)
    await watched.price(60_001.0)
    assert (await client.hear())["rest"] is not None


async def test_only_what_is_watched_is_looked_at(watched, listener, rests):
    client = await listener(f"policy.{watched.guard}", f"portfolio.{watched.portfolio.id}")
    assert len(rests._watches) == 2
    await client.ask(op="unsubscribe", channel=f"policy.{watched.guard}")
    async with rests._units() as unit:
        await set_policy_enabled(
            unit, watched.portfolio.tenant_id, watched.portfolio.policies[0].id,
            enabled=False, expected_version=None, time_ns=0,
        )  # fmt: skip
    assert (await client.hear())["event"]["type"] == "policy.disabled"
    await watched.price(60_000.0)
    assert (await client.hear())["policy_id"] == watched.band
    assert await is_silent(client)
    await client.socket.close()
    await eventually(lambda: not rests._watches)


async def test_a_policy_of_others_looks_like_none(watched, stream, dial):
    stranger = await dial(stream, key="other")
    await stranger.hear()
    answer = await stranger.ask(op="subscribe", channel=f"policy.{watched.guard}")
    assert (answer["op"], answer["code"]) == ("error", "not_found")


async def test_it_looks_by_itself(watched, listener, rests, redis):
    client = await listener(f"policy.{watched.guard}")
    stop = asyncio.Event()
    looking = asyncio.create_task(rests.run(stop))
    await start_market(redis, value=60_000.0)
    assert (await client.hear())["op"] == "rest"
    stop.set()
    await looking
