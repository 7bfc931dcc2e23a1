"""A portfolio's figures now, for people: the evaluator's own columns and kernels, for a book of one."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import isnan, nan

import numpy as np
from msgspec.structs import replace

from app.domain.identifiers import AccountId, Asset
from app.domain.instruments import Instrument
from app.domain.market import Change, StreamPosition
from app.domain.portfolios import Portfolio
from app.engine.book import Book
from app.engine.distances import distances
from app.engine.market_view import MarketView
from app.engine.metrics import observe
from app.engine.tables import PairColumns
from app.engine.universe import Universe
from app.engine.verdicts import leverage_of, worst_ratio


@dataclass(frozen=True, slots=True)
class AccountRisk:
    """In the valuation currency; NaN where a price is not known.

    `backing` is what margins are held against: the equity; of a loan, Σ collateral x liquidation threshold.
    `liquidation_distance`: see `distances`.
    """

    id: AccountId
    name: str
    equity: float
    initial_margin: float
    maintenance_margin: float
    margin_ratio: float
    health_factor: float
    liquidation_distance: float
    backing: float


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
    """`margin_ratio`, `health_factor` and `liquidation_distance` are those of the worst account."""

    position: StreamPosition
    time_ns: int
    equity: float
    leverage: float
    margin_ratio: float
    health_factor: float
    liquidation_distance: float
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
    view = book.deciding(book.slot(portfolio.id))
    block = market.block()
    pair = PairColumns(np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64))
    figures, of_liquidation = observe(book, block, pair), distances(book, block, pair, pair.number)
    of_accounts, of_exposures = figures.accounts, figures.exposures
    accounts = tuple(
        AccountRisk(
            id=account.id,
            name=account.name,
            equity=float(of_accounts.equity[i]),
            initial_margin=float(of_accounts.initial_margin[i]),
            maintenance_margin=float(of_accounts.maintenance_margin[i]),
            margin_ratio=float(of_accounts.margin_ratio[i]),
            health_factor=_inverse(float(of_accounts.margin_ratio[i])),
            liquidation_distance=float(of_liquidation[i]),
            backing=float(of_accounts.backing[i]),
        )
        for i, account in enumerate(portfolio.accounts)
    )
    underlyings = tuple(
        UnderlyingRisk(
            underlying=underlying,
            price=float(of_exposures.underlying_price[i]),
            net_delta=float(of_exposures.delta[i]),
            gross_delta_notional=float(of_exposures.gross_notional[i]),
            gamma=float(of_exposures.gamma[i]),
            vega=float(of_exposures.vega[i]),
            theta=float(of_exposures.theta[i]),
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
        leverage=leverage_of(gross_notional=gross, equity=equity),
        margin_ratio=worst,
        health_factor=_inverse(worst),
        liquidation_distance=float(np.min(of_liquidation, initial=np.inf)),
        oldest_price_age_ns=block.oldest_age_ns(
            0, block.price_rows(0, marks=view.marks, conversions=view.conversions)
        ),
        accounts=accounts,
        underlyings=underlyings,
    )


def free_collateral(portfolio: Portfolio, market: MarketView, account_id: AccountId, asset: Asset) -> float:
    """How much of an asset an account can give: all, or what its initial margin leaves. NaN when unknown."""
    account = portfolio.account(account_id)
    held = max(float(account.balance(asset)), 0.0)
    if not account.balances_back_positions:
        return held
    figures = next(a for a in portfolio_risk(portfolio, market).accounts if a.id == account_id)
    excess = figures.equity - figures.initial_margin
    haircut = next((float(b.haircut) for b in account.balances if b.asset == asset), 0.0)
    conversion = market.universe.conversion(asset, portfolio.valuation_currency)
    counted = market.block().value(0, conversion) * (1.0 - haircut)
    if counted == 0.0 or isnan(excess + counted):
        return held if counted == 0.0 else nan
    return max(min(held, excess / counted), 0.0)


def _inverse(ratio: float) -> float:
    return 1.0 / ratio if ratio else float("inf")
