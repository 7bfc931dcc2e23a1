"""Portfolios: created with all they hold, changed in state, deleted."""

from collections.abc import Sequence
from decimal import Decimal

from msgspec.structs import replace

from app.domain.adjustments import AdjustmentState
from app.domain.errors import Conflict, InvalidInput
from app.domain.identifiers import AccountId, Asset, InstrumentId, PortfolioId, TenantId, derived_id
from app.domain.instruments import Instrument, InstrumentKind
from app.domain.portfolio_events import state_event
from app.domain.portfolios import Account, Balance, MarginMode, Portfolio, PortfolioState, Position, Reserve
from app.ports.management import UnitOfWork
from app.services.documents import (
    AccountDocument,
    BalanceDocument,
    PortfolioDocument,
    PositionDocument,
    ReserveDocument,
)
from app.services.supersede_adjustments import NOT_STARTED, supersede_adjustments


async def create_portfolio(
    unit: UnitOfWork,
    tenant_id: TenantId,
    portfolio_id: PortfolioId,
    document: PortfolioDocument,
    *,
    time_ns: int,
) -> Portfolio:
    """`time_ns` is the market clock, from which funding counts; 0 where that is not known."""
    _distinct([account.name for account in document.accounts], "/accounts", "name")
    for index, account in enumerate(document.accounts):
        path = f"/accounts/{index}"
        await check_positions(unit, account.margin_mode, account.positions, f"{path}/positions")
        check_balances(account.balances, f"{path}/balances")
    check_balances(document.reserves, "/reserves")
    portfolio = Portfolio(
        id=portfolio_id,
        tenant_id=tenant_id,
        name=document.name,
        valuation_currency=Asset(document.valuation_currency),
        state=document.state,
        revision=1,
        accounts=tuple(_account(portfolio_id, account, time_ns) for account in document.accounts),
        reserves=reserves_of(document.reserves),
    )
    await unit.portfolios.create(portfolio)
    await unit.operator_policies.bind_new(portfolio)
    return portfolio


async def change_portfolio_state(
    unit: UnitOfWork, tenant_id: TenantId, portfolio_id: PortfolioId, state: PortfolioState, *, time_ns: int
) -> Portfolio:
    portfolio = await unit.portfolios.lock(tenant_id, portfolio_id)
    if portfolio.state is state:
        return portfolio
    await unit.portfolios.set_state(portfolio_id, state)
    revision = await unit.portfolios.touch(portfolio_id)
    await unit.append([state_event(portfolio, state, time_ns)])
    return replace(portfolio, state=state, revision=revision)


async def delete_portfolio(
    unit: UnitOfWork, tenant_id: TenantId, portfolio_id: PortfolioId, *, time_ns: int
) -> None:
    """Its policies go with it; what an executor has already taken must end first."""
    portfolio = await unit.portfolios.lock(tenant_id, portfolio_id)
    if await unit.adjustments.any_in(portfolio_id, AdjustmentState.EXECUTING):
        raise Conflict("an adjustment of this portfolio is executing; delete it when that has ended")
    await supersede_adjustments(
        unit, portfolio, states=NOT_STARTED, because="the portfolio was deleted", time_ns=time_ns
    )
    await unit.portfolios.touch(portfolio_id)
    await unit.portfolios.delete(portfolio_id)


def account_named(portfolio: Portfolio, name: str, path: str) -> Account:
    found = next((account for account in portfolio.accounts if account.name == name), None)
    if found is None:
        names = ", ".join(account.name for account in portfolio.accounts)
        raise InvalidInput(f"no account {name!r} in this portfolio; it has {names}", path=path)
    return found


async def check_positions(
    unit: UnitOfWork, margin_mode: MarginMode, documents: Sequence[PositionDocument], path: str
) -> None:
    _distinct([document.instrument for document in documents], path, "instrument")
    known = await unit.instruments.some({document.instrument for document in documents})
    for index, document in enumerate(documents):
        place = f"{path}/{index}/instrument"
        instrument = known.get(InstrumentId(document.instrument))
        if instrument is None:
            raise InvalidInput(f"no instrument {document.instrument}", path=place)
        if instrument.kind is InstrumentKind.SPOT:
            raise InvalidInput(
                f"{instrument.id} is spot, and spot holdings are balances: state {instrument.underlying} "
                "as a balance of the account instead",
                path=place,
            )
        lent = instrument.kind is InstrumentKind.LENDING
        if lent is not (margin_mode is MarginMode.LENDING):
            raise InvalidInput(_in_the_wrong_account(instrument, margin_mode), path=place)
        _check_entry_price(instrument, document.entry_price, f"{path}/{index}/entry_price")


def _in_the_wrong_account(instrument: Instrument, margin_mode: MarginMode) -> str:
    if instrument.kind is InstrumentKind.LENDING:
        return (
            f"{instrument.id} is lent and borrowed in accounts of margin mode lending, this is {margin_mode}"
        )
    return (
        f"{instrument.id} is {instrument.kind}, and a lending account holds what is lent and borrowed alone"
    )


def _check_entry_price(instrument: Instrument, entry_price: Decimal | None, path: str) -> None:
    if instrument.kind is InstrumentKind.LENDING:
        if entry_price:
            raise InvalidInput("what is lent or borrowed has no entry price: leave it out", path=path)
    elif entry_price is None:
        raise InvalidInput(f"{instrument.id} was entered at a price, which is needed", path=path)
    elif entry_price == 0 and instrument.kind is not InstrumentKind.OPTION:
        raise InvalidInput("an entry price is positive", path=path)


def check_balances(documents: Sequence[BalanceDocument | ReserveDocument], path: str) -> None:
    _distinct([document.asset for document in documents], path, "asset")


def positions_of(documents: Sequence[PositionDocument], *, opened_ns: int) -> tuple[Position, ...]:
    return tuple(
        Position(InstrumentId(d.instrument), d.quantity, d.entry_price or Decimal(0), opened_ns)
        for d in documents
    )


def balances_of(documents: Sequence[BalanceDocument]) -> tuple[Balance, ...]:
    return tuple(Balance(Asset(d.asset), d.amount, d.haircut) for d in documents)


def reserves_of(documents: Sequence[ReserveDocument]) -> tuple[Reserve, ...]:
    return tuple(Reserve(Asset(d.asset), d.amount, d.keep) for d in documents)


def _account(portfolio_id: PortfolioId, document: AccountDocument, opened_ns: int) -> Account:
    return Account(
        id=AccountId(derived_id("account", portfolio_id, document.name)),
        name=document.name,
        venue=document.venue,
        margin_mode=document.margin_mode,
        positions=positions_of(document.positions, opened_ns=opened_ns),
        balances=balances_of(document.balances),
    )


def _distinct(values: Sequence[str], path: str, part: str) -> None:
    seen: set[str] = set()
    for index, value in enumerate(values):
        if value in seen:
            raise InvalidInput(f"{value} is there twice", path=f"{path}/{index}/{part}")
        seen.add(value)
