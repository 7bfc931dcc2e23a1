"""A portfolio's figures now, for people: the evaluator's own columns and kernels, for a book of one."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from app.domain.identifiers import AccountId, Asset
from app.domain.instruments import Instrument
from app.domain.market import Change, StreamPosition
from app.domain.portfolios import Portfolio
from app.engine.book import Book
from app.engine.market_view import FrameBlock, MarketView
from app.engine.metrics import Pairs, observe
from app.engine.universe import Universe
from app.engine.verdicts import worst_ratio


@dataclass(frozen=True, slots=True)
class AccountRisk:
    """In the valuation currency; NaN where a price is not known."""

    id: AccountId
    name: str
    equity: float
    initial_margin: float
    maintenance_margin: float
    margin_ratio: float
    health_factor: float


@dataclass(frozen=True, slots=True)
class UnderlyingRisk:
    """Delta in units of the underlying, gamma per unit of its price, vega per 1.00, theta per year."""

    underlying: Asset
    price: float
    net_delta: float
    gross_delta_notional: float
    gamma: float
    vega: float
    theta: float


@dataclass(frozen=True, slots=True)
class RiskReport:
    """`margin_ratio` and `health_factor` are those of the worst account."""

    position: StreamPosition
    time_ns: int
    equity: float
    leverage: float
    margin_ratio: float
    health_factor: float
    oldest_price_age_ns: int
    accounts: tuple[AccountRisk, ...]
    underlyings: tuple[UnderlyingRisk, ...]


def market_view(
    instruments: Iterable[Instrument], changes: Iterable[Change], *, position: StreamPosition, time_ns: int
) -> MarketView:
    view = MarketView(Universe(instruments))
    view.load(changes, position=position, time_ns=time_ns)
    return view


def portfolio_risk(portfolio: Portfolio, market: MarketView) -> RiskReport:
    """As it stands: what is in flight is not counted."""
    book = Book(market.universe)
    book.put(replace(portfolio, in_flight=(), policies=()))
    number = book.views_of(portfolio.id)[0]
    view = book.view(number)
    block = FrameBlock.standing(market)
    figures = observe(book, block, Pairs.of([(number, 0)]))
    accounts = tuple(
        AccountRisk(
            id=account.id,
            name=account.name,
            equity=float(figures.equities[i]),
            initial_margin=float(figures.initial_margins[i]),
            maintenance_margin=float(figures.maintenance_margins[i]),
            margin_ratio=float(figures.margin_ratios[i]),
            health_factor=_inverse(float(figures.margin_ratios[i])),
        )
        for i, account in enumerate(portfolio.accounts)
    )
    underlyings = tuple(
        UnderlyingRisk(
            underlying=underlying,
            price=float(figures.underlying_prices[i]),
            net_delta=float(figures.deltas[i]),
            gross_delta_notional=float(figures.gross_notionals[i]),
            gamma=float(figures.gammas[i]),
            vega=float(figures.vegas[i]),
            theta=float(figures.thetas[i]),
        )
        for i, underlying in enumerate(view.underlyings)
    )
    equity = sum(account.equity for account in accounts)
    gross = sum(each.gross_delta_notional for each in underlyings)
    worst = worst_ratio([account.margin_ratio for account in accounts])
    return RiskReport(
        position=market.position,
        time_ns=market.time_ns,
        equity=equity,
        leverage=gross / equity if equity > 0.0 else float("inf"),
        margin_ratio=worst,
        health_factor=_inverse(worst),
        oldest_price_age_ns=block.oldest_age_ns(0, view.price_rows),
        accounts=accounts,
        underlyings=underlyings,
    )


def _inverse(ratio: float) -> float:
    return 1.0 / ratio if ratio else float("inf")
