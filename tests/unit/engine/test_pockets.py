"""Capital efficiency: collateral moves to the pocket that starves, and stays where it is as badly needed."""

from decimal import Decimal
from uuid import UUID

import pytest
from msgspec.structs import replace

from app.domain.families.capital_efficiency import Pocket, Route
from app.domain.instruments import Instrument, InstrumentKind
from app.domain.market import Change, Frame, Quality, TickKind
from app.domain.policies import CapitalEfficiency, Guards, Mode
from app.domain.portfolios import (
    Account,
    Balance,
    MarginMode,
    Portfolio,
    PortfolioState,
    Position,
    StoredPolicy,
)
from app.engine.book import Book
from app.engine.decide import affected, decide
from app.engine.fills import apply_legs_as_if_done
from app.engine.market_view import MarketView
from app.engine.risk import portfolio_risk
from app.engine.universe import Universe

PERPETUAL = Instrument(
    id="BTC-USDT-PERP", kind=InstrumentKind.PERPETUAL, underlying="BTC", quote="USDT",
    initial_margin_rate=Decimal("0.02"), maintenance_margin_rate=Decimal("0.01"),
)  # fmt: skip
UNIVERSE = Universe([PERPETUAL])
PRICE, NOW_NS = 50_000.0, 10**18
MINIMUM, TARGET, MAXIMUM = 4.0, 8.0, 12.0


def pocket(name, health):
    """One bitcoin at its entry price needs 500 of maintenance."""
    sign = 1 if name == "main" else -1
    held = Position(PERPETUAL.instrument_id, Decimal(sign), Decimal(50_000), accrued_ns=NOW_NS)
    cash = Balance("USDT", Decimal(500) * Decimal(health))
    number = 1 if name == "main" else 2
    return Account(UUID(int=number), name, "paper", MarginMode.CROSS, (held,), (cash,))


def holdings(main, other):
    levels = {"minimum_health": MINIMUM, "target_health": TARGET, "maximum_health": MAXIMUM}
    policy = CapitalEfficiency(
        name="pockets",
        mode=Mode.AUTO,
        guards=Guards(cooldown_seconds=0),
        pockets=tuple(Pocket(account=name, **levels) for name in ("main", "other")),
        routes=(
            Route(source="main", destination="other", asset="USDT"),
            Route(source="other", destination="main", asset="USDT"),
        ),
    )
    return Portfolio(
        UUID(int=7), UUID(int=8), "two pockets", "USDT", PortfolioState.ACTIVE, 1,
        (pocket("main", main), pocket("other", other)),
        policies=(StoredPolicy(UUID(int=9), 1, policy),),
    )  # fmt: skip


def decided(portfolio):
    book, market = Book(UNIVERSE), MarketView(UNIVERSE)
    book.put(portfolio)
    price = Change(TickKind.PRICE, PERPETUAL.id, PRICE, 0.0, 1, Quality.VALID, NOW_NS)
    block = market.advance([Frame(1, 1, NOW_NS, "", 0, (price,))])
    verdicts = decide(book, {}, block, affected(book, block))
    return verdicts[portfolio.id].adjustments if portfolio.id in verdicts else (), market


def rebalanced(portfolio):
    """The adjustment, what it leaves, and the health of both pockets then."""
    (adjustment,), market = decided(portfolio)
    done = apply_legs_as_if_done(portfolio, adjustment.legs, UNIVERSE.instruments)
    done = replace(done, in_flight=(), revision=done.revision + 1)
    return adjustment, done, [account.health_factor for account in portfolio_risk(done, market).accounts]


def test_what_is_above_a_target_fills_who_starves_to_his_own():
    adjustment, _, healths = rebalanced(holdings("13", "3"))
    assert adjustment.reaches_target
    assert healths == pytest.approx([8.0, 8.0], rel=1e-6)


@pytest.mark.parametrize(("main", "other"), [("9.5", "3"), ("3.5", "8"), ("7", "3.9"), ("9", "2.1")])
def test_where_both_cannot_have_their_target_nobody_is_left_at_his_minimum(main, other):
    """Whoever gave down to his minimum took it back with the next tick, and so on for ever."""
    adjustment, done, healths = rebalanced(holdings(main, other))
    assert not adjustment.reaches_target
    assert sum(healths) == pytest.approx(float(main) + float(other), rel=1e-6)
    step = (TARGET - MINIMUM) / 4.0
    even = sum(healths) / 2.0
    assert min(healths) >= MINIMUM + step * ((even - MINIMUM) // step) - 1e-6
    assert not decided(done)[0]


def test_who_is_down_to_his_minimum_gives_nothing():
    assert not decided(holdings("4", "3"))[0]


def test_of_little_only_what_is_needed_to_be_above_the_minimum_is_moved():
    _, _, healths = rebalanced(holdings("5.1", "3.2"))
    assert healths == pytest.approx([4.3, 4.0], rel=1e-6)
