"""What a single source may try that is let in: numbers, names, times, and heartbeats."""

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.market import Quality, Rejection, Tick, TickKind
from app.oracle.admission import MAXIMUM_STRANGERS, MAXIMUM_UNLISTED
from app.oracle.declared import Declared, Ladder, Source, Standard
from app.oracle.memory import Memory
from app.oracle.records import ESTIMATE
from tests.unit.oracle.test_ladder import BTC, NOW_NS, PAIRS, SECOND, USDC, Market

EXTREMES = [1e-30, 5e-30, 1e-15, 1.0, 1e14, 1e15]
CONFIDENCES = [0.0, 5e-324, 1.0, 1e15, 1e300, 1.7976931348623157e308]
WORDS = st.lists(
    st.tuples(
        st.sampled_from(["a", "usdc"]),
        st.sampled_from([BTC, USDC]),
        st.sampled_from(EXTREMES),
        st.sampled_from(CONFIDENCES),
        st.floats(0.0, 400.0),
    ),
    min_size=1,
    max_size=30,
)


@given(WORDS, st.sampled_from([TickKind.PRICE, TickKind.MARK]))
def test_whatever_numbers_are_let_in_everything_that_is_kept_of_them_is_a_number(words, kind):
    """What is no number once is none for good: an average, or a volatility, is carried on and stored."""
    market = Market(sources={"usdc": Source(quote="USDC")})
    for source, instrument, value, confidence, after in words:
        for change in market.step((source, instrument, value, confidence), kind=kind, after=after).values():
            assert 0.0 < change.value <= 1e15
            assert 0.0 <= change.confidence <= 1e15
    for estimate in market.machine.memory().estimates:
        kept = np.frombuffer(estimate.packed, dtype=ESTIMATE)[0].tolist()
        assert all(math.isfinite(number) for number in kept), kept


@pytest.mark.parametrize("confidence", CONFIDENCES)
def test_no_confidence_of_one_in_ten_moves_anything(confidence):
    market, quiet = Market(), Market()
    honest = [(f"s{n}", BTC, 100.0 + 0.01 * n) for n in range(9)]
    found = market.tell(*honest, ("liar", BTC, 1e15, confidence))
    usual = quiet.tell(*honest, ("liar", BTC, 100.1))
    assert 100.0 <= found.value <= 100.08
    assert (found.quality, found.confidence <= 0.08) == (usual.quality, True)


NAMES = ["", "*", " ", "a  b", "a ", "a\n", "\x1b[31mvenue", "[/red]", "vеnue", "-a", "a|b", "\u202evenue"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", [TickKind.PRICE, TickKind.HEARTBEAT])
def test_who_has_no_name_or_one_that_looks_like_anothers_is_not_heard(name, kind):
    """Of nobody and of `*` nobody would be told, and the registry is not meant when it says `*`."""
    market = Market(sources={"*": Source(weight=1_000.0)})
    tick = Tick(kind, name, BTC, 1, NOW_NS, 100.0)
    step = market.machine.take(entry="1-0", ticks=[tick], wall_ns=NOW_NS)
    assert [refusal.reason for _, refusal in step.rejected] == [Rejection.MALFORMED]
    assert not market.machine.memory().quotes


@pytest.mark.parametrize(
    "name", ["a", "binance", "pyth-a", "binanceus:BTC-USDT", "s_1.2/x@y+z", "source 1", "a" * 64]
)
def test_names_that_sources_have(name):
    assert Market().tell((name, BTC, 100.0)).sources == 1


def beat(source, *, time_ns, sequence=1):
    return Tick(TickKind.HEARTBEAT, source, "", sequence, time_ns, 0.0)


def test_heartbeats_keep_nobodys_word_new_and_are_remembered_of_whom_one_knows():
    market = Market(sources={"mute": Source()})
    market.step(("a", BTC, 100.0))
    market.machine.memory()
    told = []
    for _ in range(70):
        market.now_ns += SECOND
        ticks = [beat(name, time_ns=market.now_ns) for name in ("a", "mute", "stranger")]
        before = market.machine.taken
        step = market.machine.take(entry="1-0", ticks=ticks, wall_ns=market.now_ns)
        assert (step.rejected, market.machine.taken - before) == ([], 2)
        market.machine.close(wall_ns=market.now_ns)
        told += [change.quality for frame in market.machine.frames() for change in frame.changes]
    assert told == [Quality.STALE_FOR_TRADING, Quality.STALE_FOR_MARGIN]
    expected = {"a": market.now_ns, "mute": market.now_ns}
    assert market.machine.news().heartbeats == expected
    assert market.machine.news().heartbeats == {}
    market.machine.take(entry="1-0", ticks=[beat("a", time_ns=NOW_NS + 15 * SECOND)], wall_ns=market.now_ns)
    memory = market.machine.memory()
    assert memory.heartbeats == expected, "the newest"
    stored = msgspec.msgpack.decode(msgspec.msgpack.encode(memory), type=Memory)
    assert Market(memory=stored, sources={"mute": Source()}).machine.memory() == memory


def test_a_memory_of_before_heartbeats_were_kept_is_read():
    market = Market()
    market.step(("a", BTC, 100.0))
    memory = market.machine.memory()
    older = msgspec.msgpack.encode(msgspec.msgpack.decode(msgspec.msgpack.encode(memory))[:3])
    assert msgspec.msgpack.decode(older, type=Memory) == memory


def test_whoever_names_a_thousand_chains_keeps_nobody_from_what_the_registry_names():
    market = Market(quorums={"ethereum": {"sources": 1}}, ladders={"base": {"uncertain_fraction": 0.4}})
    for first in range(0, MAXIMUM_UNLISTED, 100):
        names = [f"chain-{n}" for n in range(first, first + 100)]
        market.step(*[("liar", name, 1.0) for name in names], kind=TickKind.GAS_PRICE)
    assert market.refused == []
    told = market.step(
        *[("honest", name, 20.0) for name in ("ethereum", "base", "solana")], kind=TickKind.GAS_PRICE
    )
    assert (sorted(told), market.refused) == (["base", "ethereum"], [Rejection.UNKNOWN_INSTRUMENT])


def test_whoever_thinks_up_a_thousand_names_is_heard_under_no_more_and_keeps_out_nobody_declared():
    market = Market(sources={"late": Source()})
    for first in range(0, MAXIMUM_STRANGERS, 100):
        market.step(*[(f"name-{n}", BTC, 100.0) for n in range(first, first + 100)])
    assert market.refused == []
    market.step(("one-more", BTC, 100.0), ("late", BTC, 100.0), ("name-7", USDC, 1.0))
    assert market.refused == [Rejection.UNDECLARED]
    market.machine.declare(instruments=PAIRS, declared=Declared(sources={"one-more": Source()}))
    market.step(("one-more", BTC, 100.0), ("two-more", BTC, 100.0))
    assert market.refused == [Rejection.UNDECLARED]
    assert market.machine.sources == MAXIMUM_STRANGERS + 3


def test_a_time_of_five_seconds_ahead_buys_five_seconds():
    market = Market()
    market.step(("liar", BTC, 100.0, 0.0, -5.1), ("liar", USDC, 1.0, 0.0, -5.0))
    assert market.refused == [Rejection.FUTURE]
    market.step(("a", BTC, 100.0), ("b", USDC, 1.02), after=64.9)
    assert market.tell(("b", USDC, 1.02)).sources == 2
    assert market.tell(("b", USDC, 1.02), after=0.2).sources == 1


def test_an_older_time_with_a_newer_sequence_makes_its_own_word_old_and_no_other():
    market = Market()
    market.step(("liar", BTC, 100.0), ("a", BTC, 100.0))
    back = market.tell(("liar", BTC, 100.0, 0.0, 59.0), after=2.0)
    assert (back.quality, back.time_ns) == (Quality.VALID, NOW_NS)
    assert market.tell(("a", BTC, 100.0), after=2.0).sources == 1


@pytest.mark.parametrize("age", [25.0, 60.0, 60.1])
def test_a_late_tick_is_let_in_by_a_successor_as_by_whom_it_succeeds(age):
    """Of a kind that may be no older than 20 seconds. A successor looks at everybody closely once."""
    kinds = {TickKind.GAS_PRICE: Standard(Ladder(stale_for_margin_ns=20 * SECOND))}
    market = Market(kinds=kinds)
    quote = ("a", "ethereum", 1.0)
    market.step(quote, kind=TickKind.GAS_PRICE)
    market.step(quote, kind=TickKind.GAS_PRICE)
    successor = Market(kinds=kinds, memory=market.machine.memory())
    successor._sequence = market._sequence
    told = [each.step((*quote, 0.0, age), kind=TickKind.GAS_PRICE) for each in (market, successor)]
    assert told[0] == told[1]
    assert market.refused == successor.refused == ([Rejection.STALE] if age > 60.0 else [])
