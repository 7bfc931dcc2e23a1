"""Real servers for tests: started when the first test asks, one pair per pytest process, thrown away after.

`BALLAST_DATABASE_URL` and `BALLAST_REDIS_URL` name servers to use instead. On those, only databases named
`ballast_test_…` are created and dropped, and only a logical Redis database that was empty is used.
"""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Iterator
from urllib.parse import parse_qsl, urlencode, urlsplit

import asyncpg
import pytest
import redis
import redis.asyncio
from hypothesis import HealthCheck, settings
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from app.adapters.embedded import EmbeddedPostgres, EmbeddedRedis, create_database, drop_database
from app.adapters.postgres.addresses import asyncpg_address, sqlalchemy_address
from app.adapters.postgres.migrate import upgrade
from tests.event_documents import emitted

# What decides whether a change is merged answers the same twice; `make test-long` searches anew each time.
# A machine that is busy with other tests is no failure of a law.
settings.register_profile(
    "searching", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.register_profile("repeatable", settings.get_profile("searching"), derandomize=True)
settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server on which databases may be created."""
    if url := os.environ.get("BALLAST_DATABASE_URL"):
        yield asyncpg_address(url)
        return
    with EmbeddedPostgres(tmp_path_factory.mktemp("postgres"), durable=False) as server:
        yield server.dsn


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[str]:
    """The address of a logical database that nobody else uses."""
    if url := os.environ.get("BALLAST_REDIS_URL"):
        yield _own_logical_database(url, worker_id)
        return
    with EmbeddedRedis(tmp_path_factory.mktemp("redis"), durable=False) as server:
        yield server.url


def _own_logical_database(url: str, worker_id: str) -> str:
    number = 15 - int(worker_id.removeprefix("gw").replace("master", "0"))
    parts = urlsplit(url)
    query = urlencode({**dict(parse_qsl(parts.query)), "db": number})
    path = parts.path if parts.scheme == "unix" else ""  # elsewhere it is a number, which would win
    own = f"{parts.scheme}://{parts.netloc}{path}?{query}"
    with redis.Redis.from_url(own) as client:
        if client.dbsize():
            pytest.exit(f"logical database {number} of BALLAST_REDIS_URL is not empty: tests would flush it")
    return own


@pytest.fixture(scope="session")
def migrated_template(postgres_server: str) -> Iterator[str]:
    """The name of a migrated, empty database to copy."""
    name = f"ballast_test_template_{secrets.token_hex(4)}"
    url = asyncio.run(create_database(postgres_server, name))
    asyncio.run(upgrade(url))
    yield name
    asyncio.run(drop_database(postgres_server, name))


@pytest.fixture
async def empty_database_url(postgres_server: str) -> AsyncIterator[str]:
    """A database without a schema, of this test alone."""
    name = f"ballast_test_{secrets.token_hex(6)}"
    yield await create_database(postgres_server, name)
    await drop_database(postgres_server, name)


@pytest.fixture
async def database_url(
    postgres_server: str, migrated_template: str, request: pytest.FixtureRequest
) -> AsyncIterator[str]:
    """A migrated database of this test alone, as `postgresql://…`.

    Whatever events the test led to are as documented, unless it says that it makes them up.
    """
    name = f"ballast_test_{secrets.token_hex(6)}"
    url = await create_database(postgres_server, name, template=migrated_template)
    yield url
    try:
        if request.node.get_closest_marker("made_up_events") is None:
            await emitted(url)
    finally:
        await drop_database(postgres_server, name)


@pytest.fixture
async def asyncpg_pool(database_url: str) -> AsyncIterator[asyncpg.Pool]:
    async with asyncpg.create_pool(database_url, min_size=0, max_size=8) as pool:
        yield pool


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(sqlalchemy_address(database_url))
    yield engine
    await engine.dispose()


@pytest.fixture
def redis_url(redis_server: str) -> Iterator[str]:
    """An empty Redis database of this test alone."""
    with redis.Redis.from_url(redis_server) as client:
        client.flushdb()
        yield redis_server
        client.flushdb()


@pytest.fixture(name="redis")
async def redis_client(redis_url: str) -> AsyncIterator[redis.asyncio.Redis]:
    """Replies as bytes, as the service reads them."""
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        yield client
