"""Rows to begin a test with, written straight into the tables: no service is needed to make them.

Every function takes an AsyncEngine and commits. Ids are random unless given; numbers may be strings.
"""

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID, uuid4

from pydantic import BaseModel
from sqlalchemy import Table, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.adapters.postgres.tables.schema import metadata
from app.domain.identifiers import (
    AccountId,
    Asset,
    InstrumentId,
    PolicyId,
    PortfolioId,
    TenantId,
    shard_of,
)
from app.domain.instruments import Instrument, InstrumentKind, OptionType, Settlement
from app.domain.policies import StoredPolicy
from app.domain.portfolios import Account, Balance, MarginMode, Portfolio, PortfolioState, Position, Reserve
from app.services.manage_keys import tenant_id_of

BTC_SPOT = Instrument(id="BTC-USDT", kind=InstrumentKind.SPOT, underlying="BTC", quote="USDT")
BTC_PERP = Instrument(
    id="BTC-USDT-PERP",
    kind=InstrumentKind.PERPETUAL,
    underlying="BTC",
    quote="USDT",
    tick_size=Decimal("0.1"),
    initial_margin_rate=Decimal("0.05"),
)
BTC_INVERSE = Instrument(
    id="BTC-USD-PERP",
    kind=InstrumentKind.PERPETUAL,
    settlement=Settlement.INVERSE,
    underlying="BTC",
    quote="USD",
    multiplier=Decimal(100),
    lot_size=Decimal(1),
    tick_size=Decimal("0.5"),
    initial_margin_rate=Decimal("0.05"),
)
BTC_CALL = Instrument(
    id="BTC-USDT-CALL-60000",
    kind=InstrumentKind.OPTION,
    underlying="BTC",
    quote="USDT",
    lot_size=Decimal("0.01"),
    strike=Decimal(60_000),
    expiry=datetime(2030, 6, 28, 8, tzinfo=UTC),
    option_type=OptionType.CALL,
    marked_by="BTC-USDT-PERP",
)
INSTRUMENTS = (BTC_SPOT, BTC_PERP, BTC_INVERSE, BTC_CALL)

TABLES = metadata.tables

ALL_SCOPES = ("read", "trade", "admin", "ticks", "operator")


async def create_market(
    engine: AsyncEngine,
    *,
    shards: int = 4,
    clock: str = "replay",
    instruments: Sequence[Instrument] = INSTRUMENTS,
) -> None:
    """The market `market` with its shards, and the instruments: what must be there before a portfolio."""
    async with engine.begin() as connection:
        await _insert(connection, TABLES["markets"], [{"name": "market", "clock": clock, "shards": shards}])
        await _insert(connection, TABLES["shards"], [{"shard": number} for number in range(shards)])
    await create_instruments(engine, instruments)


async def create_instruments(engine: AsyncEngine, instruments: Sequence[Instrument] = INSTRUMENTS) -> None:
    """The same ones again change nothing."""
    rows = [
        {"id": i.id, "kind": i.kind, "underlying": i.underlying, "terms": i.model_dump(mode="json")}
        for i in instruments
    ]
    async with engine.begin() as connection:
        await connection.execute(insert(TABLES["instruments"]).on_conflict_do_nothing(), rows)


async def create_tenant(engine: AsyncEngine, *, name: str | None = None) -> TenantId:
    name = name or f"tenant {uuid4()}"
    tenant_id = tenant_id_of(name)
    async with engine.begin() as connection:
        await _insert(connection, TABLES["tenants"], [{"id": tenant_id, "name": name}])
    return tenant_id


async def create_key(engine: AsyncEngine, tenant_id: TenantId, *, scopes: Sequence[str] = ALL_SCOPES) -> str:
    """The whole key, as a client sends it."""
    key = f"blst_{secrets.token_urlsafe(32)}"
    row = {
        "id": uuid4(),
        "tenant_id": tenant_id,
        "name": "test key",
        "hash": hashlib.sha256(key.encode()).digest(),
        "prefix": key[:12],
        "scopes": list(scopes),
    }
    async with engine.begin() as connection:
        await _insert(connection, TABLES["api_keys"], [row])
    return key


async def create_portfolio(
    engine: AsyncEngine,
    tenant_id: TenantId,
    *,
    name: str | None = None,
    portfolio_id: UUID | None = None,
    positions: Mapping[str, tuple[str, str]] | None = None,
    balances: Mapping[str, str] | None = None,
    reserves: Mapping[str, str] | None = None,
    policies: Sequence[BaseModel] = (),
    margin_mode: MarginMode = MarginMode.CROSS,
) -> Portfolio:
    """A portfolio with one account, as the domain sees it.

    `positions`: instrument to (quantity, entry price). Without holdings given: long 1 BTC-USDT-PERP from
    60,000 on 20,000 USDT, with 5,000 USDT in reserve.
    """
    if positions is None and balances is None and reserves is None:
        positions, balances = {BTC_PERP.id: ("1", "60000")}, {"USDT": "20000"}
        reserves = {"USDT": "5000"}
    account = Account(
        id=AccountId(uuid4()),
        name="main",
        venue="paper",
        margin_mode=margin_mode,
        positions=tuple(
            Position(InstrumentId(instrument), Decimal(quantity), Decimal(price))
            for instrument, (quantity, price) in (positions or {}).items()
        ),
        balances=tuple(Balance(Asset(asset), Decimal(amount)) for asset, amount in (balances or {}).items()),
    )
    identity = PortfolioId(portfolio_id or uuid4())
    portfolio = Portfolio(
        id=identity,
        tenant_id=tenant_id,
        name=name or f"portfolio {identity}",
        valuation_currency=Asset("USDT"),
        state=PortfolioState.ACTIVE,
        revision=1,
        accounts=(account,),
        reserves=tuple(Reserve(Asset(asset), Decimal(amount)) for asset, amount in (reserves or {}).items()),
        policies=tuple(StoredPolicy(PolicyId(uuid4()), 1, policy) for policy in policies),
    )
    await store_portfolio(engine, portfolio)
    return portfolio


async def store_portfolio(engine: AsyncEngine, portfolio: Portfolio) -> None:
    """Any portfolio, as it is; its shard follows from its id and the number of shards there are."""
    async with engine.begin() as connection:
        shards = await connection.scalar(select(func.count()).select_from(TABLES["shards"]))
        row = {
            "id": portfolio.id,
            "tenant_id": portfolio.tenant_id,
            "shard": shard_of(portfolio.id, shards),
            "name": portfolio.name,
            "valuation_currency": portfolio.valuation_currency,
            "state": portfolio.state,
            "revision": portfolio.revision,
        }
        await _insert(connection, TABLES["portfolios"], [row])
        await _insert(connection, TABLES["reserves"], _reserve_rows(portfolio))
        for ordinal, account in enumerate(portfolio.accounts):
            await _insert(connection, TABLES["accounts"], [_account_row(portfolio, account, ordinal)])
            await _insert(connection, TABLES["positions"], _position_rows(account))
            await _insert(connection, TABLES["balances"], _balance_rows(account))
        for ordinal, stored in enumerate(portfolio.policies):
            await _insert_policy(connection, portfolio, stored, ordinal)


async def add_policy(engine: AsyncEngine, portfolio: Portfolio, policy: BaseModel) -> StoredPolicy:
    """One more policy on a stored portfolio, whose revision moves with it."""
    stored = StoredPolicy(PolicyId(uuid4()), 1, policy)
    policies, portfolios = TABLES["policies"], TABLES["portfolios"]
    async with engine.begin() as connection:
        await connection.execute(
            update(portfolios)
            .where(portfolios.c.id == portfolio.id)
            .values(revision=portfolios.c.revision + 1)
        )
        ordinal = await connection.scalar(
            select(func.count()).select_from(policies).where(policies.c.portfolio_id == portfolio.id)
        )
        await _insert_policy(connection, portfolio, stored, ordinal)
    return stored


async def _insert_policy(
    connection: AsyncConnection, portfolio: Portfolio, stored: StoredPolicy, ordinal: int
) -> None:
    document = stored.policy.model_dump(mode="json")
    row = {
        "id": stored.id,
        "tenant_id": portfolio.tenant_id,
        "portfolio_id": portfolio.id,
        "ordinal": ordinal,
        "version": stored.version,
        "kind": stored.policy.kind,
        "enabled": stored.policy.enabled,
        "document": document,
    }
    await _insert(connection, TABLES["policies"], [row])
    version = {"policy_id": stored.id, "version": stored.version, "document": document}
    await _insert(connection, TABLES["policy_versions"], [version])


async def _insert(connection: AsyncConnection, table: Table, rows: Sequence[Mapping[str, object]]) -> None:
    if rows:
        await connection.execute(insert(table), rows)


def _account_row(portfolio: Portfolio, account: Account, ordinal: int) -> dict[str, object]:
    return {
        "id": account.id,
        "portfolio_id": portfolio.id,
        "ordinal": ordinal,
        "name": account.name,
        "venue": account.venue,
        "margin_mode": account.margin_mode,
    }


def _position_rows(account: Account) -> list[dict[str, object]]:
    return [
        {
            "account_id": account.id,
            "instrument_id": p.instrument,
            "ordinal": ordinal,
            "quantity": p.quantity,
            "entry_price": p.entry_price,
            "accrued_ns": p.accrued_ns,
        }
        for ordinal, p in enumerate(account.positions)
    ]


def _balance_rows(account: Account) -> list[dict[str, object]]:
    return [
        {
            "account_id": account.id,
            "asset": b.asset,
            "ordinal": ordinal,
            "amount": b.amount,
            "haircut": b.haircut,
        }
        for ordinal, b in enumerate(account.balances)
    ]


def _reserve_rows(portfolio: Portfolio) -> list[dict[str, object]]:
    return [
        {
            "portfolio_id": portfolio.id,
            "asset": r.asset,
            "ordinal": ordinal,
            "amount": r.amount,
            "keep": r.keep,
        }
        for ordinal, r in enumerate(portfolio.reserves)
    ]
