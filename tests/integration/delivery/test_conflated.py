"""Metrics and prices on real sockets: the newest, as often as asked for, and never in the way of events."""

import asyncio
import json
from functools import partial

import msgspec
import pytest

from app.adapters.postgres.management_portfolios import PortfolioRows
from app.adapters.redis_streams.client import connect
from app.adapters.redis_streams.keys import MARKET
from app.adapters.redis_streams.market_reader import read_clock, read_consensus, read_whole_consensus
from app.domain.market import Change, Frame, Quality, TickKind
from app.entrypoints.api.market import ShownValue
from app.entrypoints.api.risk import ShownRisk
from app.ports.management import MarketNow
from app.services.documents import PositionDocument, SnapshotDocument
from app.services.replace_positions import replace_positions
from app.services.show_risk import show_risk
from app.services.tell_risk import Risks
from tests import factories
from tests.integration.api.client import CLOCK_NS, SECOND_NS, start_market
from tests.waiting import eventually

PERP = "BTC-USDT-PERP"


@pytest.fixture
async def client(stream, dial):
    client = await dial(stream)
    await client.hear()
    return client


@pytest.fixture
def tell(redis):
    """Appends frames, of one price each."""
    sequence = 100

    async def append(*prices, instrument=PERP):
        nonlocal sequence
        for price in prices:
            sequence += 1
            time_ns = CLOCK_NS + sequence * SECOND_NS
            change = Change(TickKind.PRICE, instrument, price, 0.5, 3, Quality.VALID, time_ns)
            frame = Frame(1, sequence, time_ns, "", 0, (change,))
            await redis.execute_command("XADD", MARKET, f"1-{sequence}", "f", msgspec.msgpack.encode(frame))
        return ShownValue.of(change, time_ns).model_dump(mode="json")

    return append


async def test_prices_come_at_first_and_then_the_newest_only(client, tell, redis, engine, stream):
    await factories.create_instruments(engine)
    await start_market(redis, value=60_000.0)
    channel = f"market.{PERP}"
    granted = await client.ask(op="subscribe", channel=channel, interval_ms=200)
    assert granted == {"op": "subscribed", "channel": channel, "interval_ms": 200}
    first = await client.hear()
    assert (first["op"], first["channel"], first["position"]) == ("market", channel, "1-10")
    assert [value["value"] for value in first["values"]] == ["60000"]
    await eventually(lambda: stream.services.sources.market._watches)
    newest = await tell(*(60_000.0 + n for n in range(1, 301)))
    told = [await client.hear()]
    while told[-1]["values"][0] != newest:
        told.append(await client.hear())
    assert len(told) < 30, "three hundred frames were conflated"
    assert told[-1]["position"] == "1-400"


async def test_what_nobody_watches_is_not_read(client, tell, redis, engine, stream):
    await factories.create_instruments(engine)
    market = stream.services.sources.market
    channel = f"market.{PERP}"
    for price in (60_001.0, 60_002.0):
        await client.ask(op="subscribe", channel=channel, interval_ms=100)
        assert (await client.ask(op="ping"))["op"] == "pong"
        newest = await eventually_told(client, tell, price)
        assert newest["values"][0]["value"] == str(int(price))
        await client.say(op="unsubscribe", channel=channel)
        while (await client.hear())["op"] != "unsubscribed":
            pass
        assert not market._watches
        await tell(1.0)


async def eventually_told(client, tell, price):
    """A reader that just begins starts at the newest frame: said until it is heard."""
    while True:
        await tell(price)
        try:
            return await client.hear(timeout=0.3)
        except TimeoutError:
            continue


@pytest.mark.parametrize("channel", ["market.NO-SUCH", "risk.0b6f7c52-6f0e-4d4e-9a55-5c1f2f3a9b10"])
async def test_what_is_not_there_cannot_be_watched(client, stream, channel):
    assert (await client.ask(op="subscribe", channel=channel))["code"] == "not_found"
    assert not stream.services.sources.market._watches
    assert not stream.services.sources.risks._watches


async def test_intervals_are_granted_within_bounds(client, engine, redis):
    await factories.create_instruments(engine)
    for asked, granted in ((1, 100), (10**9, 60_000), (None, 1_000)):
        answer = await client.ask(op="subscribe", channel=f"market.{PERP}", interval_ms=asked)
        assert answer["interval_ms"] == granted
        await client.ask(op="unsubscribe", channel=f"market.{PERP}")


async def test_metrics_are_those_of_the_risk_route(client, stream, engine, redis):
    portfolio = await factories.create_portfolio(engine, stream.tenant)
    await start_market(redis, value=60_000.0)
    channel = f"risk.{portfolio.id}"
    await client.ask(op="subscribe", channel=channel, interval_ms=100)
    sources = stream.services.sources
    for price, seconds in ((60_000.0, 0), (50_000.0, 1)):
        await start_market(redis, clock_ns=CLOCK_NS + seconds * SECOND_NS, value=price)
        await redis.hset("{market}:state", "sequence", 10 + seconds)
        shown = ShownRisk.of(
            *await show_risk(sources.risks._units, sources.risks._market, stream.tenant, portfolio.id)
        ).model_dump(mode="json")
        message = await client.hear()
        while message["risk"] != shown:
            message = await client.hear()
        assert (message["op"], message["channel"]) == ("risk", channel)
    assert await client.ask(op="ping") == {"op": "pong"}, "the same on the same frame is not told again"


class Reader:
    """A client that keeps up, and what it was told."""

    closed = congested = False

    def __init__(self):
        self.told = []


async def test_a_portfolio_is_read_and_computed_once_for_all_who_watch_it(
    stream, engine, redis, units, market, reads
):
    portfolio = await factories.create_portfolio(engine, stream.tenant)
    risks, readers = Risks(units, market), [Reader() for _ in range(200)]
    for reader in readers:
        risks.watch(portfolio.id, seconds=1.0, receiver=reader, tell=reader.told.append, gone=pytest.fail)
    for second in range(4):  # at first, another price, nothing, other holdings
        await start_market(redis, clock_ns=CLOCK_NS + second * SECOND_NS, value=60_000.0 - second)
        await redis.hset("{market}:state", "sequence", 10 + min(second, 1))
        if second == 3:
            await hold(units, portfolio, "2")
        await risks.look(asyncio.get_running_loop().time() + 2.0 * second)
    assert reads == [[portfolio.id]] * 2
    assert {len(reader.told) for reader in readers} == {3}
    assert len({id(picture) for reader in readers for picture in reader.told}) == 3
    equities = [picture.report.equity for picture in readers[0].told]
    assert len(set(equities)) == 3
    for reader in readers:
        assert reader.told == readers[0].told


async def test_many_portfolios_are_read_together(stream, engine, redis, units, market, reads):
    made = [await factories.create_portfolio(engine, stream.tenant, name=f"p{n}") for n in range(120)]
    await start_market(redis, value=60_000.0)
    risks, reader = Risks(units, market), Reader()
    watches = [
        risks.watch(each.id, seconds=1.0, receiver=reader, tell=reader.told.append, gone=pytest.fail)
        for each in made
    ]
    await risks.look(asyncio.get_running_loop().time())
    assert [len(ids) for ids in reads] == [100, 20]
    assert {picture.portfolio.id for picture in reader.told} == {each.id for each in made}
    for watch in watches:
        risks.unwatch(watch)
    assert not risks._watches
    assert not risks._pictures


@pytest.fixture
def reads(monkeypatch):
    """Which portfolios were read whole, read by read."""
    some, recorded = PortfolioRows.some, []

    async def recording(rows, ids):
        if ids:
            recorded.append(list(ids))
        return await some(rows, ids)

    monkeypatch.setattr(PortfolioRows, "some", recording)
    return recorded


async def hold(units, portfolio, quantity):
    position = PositionDocument(instrument=PERP, quantity=quantity, entry_price="60000")
    document = SnapshotDocument(account="main", positions=(position,))
    async with units() as unit:
        await replace_positions(unit, portfolio.tenant_id, portfolio.id, document, time_ns=0)


async def test_without_redis_pictures_are_refused_and_events_go_on(client, stream, engine, feed, committed):
    """A client that cannot have prices keeps its connection, and what it is told already."""
    await factories.create_instruments(engine)
    portfolio = await committed.portfolio(stream.tenant)
    await client.recover(f"portfolio.{portfolio}")
    nowhere = connect("redis://127.0.0.1:1")
    stream.services.sources.market._market = MarketNow(
        clock=partial(read_clock, nowhere),
        values=partial(read_consensus, nowhere),
        everything=partial(read_whole_consensus, nowhere),
    )
    channel = f"market.{PERP}"
    for _ in range(2):
        refused = await client.ask(op="subscribe", channel=channel)
        assert (refused["op"], refused["channel"], refused["code"]) == ("error", channel, "unavailable")
    assert not stream.services.sources.market._watches
    await feed.publish(await committed.commit(stream.tenant, portfolio))
    assert await client.sequences(1) == [1]
    await nowhere.aclose()


async def test_f37_pictures_never_stand_in_the_way_of_events(
    stream, dial, tell, engine, redis, feed, committed
):
    """A client that does not read has events waiting for it, and no picture among them."""
    await factories.create_instruments(engine)
    portfolio = await committed.portfolio(stream.tenant)
    slow = await dial(stream, max_queue=1)
    await slow.hear()
    await slow.recover(f"portfolio.{portfolio}")
    outgoing = stream.hub.listeners.logs[portfolio].subscriptions[0].receiver
    total = 0
    while not outgoing.congested:
        await feed.publish(await committed.commit(stream.tenant, portfolio, 10, size=20_000))
        total += 10
        await asyncio.sleep(0)
    await slow.say(op="subscribe", channel=f"market.{PERP}", interval_ms=100)
    watches = stream.services.sources.market._watches
    await eventually(lambda: watches)
    for price in range(60_000, 60_020):
        await tell(float(price))
    queued = [json.loads(text)["op"] for text in outgoing._queue]
    assert "market" not in queued
    heard = []
    while len([m for m in heard if m["op"] == "event"]) < total:
        heard.append(await slow.hear())
    assert [m["event"]["sequence"] for m in heard if m["op"] == "event"] == list(range(1, total + 1))
