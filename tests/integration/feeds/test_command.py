"""`ballast feed` as a process, on a real Redis and PostgreSQL."""

import asyncio
import itertools
import os
import signal
import sys
import time

from app.domain.instruments import Instrument
from tests import factories
from tests.integration.feeds.hermes import hermes, update
from tests.running_oracle import oracle
from tests.waiting import eventually

BTC = Instrument(id="BTC-USD", kind="spot", underlying="BTC", quote="USD")


async def ballast_feed(database_url, redis_url, *arguments):
    servers = {"BALLAST_DATABASE_URL": database_url, "BALLAST_REDIS_URL": redis_url}
    environment = {key: value for key, value in os.environ.items() if not key.startswith("BALLAST_")}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "app.entrypoints.cli", "feed", *arguments,
        env=environment | servers, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def test_its_prices_are_the_market_until_it_is_told_to_stop(engine, database_url, redis_url):
    """From Hermes' stream to frames, through the oracle role."""
    async with (
        oracle(engine, redis_url, database_url, clock="live") as market,
        hermes() as server,
    ):
        await factories.create_instruments(engine, [BTC])
        process = await ballast_feed(
            *(database_url, redis_url, "pyth", "--source", "pyth-1"),
            *("--instruments", "BTC-USD=Crypto.BTC/USD", "--url", server.server.url),
        )
        slots = itertools.count(1)

        async def change():
            now = int(time.time())
            await server.say(update("64250", expo=0, conf="3", publish_time=now, slot=next(slots)))
            return [each for frame in await market.frames() for each in frame.changes]

        first, *_ = await eventually(change, timeout=30.0)
        process.send_signal(signal.SIGTERM)
        _, said = await process.communicate()
        rows = await market.refusals()
    assert (first.instrument, first.value, first.confidence, first.sources) == ("BTC-USD", 64_250.0, 3.0, 1)
    assert rows == []
    assert process.returncode == 0, said
    assert b"feed_stopped" in said


async def test_a_mistake_is_one_line_that_says_what_to_do(engine, database_url, redis_url):
    await factories.create_market(engine, instruments=[BTC])
    process = await ballast_feed(database_url, redis_url, "pyth", "--instruments", "BTC-EUR,BTC-USD")
    printed, said = await process.communicate()
    assert (process.returncode, printed) == (2, b"")
    assert said.startswith(b"ballast: no instrument BTC-EUR is listed: list it")
    assert said.count(b"\n") == 1
