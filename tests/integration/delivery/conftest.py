import asyncio
import contextlib
import json
import socket
from datetime import timedelta
from functools import partial
from types import SimpleNamespace
from uuid import uuid4

import pytest
from fastapi import FastAPI
from sqlalchemy import insert
from websockets.asyncio.client import connect as websocket_connect
from websockets.exceptions import ConnectionClosed

from app.adapters.postgres.delivery_queue import PostgresDeliveryQueue
from app.adapters.postgres.delivery_store import PostgresOutbox
from app.adapters.postgres.event_log import PostgresEventLog
from app.adapters.postgres.event_rows import append_events, encode_event
from app.adapters.postgres.management import PostgresUnitsOfWork, management_engine
from app.adapters.postgres.tables.webhooks import webhook_endpoints
from app.adapters.redis_streams.client import connect
from app.adapters.redis_streams.events import EventStream, StreamedEvent
from app.adapters.redis_streams.hints import hint
from app.adapters.redis_streams.market_feed import RedisFrameStream
from app.adapters.redis_streams.market_reader import read_clock, read_consensus, read_whole_consensus
from app.adapters.redis_streams.tickets import RedisTickets
from app.adapters.redis_streams.wire import Wire
from app.adapters.webhooks.addresses import parse_networks
from app.adapters.webhooks.sender import HttpWebhookSender
from app.domain.events import EventType, NewEvent
from app.entrypoints.api.serving import Server, server_config
from app.entrypoints.api.stream_channels import Sources
from app.entrypoints.api.stream_commands import StreamCommands
from app.entrypoints.api.stream_connection import StreamServices
from app.entrypoints.api.stream_messages import CloseCode
from app.entrypoints.api.websocket import stream_router
from app.ports.management import MarketNow
from app.services.admit_client import Admission
from app.services.deliver_event import Deliverer
from app.services.dispatch_events import EventDispatcher
from app.services.fan_out_events import Hub
from app.services.tell_market import MarketWatches
from app.services.tell_rests import Rests
from app.services.tell_risk import Risks
from tests import factories

SECRET = b"0123456789abcdef0123456789abcdef"
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

    async def recover(self, channel, cursor="0", epoch=None):
        """Subscribed from there on, or from the beginning; what was granted."""
        recover = {"cursor": cursor} | ({} if epoch is None else {"epoch": epoch})
        return await self.ask(op="subscribe", channel=channel, recover=recover)

    async def look(self, channel):
        """Subscribed from now on: what was granted, and the open adjustments."""
        granted = await self.ask(op="subscribe", channel=channel)
        assert (granted["op"], granted["recovered"]) == ("subscribed", False)
        return granted, await self.snapshot()

    async def snapshot(self):
        adjustments = []
        while True:
            part = await self.hear()
            assert part["op"] == "snapshot"
            adjustments += part["adjustments"]
            if part["last"]:
                return adjustments

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

        async def commit(
            self, tenant, portfolio, count=1, *, kind=EventType.ADJUSTMENT_QUEUED, size=0, data=None
        ):
            new = [
                NewEvent(kind, tenant, portfolio, NOW_NS + i, {"n": i, "pad": "x" * size} | (data or {}))
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
def register(engine):
    """An endpoint straight into its table."""

    async def create(tenant, url, **columns):
        identifier = uuid4()
        values = {"id": identifier, "tenant_id": tenant, "url": url, "secret": SECRET, "event_types": []}
        async with engine.begin() as connection:
            await connection.execute(insert(webhook_endpoints).values(values | columns))
        return identifier

    return create


@pytest.fixture
async def start_courier(asyncpg_pool, outbox):
    """Couriers in this process, with short periods; stopped cleanly at the end."""
    async with contextlib.AsyncExitStack() as running:

        async def start(feed, *, timeout=timedelta(seconds=2), breaker=None, **options):
            queue = PostgresDeliveryQueue(asyncpg_pool, breaker=breaker)
            return await running.enter_async_context(_courier(queue, outbox, feed, timeout, options))

        yield start


@contextlib.asynccontextmanager
async def _courier(queue, outbox, feed, timeout, options):
    networks = parse_networks(["127.0.0.0/8"])
    async with HttpWebhookSender(timeout=timeout, allowed_networks=networks) as sender:
        deliverer = Deliverer(queue=queue, sender=sender, grace=timedelta(seconds=0.2), **options)
        dispatcher = EventDispatcher(
            feed=feed, outbox=outbox, due=deliverer.wake, sweep_period=TENTH, sweep_age=TENTH
        )
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(dispatcher.run(stop))
            tasks.create_task(deliverer.run(stop))
            try:
                yield deliverer
            finally:
                stop.set()


@pytest.fixture
def states(asyncpg_pool):
    async def count():
        rows = await asyncpg_pool.fetch("SELECT state, count(*) FROM webhook_deliveries GROUP BY state")
        return {row["state"]: row["count"] for row in rows}

    return count


@pytest.fixture
async def wire(redis_url):
    async with Wire(redis_url) as connected:
        yield connected


@pytest.fixture
async def units(database_url, wire, feed):
    """What the API works with."""
    engine = management_engine(database_url)
    yield PostgresUnitsOfWork(engine, publish=feed.publish, hint=partial(hint, wire))
    await engine.dispose()


@pytest.fixture
async def market(redis_url):
    client = connect(redis_url)
    yield MarketNow(
        clock=partial(read_clock, client),
        values=partial(read_consensus, client),
        everything=partial(read_whole_consensus, client),
    )
    await client.aclose()


@pytest.fixture
def rests(units, market):
    """Looks when a test says so."""
    return Rests(units, market, period=TENTH)


@pytest.fixture
async def frames(redis_url):
    async with Wire(redis_url) as reading:
        yield RedisFrameStream(reading)


@pytest.fixture
def tickets(wire):
    return RedisTickets(wire)


@pytest.fixture
async def serve(asyncpg_pool, units, market, rests, frames, tickets):
    """Starts a process's worth of stream server: a hub and uvicorn on a free port."""
    async with contextlib.AsyncExitStack() as running:

        async def start(feed, *, pool=asyncpg_pool, origins=(), server_options=None, **hub_options):
            hub = Hub(
                feed=feed,
                history=PostgresEventLog(pool),
                market_time=_market_time,
                **{"resynchronise_period": 2 * TENTH, "drain_period": TENTH} | hub_options,
            )
            services = StreamServices(
                Sources(hub, rests, Risks(units, market), MarketWatches(units, market, frames)),
                Admission(units, tickets, check_period=TENTH),
                StreamCommands(units, market),
            )
            return await running.enter_async_context(_serving(services, origins, server_options or {}))

        yield start


async def _market_time():
    return NOW_NS


@contextlib.asynccontextmanager
async def _serving(services, origins, server_options):
    app = FastAPI()
    app.include_router(stream_router(services, allowed_origins=origins))
    stop, hub = asyncio.Event(), services.sources.hub
    hub_task = asyncio.create_task(hub.run(stop, close_code=CloseCode.SERVICE_RESTART))
    beside = [
        asyncio.create_task(services.sources.risks.run()),
        asyncio.create_task(services.sources.market.run()),
        asyncio.create_task(services.admission.run(close_code=CloseCode.INVALID_TOKEN)),
    ]
    listener = socket.create_server(("127.0.0.1", 0))
    server = Server(server_config(app, log_level="error", lifespan="off", **server_options))
    server_task = asyncio.create_task(server.serve(sockets=[listener]))
    url = f"ws://127.0.0.1:{listener.getsockname()[1]}/v1/stream"
    try:
        yield SimpleNamespace(url=url, hub=hub, stop=stop, services=services)
    finally:
        stop.set()
        await server.leave(lambda: hub_task)
        await server_task
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)


@pytest.fixture
async def dial():
    """Connects clients, with one of the server's keys in the header unless it is None."""
    async with contextlib.AsyncExitStack() as open_sockets:

        async def start(server, key="good", *, query="", **options):
            headers = {} if key is None else {"Authorization": f"Bearer {server.keys.get(key, key)}"}
            socket = await open_sockets.enter_async_context(
                websocket_connect(server.url + query, additional_headers=headers, compression=None, **options)
            )
            return Client(socket)

        yield start


@pytest.fixture
async def stream(serve, feed, committed, engine):
    """A server with two tenants: keys `good` and `other`; `blind` may not read, `trader` may trade."""
    tenant, other = await committed.tenant(), await committed.tenant()
    server = await serve(feed)
    server.tenant, server.other = tenant, other
    server.keys = {
        "good": await factories.create_key(engine, tenant, scopes=["read"]),
        "other": await factories.create_key(engine, other, scopes=["read"]),
        "blind": await factories.create_key(engine, tenant, scopes=["ticks"]),
        "trader": await factories.create_key(engine, tenant, scopes=["read", "trade"]),
    }
    return server
