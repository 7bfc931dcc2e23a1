"""Fills: those that clients report, and all of them as they are read."""

from sqlalchemy import Row, func, select, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.adapters.postgres.tables.adjustments import fills
from app.domain.adjustments import Fill
from app.domain.errors import NotFound
from app.domain.identifiers import AccountId, FillId, PortfolioId, TenantId
from app.ports.management import Page, Place


class FillRows:
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def add(self, tenant_id: TenantId, fill: Fill) -> bool:
        done = await self._connection.execute(
            insert(fills)
            .values(
                id=fill.id,
                tenant_id=tenant_id,
                portfolio_id=fill.portfolio_id,
                account_id=fill.account_id,
                source_account_id=fill.source,
                adjustment_id=fill.adjustment_id,
                leg=fill.leg,
                kind=fill.kind,
                instrument_id=fill.instrument,
                asset=fill.asset,
                quantity=fill.quantity,
                price=fill.price,
                fee=fill.fee,
                time_ns=fill.time_ns,
            )
            .on_conflict_do_nothing()
            .returning(fills.c.id)
        )
        return done.one_or_none() is not None

    async def get(self, tenant_id: TenantId, fill_id: FillId) -> Fill:
        found = await self._connection.execute(
            select(fills).where(fills.c.tenant_id == tenant_id, fills.c.id == fill_id)
        )
        row = found.one_or_none()
        if row is None:
            raise NotFound("fill", fill_id)
        return _fill(row)

    async def page(
        self, tenant_id: TenantId, *, portfolio_id: PortfolioId | None, after: Place | None, limit: int
    ) -> Page[Fill]:
        """Newest first."""
        query = select(fills).where(fills.c.tenant_id == tenant_id)
        if portfolio_id is not None:
            query = query.where(fills.c.portfolio_id == portfolio_id)
        if after is not None:
            query = query.where(tuple_(fills.c.created_at, fills.c.id) < tuple_(after.created_at, after.id))
        ordered = query.order_by(fills.c.created_at.desc(), fills.c.id.desc()).limit(limit + 1)
        rows = (await self._connection.execute(ordered)).all()
        following = Place(rows[limit - 1].created_at, rows[limit - 1].id) if len(rows) > limit else None
        return Page(tuple(_fill(row) for row in rows[:limit]), following)

    async def newest_ns(self, account_id: AccountId) -> int:
        newest = select(func.max(fills.c.time_ns)).where(fills.c.account_id == account_id)
        return await self._connection.scalar(newest) or 0


def _fill(row: Row[tuple[object, ...]]) -> Fill:
    return Fill(
        id=row.id,
        portfolio_id=row.portfolio_id,
        account_id=row.account_id,
        adjustment_id=row.adjustment_id,
        leg=row.leg,
        instrument=row.instrument_id,
        asset=row.asset,
        quantity=row.quantity,
        price=row.price,
        fee=row.fee,
        time_ns=row.time_ns,
        kind=row.kind,
        source=row.source_account_id,
    )
