"""Pyth's feed, listening to a local server that speaks Hermes' protocol."""

import json
import time

import pytest
from aiohttp import web

from app.adapters.feeds.pyth import PythFeed
from app.domain.errors import ConfigurationError, InvalidInput
from app.domain.instruments import Instrument
from app.domain.market import Tick, TickKind
from app.ports.feeds import Line
from tests.integration.feeds.hermes import BTC_USD, hermes, update
from tests.integration.feeds.listening import Written, published
from tests.waiting import eventually

BTC = Instrument(id="BTC-USD", kind="spot", underlying="BTC", quote="USD")
NOW = int(time.time())


def feed(server, *, name="Crypto.BTC/USD", instrument=BTC, **terms):
    return PythFeed(source="pyth", lines=[Line(instrument, name)], url=server.server.url, **terms)


def told_once(message):
    return web.Response(body=b"data:" + json.dumps(message).encode() + b"\n\n")


@pytest.mark.parametrize("name", ["Crypto.BTC/USD", BTC_USD, f"0x{BTC_USD}"])
async def test_a_price_is_told_with_its_confidence_time_and_sequence(name, monkeypatch):
    written = Written()
    async with hermes() as server:
        await server.say(update("6425050000000", conf="1250000000", publish_time=NOW, slot=85_480_034))
        async with published(feed(server, name=name), written, monkeypatch):
            await eventually(lambda: written.ticks)
    tick = Tick(TickKind.PRICE, "pyth", "BTC-USD", NOW * 10**9 + 85_480_034, NOW * 10**9, 64_250.5, 12.5)
    assert written.entries == [[tick]]
    (query,) = server.queries
    assert (query.getall("ids[]"), query["parsed"]) == ([BTC_USD], "true")


async def test_what_is_told_again_or_out_of_order_is_left_out(monkeypatch):
    written = Written()
    async with hermes() as server:
        told = [("1", 3, 10), ("2", 3, 12), ("3", 3, 12), ("4", 4, 13), ("5", 2, 11)]
        for price, seconds_ago, slot in told:
            publish_time = NOW - seconds_ago
            await server.say(update(price, expo=0, publish_time=publish_time, slot=slot))
        async with published(feed(server), written, monkeypatch):
            await eventually(lambda: len(written.ticks) == 3)
    assert [tick.value for tick in written.ticks] == [1.0, 2.0, 5.0]


async def test_a_tick_from_the_future_does_not_silence_the_feed(monkeypatch):
    written = Written()
    async with hermes() as server:
        await server.say(update("1", expo=0, publish_time=NOW + 3_600, slot=1))
        await server.say(update("2", expo=0, publish_time=NOW, slot=2))
        async with published(feed(server), written, monkeypatch):
            await eventually(lambda: written.ticks)
    assert [tick.value for tick in written.ticks] == [2.0]


async def test_a_lost_connection_is_made_again_and_nothing_is_told_twice(monkeypatch):
    written = Written()
    async with hermes() as server:
        await server.say(update("1", expo=0, publish_time=NOW - 1, slot=1))
        async with published(feed(server), written, monkeypatch):
            await eventually(lambda: len(written.ticks) == 1)
            await server.server.end()
            await server.say(update("2", expo=0, publish_time=NOW, slot=2))
            await server.server.begin()
            await eventually(lambda: len(written.ticks) == 2)
    assert [tick.value for tick in written.ticks] == [1.0, 2.0]


async def test_a_restart_goes_on_from_the_same_sequence(monkeypatch):
    """Nothing is kept anywhere: the source's own clock and slots say it."""
    first, second = Written(), Written()
    async with hermes() as server:
        await server.say(update("1", expo=0, publish_time=NOW, slot=1))
        for written in (first, second):
            async with published(feed(server), written, monkeypatch):
                await eventually(lambda: written.ticks)  # noqa: B023 - awaited within the turn
    assert first.ticks == second.ticks


async def test_a_connection_that_says_nothing_is_lost(monkeypatch):
    async with hermes() as server, published(feed(server), Written(), monkeypatch, silence=0.05):
        await eventually(lambda: len(server.queries) > 1)


@pytest.mark.parametrize(
    "answer",
    [
        lambda: web.Response(status=503),
        lambda: web.Response(body=b"data: {not json}\n\n"),
        lambda: web.Response(body=b'data: {"parsed": [{"id": 1}]}\n\n'),
        lambda: told_once(update("1", expo=-1_000_000_000, publish_time=NOW, slot=1)),
        lambda: told_once(update("one", expo=0, publish_time=NOW, slot=1)),
    ],
)
async def test_what_is_no_answer_is_asked_again(answer, monkeypatch):
    written = Written()
    async with hermes() as server:
        server.refuse = answer
        async with published(feed(server), written, monkeypatch):
            await eventually(lambda: len(server.queries) > 1)
            server.refuse = None
            await server.say(update("1", expo=0, publish_time=NOW, slot=1))
            await eventually(lambda: written.ticks)


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [(401, ConfigurationError, "BALLAST_FEED_TOKEN"), (404, InvalidInput, "Price ids not found")],
)
async def test_what_coming_back_does_not_mend_ends_it(status, error, words):
    async with hermes() as server:
        server.refuse = lambda: web.Response(status=status, text="Price ids not found: 0x00")
        with pytest.raises(error, match=words):
            async for _ in feed(server).listen():
                pass


async def test_the_key_is_sent_and_never_told(monkeypatch, capfd):
    async with hermes() as server:
        await server.say(update("1", expo=0, publish_time=NOW, slot=1))
        written = Written()
        async with published(feed(server, token="s3cret"), written, monkeypatch):
            await eventually(lambda: written.ticks)
            await server.server.end()
    assert server.headers[0]["authorization"] == "Bearer s3cret"
    assert "s3cret" not in "".join(capfd.readouterr())


@pytest.mark.parametrize(
    ("name", "instrument", "words"),
    [
        ("Crypto.BTC/EUR", BTC, "it has Crypto.BTC/USD: write BTC-USD=SYMBOL"),
        (
            "Crypto.BTC/USD",
            BTC.model_copy(update={"quote": "USDT"}),
            "is in USD, and BTC-USD is quoted in USDT",
        ),
        ("Crypto.ETH/USD", BTC.model_copy(update={"underlying": "ETH"}), "Pyth has no price Crypto.ETH/USD"),
    ],
)
async def test_what_is_of_something_else_is_refused_before_the_first_tick(name, instrument, words):
    async with hermes() as server:
        with pytest.raises(InvalidInput, match=words):
            async for _ in feed(server, name=name, instrument=instrument).listen():
                pass


async def test_another_currency_is_published_where_the_source_is_declared_in_it(monkeypatch):
    written = Written()
    in_usdt = BTC.model_copy(update={"id": "BTC-USDT", "quote": "USDT"})
    async with hermes() as server:
        await server.say(update("1", expo=0, publish_time=NOW, slot=1))
        async with published(feed(server, instrument=in_usdt, quote="USD"), written, monkeypatch):
            await eventually(lambda: written.ticks)
    assert written.ticks[0].instrument == "BTC-USDT"
