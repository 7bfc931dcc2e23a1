"""The API on real PostgreSQL and Redis, asked through ASGI."""

from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import httpx
import pytest

from app.adapters.postgres.management import PostgresUnitsOfWork, management_engine
from app.adapters.redis_streams.client import connect
from app.adapters.redis_streams.evaluator_figures import read_figures
from app.adapters.redis_streams.events import EventStream
from app.adapters.redis_streams.hints import hint
from app.adapters.redis_streams.market_reader import (
    read_clock,
    read_consensus,
    read_oracle,
    read_rejections,
    read_whole_consensus,
)
from app.adapters.redis_streams.tick_publisher import RedisTickPublisher
from app.adapters.redis_streams.wire import Wire
from app.entrypoints.api.application import create_app
from app.entrypoints.api.dependencies import Dependencies
from app.ports.management import MarketNow
from tests import factories
from tests.integration.api.client import Client


@pytest.fixture
async def redis(redis_url) -> AsyncIterator[Any]:
    client = connect(redis_url)
    yield client
    await client.aclose()


@pytest.fixture
async def market_rows(engine) -> None:
    await factories.create_market(engine)


@pytest.fixture
async def wire(redis_url) -> AsyncIterator[Wire]:
    async with Wire(redis_url) as connected:
        yield connected


@pytest.fixture
async def units(database_url, wire) -> AsyncIterator[PostgresUnitsOfWork]:
    engine = management_engine(database_url)
    stream = EventStream(reading=wire, writing=wire)
    yield PostgresUnitsOfWork(engine, publish=stream.publish, hint=partial(hint, wire))
    await engine.dispose()


@pytest.fixture
def dependencies(engine, redis, wire, units, market_rows) -> Dependencies:
    async def database() -> None:
        async with units():
            pass

    return Dependencies(
        units=units,
        market=MarketNow(
            clock=partial(read_clock, redis),
            values=partial(read_consensus, redis),
            everything=partial(read_whole_consensus, redis),
        ),
        checks={"database": database, "redis": redis.ping},
        evaluators=partial(read_figures, redis),
        oracle=partial(read_oracle, redis),
        rejections=partial(read_rejections, redis),
        publisher=RedisTickPublisher(wire),
    )


@pytest.fixture
async def http(dependencies) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(dependencies), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
        yield client


@pytest.fixture
async def tenant(engine, market_rows) -> Any:
    return await factories.create_tenant(engine, name="house")


@pytest.fixture
async def api(engine, http, tenant) -> Client:
    """A client of `tenant` with every scope."""
    return Client(http, await factories.create_key(engine, tenant))


@pytest.fixture
async def stranger(engine, http, market_rows) -> Client:
    """The same of another tenant."""
    return Client(http, await factories.create_key(engine, await factories.create_tenant(engine)))
