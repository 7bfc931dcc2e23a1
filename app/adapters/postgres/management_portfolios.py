"""Portfolios of a tenant: created, read, locked, changed. Holdings go through `portfolio_rows`."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any
from uuid import UUID

from msgspec.structs import replace
from sqlalchemy import func, insert, select, union, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.adapters.postgres.portfolio_rows import load_portfolios, touch, write_holdings
from app.adapters.postgres.tables.market import markets
from app.adapters.postgres.tables.policies import policies
from app.adapters.postgres.tables.portfolios import accounts, portfolios, positions
from app.domain.errors import AlreadyExists, NotFound, Unavailable
from app.domain.identifiers import AccountId, PortfolioId, TenantId, shard_of
from app.domain.portfolios import Portfolio, PortfolioState

_REVISIONS = "SELECT id, revision FROM portfolios WHERE id = ANY($1::uuid[]) AND deleted_at IS NULL"


class PortfolioRows:
    """`touched` collects whose revision moved, to be hinted after the commit."""

    def __init__(self, connection: AsyncConnection, raw: Any, *, market: str, touched: set[UUID]) -> None:
        self._connection = connection
        self._raw = raw
        self._market = market
        self._touched = touched

    async def create(self, portfolio: Portfolio) -> None:
        shards = await self._connection.scalar(select(markets.c.shards).where(markets.c.name == self._market))
        if shards is None:
            raise Unavailable("the market is not set up yet: no shards")
        row = {
            "id": portfolio.id,
            "tenant_id": portfolio.tenant_id,
            "shard": shard_of(portfolio.id, shards),
            "name": portfolio.name,
            "valuation_currency": portfolio.valuation_currency,
            "state": portfolio.state.value,
            "revision": portfolio.revision,
        }
        try:
            async with self._connection.begin_nested():
                await self._connection.execute(insert(portfolios).values(row))
        except IntegrityError as error:
            if "uq_portfolios_tenant_id_name" in str(error.orig) or "pk_portfolios" in str(error.orig):
                raise AlreadyExists(f"there is a portfolio named {portfolio.name!r} already") from error
            raise
        await self._add_accounts(portfolio)
        self._touched.add(portfolio.id)

    async def _add_accounts(self, portfolio: Portfolio) -> None:
        rows = [
            {
                "id": account.id,
                "portfolio_id": portfolio.id,
                "ordinal": ordinal,
                "name": account.name,
                "venue": account.venue,
                "margin_mode": account.margin_mode.value,
            }
            for ordinal, account in enumerate(portfolio.accounts)
        ]
        if rows:
            await self._connection.execute(insert(accounts), rows)
        bare = tuple(replace(account, positions=(), balances=()) for account in portfolio.accounts)
        await write_holdings(self._raw, [(replace(portfolio, accounts=bare, reserves=()), portfolio)])

    async def exists(self, portfolio_id: PortfolioId) -> bool:
        """Also when deleted: its id stays taken."""
        found = await self._connection.scalar(select(portfolios.c.id).where(portfolios.c.id == portfolio_id))
        return found is not None

    async def get(self, tenant_id: TenantId, portfolio_id: PortfolioId) -> Portfolio:
        return await self._read(tenant_id, portfolio_id, lock=False)

    async def lock(self, tenant_id: TenantId, portfolio_id: PortfolioId) -> Portfolio:
        return await self._read(tenant_id, portfolio_id, lock=True)

    async def _read(self, tenant_id: TenantId, portfolio_id: PortfolioId, *, lock: bool) -> Portfolio:
        query = select(portfolios.c.id).where(
            portfolios.c.id == portfolio_id,
            portfolios.c.tenant_id == tenant_id,
            portfolios.c.deleted_at.is_(None),
        )
        if await self._connection.scalar(query.with_for_update(key_share=True) if lock else query) is None:
            raise NotFound("portfolio", portfolio_id)
        found = await load_portfolios(self._raw, [portfolio_id])
        if not found:
            raise NotFound("portfolio", portfolio_id)
        return found[0]

    async def page(self, tenant_id: TenantId, *, after_name: str | None, limit: int) -> list[Portfolio]:
        query = select(portfolios.c.id).where(
            portfolios.c.tenant_id == tenant_id, portfolios.c.deleted_at.is_(None)
        )
        if after_name is not None:
            query = query.where(portfolios.c.name > after_name)
        ids: Iterable[UUID] = await self._connection.scalars(query.order_by(portfolios.c.name).limit(limit))
        return await load_portfolios(self._raw, [PortfolioId(id_) for id_ in ids])

    async def revisions(self, portfolio_ids: Collection[PortfolioId]) -> dict[PortfolioId, int]:
        rows = await self._raw.fetch(_REVISIONS, list(portfolio_ids))
        return {PortfolioId(row["id"]): row["revision"] for row in rows}

    async def some(self, portfolio_ids: Sequence[PortfolioId]) -> list[Portfolio]:
        return await load_portfolios(self._raw, portfolio_ids) if portfolio_ids else []

    async def touch(self, portfolio_id: PortfolioId) -> int:
        self._touched.add(portfolio_id)
        return await touch(self._raw, portfolio_id)

    async def touch_all_using(self, instrument_id: str) -> None:
        holding = (
            select(accounts.c.portfolio_id)
            .join(positions, positions.c.account_id == accounts.c.id)
            .where(positions.c.instrument_id == instrument_id)
        )
        trading = select(policies.c.portfolio_id).where(
            policies.c.instruments.contains([instrument_id]), policies.c.deleted_at.is_(None)
        )
        users = union(holding, trading).subquery()
        locked = await self._connection.scalars(
            select(portfolios.c.id)
            .where(portfolios.c.id.in_(select(users.c.portfolio_id)), portfolios.c.deleted_at.is_(None))
            .order_by(portfolios.c.id)
            .with_for_update(key_share=True)
        )
        for portfolio_id in locked.all():
            await self.touch(PortfolioId(portfolio_id))

    async def write_holdings(self, before: Portfolio, after: Portfolio) -> None:
        await write_holdings(self._raw, [(before, after)])

    async def positions_as_of_ns(self, account_id: AccountId) -> int:
        as_of = select(accounts.c.positions_as_of_ns).where(accounts.c.id == account_id)
        return int((await self._connection.execute(as_of)).scalar_one())

    async def set_positions_as_of(self, account_id: AccountId, as_of_ns: int) -> None:
        await self._connection.execute(
            update(accounts).where(accounts.c.id == account_id).values(positions_as_of_ns=as_of_ns)
        )

    async def set_state(self, portfolio_id: PortfolioId, state: PortfolioState) -> None:
        await self._connection.execute(
            update(portfolios).where(portfolios.c.id == portfolio_id).values(state=state.value)
        )

    async def delete(self, portfolio_id: PortfolioId) -> None:
        await self._connection.execute(
            update(policies)
            .where(policies.c.portfolio_id == portfolio_id, policies.c.deleted_at.is_(None))
            .values(deleted_at=func.now(), enabled=False)
        )
        await self._connection.execute(
            update(portfolios).where(portfolios.c.id == portfolio_id).values(deleted_at=func.now())
        )
