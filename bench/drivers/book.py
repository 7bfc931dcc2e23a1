"""A book of portfolios, written straight into the tables: each holds one perpetual, kept by one policy.

Long one contract. With `target_delta` 0 its policy fires on the first price of its instrument, and rests
after that; with 1 it is where it should be and never fires.
"""

import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid5

import asyncpg

from app.domain.identifiers import derived_id, shard_of
from app.domain.instruments import Instrument, InstrumentKind
from app.domain.policies import DeltaNeutral
from bench.drivers.ticks import INSTRUMENT, PRICE
from bench.floors.records import portfolio_of

TENANT = derived_id("tenant", "bench")


@dataclass(frozen=True, slots=True)
class Book:
    """The token may read everything; portfolio n holds instrument n."""

    token: str
    portfolios: tuple[UUID, ...]


async def store_book(dsn: str, *, portfolios: int, target_delta: Decimal) -> Book:
    numbers = range(portfolios)
    connection = await asyncpg.connect(dsn)
    try:
        async with connection.transaction():
            await connection.set_type_codec(
                "jsonb", schema="pg_catalog", format="binary", encoder=_jsonb, decoder=bytes
            )
            token = await _store_tenant(connection)
            shards = await connection.fetchval("SELECT shards FROM markets")
            for table, columns, rows in _tables(numbers, target_delta, shards):
                await connection.copy_records_to_table(table, columns=columns, records=rows)
        await connection.execute("ANALYZE")
    finally:
        await connection.close()
    return Book(token, tuple(map(_portfolio_id, numbers)))


def _jsonb(text: str) -> bytes:
    """PostgreSQL's binary form: a version, then the text."""
    return b"\x01" + text.encode()


async def _store_tenant(connection: Any) -> str:
    token = f"blst_{secrets.token_urlsafe(32)}"
    await connection.execute("INSERT INTO tenants (id, name) VALUES ($1, 'bench')", TENANT)
    await connection.execute(
        "INSERT INTO api_keys (id, tenant_id, name, hash, prefix, scopes) "
        "VALUES ($1, $2, 'bench', $3, $4, $5)",
        derived_id("key", "bench"),
        TENANT,
        hashlib.sha256(token.encode()).digest(),
        token[:12],
        ["read", "trade", "admin", "ticks"],
    )
    return token


def _tables(
    numbers: range, target_delta: Decimal, shards: int
) -> Iterable[tuple[str, list[str], list[tuple[Any, ...]]]]:
    ids = [(number, _portfolio_id(number)) for number in numbers]
    instruments = [_instrument(number) for number in numbers]
    yield (
        "instruments",
        ["id", "kind", "underlying", "terms"],
        [(i.id, i.kind.value, i.underlying, i.model_dump_json()) for i in instruments],
    )
    yield (
        "portfolios",
        ["id", "tenant_id", "shard", "name", "valuation_currency"],
        [(p, TENANT, shard_of(p, shards), f"portfolio {n}", "USDT") for n, p in ids],
    )
    yield (
        "accounts",
        ["id", "portfolio_id", "ordinal", "name", "venue", "margin_mode"],
        [(_child(p, "account"), p, 0, "main", "paper", "cross") for _, p in ids],
    )
    yield (
        "positions",
        ["account_id", "instrument_id", "ordinal", "quantity", "entry_price"],
        [(_child(p, "account"), INSTRUMENT.format(n), 0, Decimal(1), Decimal(str(PRICE))) for n, p in ids],
    )
    yield (
        "balances",
        ["account_id", "asset", "ordinal", "amount"],
        [(_child(p, "account"), "USDT", 0, Decimal(100_000)) for _, p in ids],
    )
    documents = [(p, _policy(n, target_delta).model_dump_json()) for n, p in ids]
    yield (
        "policies",
        ["id", "tenant_id", "portfolio_id", "ordinal", "kind", "enabled", "document"],
        [(_child(p, "policy"), TENANT, p, 0, "delta_neutral", True, document) for p, document in documents],
    )
    yield (
        "policy_versions",
        ["policy_id", "version", "document"],
        [(_child(p, "policy"), 1, document) for p, document in documents],
    )


def _portfolio_id(number: int) -> UUID:
    return portfolio_of(INSTRUMENT.format(number))


def _child(portfolio_id: UUID, what: str) -> UUID:
    return uuid5(portfolio_id, what)


def _underlying(number: int) -> str:
    return f"B{number:08d}"


def _instrument(number: int) -> Instrument:
    return Instrument(
        id=INSTRUMENT.format(number),
        kind=InstrumentKind.PERPETUAL,
        underlying=_underlying(number),
        quote="USDT",
        initial_margin_rate=Decimal("0.05"),
    )


def _policy(number: int, target_delta: Decimal) -> DeltaNeutral:
    return DeltaNeutral(
        name="flat",
        underlying=_underlying(number),
        target_delta=target_delta,
        band=Decimal("0.25"),
        hedge_instruments=(INSTRUMENT.format(number),),
    )
