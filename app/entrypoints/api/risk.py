"""Route of a portfolio's metrics now."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import ConfigDict, Field

from app.domain.identifiers import PortfolioId
from app.domain.portfolios import Portfolio
from app.domain.times import NS_PER_SECOND, rfc3339
from app.engine.risk import RiskReport
from app.engine.rounding import metric_text
from app.entrypoints.api.dependencies import Deps, Reader
from app.entrypoints.api.schemas import Id, Moment, Shown
from app.entrypoints.api.strict_json import StrictRoute
from app.services.show_risk import show_risk

router = APIRouter(prefix="/v1/portfolios", tags=["portfolios"], route_class=StrictRoute)

Figure = Annotated[
    str,
    Field(
        description="A decimal; `unknown` without the prices it needs, `unbounded` when it has no end.",
        examples=["0.52"],
    ),
]


Distance = Annotated[
    str,
    Field(
        description="The smallest relative move of prices that liquidates, up or down, of one underlying or "
        "of all together; `unbounded` where none does, `unknown` without the prices it needs.",
        examples=["0.183"],
    ),
]


class ShownAccountRisk(Shown):
    """Money in the valuation currency."""

    id: Id
    name: str = Field(examples=["main"])
    equity: Figure
    initial_margin: Figure
    maintenance_margin: Figure
    margin_ratio: Figure
    health_factor: Figure
    liquidation_distance: Distance


class ShownUnderlyingRisk(Shown):
    """Delta in units, gamma per unit of price, vega per 1.00 of volatility, theta per year."""

    underlying: str = Field(examples=["BTC"])
    price: Figure
    net_delta: Figure
    gross_delta_notional: Figure
    gamma: Figure
    vega: Figure
    theta: Figure


class ShownRisk(Shown):
    """Metrics as policies see them; margin metrics are those of the worst account."""

    model_config = ConfigDict(frozen=True)

    portfolio_id: Id
    revision: int = Field(description="Of the portfolio that was valued.", examples=[7])
    valuation_currency: str = Field(examples=["USDT"])
    clock: Moment
    market_position: str = Field(examples=["1-48210"])
    equity: Figure
    leverage: Figure
    margin_ratio: Figure
    health_factor: Figure
    liquidation_distance: Distance
    oldest_price_age_seconds: Figure
    accounts: list[ShownAccountRisk]
    underlyings: list[ShownUnderlyingRisk]

    @classmethod
    def of(cls, portfolio: Portfolio, report: RiskReport) -> "ShownRisk":
        return cls(
            portfolio_id=portfolio.id,
            revision=portfolio.revision,
            valuation_currency=portfolio.valuation_currency,
            clock=rfc3339(report.time_ns),
            market_position=report.position.entry_id,
            equity=metric_text(report.equity),
            leverage=metric_text(report.leverage),
            margin_ratio=metric_text(report.margin_ratio),
            health_factor=metric_text(report.health_factor),
            liquidation_distance=metric_text(report.liquidation_distance),
            oldest_price_age_seconds=metric_text(report.oldest_price_age_ns / NS_PER_SECOND),
            accounts=[
                ShownAccountRisk(
                    id=a.id,
                    name=a.name,
                    equity=metric_text(a.equity),
                    initial_margin=metric_text(a.initial_margin),
                    maintenance_margin=metric_text(a.maintenance_margin),
                    margin_ratio=metric_text(a.margin_ratio),
                    health_factor=metric_text(a.health_factor),
                    liquidation_distance=metric_text(a.liquidation_distance),
                )
                for a in report.accounts
            ],
            underlyings=[
                ShownUnderlyingRisk(
                    underlying=u.underlying,
                    price=metric_text(u.price),
                    net_delta=metric_text(u.net_delta),
                    gross_delta_notional=metric_text(u.gross_delta_notional),
                    gamma=metric_text(u.gamma),
                    vega=metric_text(u.vega),
                    theta=metric_text(u.theta),
                )
                for u in report.underlyings
            ],
        )


@router.get("/{portfolio_id}/risk")
async def read(portfolio_id: Id, caller: Reader, deps: Deps) -> ShownRisk:
    """Computed now, on the newest frame."""
    portfolio, report = await show_risk(deps.units, deps.market, caller.tenant_id, PortfolioId(portfolio_id))
    return ShownRisk.of(portfolio, report)
