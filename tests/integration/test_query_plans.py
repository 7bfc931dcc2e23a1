"""Hot queries find their rows by an index: the real stores run, and what they sent is explained.

Both ways that PostgreSQL may plan it: for the values at hand, and for any values, as it does once a prepared
statement has been used a few times.
"""

import asyncio
import json
import re
import secrets
from contextlib import asynccontextmanager
from datetime import timedelta
from hashlib import md5
from itertools import product
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import pytest
from sqlalchemy import event, text

from app.adapters.embedded import create_database, drop_database
from app.adapters.postgres.delivery_queue import PostgresDeliveryQueue
from app.adapters.postgres.delivery_store import PostgresOutbox
from app.adapters.postgres.evaluation_store import PostgresEvaluationStore
from app.adapters.postgres.event_log import PostgresEventLog
from app.adapters.postgres.execution_store import PostgresExecutionStore
from app.adapters.postgres.management import management_engine
from app.adapters.postgres.management_adjustments import AdjustmentRows
from app.adapters.postgres.management_deliveries import DeliveryRows
from app.adapters.postgres.management_fills import FillRows
from app.adapters.postgres.management_keys import KeyRows
from app.adapters.postgres.management_policies import PolicyRows
from app.adapters.postgres.portfolio_rows import load_portfolios, touch
from app.adapters.postgres.tables.schema import metadata
from app.domain.adjustments import AdjustmentState
from app.domain.identifiers import ShardId
from app.domain.market import StreamPosition
from app.ports.delivery import Attempt, Horizon, Retryable
from app.ports.management import Place

ROWS = Path(__file__).with_name("busy_database.sql")
GROWING = set(metadata.tables) - {
    "tenants",
    "markets",
    "shards",
    "instruments",
    "webhook_endpoints",
    "webhook_queues",
    "sources",
    "consensus_terms",
    "kind_terms",
}
LEASE = timedelta(seconds=30)


def gen(kind: str, number: int) -> UUID:
    return UUID(md5(f"{kind}/{number}".encode()).hexdigest())  # noqa: S324 - an id, not a secret


TENANT = gen("tenant", 7)
PORTFOLIO = gen("portfolio", 7)


async def fill(url: str) -> None:
    statements = re.sub(r"gen\('(\w+)', ([^()]+)\)", r"md5('\1/' || (\2))::uuid", ROWS.read_text("utf-8"))
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statements)
    finally:
        await connection.close()


@pytest.fixture(scope="module")
def busy_url(postgres_server, migrated_template):
    name = f"ballast_test_{secrets.token_hex(6)}"
    url = asyncio.run(create_database(postgres_server, name, template=migrated_template))
    asyncio.run(fill(url))
    yield url
    asyncio.run(drop_database(postgres_server, name))


class Plans:
    """What was sent, and how PostgreSQL would do it."""

    def __init__(self, url):
        self._url = url
        self.sent = []

    def record(self, statement, arguments):
        if re.match(r"\s*(SELECT|WITH|UPDATE|DELETE|INSERT)\b", statement) and ";" not in statement:
            self.sent.append((statement, tuple(arguments)))

    async def scans(self):
        """(statement, table) of every sequential scan of a table that grows."""
        connection = await asyncpg.connect(self._url)
        try:
            return [
                (option, statement, table)
                for statement, arguments in self.sent
                for option in ("GENERIC_PLAN FALSE", "GENERIC_PLAN TRUE")
                for table in sequential(await explained(connection, option, statement, arguments))
                if table in GROWING
            ]
        finally:
            await connection.close()


async def explained(connection, option, statement, arguments):
    plan = await connection.fetchval(f"EXPLAIN (FORMAT JSON, {option}) {statement}", *arguments)
    return json.loads(plan)[0]["Plan"]


def sequential(plan):
    if plan["Node Type"] == "Seq Scan":
        yield plan["Relation Name"]
    for below in plan.get("Plans", []):
        yield from sequential(below)


@pytest.fixture
async def plans(busy_url):
    """Whoever asks for it sends something, and nothing of that scans."""
    plans = Plans(busy_url)
    yield plans
    assert plans.sent, "nothing was recorded"
    assert await plans.scans() == []


@pytest.fixture
async def pool(busy_url, plans):
    async def listen(connection):
        connection.add_query_logger(lambda query: plans.record(query.query, query.args))

    async with asyncpg.create_pool(busy_url, min_size=0, max_size=2, init=listen) as pool:
        yield pool


@pytest.fixture
def sqlalchemy_connection(busy_url, plans):
    @asynccontextmanager
    async def connect():
        engine = management_engine(busy_url)

        @event.listens_for(engine.sync_engine, "before_cursor_execute")
        def listen(_connection, _cursor, statement, parameters, _context, _many):
            plans.record(statement, parameters)

        async with engine.connect() as connection:
            yield connection
            await connection.rollback()
        await engine.dispose()

    return connect


async def test_a_scan_would_be_found(busy_url):
    plans = Plans(busy_url)
    plans.record("SELECT count(*) FROM events WHERE type = $1", ["adjustment.executed"])
    assert {table for _, _, table in await plans.scans()} == {"events"}


async def test_executor_claims(pool):
    claims = await PostgresExecutionStore(pool, owner="one", lease=LEASE).claim(clock_ns=0, limit=10)
    assert len(claims.work) == 10


async def test_executor_takes_back(pool):
    await PostgresExecutionStore(pool, owner="one", lease=LEASE).take_back()


async def test_courier_claims(pool):
    deliveries = await PostgresDeliveryQueue(pool).claim(limit=8, per_endpoint=4, in_flight={}, lease=LEASE)
    assert len(deliveries) == 8


async def test_courier_keeps_its_books(pool):
    queue = PostgresDeliveryQueue(pool)
    (delivery,) = await queue.claim(limit=1, per_endpoint=1, in_flight={}, lease=LEASE)
    await queue.record([Attempt(delivery, Retryable("refused", None), retry_after=LEASE)])
    await queue.release([delivery])
    assert await queue.forget() == 0


async def test_queues_are_watched(pool):
    async with pool.acquire() as connection, connection.transaction():
        standing = await DeliveryRows(connection).standing()
    assert standing.waiting > 0


async def test_courier_sweeps_what_was_not_dispatched(pool):
    outbox = PostgresOutbox(pool)
    found = await outbox.undispatched(older_than=timedelta(0), after=None, limit=10)
    assert len(found) == 10
    entry = found[-1]
    await outbox.undispatched(older_than=timedelta(0), after=entry, limit=10)
    event_key = (entry.event.portfolio_id, entry.event.sequence)
    assert await outbox.dispatch([event_key], published=True) == 1


async def test_reader_catches_up(pool):
    log = PostgresEventLog(pool)
    assert len(await log.after(PORTFOLIO, 2, limit=100)) == 3
    assert (await log.end(TENANT, PORTFOLIO)).sequence == 5
    assert len(await log.after_each({PORTFOLIO: 2, gen("portfolio", 8): 3}, limit=2)) == 4
    await log.snapshot(PORTFOLIO)
    now, _ = await log.tenant_snapshot(TENANT, Horizon(1, (1, 2)), [PORTFOLIO])
    assert (await log.heads({TENANT: now.horizon}, [PORTFOLIO])).heads
    assert await log.before(TENANT, now.horizon) == {}
    assert set((await log.before(TENANT, Horizon(0))).values()) == {0}


async def test_evaluator_sweeps_and_reloads_what_changed(pool):
    store = PostgresEvaluationStore(pool)
    shards = [ShardId(number) for number in range(16)]
    changed = await store.changed(shards)
    assert len(changed) == 9
    assert len((await store.load(changed, shards)).unevaluated) == 9


async def test_evaluator_loads_portfolios(pool):
    async with pool.acquire() as connection:
        await load_portfolios(connection, [gen("portfolio", n) for n in range(4)])


async def test_every_writer_touches(pool):
    async with pool.acquire() as connection:
        await touch(connection, PORTFOLIO)


async def test_adjustments_are_listed(sqlalchemy_connection):
    async with sqlalchemy_connection() as connection:
        now = await connection.scalar(text("SELECT now()"))
        rows = AdjustmentRows(connection)
        for portfolio in (None, PORTFOLIO):
            for policy, state in product((None, gen("policy", 7)), (None, AdjustmentState.EXECUTED)):
                for after in (None, Place(now, uuid4())):
                    page = await rows.page(
                        TENANT, portfolio_id=portfolio, policy_id=policy, state=state, after=after, limit=3
                    )
                    assert len(page.items) == 3


async def test_fills_are_listed(sqlalchemy_connection):
    async with sqlalchemy_connection() as connection:
        fills = FillRows(connection)
        await fills.page(TENANT, portfolio_id=PORTFOLIO, after=None, limit=3)
        assert await fills.newest_ns(gen("account", 7)) > 0


async def test_policies_and_decisions_are_listed(sqlalchemy_connection):
    async with sqlalchemy_connection() as connection:
        policies = PolicyRows(connection)
        assert await policies.get(TENANT, gen("policy", 7))
        assert await policies.of_portfolio(TENANT, PORTFOLIO)
        for before in (None, (StreamPosition(1, 9_000), uuid4())):
            assert await policies.decisions(TENANT, gen("policy", 7), before=before, limit=2)


async def test_a_request_is_authenticated(sqlalchemy_connection):
    async with sqlalchemy_connection() as connection:
        assert await KeyRows(connection).caller_of(bytes.fromhex(md5(b"7").hexdigest()))  # noqa: S324
