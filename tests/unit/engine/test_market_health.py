"""Markets that degrade and recover: told to those whose policies depend on them, and not with every doubt."""

import pytest

from app.domain.market import Change, Frame, Quality, TickKind
from app.engine.book import Book
from app.engine.decide import affected, decide
from app.engine.market_view import MarketView
from app.engine.universe import Universe
from tests.unit.engine.test_turns import (
    ETH,
    FLAT,
    INVERSE,
    PERP,
    SECOND,
    SPOT,
    START_NS,
    TOP_UP,
    UNIVERSE,
    portfolio,
)

VALID, STALE, DOUBTED = Quality.VALID, Quality.STALE_FOR_TRADING, Quality.TOO_UNCERTAIN
DEGRADED, RECOVERED = "market.degraded", "market.recovered"
PRICES = {PERP: 50_000.0, SPOT: 50_000.0, ETH: 2_000.0, INVERSE: 50_000.0}


def told_frame(second, changes, *, sequence=None):
    """`changes`: the quality of an instrument, or its price and quality."""
    time_ns = START_NS + second * SECOND
    said = tuple(
        Change(TickKind.PRICE, instrument.id, PRICES[instrument], 0.0, 1, quality, time_ns)
        for instrument, quality in changes.items()
    )
    return Frame(1, second + 1 if sequence is None else sequence, time_ns, "", 0, said)


def heard(blocks, portfolios, *, market=None):
    """(second, type, {instrument: quality}) by portfolio."""
    market = market or MarketView(UNIVERSE)
    book, memories, found = Book(UNIVERSE), {}, {one.id: [] for one in portfolios}
    for one in portfolios:
        book.put(one)
    for frames in blocks:
        block = market.advance(frames)
        for key, verdict in decide(book, memories, block, affected(book, block)).items():
            memories |= verdict.memories
            found[key] += [
                (
                    (event.time_ns - START_NS) // SECOND,
                    event.type.value,
                    {each["instrument"]: each["quality"] for each in event.data["markets"]},
                )
                for event in verdict.events
                if event.type in (DEGRADED, RECOVERED)
            ]
    return found


def one(name=1, *, policies=(FLAT,), instrument=PERP):
    return portfolio(positions=[(instrument, "0.01", "50000")], balance="50000", policies=policies, name=name)


def silence(seconds):
    return [told_frame(second, {}) for second in seconds]


BEGIN = [told_frame(0, dict.fromkeys(PRICES, VALID))]
GONE = [told_frame(5, {PERP: STALE, SPOT: STALE})]
BACK = [told_frame(30, {PERP: VALID, SPOT: VALID})]
OUTAGE = [*BEGIN, *silence(range(1, 5)), *GONE, *silence(range(6, 30)), *BACK, *silence(range(31, 50))]


@pytest.mark.parametrize("at_once", [1, 7, 100])
def test_an_outage_is_told_once_and_so_is_its_end_however_frames_are_read(at_once):
    blocks = [OUTAGE[first : first + at_once] for first in range(0, len(OUTAGE), at_once)]
    asleep = one()
    (told,) = heard(blocks, [asleep]).values()
    assert [(second, kind) for second, kind, _ in told] == [(15, DEGRADED), (40, RECOVERED)]
    assert told[0][2] == {PERP.id: "stale_for_trading", SPOT.id: "stale_for_trading"}
    assert told[1][2] == {PERP.id: "valid", SPOT.id: "valid"}


def test_it_is_told_to_those_whose_policies_depend_on_it():
    others = [told_frame(5, {ETH: DOUBTED}), *silence(range(6, 20))]
    told = heard(
        [[*BEGIN, *others]],
        [one(1, policies=(TOP_UP,)), one(2, policies=()), one(3, policies=(FLAT,), instrument=INVERSE)],
    )
    assert list(told.values()) == [[], [], []]
    told = heard([OUTAGE[:20]], [one(1, policies=(TOP_UP,)), one(2, policies=())])
    assert [len(each) for each in told.values()] == [1, 0]


def test_doubts_that_come_and_go_turn_nothing():
    flapping = [told_frame(second, {PERP: DOUBTED if second % 9 else VALID}) for second in range(1, 60)]
    (told,) = heard([[*BEGIN, *flapping]], [one()]).values()
    assert told == []
    doubted = [told_frame(60, {PERP: DOUBTED}), *silence(range(61, 70))]
    moments = [told_frame(second, {PERP: VALID if second % 9 == 0 else DOUBTED}) for second in range(71, 120)]
    (told,) = heard([[*BEGIN, *doubted, told_frame(70, {}), *moments]], [one()]).values()
    assert told == [(70, DEGRADED, {PERP.id: "too_uncertain"})]


def test_what_was_never_known_says_nothing():
    (told,) = heard([silence(range(40))], [one()]).values()
    assert told == []


@pytest.mark.parametrize("second", [3, 7, 15, 16, 33, 40, 41])
def test_a_market_that_is_restored_goes_on_where_it_was(second):
    """From a snapshot, and seen with other listings: whoever goes on hears the rest and nothing twice."""
    before, after = OUTAGE[: second + 1], OUTAGE[second + 1 :]
    first = MarketView(UNIVERSE)
    first.advance(before)
    restored = MarketView(UNIVERSE)
    restored.restore(first.snapshot(), position=first.position, time_ns=first.time_ns)
    listed = first.on(Universe([SPOT, ETH])).on(UNIVERSE) if second < 5 else first.on(UNIVERSE)
    expected = [(15, DEGRADED), (40, RECOVERED)]
    for market in (restored, listed):
        (told,) = heard([after], [one()], market=market).values()
        assert [(at, kind) for at, kind, _ in told] == [each for each in expected if each[0] > second]


def test_a_new_generation_does_not_forget_what_was_told():
    market = MarketView(UNIVERSE)
    market.advance(OUTAGE[:20])
    anew = [
        Frame(2, k + 1, START_NS + (20 + k) * SECOND, "", 0, BEGIN[0].changes if k == 5 else ())
        for k in range(20)
    ]
    (told,) = heard([anew], [one()], market=market).values()
    assert [(at, kind) for at, kind, _ in told] == [(35, RECOVERED)]
