"""A portfolio's figures now, by the evaluator's own code on the market as it stands."""

from app.domain.identifiers import PortfolioId, TenantId
from app.domain.portfolios import Portfolio
from app.engine.risk import RiskReport, market_view, portfolio_risk
from app.ports.management import MarketNow, UnitsOfWork


async def show_risk(
    units: UnitsOfWork, market: MarketNow, tenant_id: TenantId, portfolio_id: PortfolioId
) -> tuple[Portfolio, RiskReport]:
    async with units() as unit:
        portfolio = await unit.portfolios.get(tenant_id, portfolio_id)
        instruments = await unit.instruments.all()
    position, time_ns = await market.clock()
    view = market_view(instruments, await market.everything(), position=position, time_ns=time_ns)
    return portfolio, portfolio_risk(portfolio, view)
