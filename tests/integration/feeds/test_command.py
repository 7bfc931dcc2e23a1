"""`ballast feed` as a process, on a real Redis and PostgreSQL."""

import asyncio
import os
import signal
import sys
import time

from app.adapters.redis_streams.tick_log import RedisTickLog
from app.adapters.redis_streams.wire import Wire
from app.domain.instruments import Instrument
from tests import factories
from tests.integration.feeds.hermes import hermes, update
from tests.waiting import eventually

BTC = Instrument(id="BTC-USD", kind="spot", underlying="BTC", quote="USD")


async def ballast_feed(database_url, redis_url, *arguments):
    servers = {"BALLAST_DATABASE_URL": database_url, "BALLAST_REDIS_URL": redis_url}
    environment = {key: value for key, value in os.environ.items() if not key.startswith("BALLAST_")}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "app.entrypoints.cli", "feed", *arguments,
        env=environment | servers, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def test_it_publishes_until_it_is_told_to_stop(engine, database_url, redis_url):
    await factories.create_market(engine, instruments=[BTC])
    async with hermes() as server, Wire(redis_url) as wire:
        await server.say(update("64250", expo=0, publish_time=int(time.time()), slot=1))
        process = await ballast_feed(
            *(database_url, redis_url, "pyth", "--source", "pyth-1"),
            *("--instruments", "BTC-USD=Crypto.BTC/USD", "--url", server.server.url),
        )
        ticks = RedisTickLog(wire)
        (entry,) = await eventually(lambda: ticks.read("0-0", count=10, block_ms=100), timeout=30.0)
        assert [(tick.source, tick.instrument, tick.value) for tick in entry.ticks] == [
            ("pyth-1", "BTC-USD", 64_250.0)
        ]
        process.send_signal(signal.SIGTERM)
        _, said = await process.communicate()
    assert process.returncode == 0, said
    assert b"feed_stopped" in said


async def test_a_mistake_is_one_line_that_says_what_to_do(engine, database_url, redis_url):
    await factories.create_market(engine, instruments=[BTC])
    process = await ballast_feed(database_url, redis_url, "pyth", "--instruments", "BTC-EUR,BTC-USD")
    printed, said = await process.communicate()
    assert (process.returncode, printed) == (2, b"")
    assert said.startswith(b"ballast: no instrument BTC-EUR is listed: list it")
    assert said.count(b"\n") == 1
