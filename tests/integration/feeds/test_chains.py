"""Chainlink's answers and Uniswap's averages, read from a real EVM."""

import time
from contextlib import aclosing
from datetime import timedelta

import pytest

from app.adapters.feeds.chain import ChainFeed
from app.adapters.feeds.chainlink import chainlink
from app.adapters.feeds.uniswap import mean_price, uniswap
from app.adapters.postgres.source_rows import SourceRows
from app.adapters.redis_streams.tick_publisher import flat_fields
from app.domain.errors import FeedLost, InvalidInput
from app.domain.instruments import Instrument
from app.domain.market import Quality, Rejection, Tick, TickKind
from app.oracle.declared import Declared, Source
from app.ports.feeds import Line
from tests import factories
from tests.integration.feeds.evm import evm
from tests.integration.feeds.listening import Written, published
from tests.running_oracle import oracle
from tests.waiting import eventually

ETH = Instrument(id="ETH-USDC", kind="spot", underlying="ETH", quote="USDC")
IN_DOLLARS = Instrument(id="ETH-USD", kind="spot", underlying="ETH", quote="USD")


def feed(chain, line, open_line):
    return ChainFeed(
        source="chain", lines=[line], url=chain.server.url, open_line=open_line,
        every=timedelta(milliseconds=10),
    )  # fmt: skip


async def first_of(listening):
    async with aclosing(listening.listen()) as said:
        return await anext(said)


async def test_an_answer_of_chainlink_has_its_own_time_however_old():
    async with evm() as chain:
        aggregator = chain.deploy("Aggregator", 8, "ETH / USD")
        hour_ago = int(time.time()) - 3_600
        phase_and_round = (7 << 64) | 12_345
        chain.send(aggregator.functions.tell(phase_and_round, 3_000_12345678, hour_ago))
        told = await first_of(feed(chain, Line(IN_DOLLARS, aggregator.address), chainlink("chain")))
    time_ns = hour_ago * 10**9
    assert told == [Tick(TickKind.PRICE, "chain", "ETH-USD", time_ns + 12_345, time_ns, 3_000.12345678)]


@pytest.mark.parametrize(("source", "heard"), [(Source(heartbeat_ns=7_200 * 10**9), True), (Source(), False)])
async def test_an_hour_old_answer_is_the_price_where_the_heartbeat_says_so(
    engine, database_url, redis_url, asyncpg_pool, source, heard
):
    """By the oracle role, on the wall clock."""
    await factories.create_instruments(engine, [IN_DOLLARS])
    async with asyncpg_pool.acquire() as connection, connection.transaction():
        await SourceRows(connection).declare(Declared({"chain": source}))
    async with evm() as chain, oracle(engine, redis_url, database_url, clock="live") as market:
        aggregator = chain.deploy("Aggregator", 8, "ETH / USD")
        chain.send(aggregator.functions.tell(1, 3_000_00000000, int(time.time()) - 3_600))
        (tick,) = await first_of(feed(chain, Line(IN_DOLLARS, aggregator.address), chainlink("chain")))
        if heard:
            (change,) = (await market.frame_of(flat_fields(tick))).changes
            assert (change.value, change.quality, change.time_ns) == (3_000.0, Quality.VALID, tick.time_ns)
        else:
            entry = await market.send(flat_fields(tick))
            assert await eventually(market.refusals) == [(entry, Rejection.STALE)]


async def test_an_answer_that_stands_is_told_once_and_the_next_one_after_a_lost_node(monkeypatch):
    written = Written()
    now = int(time.time())
    async with evm() as chain:
        aggregator = chain.deploy("Aggregator", 8, "ETH / USD")
        listening = feed(chain, Line(IN_DOLLARS, aggregator.address), chainlink("chain"))
        async with published(listening, written, monkeypatch):
            await eventually(lambda: "eth_call" in chain.methods)  # nothing was answered yet
            chain.send(aggregator.functions.tell(1, 3_000_00000000, now - 10))
            await eventually(lambda: len(written.ticks) == 1)
            asked = len(chain.methods)
            chain.pass_time(10)
            await eventually(lambda: len(chain.methods) > asked + 5)
            await chain.server.end()
            chain.send(aggregator.functions.tell(2, 3_001_00000000, now - 5))
            await chain.server.begin()
            await eventually(lambda: len(written.ticks) == 2)
    assert [tick.value for tick in written.ticks] == [3_000.0, 3_001.0]


@pytest.mark.parametrize("ether_first", [True, False])
async def test_the_average_of_a_pool_is_the_geometric_mean_over_the_window(ether_first):
    """A hundred seconds at 3,000 and two hundred at 3,300."""
    async with evm() as chain:
        names = [("WETH", 18), ("USDC", 6)]
        token0, token1 = chain.tokens(*names)
        while (token0.functions.symbol().call() == "WETH") != ether_first:
            token0, token1 = chain.tokens(*names)
        first, second = (ether * 1e-12 if ether_first else 1e12 / ether for ether in (3_000.0, 3_300.0))
        token0_decimals = token0.functions.decimals().call()
        pool, mover = chain.pool(token0, token1, price=first), chain.deploy("Mover")
        chain.pass_time(600)
        start, before = chain.block["timestamp"], pool.functions.slot0().call()[1]
        chain.pass_time(100)
        chain.move(mover, pool, price=second)
        moved, after = chain.block["timestamp"], pool.functions.slot0().call()[1]
        chain.pass_time(200)
        end = chain.block
        window = timedelta(seconds=end["timestamp"] - start)
        (tick,) = await first_of(feed(chain, Line(ETH, pool.address), uniswap("chain", window=window)))
    share = (moved - start) / (end["timestamp"] - start)
    assert tick.value == pytest.approx(3_000.0**share * 3_300.0 ** (1 - share), rel=1e-4)  # within a tick
    mean = mean_price(share * before + (1 - share) * after, token0_decimals, 24 - token0_decimals)
    assert tick.value == pytest.approx(mean if ether_first else 1 / mean, rel=1e-12)
    assert tick.time_ns == end["timestamp"] * 10**9
    assert tick.sequence == tick.time_ns + end["number"]
    assert (tick.instrument, tick.confidence) == ("ETH-USDC", 0.0)


async def test_each_block_tells_a_pool_once(monkeypatch):
    written = Written()
    async with evm() as chain:
        pool = chain.pool(*chain.tokens(("WETH", 18), ("USDC", 6)), price=1.0)
        chain.pass_time(60)
        listening = feed(chain, Line(ETH, pool.address), uniswap("chain", window=timedelta(seconds=30)))
        async with published(listening, written, monkeypatch, clock=chain):
            await eventually(lambda: len(written.ticks) == 1)
            asked = len(chain.methods)
            await eventually(lambda: len(chain.methods) > asked + 3)
            chain.pass_time(12)
            await eventually(lambda: len(written.ticks) == 2)


async def test_a_window_beyond_the_observations_says_what_to_do():
    async with evm() as chain:
        pool = chain.pool(*chain.tokens(("WETH", 18), ("USDC", 6)), price=1.0)
        with pytest.raises(InvalidInput, match="do not reach back 300 s: ask for a shorter --window"):
            await first_of(feed(chain, Line(ETH, pool.address), uniswap("chain")))


async def test_a_pool_of_other_tokens_is_refused():
    async with evm() as chain:
        pool = chain.pool(*chain.tokens(("WETH", 18), ("USDT", 6)), price=1.0)
        with pytest.raises(InvalidInput, match="is in USDT, and ETH-USDC is quoted in USDC"):
            await first_of(feed(chain, Line(ETH, pool.address), uniswap("chain")))


async def test_a_contract_that_is_something_else_is_refused():
    async with evm() as chain:
        aggregator = chain.deploy("Aggregator", 8, "BTC / USD")
        token = chain.deploy("Token", "WETH", 18)
        option = IN_DOLLARS.model_copy(update={"underlying": "BTC", "kind": "option"})
        for line, open_line, words in [
            (
                Line(IN_DOLLARS, aggregator.address),
                chainlink("chain"),
                "is a price of BTC, and ETH-USD is of ETH",
            ),
            (Line(option, aggregator.address), chainlink("chain"), "publish it as a spot instrument"),
            (Line(IN_DOLLARS, token.address), chainlink("chain"), "is no contract of chain"),
            (Line(IN_DOLLARS, "0x" + "12" * 20), chainlink("chain"), "there is no contract"),
            (
                Line(IN_DOLLARS, "ETH-USD"),
                chainlink("chain"),
                "is no address of a contract: write ETH-USD=0x",
            ),
        ]:
            with pytest.raises(InvalidInput, match=words):
                await first_of(feed(chain, line, open_line))


async def test_a_node_that_is_away_is_lost_and_its_address_is_not_told():
    async with evm() as chain:
        url = f"{chain.server.url}/s3cret-key"
        await chain.server.end()
        listening = ChainFeed(
            source="chain", lines=[Line(ETH, "0x" + "12" * 20)], url=url, open_line=uniswap("c")
        )
        with pytest.raises(FeedLost) as lost:
            await first_of(listening)
    assert "s3cret-key" not in str(lost.value)


def test_a_tick_is_a_ten_thousandth_and_decimals_shift():
    """At tick 0 a unit is a unit; 46,054 ticks are a factor of 100: ln 100 / ln 1.0001 = 46,054.0."""
    assert mean_price(0.0, 6, 6) == 1.0
    assert mean_price(0.0, 18, 6) == pytest.approx(1e12, rel=1e-12)
    assert mean_price(46_054.0, 6, 6) == pytest.approx(100.0, rel=1e-4)
    assert mean_price(-1.0, 6, 6) == pytest.approx(1 / 1.0001, rel=1e-12)
