"""Laws of the consensus: no source alone can drag it outside what the sources say."""

import math

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from app.domain.market import Quality, Tick, TickKind
from app.oracle.consensus import aggregate
from app.oracle.declared import Ladder, Pair
from app.oracle.memory import Memory
from app.oracle.sequencer import ClockMode, Sequencer

NOW_NS = 1_767_225_600_000_000_000
AGE_NS = 60_000_000_000
PRICES = st.floats(min_value=1e-6, max_value=1e15)
CONFIDENCES = st.floats(min_value=0.0, max_value=1e300)
QUOTES = st.lists(st.tuples(PRICES, CONFIDENCES), min_size=1, max_size=9)


def quote(source, value, *, confidence=0.0, age_ns=0, kind=TickKind.PRICE):
    return Tick(kind, source, "BTC-USDT", 1, NOW_NS - age_ns, value, confidence)


def agreed(quotes):
    """What the oracle tells of them when they come in one entry, their market being at NOW_NS."""
    machine = Sequencer(
        generation=1,
        sequence=0,
        time_ns=NOW_NS,
        clock=ClockMode.LIVE,
        instruments={"BTC-USDT": Pair("BTC", "USDT", is_spot=True)},
        memory=Memory.of(quotes),  # a last word may be of any age
    )
    last = msgspec.structs.replace(quotes[0], sequence=2)
    assert not machine.take(entry="1-0", ticks=[last], wall_ns=NOW_NS).rejected
    machine.close(wall_ns=NOW_NS)
    ((change,),) = (frame.changes for frame in machine.frames())
    return change


@given(PRICES, CONFIDENCES)
def test_a_single_source_is_taken_at_its_word(value, confidence):
    assert aggregate([value], [confidence]) == (value, confidence, 0.0)


@given(QUOTES)
def test_the_consensus_lies_within_what_the_sources_say_however_unsure_they_are(quotes):
    values, confidences = zip(*quotes, strict=True)
    value, confidence, dispersion = aggregate(values, confidences)
    assert 0.0 <= dispersion <= max(values) - min(values)
    assert min(values) <= value <= max(values)
    assert math.isfinite(confidence)
    assert confidence >= 0.0


@given(QUOTES, st.randoms(use_true_random=False))
def test_the_order_of_sources_does_not_matter(quotes, random):
    shuffled = random.sample(quotes, len(quotes))
    assert aggregate(*zip(*shuffled, strict=True)) == aggregate(*zip(*quotes, strict=True))


@given(QUOTES, st.integers(min_value=-40, max_value=40))
def test_another_unit_of_price_changes_nothing_else(quotes, exponent):
    """Powers of two are exact, so the figures scale to the last bit."""
    factor = 2.0**exponent
    values, confidences = zip(*quotes, strict=True)
    value, confidence, dispersion = aggregate(values, confidences)
    scaled = aggregate([v * factor for v in values], [c * factor for c in confidences])
    assert scaled == (value * factor, confidence * factor, dispersion * factor)


@given(PRICES, CONFIDENCES, st.integers(min_value=2, max_value=9))
def test_sources_that_agree_are_agreed_with(value, confidence, count):
    agreed_value, agreed_confidence, dispersion = aggregate([value] * count, [confidence] * count)
    assert (agreed_value, dispersion) == (value, 0.0)
    assert agreed_confidence in (value - (value - confidence), (value + confidence) - value)


@given(st.floats(min_value=1e-6, max_value=1e15))
def test_one_liar_among_three_cannot_move_the_price_beyond_the_honest(lie):
    assert 99.0 <= aggregate([99.0, 101.0, lie], [0.0, 0.0, 0.0])[0] <= 101.0


@given(PRICES, st.integers(min_value=AGE_NS + 1, max_value=NOW_NS))
def test_a_stale_source_does_not_vote(stale_value, age_ns):
    change = agreed([quote("a", 100.0), quote("b", stale_value, age_ns=age_ns)])
    assert (change.value, change.sources, change.time_ns) == (100.0, 1, NOW_NS)


def test_a_source_exactly_at_the_limit_of_age_still_votes():
    change = agreed([quote("a", 100.0), quote("b", 102.0, age_ns=AGE_NS)])
    assert (change.value, change.sources, change.time_ns) == (101.0, 2, NOW_NS)


@given(PRICES, st.floats(min_value=0.0, max_value=1e15))
def test_a_price_is_uncertain_when_its_interval_is_wide(value, confidence):
    uncertain = confidence > Ladder().uncertain_fraction * value
    expected = Quality.TOO_UNCERTAIN if uncertain else Quality.VALID
    assert agreed([quote("a", value, confidence=confidence)]).quality is expected


def test_a_funding_rate_near_zero_is_not_uncertain():
    """Its width says nothing relative to a value that may be zero or negative."""
    rate = quote("a", -0.0001, confidence=0.001, kind=TickKind.FUNDING_RATE)
    assert agreed([rate]).quality is Quality.VALID
