import asyncio
import contextlib
import json
import socket
from datetime import timedelta
from functools import partial
from types import SimpleNamespace
from uuid import UUID

import pytest
import uvicorn
from fastapi import FastAPI
from websockets.asyncio.client import connect as websocket_connect
from websockets.exceptions import ConnectionClosed

from app.adapters.postgres.delivery_store import PostgresDeliveryQueue, PostgresOutbox
from app.adapters.postgres.event_log import PostgresEventLog
from app.adapters.postgres.event_rows import append_events, encode_event
from app.adapters.postgres.management import PostgresUnitsOfWork, management_engine
from app.adapters.redis_streams.client import connect
from app.adapters.redis_streams.events import EventStream, StreamedEvent
from app.adapters.redis_streams.hints import hint
from app.adapters.redis_streams.market_reader import read_clock, read_consensus, read_whole_consensus
from app.adapters.redis_streams.wire import Wire
from app.domain.events import EventType, NewEvent
from app.entrypoints.api.websocket import CloseCode, stream_router
from app.ports.management import Caller, MarketNow, Scope
from app.services.fan_out_events import Hub
from app.services.tell_rests import Rests
from tests import factories

TENTH = timedelta(milliseconds=100)
NOW_NS = 1_700_000_000_000_000_000


class Client:
    """A WebSocket client that parses what it receives."""

    def __init__(self, socket):
        self.socket = socket

    async def say(self, **message):
        await self.socket.send(json.dumps(message))

    async def hear(self, timeout=10.0):
        async with asyncio.timeout(timeout):
            return json.loads(await self.socket.recv())

    async def ask(self, **message):
        await self.say(**message)
        return await self.hear()

    def drop(self):
        """As a network does: without a word."""
        self.socket.transport.abort()

    async def until_closed(self):
        """What still comes, and the close code."""
        heard = []
        try:
            while True:
                heard.append(await self.hear())
        except ConnectionClosed as ended:
            return heard, ended.rcvd.code

    async def events(self, count):
        heard = [await self.hear() for _ in range(count)]
        assert {message["op"] for message in heard} <= {"event"}
        return [(m["event"]["portfolio_id"], m["event"]["sequence"]) for m in heard]

    async def sequences(self, count):
        return [sequence for _, sequence in await self.events(count)]


@pytest.fixture
async def committed(asyncpg_pool, engine, request):
    """Commits events as a role would, without telling anybody; `publish` is the step after."""
    request.node.add_marker(pytest.mark.made_up_events)

    class Committer:
        async def tenant(self):
            return await factories.create_tenant(engine)

        async def portfolio(self, tenant):
            return (await factories.create_portfolio(engine, tenant, balances={})).id

        async def commit(self, tenant, portfolio, count=1, *, kind=EventType.ADJUSTMENT_QUEUED, size=0):
            new = [
                NewEvent(kind, tenant, portfolio, NOW_NS + i, {"n": i, "pad": "x" * size})
                for i in range(count)
            ]
            async with asyncpg_pool.acquire() as connection, connection.transaction():
                events = await append_events(connection, new)
            return [
                StreamedEvent(e.tenant_id, e.portfolio_id, e.sequence, e.type.value, encode_event(e))
                for e in events
            ]

    await factories.create_market(engine)
    return Committer()


@pytest.fixture
async def feed(redis_url):
    async with Wire(redis_url) as reading, Wire(redis_url) as writing:
        yield EventStream(reading=reading, writing=writing)


@pytest.fixture
def outbox(asyncpg_pool):
    return PostgresOutbox(asyncpg_pool)


@pytest.fixture
def queue(asyncpg_pool):
    return PostgresDeliveryQueue(asyncpg_pool)


@pytest.fixture
async def rests(database_url, redis_url, feed):
    """Looks when a test says so."""
    engine = management_engine(database_url)
    async with Wire(redis_url) as wire:
        client = connect(redis_url)
        market = MarketNow(
            clock=partial(read_clock, client),
            values=partial(read_consensus, client),
            everything=partial(read_whole_consensus, client),
        )
        yield Rests(
            PostgresUnitsOfWork(engine, publish=feed.publish, hint=partial(hint, wire)), market, period=TENTH
        )
        await client.aclose()
    await engine.dispose()


@pytest.fixture
async def serve(asyncpg_pool, rests):
    """Starts a process's worth of stream server: a hub and uvicorn on a free port."""
    async with contextlib.AsyncExitStack() as running:

        async def start(feed, callers, **hub_options):
            return await running.enter_async_context(
                _serving(asyncpg_pool, feed, rests, callers, hub_options)
            )

        yield start


@contextlib.asynccontextmanager
async def _serving(pool, feed, rests, callers, hub_options):
    async def authenticate(key):
        return callers.get(key)

    async def market_time():
        return NOW_NS

    options = {"resynchronise_period": timedelta(milliseconds=200)} | hub_options
    hub = Hub(feed=feed, history=PostgresEventLog(pool), market_time=market_time, **options)
    app = FastAPI()
    app.include_router(stream_router(hub, rests, authenticate))
    stop = asyncio.Event()
    hub_task = asyncio.create_task(hub.run(stop, close_code=CloseCode.SHUTDOWN))
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app, log_level="error", lifespan="off", ws_per_message_deflate=False, access_log=False
    )
    server = uvicorn.Server(config)
    server_task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield SimpleNamespace(
            url=f"ws://127.0.0.1:{listener.getsockname()[1]}/v1/stream", hub=hub, stop=stop, hub_task=hub_task
        )
    finally:
        stop.set()
        await hub_task
        server.should_exit = True
        await server_task


@pytest.fixture
async def dial():
    """Connects clients, with a key in the header unless it is None; hears the greeting."""
    async with contextlib.AsyncExitStack() as open_sockets:

        async def start(server, key="good", **options):
            headers = {} if key is None else {"Authorization": f"Bearer {key}"}
            socket = await open_sockets.enter_async_context(
                websocket_connect(server.url, additional_headers=headers, compression=None, **options)
            )
            return Client(socket)

        yield start


@pytest.fixture
async def stream(serve, feed, committed):
    """A server with two tenants: keys `good` and `other`; `blind` may not read."""
    tenant, other = await committed.tenant(), await committed.tenant()
    key_id = UUID(int=1)
    callers = {
        "good": Caller(tenant, key_id, frozenset({Scope.READ})),
        "other": Caller(other, key_id, frozenset({Scope.READ})),
        "blind": Caller(tenant, key_id, frozenset({Scope.TICKS})),
    }
    server = await serve(feed, callers)
    server.tenant, server.other, server.callers = tenant, other, callers
    return server
