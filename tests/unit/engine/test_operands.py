"""What conditions read in the book is what the risk of the portfolio shows, or unknown."""

from datetime import UTC, datetime
from decimal import Decimal
from math import inf, isnan
from uuid import uuid4

import numpy as np
import pytest
from msgspec.structs import replace

from app.domain.conditions import AllOf, AnyOf, Comparison
from app.domain.families.rule import Notify
from app.domain.instruments import Instrument
from app.domain.market import Change, Frame, Quality, TickKind
from app.domain.metrics import METRICS, MetricRef
from app.domain.policies import Rule, StoredPolicy
from app.domain.portfolios import Account, Balance, MarginMode, Portfolio, PortfolioState, Position, Reserve
from app.domain.times import to_ns
from app.engine.book import Book
from app.engine.conditions import compile_condition
from app.engine.decide import affected
from app.engine.market_view import MarketView
from app.engine.metrics import observe
from app.engine.operands import Operands
from app.engine.risk import portfolio_risk
from app.engine.tables import PairColumns
from app.engine.universe import Universe
from tests.evaluated_conditions import evaluated

NOW_NS = to_ns(datetime(2026, 1, 1, tzinfo=UTC))
OPTION = {
    "kind": "option", "underlying": "BTC", "quote": "USD", "settlement": "inverse", "marked_by": "BTC-USD",
    "expiry": "2026-03-27T08:00:00Z", "lot_size": "0.1",
}  # fmt: skip
UNIVERSE = Universe(
    Instrument.model_validate(terms)
    for terms in (
        {"id": "BTC-USDT", "kind": "spot", "underlying": "BTC", "quote": "USDT"},
        {"id": "ETH-USDT", "kind": "spot", "underlying": "ETH", "quote": "USDT"},
        {"id": "USDC-USDT", "kind": "spot", "underlying": "USDC", "quote": "USDT"},
        {"id": "BTC-USD", "kind": "perpetual", "underlying": "BTC", "quote": "USD", "settlement": "inverse"},
        {"id": "BTC-PERP", "kind": "perpetual", "underlying": "BTC", "quote": "USDT"},
        {"id": "BTC-C", "strike": 60_000, "option_type": "call", **OPTION},
        {"id": "BTC-P", "strike": 55_000, "option_type": "put", **OPTION},
    )
)
# A dollar is not a tether: BTC-USD quotes the same coin a little lower.
PRICES = {
    "BTC-USDT": 60_000.0,
    "ETH-USDT": 2_500.0,
    "USDC-USDT": 0.999,
    "BTC-USD": 59_900.0,
    "BTC-PERP": 60_010.0,
}
VOLATILITIES = {"BTC-C": 0.6, "BTC-P": 0.65}


def account(name, positions, balances):
    return Account(
        uuid4(),
        name,
        "paper",
        MarginMode.CROSS,
        tuple(Position(i, Decimal(q), Decimal(p)) for i, q, p in positions),
        tuple(Balance(asset, Decimal(amount), Decimal(cut)) for asset, amount, cut in balances),
    )


PORTFOLIO = Portfolio(
    uuid4(), uuid4(), "tested", "USDT", PortfolioState.ACTIVE, 1,
    (
        account("perps", [("BTC-PERP", "1.5", "58000")], [("USDT", "20000", "0"), ("ETH", "3", "0.1")]),
        account("options", [("BTC-C", "-2", "0.05"), ("BTC-P", "1", "0.03")], [("BTC", "1.2", "0")]),
        account("idle", [], [("USDT", "50", "0")]),
    ),
    (Reserve("USDC", Decimal(900), Decimal(100)), Reserve("ETH", Decimal(2)), Reserve("BTC", Decimal(0))),
)  # fmt: skip


def market_at(prices=PRICES, volatilities=VOLATILITIES):
    market = MarketView(UNIVERSE)
    found = [(TickKind.PRICE, *item) for item in prices.items()]
    found += [(TickKind.IMPLIED_VOL, *item) for item in volatilities.items()]
    changes = tuple(Change(kind, name, v, 0.0, 1, Quality.VALID, NOW_NS) for kind, name, v in found)
    return market, market.advance([Frame(1, 1, NOW_NS, "", 0, changes)])


def reading(texts):
    """A tree that reads these metrics."""
    refs = [MetricRef.parse(text) for text in texts]
    parts = [Comparison(metric=ref, op="above", value=0) for ref in refs]
    return AllOf(conditions=tuple(AnyOf(conditions=parts[at : at + 8]) for at in range(0, len(parts), 8)))


class Reader:
    """A book whose last portfolio has a rule that reads these metrics."""

    def __init__(self, texts, portfolio=PORTFOLIO):
        tree = reading(texts)
        rule = Rule(name="reads", condition=tree, actions=[Notify(message="read")])
        self.book = Book(UNIVERSE)
        self.book.put(PORTFOLIO)
        self.book.put(replace(portfolio, policies=(StoredPolicy(uuid4(), 1, rule),)))
        self._paths = compile_condition(tree, Operands(UNIVERSE, portfolio).resolve).paths
        self._texts = texts

    def values(self, block):
        numbers = self.book.slots.arrays.deciding[: len(self.book)].copy()
        figures = observe(self.book, block, PairColumns(numbers, np.zeros(len(numbers), dtype=np.int64)))
        here, of_view = figures.condition_slice(len(numbers) - 1), self.book.columns.arrays
        first, stop = int(of_view.condition[numbers[-1]]), int(of_view.condition_stop[numbers[-1]])
        results, rows = figures.conditions.result, self.book.conditions.arrays
        evaluated(first, stop, here.start, rows, results, np.zeros(0), 0, 0.0)
        last = dict(zip(self._paths, results[here].tolist(), strict=True))
        metrics = [value for path, value in last.items() if path.endswith("/metric")]
        return dict(zip(self._texts, metrics, strict=True))


def replaced(**changes):
    fields = {name: getattr(PORTFOLIO, name) for name in PORTFOLIO.__struct_fields__}
    return Portfolio(**{**fields, "id": uuid4(), **changes})


def test_conditions_read_what_the_risk_of_the_portfolio_shows():
    market, block = market_at()
    risk = portfolio_risk(PORTFOLIO, market)
    expected = {
        "equity": risk.equity,
        "leverage": risk.leverage,
        "margin_ratio": risk.margin_ratio,
        "health_factor": risk.health_factor,
        "initial_margin": sum(a.initial_margin for a in risk.accounts),
        "maintenance_margin": sum(a.maintenance_margin for a in risk.accounts),
        "gross_delta_notional": sum(u.gross_delta_notional for u in risk.underlyings),
        "reserve_available": 800 * 0.999 + 2 * 2_500.0,
        "price.BTC-PERP": 60_010.0,
        "implied_volatility.BTC-P": 0.65,
    }
    for a in risk.accounts:
        for name in ("equity", "initial_margin", "maintenance_margin", "margin_ratio", "health_factor"):
            expected[f"{name}@{a.name}"] = getattr(a, name)
    for u in risk.underlyings:
        for name in ("net_delta", "gross_delta_notional", "gamma", "vega", "theta"):
            expected[f"{name}.{u.underlying}"] = getattr(u, name)
        expected[f"delta_notional.{u.underlying}"] = u.net_delta * u.price
        expected[f"dollar_vega.{u.underlying}"] = u.vega * (1.0 / 100.0)
        expected[f"theta_per_day.{u.underlying}"] = u.theta * (1.0 / 365.0)
    assert Reader(list(expected)).values(block) == expected


def test_dollar_gamma_is_what_the_delta_notional_gains_in_a_move_of_one_percent():
    def deltas(factor):
        moved = {name: p * factor if name.startswith("BTC") else p for name, p in PRICES.items()}
        return reader.values(market_at(moved)[1])["net_delta.BTC"]

    reader = Reader(["dollar_gamma.BTC", "net_delta.BTC", "dollar_gamma.ETH"])
    step = 1e-4
    gained = (deltas(1 + step) - deltas(1 - step)) / (200 * step) * PRICES["BTC-USDT"]
    values = reader.values(market_at()[1])
    assert values["dollar_gamma.BTC"] == pytest.approx(gained, rel=1e-6)
    assert values["dollar_gamma.ETH"] == 0.0


@pytest.mark.parametrize(
    "text",
    [
        "equity@nobody", "net_delta.SOL", "gamma.USDT", "price.SOL-USDT", "implied_volatility.BTC-PERP",
        "stress.MARKET",
    ],
)  # fmt: skip
def test_what_names_nothing_is_unknown(text):
    assert isnan(Reader([text]).values(market_at()[1])[text])


def test_what_has_no_price_makes_unknown_what_needs_it_and_nothing_else():
    texts = ["equity@perps", "equity@idle", "equity", "margin_ratio", "margin_ratio@options", "leverage",
             "reserve_available", "net_delta.BTC", "net_delta.ETH", "price.ETH-USDT"]  # fmt: skip
    without = {name: price for name, price in PRICES.items() if name != "ETH-USDT"}
    values = Reader(texts).values(market_at(without)[1])
    unknown = {text for text, value in values.items() if isnan(value)}
    assert unknown == {"equity@perps", "equity", "margin_ratio", "leverage", "reserve_available",
                       "net_delta.ETH", "price.ETH-USDT"}  # fmt: skip


def test_a_portfolio_of_nothing_has_no_risk_and_nothing_in_reserve():
    texts = [
        "equity",
        "margin_ratio",
        "health_factor",
        "leverage",
        "gross_delta_notional",
        "reserve_available",
    ]
    empty = replaced(accounts=(account("main", [], []),), reserves=())
    values = Reader(texts, empty).values(market_at()[1])
    assert list(values.values()) == [0.0, 0.0, inf, inf, 0.0, 0.0]


def test_news_of_what_a_condition_reads_wake_its_portfolio():
    holdings = replaced(accounts=(account("main", [], [("USDT", "1", "0")]),), reserves=())
    for text, kind, name in (
        ("price.BTC-PERP", TickKind.PRICE, "BTC-PERP"),
        ("implied_volatility.BTC-C", TickKind.IMPLIED_VOL, "BTC-C"),
        ("net_delta.ETH", TickKind.PRICE, "ETH-USDT"),
    ):
        reader = Reader([text], holdings)
        reader.book.remove(PORTFOLIO.id)
        market, _ = market_at()
        for changed in (name, "USDC-USDT"):
            change = Change(kind, changed, 1.0, 0.0, 1, Quality.VALID, NOW_NS)
            block = market.advance([Frame(1, market.position.sequence + 1, NOW_NS, "", 0, (change,))])
            assert bool(affected(reader.book, block)) is (changed == name)


def test_every_metric_of_a_portfolio_is_read_or_known_to_be_missing():
    """A metric that joins the registry must join what conditions read."""
    texts = [metric.examples[0].replace("@main", "@perps") for metric in METRICS.values()]
    texts = [text.replace("BTC-USDT-PERP", "BTC-C") for text in texts]
    values = Reader(texts).values(market_at(PRICES | {"BTC-C": 0.04})[1])
    assert {text for text, value in values.items() if isnan(value)} == {
        "twap.BTC-C/300s", "twap_confidence.BTC-C/300s", "ewma_price.BTC-C/300s",
        "ewma_confidence.BTC-C/300s",
        "realized_volatility.BTC-C", "forecast_volatility.BTC-C", "funding_rate.BTC-C", "stress.MARKET",
        "sentiment.MARKET", "gas_price.ethereum", "book_depth.binance/BTC-USDT/50bps",
        "pool_depth.ethereum/WETH-USDC-5/50bps",
    }  # fmt: skip
