"""Collateral: what accounts and the reserve hold, stated anew or moved from one to the other."""

from decimal import Decimal

from msgspec.structs import replace

from app.domain.adjustments import Fill, TransferLeg
from app.domain.errors import Conflict, InvalidInput
from app.domain.identifiers import AccountId, AdjustmentId, Asset, FillId, PortfolioId, TenantId
from app.domain.portfolios import Portfolio, Reserve
from app.ports.management import AdjustmentRecord, UnitOfWork
from app.services.documents import CollateralDocument, TransferDocument, storable
from app.services.manage_portfolios import account_named, balances_of, check_balances, reserves_of
from app.services.reduce_remaining import leg_number, lock_reported, save_reported


async def replace_collateral(
    unit: UnitOfWork, tenant_id: TenantId, portfolio_id: PortfolioId, document: CollateralDocument
) -> Portfolio:
    portfolio = await unit.portfolios.lock(tenant_id, portfolio_id)
    after = portfolio
    named: set[str] = set()
    for index, stated in enumerate(document.accounts):
        path = f"/accounts/{index}"
        if stated.account in named:
            raise InvalidInput(f"{stated.account} is there twice", path=f"{path}/account")
        named.add(stated.account)
        check_balances(stated.balances, f"{path}/balances")
        account = account_named(after, stated.account, f"{path}/account")
        after = after.with_account(replace(account, balances=balances_of(stated.balances)))
    if document.reserves is not None:
        check_balances(document.reserves, "/reserves")
        after = replace(after, reserves=reserves_of(document.reserves))
    await unit.portfolios.write_holdings(portfolio, after)
    return replace(after, revision=await unit.portfolios.touch(portfolio_id))


async def transfer_collateral(
    unit: UnitOfWork,
    tenant_id: TenantId,
    portfolio_id: PortfolioId,
    fill_id: FillId,
    document: TransferDocument,
    *,
    time_ns: int,
) -> Portfolio:
    """One that carries out a recommendation is recorded as its fill."""
    portfolio = await unit.portfolios.lock(tenant_id, portfolio_id)
    after = _moved(portfolio, document)
    await unit.portfolios.write_holdings(portfolio, after)
    if document.adjustment_id is not None:
        record = await lock_reported(unit, portfolio, AdjustmentId(document.adjustment_id))
        await _report(unit, portfolio, record, fill_id, document, time_ns=time_ns)
    return replace(after, revision=await unit.portfolios.touch(portfolio_id))


async def _report(
    unit: UnitOfWork,
    portfolio: Portfolio,
    record: AdjustmentRecord,
    fill_id: FillId,
    document: TransferDocument,
    *,
    time_ns: int,
) -> None:
    if document.to_account is None or document.from_account is not None:
        raise InvalidInput("a recommended transfer goes from the reserve to an account", path="/from_account")
    account = account_named(portfolio, document.to_account, "/to_account")
    done = TransferLeg(account.id, Asset(document.asset), document.amount)
    fill = Fill(
        id=fill_id,
        portfolio_id=portfolio.id,
        account_id=account.id,
        adjustment_id=record.adjustment.id,
        leg=leg_number(record.adjustment.legs, done),
        instrument=None,
        asset=done.asset,
        quantity=done.amount,
        price=Decimal(0),
        fee=Decimal(0),
        time_ns=time_ns,
        kind="transfer",
    )
    await unit.fills.add(portfolio.tenant_id, fill)
    await save_reported(unit, portfolio.tenant_id, record, done, fill, time_ns=time_ns)


def _moved(portfolio: Portfolio, document: TransferDocument) -> Portfolio:
    asset = Asset(document.asset)
    if document.from_account is None:
        after = _reserve_changed(portfolio, asset, -document.amount)
    else:
        source = account_named(portfolio, document.from_account, "/from_account")
        after = _account_changed(portfolio, source.id, asset, -document.amount)
    if document.to_account is None:
        return _reserve_changed(after, asset, document.amount)
    target = account_named(after, document.to_account, "/to_account")
    return _account_changed(after, target.id, asset, document.amount)


def _account_changed(portfolio: Portfolio, account_id: AccountId, asset: Asset, change: Decimal) -> Portfolio:
    account = portfolio.account(account_id)
    held = next((b.amount for b in account.balances if b.asset == asset), Decimal(0))
    _enough(f"account {account.name!r}", asset, held, change)
    return portfolio.with_account(account.credited(asset, change))


def _reserve_changed(portfolio: Portfolio, asset: Asset, change: Decimal) -> Portfolio:
    held = next((r for r in portfolio.reserves if r.asset == asset), None)
    _enough("the reserve", asset, Decimal(0) if held is None else held.amount, change)
    if held is None:
        return replace(portfolio, reserves=(*portfolio.reserves, Reserve(asset, change)))
    return portfolio.reserve_debited(asset, -change)


def _enough(pocket: str, asset: Asset, held: Decimal, change: Decimal) -> None:
    if change < 0 and held + change < 0:
        raise Conflict(f"{pocket} has {held:f} {asset}, not {-change:f}")
    try:
        storable(held + change)
    except ValueError as error:
        raise InvalidInput(f"{pocket} cannot hold that much: {error}", path="/amount") from error
