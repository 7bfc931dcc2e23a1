"""What may enter the market: everything that does is a number some market could have, near its time."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import InvalidTick
from app.domain.market import UNLISTED, Rejection, Tick, TickKind
from app.oracle.admission import BOUNDS, LATEST_NS, check_time, check_value

NOW_NS = 1_767_225_600_000_000_000
AGE_NS, LEAD_NS = 60_000_000_000, 5_000_000_000
VALUED = [kind for kind in TickKind if kind is not TickKind.HEARTBEAT]
POSITIVE = [TickKind.PRICE, TickKind.MARK, TickKind.IMPLIED_VOL]


def tick(*, kind=TickKind.PRICE, value=100.0, confidence=0.0, time_ns=NOW_NS):
    return Tick(kind, "venue", "BTC-USDT", 1, time_ns, value, confidence)


def refusal_of_value(**terms):
    try:
        check_value(tick(**terms))
    except InvalidTick as refusal:
        return refusal.reason
    return None


def refusal_of_time(time_ns, *, now_ns=NOW_NS):
    try:
        check_time(tick(time_ns=time_ns), now_ns=now_ns, maximum_age_ns=AGE_NS, maximum_lead_ns=LEAD_NS)
    except InvalidTick as refusal:
        return refusal.reason
    return None


@given(st.sampled_from(VALUED), st.floats(), st.floats())
def test_whatever_is_let_in_is_finite_and_possible(kind, value, confidence):
    if refusal_of_value(kind=kind, value=value, confidence=confidence) is None:
        assert math.isfinite(value)
        assert math.isfinite(confidence)
        assert confidence >= 0.0
        assert abs(value) <= 1e15
        assert value >= (1e-30 if kind in POSITIVE else 0.0) or kind is TickKind.FUNDING_RATE


@given(st.sampled_from([TickKind.PRICE, TickKind.MARK]), st.floats(min_value=1e-30, max_value=1e15))
def test_every_price_that_some_coin_may_have_is_let_in(kind, value):
    assert refusal_of_value(kind=kind, value=value) is None


@pytest.mark.parametrize("kind", POSITIVE)
@pytest.mark.parametrize("value", [5e-324, 2.2e-308, 1e-300, math.nextafter(1e-30, 0.0)])
def test_what_is_so_small_that_its_ratios_are_no_numbers_is_no_price(kind, value):
    assert refusal_of_value(kind=kind, value=value) is Rejection.OUT_OF_RANGE


@pytest.mark.parametrize("kind", VALUED)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number(kind, value):
    assert refusal_of_value(kind=kind, value=value) is Rejection.NOT_FINITE
    assert refusal_of_value(kind=kind, value=0.5, confidence=value) is Rejection.NOT_FINITE


@pytest.mark.parametrize("kind", POSITIVE)
@pytest.mark.parametrize("value", [0.0, -0.0, -1e-300, -50_000.0])
def test_what_must_be_above_zero(kind, value):
    assert refusal_of_value(kind=kind, value=value) is Rejection.NOT_POSITIVE


@pytest.mark.parametrize("value", [-1.0, -0.0001, 0.0, 1.0])
def test_funding_may_be_negative_or_nothing(value):
    assert refusal_of_value(kind=TickKind.FUNDING_RATE, value=value) is None


@pytest.mark.parametrize("kind", UNLISTED)
@pytest.mark.parametrize("value", [0.0, -0.0, 0.4, 3.0])
def test_indices_gas_and_depths_may_be_nothing(kind, value):
    assert refusal_of_value(kind=kind, value=value) is None


@pytest.mark.parametrize("kind", UNLISTED)
def test_indices_gas_and_depths_are_never_negative(kind):
    assert refusal_of_value(kind=kind, value=-1e-300) is Rejection.NOT_POSITIVE


@pytest.mark.parametrize(
    ("kind", "largest"),
    [
        (TickKind.PRICE, 1e15),
        (TickKind.MARK, 1e15),
        (TickKind.IMPLIED_VOL, 50.0),
        (TickKind.FUNDING_RATE, 1.0),
        (TickKind.STRESS, 1e6),
        (TickKind.SENTIMENT, 100.0),
        (TickKind.GAS_PRICE, 1e6),
        (TickKind.BOOK_DEPTH, 1e15),
        (TickKind.POOL_DEPTH, 1e15),
    ],
)
def test_what_nobody_believes(kind, largest):
    assert refusal_of_value(kind=kind, value=largest) is None
    assert refusal_of_value(kind=kind, value=math.nextafter(largest, math.inf)) is Rejection.OUT_OF_RANGE


def test_a_negative_confidence():
    assert refusal_of_value(confidence=-1e-9) is Rejection.NOT_POSITIVE


@given(st.integers(min_value=-(1 << 63), max_value=(1 << 64) - 1))
def test_whatever_is_let_in_is_near_the_market_clock(time_ns):
    inside = NOW_NS - AGE_NS <= time_ns <= NOW_NS + LEAD_NS
    assert (refusal_of_time(time_ns) is None) == inside


@pytest.mark.parametrize(
    ("time_ns", "reason"),
    [
        (NOW_NS - AGE_NS, None),
        (NOW_NS - AGE_NS - 1, Rejection.STALE),
        (NOW_NS + LEAD_NS, None),
        (NOW_NS + LEAD_NS + 1, Rejection.FUTURE),
        (0, Rejection.OUT_OF_RANGE),
        (-1, Rejection.OUT_OF_RANGE),
        (LATEST_NS, Rejection.OUT_OF_RANGE),
    ],
)
def test_the_limits_of_time(time_ns, reason):
    assert refusal_of_time(time_ns) is reason


@given(st.integers(min_value=1, max_value=LATEST_NS - 1))
def test_the_first_tick_of_a_replay_finds_no_clock_and_is_let_in(time_ns):
    assert refusal_of_time(time_ns, now_ns=0) is None


@given(st.sampled_from(VALUED), st.floats() | st.sampled_from([0.0, -1.0, 1.0, 50.0, 1e15]))
def test_the_bounds_of_the_quick_look_are_those_of_the_close_one(kind, value):
    above, most = BOUNDS[kind]
    assert (above < value <= most) == (refusal_of_value(kind=kind, value=value) is None)
