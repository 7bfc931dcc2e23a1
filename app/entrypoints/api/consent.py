"""A client's yes or no to an adjustment, the same by HTTP and on the stream."""

from collections.abc import Awaitable, Callable

from app.domain.identifiers import AdjustmentId, TenantId
from app.entrypoints.api.schemas import ShownAdjustment
from app.entrypoints.api.writes import Answer
from app.ports.management import MarketNow, UnitOfWork, UnitsOfWork
from app.services.approve_adjustment import approve_adjustment, quote_adjustment, reject_adjustment

Work = Callable[[UnitOfWork], Awaitable[Answer]]


async def approval(
    units: UnitsOfWork, market: MarketNow, tenant_id: TenantId, adjustment_id: AdjustmentId
) -> Work:
    quotes = await quote_adjustment(units, market, tenant_id, adjustment_id)

    async def work(unit: UnitOfWork) -> Answer:
        return Answer(ShownAdjustment.of(await approve_adjustment(unit, tenant_id, adjustment_id, quotes)))

    return work


async def rejection(
    market: MarketNow, tenant_id: TenantId, adjustment_id: AdjustmentId, *, because: str
) -> Work:
    time_ns = await market.time_ns()

    async def work(unit: UnitOfWork) -> Answer:
        record = await reject_adjustment(unit, tenant_id, adjustment_id, because=because, time_ns=time_ns)
        return Answer(ShownAdjustment.of(record))

    return work
