"""How old the prices behind a figure are."""

from app.domain.instruments import Instrument
from app.domain.market import Change, Frame, Quality, TickKind
from app.engine.market_view import MarketView
from app.engine.universe import Universe

START_NS = 1_767_225_600_000_000_000
SECOND = 1_000_000_000


def test_a_price_that_is_not_known_makes_no_other_one_stale():
    """Else a listed spot that nobody quotes would silence a guard on a perpetual that everybody does."""
    listed = [
        Instrument(id="BTC-USDT", kind="spot", underlying="BTC", quote="USDT"),
        Instrument(id="BTC-USDT-PERP", kind="perpetual", underlying="BTC", quote="USDT"),
    ]
    change = Change(TickKind.PRICE, "BTC-USDT-PERP", 50_000.0, 1.0, 1, Quality.VALID, START_NS)
    frames = [Frame(1, 1, START_NS, "1-0", 0, (change,)), Frame(1, 2, START_NS + 7 * SECOND, "", 0)]
    block = MarketView(Universe(listed)).advance(frames)
    spot, perpetual = [0], [1]
    assert block.oldest_age_ns(0, [0, 1]) == 0
    assert block.oldest_age_ns(1, [0, 1]) == block.oldest_age_ns(1, perpetual) == 7 * SECOND
    assert block.oldest_age_ns(1, spot) == 0
