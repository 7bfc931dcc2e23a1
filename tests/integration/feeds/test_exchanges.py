"""Exchanges through ccxt, on local servers that speak their protocols."""

import time
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

import pytest

from app.adapters.feeds.exchanges import ExchangeFeed
from app.domain.errors import FeedLost, InvalidInput
from app.domain.instruments import Instrument
from app.domain.market import TickKind
from app.ports.feeds import Line
from tests.integration.feeds.deribit import EXPIRY_MS, deribit
from tests.integration.feeds.kraken import kraken
from tests.integration.feeds.listening import Written, published
from tests.waiting import eventually

EXPIRY = datetime.fromtimestamp(EXPIRY_MS / 1_000, UTC)
PERPETUAL = Instrument(
    id="BTC-PERPETUAL", kind="perpetual", settlement="inverse", underlying="BTC", quote="USD", multiplier=10
)
FUTURE = Instrument(
    id="BTC-JUNE", kind="future", settlement="inverse", underlying="BTC", quote="USD", multiplier=10,
    expiry=EXPIRY,
)  # fmt: skip
CALL = Instrument(
    id="BTC-100K-C", kind="option", underlying="BTC", quote="USD", strike=100_000, expiry=EXPIRY,
    option_type="call", marked_by="BTC-JUNE",
)  # fmt: skip
LINES = [
    Line(PERPETUAL, "BTC-PERPETUAL"), Line(FUTURE, "BTC/USD:BTC-300630"), Line(CALL, "BTC-30JUN30-100000-C"),
]  # fmt: skip


def feed(server, lines=LINES, *, poll=False, **terms):
    return ExchangeFeed(
        source="deribit", exchange="deribit", lines=lines, terms=server.terms, poll=poll,
        every=timedelta(milliseconds=10), **terms,
    )  # fmt: skip


async def first_of(listening):
    async with aclosing(listening.listen()) as said:
        return await anext(said)


def told_lines(written):
    return len({(tick.kind, tick.instrument) for tick in written.ticks})


@pytest.mark.parametrize("poll", [False, True])
async def test_prices_marks_funding_and_volatilities_of_deribit(poll, monkeypatch):
    written = Written()
    async with deribit() as server, published(feed(server, poll=poll), written, monkeypatch):
        await eventually(lambda: told_lines(written) == 6)
    told = {(tick.kind, tick.instrument): (tick.value, tick.confidence) for tick in written.ticks}
    assert told == {
        (TickKind.PRICE, "BTC-PERPETUAL"): (64_250.5, 0.5),
        (TickKind.MARK, "BTC-PERPETUAL"): (64_250.25, 0.0),
        (TickKind.FUNDING_RATE, "BTC-PERPETUAL"): (0.00008, 0.0),
        (TickKind.PRICE, "BTC-JUNE"): (64_250.5, 0.5),
        (TickKind.MARK, "BTC-JUNE"): (64_250.25, 0.0),
        (TickKind.IMPLIED_VOL, "BTC-100K-C"): (pytest.approx(0.6125), pytest.approx(0.007)),
    }
    assert all(abs(time.time_ns() - tick.time_ns) < 60 * 10**9 for tick in written.ticks)
    assert ("ticker" in server.asked) == poll


@pytest.mark.parametrize("poll", [False, True])
async def test_a_server_in_the_place_of_the_exchange_is_asked_at_its_paths(poll):
    """Over REST and over its WebSocket."""
    async with deribit() as server:
        listening = ExchangeFeed(
            source="deribit", exchange="deribit", lines=LINES[:1], url=server.server.url + "/", poll=poll
        )
        assert (await first_of(listening))[0].instrument == "BTC-PERPETUAL"
        assert ("ticker" in server.asked) == poll


async def test_a_funding_rate_is_told_per_interval_of_the_instrument(monkeypatch):
    hourly = PERPETUAL.model_copy(update={"funding_interval_hours": 1})
    written = Written()
    async with deribit() as server:
        listening = feed(server, [Line(hourly, "BTC-PERPETUAL")])
        async with published(listening, written, monkeypatch):
            rate = await eventually(
                lambda: [tick.value for tick in written.ticks if tick.kind is TickKind.FUNDING_RATE]
            )
    assert rate == [pytest.approx(0.00001)]


@pytest.mark.parametrize("poll", [False, True])
async def test_a_lost_connection_is_made_again_without_asking_for_the_markets_twice(poll, monkeypatch):
    written = Written()
    async with deribit() as server, published(feed(server, poll=poll), written, monkeypatch):
        await eventually(lambda: told_lines(written) == 6)
        await server.break_connections()
        await server.server.end()
        told = len(written.ticks)
        await server.server.begin()
        await eventually(lambda: len(written.ticks) > told + 3)
    assert server.asked.count("get_instruments") == 1


async def test_an_exchange_that_is_away_is_a_lost_feed():
    async with deribit() as server:
        listening = feed(server)
        await server.server.end()
        with pytest.raises(FeedLost):
            await first_of(listening)
        await server.server.begin()
        assert await first_of(listening)


def other(instrument, **terms):
    return instrument.model_copy(update=terms)


@pytest.mark.parametrize(
    ("instrument", "name", "words"),
    [
        (PERPETUAL, "XBTUSD", r"has no market XBTUSD; what it has of BTC \(perpetual\): BTC/USD:BTC: write"),
        (PERPETUAL, "BTC-30JUN30", "its kind is future, not perpetual"),
        (other(PERPETUAL, settlement="linear"), "BTC-PERPETUAL", "its settlement is inverse"),
        (other(PERPETUAL, quote="USDT"), "BTC-PERPETUAL", "is in USD, and .* in USDT"),
        (other(PERPETUAL, underlying="ETH"), "BTC-PERPETUAL", "is a price of BTC"),
        (other(FUTURE, expiry=datetime(2031, 1, 1, tzinfo=UTC)), "BTC-30JUN30", "its expiry is 2030-06-30"),
        (other(CALL, strike=90_000), "BTC-30JUN30-100000-C", "its strike is 100000.0"),
        (other(CALL, option_type="put"), "BTC-30JUN30-100000-C", "its option type is call"),
    ],
)
async def test_a_market_that_is_another_contract_is_refused(instrument, name, words):
    async with deribit() as server:
        with pytest.raises(InvalidInput, match=words):
            await first_of(feed(server, [Line(instrument, name)]))


async def test_every_message_of_a_websocket_is_told(monkeypatch):
    written = Written()
    async with deribit() as server, published(feed(server, LINES[:1]), written, monkeypatch):

        async def prices():
            await server.tell("BTC-PERPETUAL")
            return [tick.sequence for tick in written.ticks if tick.kind is TickKind.PRICE]

        await eventually(lambda: written.ticks)
        sequences = await eventually(_at_least(5, prices))
    assert sequences == sorted(set(sequences))
    assert "ticker" not in server.asked


def _at_least(count, asked):
    async def answered():
        found = await asked()
        return found if len(found) >= count else None

    return answered


async def test_an_answer_without_a_time_is_of_its_arrival(monkeypatch):
    """Kraken's tickers have none."""
    written = Written()
    spot = Instrument(id="BTC-USD", kind="spot", underlying="BTC", quote="USD")
    async with kraken() as server:
        listening = ExchangeFeed(
            source="kraken", exchange="kraken", lines=[Line(spot, "BTC/USD")], terms=server.terms, poll=True,
            every=timedelta(milliseconds=10),
        )  # fmt: skip
        began_ns = time.time_ns()
        async with published(listening, written, monkeypatch):
            await eventually(lambda: len(written.ticks) > 1)
    assert all(began_ns < tick.time_ns == tick.sequence < time.time_ns() for tick in written.ticks)
    assert {(tick.kind, tick.value, tick.confidence) for tick in written.ticks} == {
        (TickKind.PRICE, 64_250.5, 0.5)
    }


def test_an_exchange_that_nobody_knows_is_refused():
    with pytest.raises(InvalidInput, match="no feed nobody"):
        ExchangeFeed(source="nobody", exchange="nobody", lines=[])
