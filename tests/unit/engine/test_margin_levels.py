"""Levels of the margin ratio: told when they are reached and when they are over, and once."""

from decimal import Decimal
from itertools import pairwise
from math import inf, nan
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from app.domain.adjustments import AdjustmentState, InFlight, TransferLeg
from app.domain.margin_levels import LEVELS, level_after, ratios_of
from app.engine.book import Book
from app.engine.decide import affected, decide
from app.engine.margin_levels import level_of, memory_id
from app.engine.market_view import MarketView
from tests.unit.engine.test_turns import (
    ACCOUNT,
    ETH,
    PERP,
    REDUCE,
    SECOND,
    SPOT,
    START_NS,
    UNIVERSE,
    frame,
    portfolio,
)

BALANCE, ENTRY, SIZE = 50_000, 50_000, 10
RATE = float(PERP.maintenance_margin_rate)
ratios = st.floats(0.0, 2.0) | st.just(inf)
WARNING, RISK = "portfolio.margin_warning", "portfolio.liquidation_risk"


def held(**terms):
    return portfolio(positions=[(PERP, str(SIZE), str(ENTRY))], balance=str(BALANCE), **terms)


def at_ratio(ratio):
    """The price: RATE x size x price = ratio x (balance + size x (price - entry))."""
    return ratio * (SIZE * ENTRY - BALANCE) / (SIZE * (ratio - RATE))


def lived(one, blocks, *, tells_margins=True):
    """The book, what it remembers, and what was told of margins, (frame, type, crossed, level) each."""
    book, market = Book(UNIVERSE, tells_margins=tells_margins), MarketView(UNIVERSE)
    memories, told = {}, []
    book.put(one)
    for frames in blocks:
        block = market.advance(frames)
        for verdict in decide(book, memories, block, affected(book, block)).values():
            memories |= verdict.memories
            told += [
                (
                    int(e.data["market_position"].split("-")[1]) - 1,
                    e.type.value,
                    e.data["crossed"],
                    e.data["level"],
                )
                for e in verdict.events
                if e.type in (WARNING, RISK)
            ]
    return book, memories, told


def path(*market_ratios):
    return [frame(k, {PERP: at_ratio(r), SPOT: at_ratio(r)}) for k, r in enumerate(market_ratios)]


@given(st.integers(0, 2), ratios)
def test_a_level_is_where_its_ratios_are_and_stays_there(level, ratio):
    after = level_after(level, ratio)
    low, below = ratios_of(after)
    assert low <= ratio < below or (below == inf == ratio)
    assert level_after(after, ratio) == after
    low, below = ratios_of(level)
    assert (after == level) is (low <= ratio < below or below == inf == ratio)
    assert level_after(level, nan) == level


def test_levels_are_over_below_where_they_are_reached_and_in_order():
    assert all(level.over < level.reached for level in LEVELS)
    assert all(one.reached < other.reached and one.over < other.over for one, other in pairwise(LEVELS))


ALONG = (0.5, 0.79, 0.8001, 0.75, 0.81, 0.701, 0.699, 0.75, 0.96, 0.92, 0.951, 0.899, 0.6, 0.97, 0.5)
TOLD = [
    (2, WARNING, "above", "0.8"),
    (6, WARNING, "below", "0.7"),
    (8, WARNING, "above", "0.8"),
    (8, RISK, "above", "0.95"),
    (11, RISK, "below", "0.9"),
    (12, WARNING, "below", "0.7"),
    (13, WARNING, "above", "0.8"),
    (13, RISK, "above", "0.95"),
    (14, RISK, "below", "0.9"),
    (14, WARNING, "below", "0.7"),
]


@pytest.mark.parametrize("at_once", [1, 4, 15])
@pytest.mark.parametrize("guarded", [False, True])
def test_each_crossing_is_told_on_its_frame_however_frames_are_read(at_once, guarded):
    """Whether or not it has policies; here one that would fire only beyond."""
    policies = (
        [REDUCE.model_copy(update={"trigger": Decimal("0.99"), "restore": Decimal("0.5")})] if guarded else []
    )
    frames = path(*ALONG)
    blocks = [frames[first : first + at_once] for first in range(0, len(frames), at_once)]
    _, memories, told = lived(held(policies=policies), blocks)
    assert told == TOLD
    assert level_of(memories[memory_id(ACCOUNT)]) == 0


def test_between_levels_it_sleeps():
    calm = path(*[0.3] * 2, *[0.3 + 0.001 * k for k in range(400)])
    book, _, told = lived(held(), [[each] for each in calm])
    assert told == []
    assert book.looks <= 2


def test_whoever_has_nothing_left_is_told_once_and_sleeps_on():
    """On a venue of its own: the ratio is infinite, and above the last level there is no other to come to."""
    one = held()
    one = replace(one, accounts=(replace(one.accounts[0], venue="elsewhere"),))
    prices = [40_000.0 + n for n in range(100)]
    book, _, told = lived(one, [[frame(k, {PERP: price})] for k, price in enumerate(prices)])
    assert told == [(0, WARNING, "above", "0.8"), (0, RISK, "above", "0.95")]
    assert book.looks <= 3


def test_a_book_that_tells_no_margins_is_silent():
    book, memories, told = lived(held(), [[each] for each in path(*ALONG)], tells_margins=False)
    assert (told, memories) == ([], {})
    assert book.looks <= 1


def test_a_liquidated_account_is_told_as_liquidated_alone():
    _, memories, told = lived(held(), [[each] for each in path(0.5, 1.2)])
    assert (told, memories) == ([], {})


def test_what_really_stands_is_told_and_not_what_is_on_its_way():
    top_up = InFlight(
        UUID(int=7), UUID(int=8), AdjustmentState.QUEUED, START_NS + 600 * SECOND,
        (TransferLeg(ACCOUNT, "USDT", Decimal(100_000)),),
    )  # fmt: skip
    _, _, told = lived(held(in_flight=[top_up], reserve="100000"), [path(0.5, 0.85, 0.6)])
    assert told == [(1, WARNING, "above", "0.8"), (2, WARNING, "below", "0.7")]


def test_what_was_told_is_not_told_again_when_the_portfolio_or_the_book_changes():
    first, second, third = path(0.85, 0.85, 0.6)
    one = held()
    book, memories, told = lived(one, [[first]])
    assert told == [(0, WARNING, "above", "0.8")]
    book.put(replace(one, revision=2))
    book.rebuild(UNIVERSE)
    anew = Book(UNIVERSE, tells_margins=True)  # after a restart, from what was committed
    anew.levels.recall(ACCOUNT, level_of(memories[memory_id(ACCOUNT)]))
    anew.put(one)
    for each in (book, anew):
        market, said = MarketView(UNIVERSE), []
        for frames in ([second], [frame(1, {ETH: 2_000.0})], [third]):
            block = market.advance(frames)
            for verdict in decide(each, {}, block, affected(each, block)).values():
                said += [(event.type.value, event.data["crossed"]) for event in verdict.events]
        assert said == [(WARNING, "below")]
