"""A trade that a client did: holdings, the recommendation it carries out, revision and events at once."""

from app.domain.adjustments import Fill, TradeLeg
from app.domain.errors import Conflict, InvalidInput
from app.domain.identifiers import AdjustmentId, Asset, FillId, InstrumentId, PortfolioId, TenantId
from app.domain.portfolios import Account
from app.domain.times import rfc3339, to_ns
from app.engine.fills import apply_trade
from app.ports.management import UnitOfWork
from app.services.documents import FillDocument
from app.services.manage_portfolios import account_named
from app.services.reduce_remaining import leg_number, lock_reported, save_reported
from app.services.replace_positions import FUTURE_TOLERANCE_NS


async def record_fill(
    unit: UnitOfWork,
    tenant_id: TenantId,
    portfolio_id: PortfolioId,
    fill_id: FillId,
    document: FillDocument,
    *,
    time_ns: int,
) -> tuple[Fill, int]:
    """The fill and the portfolio's revision. A fill that is stored already changes nothing."""
    portfolio = await unit.portfolios.lock(tenant_id, portfolio_id)
    account = account_named(portfolio, document.account, "/account")
    instrument = (await unit.instruments.some([document.instrument])).get(InstrumentId(document.instrument))
    if instrument is None:
        raise InvalidInput(f"no instrument {document.instrument}", path="/instrument")
    filled_ns = _time_of(document, time_ns)
    if document.time is not None and filled_ns < await unit.portfolios.positions_as_of_ns(account.id):
        raise Conflict("a newer position snapshot was taken of that account, which has this fill in it")
    done = _leg(account, document)
    record = None
    if document.adjustment_id is not None:
        record = await lock_reported(unit, portfolio, AdjustmentId(document.adjustment_id))
    fill = Fill(
        id=fill_id,
        portfolio_id=portfolio_id,
        account_id=account.id,
        adjustment_id=None if record is None else record.adjustment.id,
        leg=0 if record is None else leg_number(record.adjustment.legs, done),
        instrument=instrument.instrument_id,
        asset=Asset(instrument.settlement_asset),
        quantity=document.quantity,
        price=document.price,
        fee=document.fee,
        time_ns=filled_ns,
    )
    if not await unit.fills.add(tenant_id, fill):
        return await unit.fills.get(tenant_id, fill_id), portfolio.revision
    after = apply_trade(
        portfolio,
        instrument=instrument,
        account_id=account.id,
        quantity=document.quantity,
        price=document.price,
        fee=document.fee,
        time_ns=time_ns,
    )
    await unit.portfolios.write_holdings(portfolio, after)
    if record is not None:
        await save_reported(unit, tenant_id, record, done, fill, time_ns=time_ns)
    return fill, await unit.portfolios.touch(portfolio_id)


def _leg(account: Account, document: FillDocument) -> TradeLeg:
    return TradeLeg(
        account.id, InstrumentId(document.instrument), document.quantity, document.price, reduces=False
    )


def _time_of(document: FillDocument, time_ns: int) -> int:
    if document.time is None:
        return time_ns
    filled_ns = to_ns(document.time)
    if time_ns and filled_ns > time_ns + FUTURE_TOLERANCE_NS:
        raise InvalidInput(
            f"time lies in the future: the market clock shows {rfc3339(time_ns)}", path="/time"
        )
    return filled_ns
