"""Volatilities that nobody quotes, from those that somebody does: what is told, and what is not."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.market import Quality, Tick, TickKind
from app.domain.times import NS_PER_HOUR, NS_PER_YEAR
from app.oracle.declared import Declared, OptionTerms, Pair, Quorum, Source, Standard
from app.oracle.sequencer import ClockMode, Sequencer
from app.oracle.standing import standings
from app.oracle.surfaces import LEAST_LEFT_NS, LEAST_QUOTES, RESOLUTION, SURFACE_NS
from app.quant.surface import JumpWings, VolatilitySurface, from_jump_wings

SECOND = 1_000_000_000
NOW_NS = 1_767_225_600 * SECOND
DAY_NS = 24 * NS_PER_HOUR
PERP, FORWARD = "BTC-USDT-PERP", 60_000.0
DAYS = (7, 30, 90)
STRIKES = tuple(range(48_000, 75_000, 3_000))
IV_AGE = 300


def name_of(days, strike):
    return f"BTC-{days}D-{strike}"


OPTIONS = {
    name_of(days, strike): OptionTerms(float(strike), NOW_NS + days * DAY_NS, PERP)
    for days in DAYS
    for strike in STRIKES
}
LISTED = {PERP: Pair("BTC", "USDT", is_spot=False)} | {
    name: Pair("BTC", "USDT", is_spot=False, option=terms) for name, terms in OPTIONS.items()
}


def truth():
    """A smile as crypto has it, at every expiry, free of arbitrage."""
    years = np.array(DAYS) / 365.0
    wings = JumpWings(
        atm_variances=np.full(3, 0.36),
        atm_skews=-0.12 * years**0.25,
        left_slopes=np.full(3, 0.8),
        right_slopes=np.full(3, 0.6),
        minimum_variances=np.full(3, 0.34),
    )
    slices = from_jump_wings(wings=wings, years_to_expiry=years)
    return VolatilitySurface(years, np.full(3, FORWARD), np.stack(slices, axis=1))


TRUTH = truth()


def volatility(name):
    terms = OPTIONS[name]
    years = (terms.expiry_ns - NOW_NS) / NS_PER_YEAR
    return float(TRUTH.evaluate(strikes=terms.strike, years_to_expiry=years).volatilities)


class Market:
    """A sequencer in a replay: seconds after the start, and what is said then."""

    def __init__(self, *, instruments=LISTED, memory=None, time_ns=NOW_NS - 1, sequence=0, declared=None):
        self.machine = Sequencer(
            generation=1,
            sequence=sequence,
            time_ns=time_ns,
            clock=ClockMode.REPLAY,
            instruments=instruments,
            declared=declared,
            memory=memory,
        )

    def take(self, second, told=(), *, price=FORWARD, source="a"):
        """`told`: options, or volatilities by option."""
        time_ns = NOW_NS + round(second * SECOND)
        quoted = told if isinstance(told, dict) else {name: volatility(name) for name in told}
        ticks = [Tick(TickKind.HEARTBEAT, source, "", 1, time_ns, 0.0)]
        if price:
            ticks.append(Tick(TickKind.PRICE, source, PERP, time_ns, time_ns, price))
        for name, value in quoted.items():
            middle, confidence = value if isinstance(value, tuple) else (value, 0.0)
            ticks.append(Tick(TickKind.IMPLIED_VOL, source, name, time_ns, time_ns, middle, confidence))
        self.machine.take(entry="1-0", ticks=ticks, wall_ns=0)
        self.machine.close(wall_ns=0)

    def see(self, second, told=(), **terms):
        """What is read off in that frame, by option."""
        self.take(second, told, **terms)
        (frame,) = self.machine.frames()
        return read_off(frame)


def read_off(frame):
    return {change.instrument: change for change in frame.changes if change.is_read_off}


LACKING = [name_of(7, 57_000), name_of(30, 63_000), name_of(90, 60_000)]
QUOTED = [name for name in OPTIONS if name not in LACKING]


def test_who_has_no_quote_has_the_volatility_of_the_surface_and_it_says_so():
    market = Market()
    found = market.see(0, QUOTED)
    assert sorted(found) == sorted(LACKING)
    for name, change in found.items():
        assert change.value == pytest.approx(volatility(name), abs=1e-3)
        assert abs(change.value - volatility(name)) <= change.confidence == RESOLUTION
        assert (change.kind, change.sources, change.quality) == (TickKind.IMPLIED_VOL, 0, Quality.VALID)
        assert change.time_ns == NOW_NS


def test_a_quote_of_its_own_comes_before_the_surface_and_after_it_fell_silent_the_surface_again():
    market = Market()
    market.see(0, QUOTED)
    late = LACKING[1]
    assert late not in market.see(10, {name: volatility(name) for name in QUOTED} | {late: 0.9})
    machine = market.machine
    lines = standings(
        machine.memory(), machine.declared, of_prices_ns=60 * SECOND, instruments=machine.instruments
    )
    assert lines[TickKind.IMPLIED_VOL, late].change.value == 0.9
    for second in range(20, 10 + IV_AGE + 1, 10):
        assert late not in market.see(second, QUOTED)
    found = market.see(10 + IV_AGE + 10, QUOTED)
    assert found[late].value == pytest.approx(volatility(late), abs=2e-3)


def test_one_surface_in_ten_seconds_and_none_where_nothing_changed():
    market = Market()
    looks = {
        second: len(market.see(second, QUOTED if second != 20 else ())) for second in (0, 5, 10, 11, 20, 30)
    }
    assert looks == {0: 3, 5: 0, 10: 3, 11: 0, 20: 3, 30: 3}
    market.see(40)  # what was told on the frame of a surface may have come after it
    assert not market.see(50)


def test_where_everything_is_quoted_nothing_is_read_off():
    assert not Market().see(0, list(OPTIONS))


@pytest.mark.parametrize(
    ("quoted", "expected"),
    [
        ([name_of(7, strike) for strike in STRIKES[2:7]], []),
        ([name_of(7, STRIKES[at]) for at in (0, 1, 2, 4, 5)], [name_of(7, STRIKES[3])]),
        ([name_of(7, STRIKES[at]) for at in (0, 1, 2, 4)], []),
    ],
)
def test_five_quotes_of_the_expiry_are_needed_and_nothing_is_told_beyond_their_strikes(quoted, expected):
    assert sorted(Market().see(0, quoted)) == expected
    assert LEAST_QUOTES == 5


def test_what_the_surface_does_not_meet_is_not_told():
    """One quote is far from the smile of the others: the whole expiry is too uncertain then."""
    noisy = {name: volatility(name) for name in QUOTED}
    noisy[name_of(7, 60_000)] *= 1.5
    assert sorted(Market().see(0, noisy)) == sorted(LACKING[1:])
    unsure = {name: (volatility(name), 0.2) for name in QUOTED}
    assert not Market().see(0, unsure)


def test_without_a_price_of_the_underlying_there_is_no_surface():
    market = Market()
    assert not market.see(0, QUOTED, price=None)
    assert market.see(10, QUOTED)
    assert not market.see(71 + 10, QUOTED, price=None)


def test_a_price_of_the_underlying_that_stands_by_a_heartbeat_is_as_good_as_new():
    """And none is, once all who said it are away."""
    chainlink = Source(heartbeat_ns=600 * SECOND, maximum_age_ns=30 * SECOND)
    market = Market(declared=Declared(sources={"chainlink": chainlink}))
    market.see(0, source="chainlink")
    found = {second: len(market.see(second, QUOTED, price=None)) for second in (300, 620, 630, 640, 670)}
    assert found == {300: 3, 620: 3, 630: 3, 640: 0, 670: 0}


def test_a_quote_that_stands_by_a_heartbeat_is_used_and_not_replaced():
    market = Market(declared=Declared(sources={"slow": Source(heartbeat_ns=3_600 * SECOND)}))
    late = LACKING[1]
    market.see(0, {late: 0.9}, source="slow")
    found = {second: late in market.see(second, QUOTED) for second in (400, 3_900, 3_910)}
    assert found == {400: False, 3_900: False, 3_910: True}
    market = Market(declared=Declared(sources={"slow": Source(heartbeat_ns=3_600 * SECOND)}))
    market.see(0, QUOTED, source="slow")
    assert sorted(market.see(3_000, {name_of(7, 60_000): 0.6})) == sorted(LACKING)


def test_an_expiry_with_less_than_an_hour_left_has_none():
    market = Market()
    before = 7 * 86_400 - LEAST_LEFT_NS // SECOND
    assert LACKING[0] in market.see(before, QUOTED)
    assert LACKING[0] not in market.see(before + 10, QUOTED)


def test_a_quote_without_its_quorum_is_neither_used_nor_replaced():
    quorum = {TickKind.IMPLIED_VOL: Standard(quorum=Quorum(sources=2))}
    market = Market(declared=Declared(kinds=quorum))
    assert not market.see(0, QUOTED)
    assert not market.see(10, QUOTED)
    market.take(20, QUOTED, source="a")
    market.take(20, QUOTED, source="b")
    market.machine.frames()
    assert sorted(market.see(30, QUOTED)) == sorted(LACKING)


def test_options_of_another_forward_are_another_chain():
    other = {
        name: pair._replace(option=pair.option._replace(forward="BTC-OTHER")) if "-7D-" in name else pair
        for name, pair in LISTED.items()
        if pair.option is not None
    }
    market = Market(instruments=LISTED | other)
    assert sorted(market.see(0, QUOTED)) == sorted(LACKING[1:])


def test_what_is_listed_later_is_read_off_from_then_on():
    without = {name: pair for name, pair in LISTED.items() if name not in LACKING}
    market = Market(instruments=without)
    assert not market.see(0, QUOTED)
    market.machine.declare(instruments=LISTED)
    assert sorted(market.see(10, QUOTED)) == sorted(LACKING)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([0.5, 3.0, 9.5, 40.0, 200.0]),
            st.lists(st.sampled_from(sorted(OPTIONS)), max_size=27, unique=True),
            st.floats(min_value=0.9, max_value=1.1),
        ),
        min_size=1,
        max_size=8,
    ),
    st.data(),
)
def test_whoever_reads_how_much_and_takes_over_when_the_frames_are_the_same(steps, data):
    """Frames are settled together or one by one, by one writer or by successors with his memory."""
    told, second = [], 0.0
    for after, names, factor in [(0.0, QUOTED, 1.0), *steps]:
        second += after
        told.append((second, {name: volatility(name) * factor for name in names}))
    whole, parts = Market(), Market()
    for second, quotes in told:
        whole.take(second, quotes)
    expected, found = whole.machine.frames(), []
    for second, quotes in told:
        parts.take(second, quotes)
        if data.draw(st.booleans()):
            found += parts.machine.frames()
            if data.draw(st.booleans()):
                left = parts.machine
                parts = Market(memory=left.memory(), time_ns=left.time_ns, sequence=left.sequence)
    assert [*found, *parts.machine.frames()] == list(expected)
    for change in (change for frame in expected for change in frame.changes if change.is_read_off):
        assert 0.0 < change.value < 5.0
        assert math.isfinite(change.confidence)


def test_total_variance_of_what_is_told_does_not_fall_with_time():
    """Quotes that would allow a calendar spread make a surface that does not."""
    crossed = {name: volatility(name) * (1.25 if "-7D-" in name else 0.65) for name in QUOTED}
    del crossed[name_of(7, 60_000)], crossed[name_of(30, 60_000)]
    found = {name: change for name, change in Market().see(0, crossed).items() if name.endswith("60000")}
    variances = [
        found[name_of(days, 60_000)].value ** 2 * days for days in DAYS if name_of(days, 60_000) in found
    ]
    assert len(variances) >= 2
    assert variances == sorted(variances)
    assert SURFACE_NS == 10 * SECOND
