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


def test_with_other_listings_a_block_still_says_what_had_news():
    """Else nobody would look at its frames any more."""
    other = Instrument(id="AAA-USDT-PERP", kind="perpetual", underlying="AAA", quote="USDT")
    change = Change(TickKind.PRICE, PERPETUAL.id, 50_000.0, 0.0, 1, Quality.VALID, START_NS)
    frames = [Frame(1, 1, START_NS, "", 0), Frame(1, 2, START_NS, "", 0, (change,))]
    listed = Universe([PERPETUAL, other])
    block = MarketView(Universe([PERPETUAL])).advance(frames).on(listed)
    assert block.changed_frames.tolist() == [1]
    assert block.changed_rows.tolist() == [listed.index[PERPETUAL.id]]
    assert block.price(1, listed.index[PERPETUAL.id]) == 50_000.0
    assert isnan(block.price(1, listed.index[other.id]))
