"""When an interval has moved so far that whoever watches it is told."""

from math import inf

import pytest

from app.engine.inspection import has_moved
from app.engine.market_view import MarketView
from app.engine.sleeping import Rest
from app.engine.universe import NEVER_NS
from tests.unit.engine import test_turns as turns

ROW = turns.UNIVERSE.index[turns.PERP.id]


@pytest.fixture
def market():
    """At 50,000."""
    view = MarketView(turns.UNIVERSE)
    view.advance([turns.frame(0, {turns.PERP: 50_000.0})])
    return view


def rest(low, high, until_ns=NEVER_NS):
    return Rest({ROW: (low, high)}, until_ns)


@pytest.mark.parametrize(
    ("told", "now", "moved"),
    [
        ((40_000.0, 60_000.0), (40_000.0, 60_000.0), False),
        ((40_000.0, 60_000.0), (40_499.0, 59_501.0), False),
        ((40_000.0, 60_000.0), (40_501.0, 60_000.0), True),  # 1 % of the price is 500
        ((40_000.0, 60_000.0), (40_000.0, 60_501.0), True),
        ((49_900.0, 50_100.0), (49_919.0, 50_100.0), False),
        ((49_900.0, 50_100.0), (49_921.0, 50_100.0), True),  # a tenth of the width is 20
        ((-inf, 60_000.0), (-inf, 60_400.0), False),
        ((-inf, 60_000.0), (1.0, 60_000.0), True),
        ((40_000.0, inf), (40_000.0, 900_000.0), True),
        ((-inf, inf), (-inf, inf), False),
    ],
)
def test_a_step_is_a_tenth_of_the_width_or_a_hundredth_of_the_price(market, told, now, moved):
    assert has_moved(rest(*told), rest(*now), market) is moved


def test_other_prices_and_what_has_run_out_are_news(market):
    told = rest(40_000.0, 60_000.0, until_ns=market.time_ns)
    assert has_moved(told, rest(40_000.0, 60_000.0), market)
    later = rest(40_000.0, 60_000.0, until_ns=market.time_ns + 1)
    assert not has_moved(later, rest(40_000.0, 60_000.0, until_ns=market.time_ns + 9), market)
    assert has_moved(later, Rest({}, NEVER_NS), market)
