"""Collateral: what accounts and the reserve hold, stated anew or moved from one to the other."""

from decimal import Decimal
from math import isnan, nan

from msgspec.structs import replace

from app.domain.adjustments import Fill, TransferLeg
from app.domain.errors import InvalidInput, Unavailable
from app.domain.identifiers import AdjustmentId, Asset, FillId, PortfolioId, TenantId
from app.domain.portfolios import Portfolio
from app.domain.values import decimal_text
from app.engine.fills import apply_transfer
from app.engine.market_view import MarketView
from app.engine.risk import free_collateral
from app.engine.rounding import nearest_amount
from app.ports.management import UnitOfWork
from app.services.documents import CollateralDocument, TransferDocument
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
    market: MarketView | None,
    *,
    time_ns: int,
) -> Portfolio:
    """One that is stored already changes nothing. `market` says what an account can spare; None: unknown.

    What carries out a recommendation was done already, so nothing is asked of it but that it was recommended.
    """
    portfolio = await unit.portfolios.lock(tenant_id, portfolio_id)
    done = _leg(portfolio, document)
    record = None
    if document.adjustment_id is not None:
        record = await lock_reported(unit, portfolio, AdjustmentId(document.adjustment_id))
    fill = Fill(
        id=fill_id,
        portfolio_id=portfolio.id,
        account_id=done.account_id,
        adjustment_id=None if record is None else record.adjustment.id,
        leg=0 if record is None else leg_number(record.adjustment.legs, done),
        instrument=None,
        asset=done.asset,
        quantity=done.amount,
        price=Decimal(0),
        fee=done.fee,
        time_ns=time_ns,
        kind="transfer",
        source=done.source,
    )
    if not await unit.fills.add(tenant_id, fill):
        return portfolio
    _check_there(portfolio, done)
    if record is None:
        _check_free(portfolio, done, market)
    after = apply_transfer(
        portfolio,
        account_id=done.account_id,
        asset=done.asset,
        amount=done.amount,
        source=done.source,
        fee=done.fee,
    )
    await unit.portfolios.write_holdings(portfolio, after)
    if record is not None:
        await save_reported(unit, tenant_id, record, done, fill, time_ns=time_ns)
    return replace(after, revision=await unit.portfolios.touch(portfolio_id))


def _leg(portfolio: Portfolio, document: TransferDocument) -> TransferLeg:
    source, target = document.from_account, document.to_account
    return TransferLeg(
        None if target is None else account_named(portfolio, target, "/to_account").id,
        Asset(document.asset),
        document.amount,
        None if source is None else account_named(portfolio, source, "/from_account").id,
        document.fee,
    )


def _check_there(portfolio: Portfolio, leg: TransferLeg) -> None:
    """A reserve's `keep` binds policies, not its owner."""
    if leg.source is None:
        pocket, held = "the reserve", portfolio.reserve(leg.asset).amount
    else:
        account = portfolio.account(leg.source)
        pocket, held = f"account {account.name!r}", account.balance(leg.asset)
    if leg.amount > held:
        raise InvalidInput(
            f"{pocket} has {decimal_text(held)} {leg.asset}, not {decimal_text(leg.amount)}", path="/amount"
        )


def _check_free(portfolio: Portfolio, leg: TransferLeg, market: MarketView | None) -> None:
    """Nobody takes an account below its initial margin."""
    if leg.source is None:
        return
    account = portfolio.account(leg.source)
    if not account.balances_back_positions:
        return
    free = nan if market is None else free_collateral(portfolio, market, leg.source, leg.asset)
    if isnan(free):
        raise Unavailable(f"what account {account.name!r} can spare is not known: a price is missing")
    spared = nearest_amount(free)
    if leg.amount > spared:
        raise InvalidInput(
            f"account {account.name!r} can spare {decimal_text(spared)} {leg.asset}, "
            f"not {decimal_text(leg.amount)}: its initial margin needs the rest",
            path="/amount",
        )
