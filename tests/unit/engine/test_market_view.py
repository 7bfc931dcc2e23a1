"""The market as the decision core sees it."""

from math import isnan

from app.domain.instruments import Instrument
from app.domain.market import Change, Frame, Quality, TickKind
from app.engine.market_view import MarketView
from app.engine.universe import Universe

START_NS = 1_767_225_600_000_000_000
PERPETUAL = Instrument(id="BTC-USDT-PERP", kind="perpetual", underlying="BTC", quote="USDT")


def test_a_volatility_of_what_is_no_option_changes_nothing():
    """Least of all the row that is never known, which marks whatever has no price of its own."""
    universe = Universe([PERPETUAL])
    change = Change(TickKind.IMPLIED_VOL, PERPETUAL.id, 0.5, 0.0, 1, Quality.VALID, START_NS)
    block = MarketView(universe).advance([Frame(1, 1, START_NS, "", 0, (change,))])
    assert isnan(block.price(0, universe.unknown_row))
    assert isnan(block.price(0, universe.index[PERPETUAL.id]))
