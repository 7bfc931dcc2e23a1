"""FAULTS 40, 41: clients on several API processes, which are killed and started again while events come.

Every client listens to a portfolio of its own, and resumes at whichever process answers. In the end its log
is the database's: no gap, in order, and nothing twice, since the cursor of one portfolio is exact.
"""

import asyncio
import json
import logging
import random
import socket
import time
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from uuid import UUID

import asyncpg
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from app.adapters.postgres.event_rows import append_events
from app.adapters.redis_streams.events import EventStream, streamed_event
from app.adapters.redis_streams.wire import Wire
from app.domain.events import EventType, NewEvent
from app.entrypoints.cli import supervise
from app.entrypoints.cli.local import environment
from app.entrypoints.cli.supervise import Part, Supervisor
from app.ports.delivery import Horizon
from app.settings import Settings
from tests import factories
from tests.waiting import eventually

pytestmark = pytest.mark.made_up_events
NOW_NS = 1_700_000_000_000_000_000
AGAIN_SECONDS = 0.2
_log = logging.getLogger(__name__)


@dataclass
class Log:
    """What one client has heard; `resumed_at` is where each of its connections began."""

    portfolio: UUID
    heard: list[int] = field(default_factory=list)
    resumed_at: list[str] = field(default_factory=list)

    @property
    def channel(self):
        return f"portfolio.{self.portfolio}"

    def take(self, event):
        assert event["previous_sequence"] == event["sequence"] - 1
        self.heard.append(event["sequence"])


@dataclass
class Everything:
    """The same of a client of all portfolios; `repeats` are events it had, with where it had resumed."""

    channel: str = "adjustments"
    heard: Counter[UUID] = field(default_factory=Counter)
    resumed_at: list[str] = field(default_factory=list)
    repeats: list[tuple[str, UUID, int]] = field(default_factory=list)

    def take(self, event):
        portfolio, sequence = UUID(event["portfolio_id"]), event["sequence"]
        if sequence <= self.heard[portfolio]:
            self.repeats.append((self.resumed_at[-1], portfolio, sequence))
        else:
            assert sequence == self.heard[portfolio] + 1, "a gap"
            self.heard[portfolio] = sequence


async def follow(log, urls, key):
    """As a client does: from the beginning, and wherever it is cut off from the last cursor on."""
    recover = {"cursor": "0"}
    subscribe = {"op": "subscribe", "channel": log.channel}
    headers = {"Authorization": f"Bearer {key}"}
    while True:
        try:
            async with connect(random.choice(urls), additional_headers=headers, compression=None) as stream:
                await stream.send(json.dumps(subscribe | {"recover": recover}))
                assert json.loads(await stream.recv()) == {"op": "authenticated"}
                granted = json.loads(await stream.recv())
                assert granted["recovered"], granted
                log.resumed_at.append(granted["cursor"])
                while True:
                    message = json.loads(await stream.recv())
                    if message["op"] == "event":
                        log.take(message["event"])
                        recover = {"epoch": granted["epoch"], "cursor": message["cursor"]}
        except (OSError, WebSocketException):
            await asyncio.sleep(AGAIN_SECONDS * random.random())


class Emitter:
    """Commits events of all portfolios in turn, and publishes most of them: the rest is left to sweeps.

    What it is late with comes with the next transaction. `rate` is what it achieved.
    """

    def __init__(self, pool, feed, tenant, portfolios):
        self._pool = pool
        self._feed = feed
        self._tenant = tenant
        self._portfolios = portfolios
        self.rate = 0.0

    async def run(self, *, per_second, until):
        began, total = time.monotonic(), 0
        while not until.is_set():
            due = int((time.monotonic() - began) * per_second) - total
            if due > 0:
                await self.emit([self._portfolios[(total + n) % len(self._portfolios)] for n in range(due)])
                total += due
            await asyncio.sleep(0.02)
        self.rate = total / (time.monotonic() - began)
        return total

    async def emit(self, portfolios):
        new = [
            NewEvent(EventType.POLICY_NOTIFIED, self._tenant, portfolio, NOW_NS, {"pad": "x" * 300})
            for portfolio in portfolios
        ]
        async with self._pool.acquire() as connection, connection.transaction():
            events = await append_events(connection, new)
        if random.random() < 0.9:
            await self._feed.publish([streamed_event(event) for event in events])


class Apis:
    """Processes that are started again whenever they are killed."""

    def __init__(self, supervisor, ports, log):
        self.urls = [f"ws://127.0.0.1:{port}/v1/stream" for port in ports]
        self._supervisor = supervisor
        self._log = log
        self._started = len(ports)

    async def all_run(self):
        def have_started():
            return self._log.read_text().count('"event": "api_started"') >= self._started

        await eventually(have_started, timeout=60, what=f"{self._started} starts of an API")

    async def kill(self, number):
        """By SIGKILL, or by SIGTERM, after which it drains."""
        process = self._supervisor.processes[f"api-{number % len(self.urls)}"]
        self._started += 1
        if number % 3 == 2:
            process.terminate()
        else:
            process.kill()
        await process.wait()


@asynccontextmanager
async def apis(settings, log_path, *, count):
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    stop = asyncio.Event()
    with log_path.open("wb") as log:
        supervisor = Supervisor(environment(settings), log=log)
        parts = [Part(f"api-{n}", ["api", "--port", str(port)]) for n, port in enumerate(ports)]
        running = asyncio.create_task(supervisor.run(parts, stop))
        try:
            processes = Apis(supervisor, ports, log_path)
            await processes.all_run()
            yield processes
        finally:
            stop.set()
            await running


@pytest.fixture
def run_storm(engine, database_url, redis_url, tmp_path, monkeypatch):
    monkeypatch.setattr(supervise, "LONGEST_BACKOFF_SECONDS", supervise.FIRST_BACKOFF_SECONDS)

    async def run(*, clients, per_second, kills):
        await factories.create_market(engine)
        tenant = await factories.create_tenant(engine)
        key = await factories.create_key(engine, tenant, scopes=["read"])
        logs = [
            Log((await factories.create_portfolio(engine, tenant, balances={})).id) for _ in range(clients)
        ]
        settings = Settings(database_url=database_url, redis_url=redis_url)
        async with (
            apis(settings, tmp_path / "apis.log", count=2) as processes,
            asyncpg.create_pool(database_url, min_size=1, max_size=2) as pool,
            Wire(redis_url) as wire,
        ):
            feed = EventStream(reading=wire, writing=wire)
            emitter = Emitter(pool, feed, tenant, [log.portfolio for log in logs])
            everything = Everything()
            following = [asyncio.create_task(follow(log, processes.urls, key)) for log in (*logs, everything)]
            done = asyncio.Event()
            emitting = asyncio.create_task(emitter.run(per_second=per_second, until=done))
            for number in range(kills):
                await eventually(lambda: all(log.resumed_at for log in logs), timeout=60, what="all listen")
                heard = sum(len(log.heard) for log in logs)
                wanted = heard + per_second  # a second's worth between kills
                await eventually(partial(has_heard, logs, wanted), timeout=60, what="events arrive")
                await processes.kill(number)
                await processes.all_run()
            done.set()
            total = await emitting
            _log.info("%.1f events/s of %d were committed, %d in all", emitter.rate, per_second, total)
            assert emitter.rate >= 0.95 * per_second
            expected = dict(await pool.fetch("SELECT id, event_sequence FROM portfolios"))
            complete = partial(has_all, logs, everything, expected, following)
            await eventually(complete, timeout=60, what="every log is complete")
            for task in following:
                task.cancel()
            await asyncio.gather(*following, return_exceptions=True)
            await assert_repeats_are_behind_the_cursor(pool, everything)
        return logs, expected, total

    return run


def has_heard(logs, wanted):
    return sum(len(log.heard) for log in logs) >= wanted


async def assert_repeats_are_behind_the_cursor(pool, everything):
    """Whatever came twice had not committed by the cursor that it was asked for with."""
    for cursor, portfolio, sequence in everything.repeats:
        transaction = await pool.fetchval(
            "SELECT transaction_id FROM events WHERE portfolio_id = $1 AND sequence = $2", portfolio, sequence
        )
        horizon = Horizon.of(cursor)
        assert transaction >= horizon.end or transaction in horizon.running


def has_all(logs, everything, expected, following):
    for task in following:
        if task.done():
            task.result()  # what went wrong, rather than that nothing comes
    each_has = all(log.heard and log.heard[-1] == expected[log.portfolio] for log in logs)
    return each_has and everything.heard == expected


def assert_nothing_lost_or_repeated(logs, expected, total):
    assert sum(expected.values()) == total
    for log in logs:
        assert log.heard == list(range(1, expected[log.portfolio] + 1))
        assert all(int(place) in (0, *log.heard) for place in log.resumed_at)


async def test_f40_f41_killed_apis_lose_nothing_and_repeat_nothing(run_storm):
    logs, expected, total = await run_storm(clients=40, per_second=200, kills=3)
    assert_nothing_lost_or_repeated(logs, expected, total)
    assert sum(len(log.resumed_at) > 1 for log in logs) > 20


@pytest.mark.long
async def test_f40_f41_five_hundred_clients_while_apis_are_killed_ten_times(run_storm):
    logs, expected, total = await run_storm(clients=500, per_second=500, kills=10)
    assert_nothing_lost_or_repeated(logs, expected, total)
    assert total > 5_000  # ten times a second's worth, and what came while processes started
    assert all(len(log.resumed_at) > 1 for log in logs)
