"""Of whom nobody speaks, the quality falls with the market clock, and nothing else does."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.market import Change, Quality, Rejection, Tick, TickKind
from app.oracle.declared import Declared, Pair, Source
from app.oracle.memory import Memory
from app.oracle.sequencer import ClockMode, Sequencer

SECOND = 1_000_000_000
START_NS = 1_767_225_600 * SECOND
BTC, ETH, USDC = "BTC-USD", "ETH-USD", "USDC-USD"
PAIRS = {name: Pair(*name.split("-"), is_spot=True) for name in (BTC, ETH, USDC)}
SOURCES = {
    "coins": Source(quote="USDC"),
    "slow": Source(maximum_age_ns=3 * SECOND),
    "beats": Source(heartbeat_ns=20 * SECOND),
}


def machine(clock=ClockMode.LIVE, memory=None, sequence=0, time_ns=START_NS, **declared):
    return Sequencer(
        generation=1,
        sequence=sequence,
        time_ns=time_ns,
        clock=clock,
        instruments=PAIRS,
        declared=Declared(**declared),
        memory=memory,
    )


def price(seconds, value=100.0, *, source="a", instrument=BTC, kind=TickKind.PRICE):
    time_ns = START_NS + round(seconds * SECOND)
    return Tick(kind, source, instrument, time_ns, time_ns, value)


def told(market, seconds, *ticks):
    """The changes of the one frame at that time: of ticks, or of a heartbeat where there are none."""
    wall_ns = START_NS + round(seconds * SECOND)
    if ticks:
        assert not market.take(entry="1-1", ticks=ticks, wall_ns=wall_ns).rejected
        market.close(wall_ns=wall_ns)
    else:
        market.heartbeat(wall_ns=wall_ns)
    (frame,) = market.frames()
    return frame.changes


def test_a_silent_price_falls_through_the_ladder_and_stands_as_it_was_told():
    market = machine()
    (known,) = told(market, 0.5, price(0.5))
    fallen = {seconds: told(market, seconds) for seconds in (2.0, 5.4, 6.0, 7.0, 60.4, 61.0, 62.0)}
    assert {seconds for seconds, changes in fallen.items() if changes} == {6.0, 61.0}
    for seconds, quality, sources in (
        (6.0, Quality.STALE_FOR_TRADING, 1),
        (61.0, Quality.STALE_FOR_MARGIN, 0),
    ):
        assert fallen[seconds] == (
            Change(known.kind, BTC, known.value, known.confidence, sources, quality, known.time_ns),
        )
    (again,) = told(market, 62.5, price(62.5, 101.0))
    assert (again.value, again.quality) == (101.0, Quality.VALID)


def test_a_word_is_as_good_as_new_until_the_heartbeat_of_its_source_is_over():
    """Let in half an hour after it was said, it stands for another half; then it ages as any other."""
    market = machine(sources={"beats": Source(heartbeat_ns=3_600 * SECOND)})
    (known,) = told(market, 0.5, price(-1_800.0, source="beats"))
    assert (known.quality, known.time_ns) == (Quality.VALID, START_NS - 1_800 * SECOND)
    fallen = {seconds: told(market, seconds) for seconds in (900.0, 1_805.0, 1_806.0, 1_860.0, 1_861.0)}
    assert {seconds: changes[0].quality for seconds, changes in fallen.items() if changes} == {
        1_806.0: Quality.STALE_FOR_TRADING,
        1_861.0: Quality.STALE_FOR_MARGIN,
    }


def test_one_that_stands_keeps_the_line_from_being_stale():
    market = machine(sources=SOURCES)
    (known,) = told(market, 0.0, price(0.0, source="beats"), price(0.0, 102.0, source="a"))
    assert known.sources == 2
    assert [told(market, seconds) for seconds in (6.0, 25.0)] == [(), ()]
    assert [change.quality for change in told(market, 26.0)] == [Quality.STALE_FOR_TRADING]


@pytest.mark.parametrize(
    ("source", "age_seconds"),
    [
        (Source(), 60),
        (Source(maximum_age_ns=3 * SECOND), 60),
        (Source(maximum_age_ns=90 * SECOND), 90),
        (Source(heartbeat_ns=3_600 * SECOND), 3_660),
        (Source(maximum_age_ns=90 * SECOND, heartbeat_ns=3_600 * SECOND), 3_690),
    ],
)
def test_what_its_source_may_say_late_is_let_in_late(source, age_seconds):
    market = machine(sources={"a": source})
    ticks = [price(-age_seconds - 0.001), price(-age_seconds)]
    step = market.take(entry="1-1", ticks=ticks, wall_ns=START_NS)
    assert (step.quotes, [refusal.reason for _, refusal in step.rejected]) == (ticks[1:], [Rejection.STALE])


def test_it_is_told_with_whatever_frame_comes_first_in_a_second():
    market = machine()
    told(market, 0.0, price(0.0))
    for seconds in (5.0, 5.5):  # at the first of which it was young enough
        (eth,) = told(market, seconds, price(seconds, instrument=ETH))
        assert eth.instrument == ETH
    changes = told(market, 6.1, price(6.1, instrument=ETH))
    assert [(c.instrument, c.quality) for c in changes] == [
        (ETH, Quality.VALID),
        (BTC, Quality.STALE_FOR_TRADING),
    ]


def test_a_quorum_that_falls_silent_is_missed():
    market = machine(sources=SOURCES, quorums={BTC: {"sources": 2}})
    told(market, 0.0, price(0.0), price(0.0, source="slow"))
    assert told(market, 3.0) == ()
    (change,) = told(market, 4.0)
    assert (change.quality, change.sources, change.value) == (Quality.INSUFFICIENT_SOURCES, 1, 100.0)


def test_an_instruments_own_ages_count():
    market = machine(ladders={BTC: {"stale_for_trading_ns": 2 * SECOND, "stale_for_margin_ns": 4 * SECOND}})
    told(market, 0.0, price(0.0))
    assert [change.quality for change in told(market, 3.0)] == [Quality.STALE_FOR_TRADING]
    assert [change.quality for change in told(market, 5.0)] == [Quality.STALE_FOR_MARGIN]


def test_what_is_worse_than_old_stays_what_it_is():
    market = machine()
    (wide,) = told(market, 0.0, price(0.0), price(0.0, 150.0, source="b"))
    assert wide.quality is Quality.TOO_UNCERTAIN
    assert told(market, 120.0) == ()


def test_a_kind_has_ages_of_its_own():
    market = machine()
    told(market, 0.0, price(0.0, 0.5, kind=TickKind.FUNDING_RATE))
    assert told(market, 3_600.0) == ()
    assert [change.quality for change in told(market, 3_601.0)] == [Quality.STALE_FOR_TRADING]


def test_a_volatility_is_left_to_its_surface():
    market = machine()
    told(market, 0.0, price(0.0, 0.5, kind=TickKind.IMPLIED_VOL))
    assert told(market, 3_600.0) == ()


def test_a_replays_heartbeats_carry_its_time():
    market = machine(ClockMode.REPLAY)
    told(market, 0.0, price(0.0))
    beat = Tick(TickKind.HEARTBEAT, "replay", "", 1, START_NS + 10 * SECOND, 0.0)
    assert [change.quality for change in told(market, 0.0, beat)] == [Quality.STALE_FOR_TRADING]


def test_averages_and_volatility_do_not_notice():
    """What was told in between is as if it had not been."""
    quiet, watched = machine(), machine()
    for market in (quiet, watched):
        told(market, 0.0, price(0.0, 100.0))
        told(market, 1.0, price(1.0, 101.0))
    for seconds in range(2, 40):
        told(watched, seconds)
    for market in (quiet, watched):
        told(market, 40.0, price(40.0, 102.0))
    assert quiet.memory() == watched.memory()


STEPS = st.lists(
    st.tuples(
        st.floats(0.001, 9.0) | st.sampled_from([20.0, 61.0, 81.0]),
        st.lists(st.tuples(st.sampled_from(["a", *SOURCES]), st.sampled_from([BTC, ETH, USDC])), max_size=3),
        st.booleans(),
    ),
    max_size=12,
)


@given(STEPS)
def test_a_successor_tells_the_same_whenever_it_takes_over(steps):
    """From the snapshot, which lists the last words by line, or from the log of what was new."""
    terms = {"sources": SOURCES, "quorums": {BTC: {"sources": 2}}}
    whole, taken_over, log, seconds = machine(**terms), machine(**terms), [], 0.0
    for after, names, killed in steps:
        seconds += after
        ticks = [price(seconds, source=source, instrument=name) for source, name in dict.fromkeys(names)]
        assert told(whole, seconds, *ticks) == told(taken_over, seconds, *ticks)
        log.append(taken_over.news())
        if killed:
            snapshot = len(log) % 2 == 0
            memory = taken_over.memory() if snapshot else together(log)
            taken_over = machine(
                memory=memory, sequence=taken_over.sequence, time_ns=taken_over.time_ns, **terms
            )
            log = [memory]


def together(log):
    return Memory.joined(msgspec.msgpack.decode(msgspec.msgpack.encode(each), type=Memory) for each in log)
