"""Coming back to a channel: everything after the cursor, or a snapshot; never a part."""

import asyncio
import contextlib
import json
from decimal import Decimal
from types import SimpleNamespace
from uuid import uuid4

import asyncpg
import pytest

from app.adapters.embedded import create_database, drop_database
from app.adapters.postgres.event_log import PostgresEventLog
from app.domain.adjustments import AdjustmentState
from app.domain.policies import LeverageBand
from app.ports.delivery import Horizon
from tests import factories
from tests.integration.api.client import add_adjustment, start_market
from tests.waiting import eventually

BAND = LeverageBand(name="band", minimum=Decimal("0.5"), target=Decimal(2), maximum=Decimal(9))


async def connected(dial, server, key="good"):
    client = await dial(server, key)
    assert await client.hear() == {"op": "authenticated"}
    return client


async def told_until(client, wanted):
    """Events of `adjustments`, in order, until all that is wanted has come; and the last one's cursor."""
    told, cursor = [], None
    while not wanted <= set(told):
        message = await client.hear()
        assert message["op"] == "event"
        told.append((message["event"]["portfolio_id"], message["event"]["sequence"]))
        cursor = message["cursor"]
    return told, cursor


async def all_of(pool, tenant):
    rows = await pool.fetch("SELECT portfolio_id, sequence FROM events WHERE tenant_id = $1", tenant)
    return {(str(row["portfolio_id"]), row["sequence"]) for row in rows}


def assert_in_order(told):
    for portfolio in {portfolio for portfolio, _ in told}:
        sequences = list(dict.fromkeys(sequence for key, sequence in told if key == portfolio))
        assert sequences == list(range(sequences[0], sequences[-1] + 1))


async def test_all_portfolios_of_a_tenant_recover_from_one_short_cursor(
    stream, dial, feed, committed, asyncpg_pool
):
    portfolios = [await committed.portfolio(stream.tenant) for _ in range(20)]
    for portfolio in portfolios:
        await committed.commit(stream.tenant, portfolio, 3)
    client = await connected(dial, stream)
    granted, _ = await client.look("adjustments")
    client.drop()
    assert len(granted["cursor"]) < 40

    new, busy = [await committed.portfolio(stream.tenant) for _ in range(2)]
    for portfolio in (*portfolios[:5], new):
        await committed.commit(stream.tenant, portfolio, 2)
    await committed.commit(stream.tenant, busy, 230)
    client = await connected(dial, stream)
    again = await client.recover("adjustments", granted["cursor"], granted["epoch"])
    assert again["recovered"] is True
    missed = {(str(portfolio), n) for portfolio in portfolios[:5] for n in (4, 5)}
    missed |= {(str(new), 1), (str(new), 2)} | {(str(busy), n) for n in range(1, 231)}
    told, _ = await told_until(client, missed)
    assert_in_order(told)
    assert sorted(told) == sorted(missed)
    later = await committed.portfolio(stream.tenant)
    await feed.publish(await committed.commit(stream.tenant, later, 2))
    assert await client.events(2) == [(str(later), 1), (str(later), 2)]
    client.drop()

    everything = await connected(dial, stream)
    await everything.recover("adjustments")
    told, _ = await told_until(everything, await all_of(asyncpg_pool, stream.tenant))
    assert len(told) == len(set(told))


async def test_the_cursor_moves_with_what_was_handed_out(stream, dial, feed, committed, asyncpg_pool):
    """What comes twice lies between the cursor and the last event, and soon that is nothing."""
    portfolios = [await committed.portfolio(stream.tenant) for _ in range(3)]
    client = await connected(dial, stream)
    granted, _ = await client.look("adjustments")
    cursor, seen = granted["cursor"], set()
    for _ in range(5):
        for portfolio in portfolios:
            await feed.publish(await committed.commit(stream.tenant, portfolio, 2))
        told, cursor = await told_until(client, await all_of(asyncpg_pool, stream.tenant) - seen)
        assert_in_order(told)
        seen |= set(told)
        tenant = stream.hub.listeners.tenants[stream.tenant]
        before = tenant.horizon
        await eventually(lambda was=before, of=tenant: of.horizon != was and not of.missing)
    committed_since = await PostgresEventLog(asyncpg_pool).before(stream.tenant, Horizon.of(cursor))
    assert set(committed_since.values()) == {8}, (
        "the cursor of the last round is at the end of the one before"
    )

    again = await connected(dial, stream)
    assert (await again.recover("adjustments", cursor, granted["epoch"]))["recovered"]
    told, _ = await told_until(again, {(str(portfolio), 10) for portfolio in portfolios})
    assert sorted(told) == sorted((str(portfolio), n) for portfolio in portfolios for n in (9, 10))


async def test_f42_what_was_begun_first_and_commits_last_is_after_the_cursor(
    stream, dial, committed, asyncpg_pool, feed
):
    """A horizon knows which transactions were running, so a lower id that commits later is not skipped."""
    early, late = [await committed.portfolio(stream.tenant) for _ in range(2)]
    async with asyncpg_pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(
            "INSERT INTO events (portfolio_id, sequence, tenant_id, type, version, time_ns, data) "
            "VALUES ($1, 1, $2, 'adjustment.queued', 1, 0, '{}')", early, stream.tenant,
        )  # fmt: skip
        await connection.execute("UPDATE portfolios SET event_sequence = 1 WHERE id = $1", early)
        await feed.publish(await committed.commit(stream.tenant, late))
        client = await connected(dial, stream)
        granted, _ = await client.look("adjustments")
        assert "-" in granted["cursor"]
        client.drop()
        await transaction.commit()
    client = await connected(dial, stream)
    assert (await client.recover("adjustments", granted["cursor"], granted["epoch"]))["recovered"]
    assert await client.events(1) == [(str(early), 1)]
    assert await client.ask(op="ping") == {"op": "pong"}  # and nothing else


@pytest.mark.parametrize("channel", ["portfolio.{p}", "adjustments"])
async def test_f41_a_cursor_that_is_not_of_this_log_gives_a_snapshot(
    stream, dial, committed, engine, channel
):
    portfolio = (await factories.create_portfolio(engine, stream.tenant)).id
    await committed.commit(stream.tenant, portfolio, 2)
    account = {"accounts": [{"id": str(uuid4())}], "id": str(portfolio)}
    opened = await add_adjustment(engine, stream.tenant, account, state=AdjustmentState.RECOMMENDED)
    client = await connected(dial, stream)
    channel = channel.format(p=portfolio)
    granted = await client.recover(channel)
    assert granted["recovered"] is True
    await client.events(2)
    for cursor, epoch in (("1", "another"), ("1", None), ("999999999", granted["epoch"])):
        await client.ask(op="unsubscribe", channel=channel)
        again = await client.recover(channel, cursor, epoch)
        assert (again["recovered"], again["epoch"]) == (False, granted["epoch"])
        assert [each["adjustment_id"] for each in await client.snapshot()] == [opened]
    assert await client.ask(op="ping") == {"op": "pong"}  # and not a single event


TABLES = ("tenants", "markets", "shards", "portfolios", "events")
STORED = """
SELECT column_name FROM information_schema.columns WHERE table_name = $1 AND is_generated = 'NEVER'
"""


@contextlib.asynccontextmanager
async def restored(postgres_server, migrated_template, pool):
    """Another database with the rows of now, as a restored dump is one."""
    name = f"ballast_test_{uuid4().hex[:12]}"
    url = await create_database(postgres_server, name, template=migrated_template)
    try:
        async with asyncpg.create_pool(url, min_size=0, max_size=4) as backup:
            for table in TABLES:
                columns = [row["column_name"] for row in await pool.fetch(STORED, table)]
                rows = await pool.fetch(f"SELECT {', '.join(columns)} FROM {table}")  # noqa: S608
                await backup.copy_records_to_table(table, columns=columns, records=map(tuple, rows))
            yield backup
    finally:
        await drop_database(postgres_server, name)


class Switched:
    """An address that leads to another server from some moment on."""

    def __init__(self, pool):
        self.pool = pool

    def __getattr__(self, name):
        return getattr(self.pool, name)


async def test_f41_after_a_restored_backup_clients_are_sent_back_for_a_snapshot(
    serve, stream, dial, feed, committed, asyncpg_pool, postgres_server, migrated_template
):
    """The backup is older than what the clients have: of what came after it nothing is recovered in part."""
    portfolio = await committed.portfolio(stream.tenant)
    await committed.commit(stream.tenant, portfolio, 2)
    switched = Switched(asyncpg_pool)
    server = await serve(feed, pool=switched)
    server.keys = stream.keys
    async with restored(postgres_server, migrated_template, asyncpg_pool) as backup:
        both = [await connected(dial, server) for _ in range(2)]
        granted = await both[0].recover(f"portfolio.{portfolio}")
        await both[1].recover("adjustments")
        await feed.publish(await committed.commit(stream.tenant, portfolio, 3))
        for client in both:
            assert await client.sequences(5) == [1, 2, 3, 4, 5]
        switched.pool = backup
        assert [(await client.until_closed())[1] for client in both] == [3010, 3010]
        for channel in (f"portfolio.{portfolio}", "adjustments"):
            client = await connected(dial, server)
            again = await client.recover(channel, "5", granted["epoch"])
            assert again["recovered"] is False
            assert again["epoch"] != granted["epoch"]


async def test_f41_a_storm_of_clients_that_come_back(stream, dial, feed, committed):
    """A hundred at once, each somewhere else in the same log."""
    portfolio = await committed.portfolio(stream.tenant)
    await committed.commit(stream.tenant, portfolio, 100)
    channel = f"portfolio.{portfolio}"
    granted = await (await connected(dial, stream)).recover(channel)

    async def come_back(stopped_at):
        client = await connected(dial, stream)
        await client.recover(channel, str(stopped_at), granted["epoch"])
        return await client.sequences(101 - stopped_at)

    async with asyncio.TaskGroup() as storm:
        told = [storm.create_task(come_back(n)) for n in range(100)]
        await feed.publish(await committed.commit(stream.tenant, portfolio))
    for stopped_at, view in enumerate(told):
        assert view.result() == list(range(stopped_at + 1, 102))


async def test_a_policy_s_channel_tells_what_names_it(stream, dial, feed, committed, engine, asyncpg_pool):
    made = await factories.create_portfolio(engine, stream.tenant, policies=[BAND])
    (policy,) = made.policies
    client = await connected(dial, stream)
    channel = f"policy.{policy.id}"
    granted, _ = await client.look(channel)
    events = await committed.commit(stream.tenant, made.id, 2)
    events += await committed.commit(stream.tenant, made.id, data={"policy_id": str(policy.id)})
    events += await committed.commit(
        stream.tenant, made.id, data={"policies": [str(uuid4()), str(policy.id)]}
    )
    await feed.publish(events)
    assert await client.sequences(2) == [3, 4]
    await client.ask(op="unsubscribe", channel=channel)
    assert (await client.recover(channel, granted["cursor"], granted["epoch"]))["recovered"]
    assert await client.sequences(2) == [3, 4]


async def test_a_resume_of_large_events_keeps_the_client(stream, dial, committed):
    """Twenty of them are more than may wait for a client: they are sent as fast as it reads."""
    portfolio = await committed.portfolio(stream.tenant)
    for _ in range(3):
        await committed.commit(stream.tenant, portfolio, 20, size=100_000)
    for channel in ("adjustments", f"portfolio.{portfolio}"):
        client = await connected(dial, stream)
        assert (await client.recover(channel))["recovered"] is True
        assert await client.sequences(60) == list(range(1, 61))


async def test_a_snapshot_that_is_larger_than_the_queue_keeps_the_client(stream, dial, engine):
    portfolio = await factories.create_portfolio(engine, stream.tenant)
    document = {"id": str(portfolio.id), "accounts": [{"id": str(portfolio.accounts[0].id)}]}
    figures = {f"net_delta.{n}": "1.5" for n in range(2_000)}
    opened = {
        await add_adjustment(engine, stream.tenant, document, metrics_before=figures) for _ in range(60)
    }
    for channel in ("adjustments", f"portfolio.{portfolio.id}"):
        client = await connected(dial, stream)
        _, adjustments = await client.look(channel)
        assert sum(len(json.dumps(each)) for each in adjustments) > 2 << 20
        assert {each["adjustment_id"] for each in adjustments} == opened
        assert await client.ask(op="ping") == {"op": "pong"}


@pytest.fixture
async def stuck(stream, dial, committed, redis, engine):
    """A client that does not read while ten megabytes of what it missed are on their way to it."""
    await start_market(redis)
    portfolio = await factories.create_portfolio(engine, stream.tenant)
    for _ in range(10):
        await committed.commit(stream.tenant, portfolio.id, 500, size=2_000)
    client = await dial(stream, "trader", max_queue=1)
    assert await client.hear() == {"op": "authenticated"}
    await client.say(op="subscribe", channel=f"portfolio.{portfolio.id}", recover={"cursor": "0"})
    (outgoing,) = stream.hub.listeners.receivers
    await eventually(lambda: outgoing.congested, what="it is behind")
    return SimpleNamespace(client=client, portfolio=portfolio)


async def test_approving_does_not_wait_for_what_was_missed(stuck, stream, engine, asyncpg_pool):
    document = {"id": str(stuck.portfolio.id), "accounts": [{"id": str(stuck.portfolio.accounts[0].id)}]}
    adjustment = await add_adjustment(engine, stream.tenant, document)
    await stuck.client.say(op="approve", id="1", adjustment_id=adjustment)

    async def is_queued():
        state = await asyncpg_pool.fetchval("SELECT state FROM adjustments WHERE id = $1", adjustment)
        return state == "queued"

    await eventually(is_queued)
    heard = [await stuck.client.hear() for _ in range(5_001)]
    events = [each["event"]["sequence"] for each in heard if each["op"] == "event"]
    assert events[:4_900] == list(range(1, 4_901)), "it is still told all of it, in order"


async def test_for_a_client_that_is_gone_nothing_more_is_read(stuck, stream, monkeypatch):
    read, after = [], PostgresEventLog.after

    async def recording(log, portfolio_id, sequence, *, limit):
        read.append(sequence)
        return await after(log, portfolio_id, sequence, limit=limit)

    monkeypatch.setattr(PostgresEventLog, "after", recording)
    stuck.client.drop()
    listeners = stream.hub.listeners
    await eventually(lambda: not listeners.receivers, what="it is forgotten")
    assert len(read) <= 1
    assert not listeners.logs
