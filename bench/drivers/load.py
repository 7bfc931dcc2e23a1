"""From PostgreSQL into columns: `python -m bench.drivers.load SIDE PORTFOLIOS PAIRS`, with so many different
pairs of policies; prints JSON. It has servers of its own.
"""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID

import asyncpg
from numpy.typing import NDArray

from app.adapters.embedded.servers import EmbeddedServers
from app.adapters.postgres.addresses import asyncpg_address
from app.adapters.postgres.evaluation_store import PostgresEvaluationStore
from app.domain.policies import POLICY
from app.engine.book import Book
from app.engine.universe import Universe
from app.services.load_book import load_rows
from bench.drivers.many_portfolios import (
    ASSETS,
    CONTRACTS,
    LISTING,
    OPTIONS,
    POLICIES,
    ManyPortfolios,
    policies,
)
from bench.floors.scenarios import peak_memory_mib
from bench.processes import Child

_WARM_SHARD, _SHARD = 0, 1
_WARM = 100
_TENANT = UUID(int=1)
_COPIES = {
    "portfolios": ("id", "tenant_id", "name", "valuation_currency", "state", "revision"),
    "accounts": ("id", "portfolio_id", "ordinal", "name", "venue", "margin_mode"),
    "positions": ("account_id", "ordinal", "instrument_id", "quantity", "entry_price", "accrued_ns"),
    "balances": ("account_id", "ordinal", "asset", "amount", "haircut"),
    "reserves": ("portfolio_id", "ordinal", "asset", "amount", "keep"),
    "policies": ("portfolio_id", "ordinal", "id", "version", "operator_policy_id", "document"),
}
"""The columns that are loaded."""


async def ours(connected: asyncpg.Pool, count: int) -> float:
    """Seconds until they stand in a book, loops compiled before."""
    store = PostgresEvaluationStore(connected)
    await _loaded(store, _WARM_SHARD, _WARM)
    return await _loaded(store, _SHARD, count)


async def _loaded(store: PostgresEvaluationStore, shard: int, count: int) -> float:
    universe = Universe(await store.instruments())
    start = time.perf_counter()
    loaded = await store.load_shards([shard])
    book = Book(universe)
    await load_rows(book, loaded, {}, 0)
    taken = time.perf_counter() - start
    if len(book) != count:
        raise RuntimeError(f"{len(book)} portfolios are in the book, not {count}")
    return taken


async def floor(connected: asyncpg.Pool, _count: int) -> float:
    """Seconds of COPY of the same columns, binary, of which nothing is kept."""

    async def drop(_part: bytes) -> None:
        pass

    async with connected.acquire() as connection:
        start = time.perf_counter()
        for table, columns in _COPIES.items():
            await connection.copy_from_table(table, columns=columns, output=drop, format="binary")
        return time.perf_counter() - start


async def _fill(connection: Any, count: int, pairs: int) -> None:
    await connection.execute("INSERT INTO tenants (id, name) VALUES ($1, 'bench')", _TENANT)
    terms = [(i.id, i.kind.value, i.underlying, i.model_dump_json(exclude_none=True)) for i in LISTING]
    await connection.executemany(
        "INSERT INTO instruments (id, kind, underlying, terms) VALUES ($1, $2, $3, $4)", terms
    )
    made = ManyPortfolios(count + _WARM, pairs=pairs)
    await _copy(connection, "portfolios", (*_COPIES["portfolios"], "shard"), (
        (key, _TENANT, f"portfolio {number}", "USDT", "active", 1, _SHARD if number < count else _WARM_SHARD)
        for number, key in enumerate(made.ids)
    ))  # fmt: skip
    await _copy(connection, "accounts", _COPIES["accounts"], (
        (key, key, 0, "main", "exchange", "cross") for key in made.ids
    ))  # fmt: skip
    names = [each.id for each in (*CONTRACTS, *OPTIONS)]
    await _copy(connection, "positions", _COPIES["positions"], (
        (key, ordinal, names[instrument], Decimal(f"{quantity:.3f}"), Decimal(f"{entry:.2f}"), 0)
        for key, *held in _listed(made.ids, made.instrument, made.quantity, made.entry_price)
        for ordinal, (instrument, quantity, entry) in enumerate(zip(*held, strict=True))
    ))  # fmt: skip
    await _copy(connection, "balances", _COPIES["balances"], (
        (key, ordinal, ASSETS[asset], Decimal(f"{amount:.2f}"), Decimal(f"{haircut:.2f}"))
        for key, *held in _listed(made.ids, made.asset, made.amount, made.haircut)
        for ordinal, (asset, amount, haircut) in enumerate(zip(*held, strict=True))
    ))  # fmt: skip
    documents = [
        [(policy.kind, POLICY.dump_json(policy).decode()) for policy in policies(number)]
        for number in range(pairs)
    ]
    await _copy(connection, "policies", (*_COPIES["policies"], "tenant_id", "kind", "enabled"), (
        (key, n, UUID(int=POLICIES * number + n + 1), 1, None, document, _TENANT, kind, True)
        for number, key in enumerate(made.ids)
        for n, (kind, document) in enumerate(documents[number % pairs])
    ))  # fmt: skip
    await connection.execute("ANALYZE")


def _listed(ids: Iterable[UUID], *columns: NDArray[Any]) -> Iterator[tuple[Any, ...]]:
    return zip(ids, *(column.tolist() for column in columns), strict=True)


async def _copy(connection: Any, table: str, columns: tuple[str, ...], records: Any) -> None:
    await connection.copy_records_to_table(table, columns=columns, records=records)


SIDES: dict[str, Callable[[asyncpg.Pool, int], Awaitable[float]]] = {"ours": ours, "floor": floor}


async def _measured(side: str, count: int, pairs: int, directory: Path) -> float:
    with EmbeddedServers(directory) as servers:
        migrate = Child("app.entrypoints.cli", ["migrate"], environment={
            "BALLAST_DATABASE_URL": servers.database_url, "BALLAST_REDIS_URL": servers.redis_url,
        })  # fmt: skip
        migrate.output(timeout_seconds=60.0)
        address = asyncpg_address(servers.database_url)
        async with asyncpg.create_pool(address, min_size=1, max_size=1) as connected:
            async with connected.acquire() as connection:
                await _fill(connection, count, pairs)
            return await SIDES[side](connected, count)


def main(side: str, count: str, pairs: str) -> None:
    with TemporaryDirectory() as directory:
        seconds = asyncio.run(_measured(side, int(count), int(pairs), Path(directory)))
    print(json.dumps({"load": int(count) / seconds, "peak memory, MiB": peak_memory_mib()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
