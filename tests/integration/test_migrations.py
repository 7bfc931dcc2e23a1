"""The schema's history: up to what `tables/` says, down to nothing, and up again."""

from uuid import uuid4

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import create_async_engine

from app.adapters.postgres.addresses import sqlalchemy_address
from app.adapters.postgres.migrate import MIGRATIONS, downgrade, upgrade
from app.adapters.postgres.tables.schema import metadata

REVISIONS = sorted(path.name.partition("_")[0] for path in (MIGRATIONS / "versions").glob("*.py"))

# What a database consists of, apart from what PostgreSQL itself put there and Alembic's own table.
OBJECTS = """
SELECT kind, name FROM (
    SELECT 'relation' AS kind, relname AS name, relnamespace AS namespace FROM pg_class
    UNION ALL SELECT 'constraint', conname, connamespace FROM pg_constraint
    UNION ALL SELECT 'type', typname, typnamespace FROM pg_type
    UNION ALL SELECT 'function', proname, pronamespace FROM pg_proc
) AS objects
WHERE namespace = 'public'::regnamespace AND name NOT LIKE '%alembic_version%'
ORDER BY kind, name
"""

# As revision 0001 held it: two accounts, one of which has stated its positions, and one answered request.
BOOK = """
INSERT INTO shards (shard) VALUES (0);
INSERT INTO tenants (id, name) VALUES ('{tenant}', 'one');
INSERT INTO portfolios (id, tenant_id, shard, name, valuation_currency)
VALUES ('{portfolio}', '{tenant}', 0, 'book', 'USDT');
INSERT INTO accounts (id, portfolio_id, ordinal, name, venue, margin_mode)
VALUES ('{account}', '{portfolio}', 0, 'main', 'paper', 'cross'),
       (gen_random_uuid(), '{portfolio}', 1, 'second', 'paper', 'cross');
INSERT INTO idempotency_keys (tenant_id, key, fingerprint, status, response, headers)
VALUES ('{tenant}', 'snapshot:{account}', '', 200, '1700000000000000001', NULL),
       ('{tenant}', 'request:k', '\\x01', 201, '\\x7b7d', '{{}}');
"""

TRANSFER = """
INSERT INTO fills (id, tenant_id, portfolio_id, account_id, source_account_id, leg, kind, asset, quantity,
    price, fee, time_ns)
VALUES ($1, $2, $3, $4, $5, 0, 'transfer', 'USDT', 1, 0, 0, 0)
"""


async def differences(url):
    """What `tables/` has otherwise: tables, columns, types, defaults, keys and indexes."""
    engine = create_async_engine(sqlalchemy_address(url))
    try:
        async with engine.connect() as connection:
            return await connection.run_sync(
                lambda sync: compare_metadata(
                    MigrationContext.configure(sync, opts={"compare_server_default": True}), metadata
                )
            )
    finally:
        await engine.dispose()


async def objects(url):
    connection = await asyncpg.connect(url)
    try:
        return [tuple(row) for row in await connection.fetch(OBJECTS)]
    finally:
        await connection.close()


async def check_constraints(engine_or_url):
    """Name and text of every CHECK, which Alembic does not compare."""
    connection = await asyncpg.connect(engine_or_url)
    try:
        return await connection.fetch(
            "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'c' ORDER BY 1"
        )
    finally:
        await connection.close()


async def test_revisions_give_what_tables_say(empty_database_url):
    await upgrade(empty_database_url)
    assert await differences(empty_database_url) == []


async def test_checks_are_those_of_tables(database_url, empty_database_url):
    engine = create_async_engine(sqlalchemy_address(empty_database_url))
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    await engine.dispose()
    migrated = await check_constraints(database_url)
    assert len(migrated) > 5
    assert migrated == await check_constraints(empty_database_url)


async def test_down_to_nothing_and_up_again(empty_database_url):
    await upgrade(empty_database_url)
    whole = await objects(empty_database_url)
    assert len(whole) > len(metadata.tables)

    await downgrade(empty_database_url, "base")
    assert await objects(empty_database_url) == []

    await upgrade(empty_database_url)
    assert await objects(empty_database_url) == whole


async def test_each_revision_undoes_itself(empty_database_url):
    for number, revision in enumerate(REVISIONS):
        before = await objects(empty_database_url)
        await upgrade(empty_database_url, revision)
        await downgrade(empty_database_url, REVISIONS[number - 1] if number else "base")
        assert await objects(empty_database_url) == before, revision
        await upgrade(empty_database_url, revision)


async def test_0002_takes_what_positions_are_of_along_both_ways(empty_database_url):
    """It was kept among the answers to requests, whose own keys lose their prefix."""
    await upgrade(empty_database_url, "0001")
    account, remembered = uuid4(), "SELECT key, response FROM idempotency_keys ORDER BY key"
    connection = await asyncpg.connect(empty_database_url)
    await connection.execute(BOOK.format(tenant=uuid4(), portfolio=uuid4(), account=account))
    before = await connection.fetch(remembered)
    assert [row["key"] for row in before] == ["request:k", f"snapshot:{account}"]

    await upgrade(empty_database_url, "0002")
    as_of = await connection.fetchval("SELECT positions_as_of_ns FROM accounts WHERE id = $1", account)
    assert as_of == 1_700_000_000_000_000_001
    assert await connection.fetchval("SELECT min(positions_as_of_ns) FROM accounts") == 0
    assert [row["key"] for row in await connection.fetch(remembered)] == ["k"]

    await downgrade(empty_database_url, "0001")
    assert await connection.fetch(remembered) == before
    await connection.close()


async def test_0004_goes_back_without_the_transfers_that_had_no_place_before(empty_database_url):
    """From the reserve to an account is kept; to the reserve is not, for it is of no account."""
    await upgrade(empty_database_url, "0001")
    tenant, portfolio, account = uuid4(), uuid4(), uuid4()
    connection = await asyncpg.connect(empty_database_url)
    await connection.execute(BOOK.format(tenant=tenant, portfolio=portfolio, account=account))
    await upgrade(empty_database_url, "0004")
    ends = [(account, None), (None, account), (None, None)]
    for to, source in ends:
        row = (uuid4(), tenant, portfolio, to, source)
        if to is None and source is None:
            with pytest.raises(asyncpg.CheckViolationError, match="ck_fills_of_an_account"):
                await connection.execute(TRANSFER, *row)
        else:
            await connection.execute(TRANSFER, *row)
    await downgrade(empty_database_url, "0003")
    assert await connection.fetchval("SELECT array_agg(account_id) FROM fills") == [account]
    await connection.close()


async def test_a_failed_migration_leaves_nothing_behind(empty_database_url):
    connection = await asyncpg.connect(empty_database_url)
    await connection.execute("CREATE TABLE webhook_deliveries (in_the_way boolean)")
    before = await objects(empty_database_url)
    with pytest.raises(ProgrammingError, match="webhook_deliveries"):
        await upgrade(empty_database_url)
    assert await objects(empty_database_url) == before
    await connection.close()


async def test_two_migrators_at_once_take_turns(empty_database_url):
    import asyncio

    await asyncio.gather(*(upgrade(empty_database_url) for _ in range(3)))
    assert await differences(empty_database_url) == []


async def test_migrates_from_any_working_directory(empty_database_url, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    await upgrade(empty_database_url)
    assert await differences(empty_database_url) == []


async def test_every_foreign_key_is_indexed(asyncpg_pool):
    """An index whose first columns are the key's, in any order: else a delete of the parent scans."""
    unindexed = await asyncpg_pool.fetch(
        """
        SELECT conrelid::regclass AS on_table, conname
        FROM pg_constraint AS key
        WHERE contype = 'f' AND NOT EXISTS (
            SELECT FROM pg_index
            WHERE indrelid = key.conrelid AND indpred IS NULL AND indisvalid
              AND (indkey::int2[])[0:cardinality(key.conkey) - 1] @> key.conkey
        )
        """
    )
    assert [tuple(row) for row in unindexed] == []
    assert await asyncpg_pool.fetchval("SELECT count(*) FROM pg_constraint WHERE contype = 'f'") > 10


async def test_every_name_follows_the_convention(asyncpg_pool):
    """Names that PostgreSQL would have made up (`…_fkey`, `…_check`) cannot be dropped by name for sure."""
    made_up = await asyncpg_pool.fetch(
        """
        SELECT conname FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace AND contype IN ('p', 'f', 'u', 'c')
          AND conrelid <> 'alembic_version'::regclass
          AND conname !~ '^(pk|fk|uq|ck)_'
        """
    )
    assert made_up == []
