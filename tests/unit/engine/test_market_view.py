"""The market as the decision core sees it."""

from math import isnan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.instruments import Instrument
from app.domain.market import Change, Frame, Quality, StreamPosition, TickKind, marked_by
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


def told(kind, value, second, quality=Quality.VALID):
    return Change(kind, PERPETUAL.id, value, 0.0, 1, quality, START_NS + second * 1_000_000_000)


@pytest.mark.parametrize(("quality", "price_second", "stands"), [
    (Quality.VALID, 90, 100.0),
    (Quality.STALE_FOR_TRADING, 90, 100.0),
    (Quality.TOO_UNCERTAIN, 90, 100.0),  # it is spoken of: policies hold
    (Quality.STALE_FOR_MARGIN, 90, 200.0),
    (Quality.INSUFFICIENT_SOURCES, 90, 200.0),
    (Quality.STALE_FOR_MARGIN, 10, 100.0),  # the price was forsaken before it
])  # fmt: skip
def test_a_mark_counts_before_the_price_unless_it_is_forsaken(quality, price_second, stands):
    view = MarketView(Universe([PERPETUAL]))
    mark, price = told(TickKind.MARK, 100.0, 10, quality), told(TickKind.PRICE, 200.0, price_second)
    block = view.advance(
        [Frame(1, 1, START_NS, "", 0, (mark,)), Frame(1, 2, START_NS + 90_000_000_000, "", 0, (price,))]
    )
    row = view.universe.index[PERPETUAL.id]
    assert [block.price(k, row) for k in range(2)] == [100.0, stands]


CHANGES = st.builds(
    told,
    st.sampled_from([TickKind.MARK, TickKind.PRICE]),
    st.integers(1, 9).map(float),
    st.integers(0, 5),
    st.sampled_from([Quality.VALID, Quality.STALE_FOR_MARGIN, Quality.INSUFFICIENT_SOURCES]),
)


def standing(view):
    row = view.universe.index[PERPETUAL.id]
    records, at = view.records.arrays, view.standing[row]
    return records.value[at], records.quality[at], records.time_ns[at], records.frame[at]


@given(st.lists(st.lists(CHANGES, max_size=3), max_size=12))
def test_what_marks_positions_follows_from_the_last_mark_and_price_and_survives_a_snapshot(history):
    view, last = MarketView(Universe([PERPETUAL])), {}
    for sequence, changes in enumerate(history, start=1):
        view.advance([Frame(1, sequence, START_NS + sequence, "", 0, tuple(changes))])
        last |= {change.kind: change for change in changes}
        known = [last[kind] for kind in (TickKind.MARK, TickKind.PRICE) if kind in last]
        value, quality, time_ns, _ = standing(view)
        if not known:
            assert isnan(value)
        else:
            marked = marked_by(known[0], known[-1])
            assert (value, quality, time_ns) == (marked.value, marked.quality, marked.time_ns)
            again = MarketView(view.universe)
            again.restore(view.snapshot(), position=StreamPosition(1, sequence), time_ns=START_NS + sequence)
            assert standing(again) == standing(view)
