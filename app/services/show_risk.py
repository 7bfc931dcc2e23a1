"""A portfolio's figures now, by the evaluator's own code on the market as it stands."""

from msgspec.structs import replace

from app.domain.identifiers import AccountId, PortfolioId, TenantId, derived_id
from app.domain.portfolios import Account, Balance, MarginMode, Portfolio
from app.engine.market_view import MarketView
from app.engine.risk import RiskReport, market_view, portfolio_risk
from app.ports.management import MarketNow, UnitsOfWork


async def show_risk(
    units: UnitsOfWork, market: MarketNow, tenant_id: TenantId, portfolio_id: PortfolioId
) -> tuple[Portfolio, RiskReport]:
    portfolio, view = await _as_it_stands(units, market, tenant_id, portfolio_id)
    return portfolio, portfolio_risk(portfolio, view)


async def show_equity_with_reserve(
    units: UnitsOfWork, market: MarketNow, tenant_id: TenantId, portfolio_id: PortfolioId
) -> float:
    """Of accounts and reserves together, which counts a reserve as an account that held it."""
    portfolio, view = await _as_it_stands(units, market, tenant_id, portfolio_id)
    reserve = Account(
        id=AccountId(derived_id("reserve", portfolio_id)),
        name="reserve",
        venue="",
        margin_mode=MarginMode.CROSS,
        balances=tuple(Balance(reserve.asset, reserve.amount) for reserve in portfolio.reserves),
    )
    return portfolio_risk(replace(portfolio, accounts=(*portfolio.accounts, reserve)), view).equity


async def market_as_it_stands(units: UnitsOfWork, market: MarketNow) -> MarketView:
    async with units() as unit:
        instruments = await unit.instruments.all()
    position, time_ns = await market.clock()
    return market_view(instruments, await market.everything(), position=position, time_ns=time_ns)


async def _as_it_stands(
    units: UnitsOfWork, market: MarketNow, tenant_id: TenantId, portfolio_id: PortfolioId
) -> tuple[Portfolio, MarketView]:
    async with units() as unit:
        portfolio = await unit.portfolios.get(tenant_id, portfolio_id)
    return portfolio, await market_as_it_stands(units, market)
