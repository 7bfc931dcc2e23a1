"""What a client did: holdings, the recommendation it carries out, revision and events at once."""

from decimal import Decimal

from app.domain.adjustments import Fill, LendingAction, LendingLeg, TradeLeg
from app.domain.errors import Conflict, InvalidInput
from app.domain.identifiers import AdjustmentId, FillId, InstrumentId, PortfolioId, TenantId
from app.domain.instruments import Instrument, InstrumentKind
from app.domain.portfolios import Account, MarginMode, Portfolio
from app.domain.times import rfc3339, to_ns
from app.engine.fills import apply_trade
from app.engine.loans import apply_lending
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
    done = _leg(account, instrument, document)
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
        asset=instrument.settlement_asset,
        quantity=document.quantity,
        price=document.price or Decimal(0),
        fee=document.fee,
        time_ns=filled_ns,
        kind=done.type,
    )
    if not await unit.fills.add(tenant_id, fill):
        return await unit.fills.get(tenant_id, fill_id), portfolio.revision
    after = _applied(portfolio, instrument, done, fill, time_ns=time_ns)
    await unit.portfolios.write_holdings(portfolio, after)
    if record is not None:
        await save_reported(unit, tenant_id, record, done, fill, time_ns=time_ns)
    return fill, await unit.portfolios.touch(portfolio_id)


def _leg(account: Account, instrument: Instrument, document: FillDocument) -> TradeLeg | LendingLeg:
    lends = account.margin_mode is MarginMode.LENDING
    if instrument.kind is InstrumentKind.LENDING:
        if not lends:
            raise InvalidInput(f"{account.name!r} is no lending account", path="/account")
        if document.price:
            raise InvalidInput("what is lent or borrowed has no price: leave it out", path="/price")
        return _lending_leg(account, instrument, document.quantity)
    if lends and instrument.kind is not InstrumentKind.SPOT:
        raise InvalidInput(f"a lending account holds no {instrument.kind}", path="/account")
    if document.price is None:
        raise InvalidInput("a trade was done at a price, which is needed", path="/price")
    return TradeLeg(account.id, instrument.instrument_id, document.quantity, document.price, reduces=False)


def _lending_leg(account: Account, instrument: Instrument, quantity: Decimal) -> LendingLeg:
    """A debt is repaid before anything is supplied; what is supplied is withdrawn before more is borrowed."""
    held = account.position(instrument.instrument_id).quantity
    if quantity > 0:
        action = LendingAction.REPAY if held < 0 else LendingAction.SUPPLY
    else:
        action = LendingAction.WITHDRAW if held > 0 else LendingAction.BORROW
    return LendingLeg(account.id, instrument.instrument_id, action, abs(quantity), reduces=False)


def _applied(
    portfolio: Portfolio,
    instrument: Instrument,
    done: TradeLeg | LendingLeg,
    fill: Fill,
    *,
    time_ns: int,
) -> Portfolio:
    if isinstance(done, LendingLeg):
        return apply_lending(
            portfolio,
            instrument=instrument,
            account_id=done.account_id,
            quantity=fill.quantity,
            fee=fill.fee,
            time_ns=time_ns,
        )
    return apply_trade(
        portfolio,
        instrument=instrument,
        account_id=done.account_id,
        quantity=fill.quantity,
        price=fill.price,
        fee=fill.fee,
        time_ns=time_ns,
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
