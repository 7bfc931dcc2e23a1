"""A portfolio's figures, as people see them."""

from decimal import Decimal
from math import isinf, isnan
from uuid import uuid4

import pytest

from app.domain.instruments import Instrument
from app.domain.market import Change, Quality, StreamPosition, TickKind
from app.domain.portfolios import Account, Balance, MarginMode, Portfolio, PortfolioState, Position
from app.engine.risk import market_view, portfolio_risk

PERPETUAL = Instrument(id="BTC-USDT-PERP", kind="perpetual", underlying="BTC", quote="USDT")


def risk(*, collateral, price=None):
    """Of one bitcoin, long from 60,000."""
    held = Position(PERPETUAL.instrument_id, Decimal(1), Decimal(60_000))
    account = Account(uuid4(), "main", "paper", MarginMode.CROSS, (held,), (Balance("USDT", collateral),))
    portfolio = Portfolio(uuid4(), uuid4(), "book", "USDT", PortfolioState.ACTIVE, 1, (account,))
    known = [Change(TickKind.PRICE, PERPETUAL.id, price, 0.0, 1, Quality.VALID, 1)] if price else []
    market = market_view([PERPETUAL], known, position=StreamPosition(1, 1), time_ns=1)
    return portfolio_risk(portfolio, market)


def test_leverage_is_notional_over_equity():
    assert risk(collateral=Decimal(20_000), price=50_000.0).leverage == 5.0


def test_leverage_has_no_bound_where_nothing_is_left():
    assert isinf(risk(collateral=Decimal(10_000), price=50_000.0).leverage)


def test_what_cannot_be_valued_is_unknown_and_not_without_bound():
    unpriced = risk(collateral=Decimal(20_000))
    assert isnan(unpriced.equity)
    assert isnan(unpriced.leverage)
    assert isnan(unpriced.margin_ratio)
    assert isnan(unpriced.liquidation_distance)


def test_the_distance_to_liquidation_is_that_of_the_worst_account():
    """40,000 / 0.995 is where 20,000 of collateral are half a percent of a bitcoin bought at 60,000."""
    report = risk(collateral=Decimal(20_000), price=50_000.0)
    assert report.accounts[0].liquidation_distance == pytest.approx(1 - 40_000 / 0.995 / 50_000, rel=1e-14)
    assert report.liquidation_distance == report.accounts[0].liquidation_distance
