"""Shards are loaded as rows: the same rows, and when asked for the same portfolios, as read by themselves."""

from decimal import Decimal
from uuid import uuid4

import numpy as np
from msgspec.structs import replace

from app.adapters.postgres.copied import decimal_of
from app.adapters.postgres.evaluation_store import PostgresEvaluationStore
from app.adapters.postgres.portfolio_rows import load_portfolios
from app.domain.policies import POLICY, StoredPolicy
from app.domain.portfolios import Balance, Position
from app.engine.book import Book
from app.engine.decide import whole_block
from app.engine.metrics import observe
from app.engine.tables import PairColumns
from app.engine.universe import Universe
from tests import factories
from tests.unit.engine.test_sleeping import WITH_POOLS, World

RULE = POLICY.validate_python(
    {
        "kind": "rule", "name": "step back", "mode": "recommend",
        "condition": {
            "kind": "all",
            "conditions": [
                {"kind": "dwell", "seconds": 60, "condition": {
                    "kind": "comparison", "metric": "leverage", "op": "above", "value": 3}},
                {"kind": "comparison", "metric": "reserve_available", "op": "below", "value": 100_000},
                {"kind": "comparison", "metric": "net_delta.ETH", "op": "above", "value": -1_000},
            ],
        },
        "actions": [{"kind": "notify", "message": "look"}],
    }
)  # fmt: skip
TABLES = (
    "accounts", "positions", "balances", "exposures", "triggers", "parameters", "conditions", "registers",
    "marks", "columns",
)  # fmt: skip
AMOUNTS = (
    "0", "1", "-1", "0.1", "10000", "12345678.9", "-0.000000000000000001", "0.00012345678901234",
    "99999999999999999999.999999999999999999", "-12345678901234567.000000000000000001", "9007199254740993",
    "100000000000000000000", "0.3333333333333333", "1.5000", "-7.000000000000000000", "20000.00",
)  # fmt: skip


async def stored_in(engine, pool, portfolios):
    await factories.create_market(engine, shards=2, instruments=tuple(WITH_POOLS.instruments.values()))
    tenant = await factories.create_tenant(engine)
    for portfolio in portfolios:
        named = replace(portfolio, tenant_id=tenant, name=f"portfolio {portfolio.id}")
        await factories.store_portfolio(engine, named)
    store = PostgresEvaluationStore(pool)
    return (await store.load_shards([0, 1])).stored


def rows_of_table(book, name):
    table = getattr(book, name)
    kept = [field for field in table.arrays._fields if field not in ("slot", "stored", "alarm_ns")]
    return {field: getattr(table.arrays, field)[: table.length] for field in kept}


async def test_a_loaded_book_is_one_into_which_each_portfolio_was_put(engine, asyncpg_pool):
    world = World(11, portfolios=40)
    portfolios = [
        replace(each, policies=(*each.policies, StoredPolicy(uuid4(), 3, RULE, operator=n % 2 == 0)))
        for n, each in enumerate(world.portfolios)
    ]
    stored = await stored_in(engine, asyncpg_pool, portfolios)
    async with asyncpg_pool.acquire() as connection:
        read = await load_portfolios(connection, stored.ids)
    assert [repr(stored.portfolio(n)) for n in range(len(stored.ids))] == [repr(each) for each in read]
    universe = Universe(WITH_POOLS.instruments.values())
    loaded, put = Book(universe), Book(universe)
    loaded.load(stored, np.arange(len(read)))
    for portfolio in read:
        put.put(portfolio)
    for name in TABLES:
        ours, theirs = rows_of_table(loaded, name), rows_of_table(put, name)
        for field, rows in ours.items():
            np.testing.assert_array_equal(rows, theirs[field], err_msg=f"{name}.{field}")
    watched = [
        {(*key,) for key in zip(w.column.tolist(), w.role.tolist(), w.group.tolist(), strict=True)}
        for book in (loaded, put)
        for w in (book.watches_of(number) for number in range(len(read)))
    ]
    assert watched[: len(read)] == watched[len(read) :]
    assert [loaded.view(n) for n in range(len(read))] == [put.view(n) for n in range(len(read))]


async def test_rows_outlive_new_listings_and_become_portfolios_when_they_change(engine, asyncpg_pool):
    world = World(12, portfolios=12)
    stored = await stored_in(engine, asyncpg_pool, world.portfolios)
    book = Book(Universe(WITH_POOLS.instruments.values()))
    book.load(stored, np.arange(5, 12))
    book.load(stored, np.arange(5))
    first, second = (stored.portfolio(n) for n in (1, 8))
    book.put(replace(first, revision=2))
    market = world.chance.market(world.frame)
    before = equities(book, market, stored.ids)
    book.rebuild(Universe([*WITH_POOLS.instruments.values(), factories.BTC_PERP]))
    assert equities(book, market.on(book.universe), stored.ids) == before
    assert book.portfolio(first.id).revision == 2
    assert book.portfolio(second.id) == second
    book.remove(second.id)
    assert second.id not in book
    assert len(book) == 11


def equities(book, market, ids):
    """Of every portfolio, account by account."""
    block = market.block()
    todo = whole_block(book, block, ids)
    numbers = book.slots.arrays.deciding[todo.slots]
    figures = observe(book, block, PairColumns(numbers, todo.frames))
    return {
        book.portfolio_id(slot): figures.accounts.equity[figures.account_slice(pair)].tolist()
        for pair, slot in enumerate(todo.slots.tolist())
    }


async def test_amounts_are_read_to_the_last_digit(engine, asyncpg_pool):
    sent = await asyncpg_pool.fetch(
        "SELECT amount, numeric_send(amount) AS bytes FROM unnest($1::numeric(38,18)[]) AS amount",
        [Decimal(amount) for amount in AMOUNTS if Decimal(amount) < 10**20],
    )
    for row in sent:
        assert repr(decimal_of(row["bytes"])) == repr(row["amount"])
    world = World(13, portfolios=1)
    (portfolio,) = world.portfolios
    account = replace(
        portfolio.accounts[0],
        positions=(Position("BTC-USDT-PERP", Decimal("-0.3"), Decimal("50000.25"), 7),),
        balances=tuple(
            Balance(f"A{n}", Decimal(amount)) for n, amount in enumerate(AMOUNTS) if Decimal(amount) < 10**20
        ),
    )
    stored = await stored_in(engine, asyncpg_pool, [replace(portfolio, accounts=(account,), policies=())])
    book = Book(Universe(WITH_POOLS.instruments.values()))
    book.load(stored, np.arange(1))
    assert book.balances.arrays.amount[: book.balances.length].tolist() == [
        float(balance.amount) for balance in account.balances
    ]
    assert book.positions.arrays.entry_price[0] == 50_000.25
