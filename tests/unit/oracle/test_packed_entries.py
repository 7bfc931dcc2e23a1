"""Entries that a loop reads come to what they come to tick by tick, whatever is in them."""

import itertools

import msgspec
import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from app.adapters.redis_streams.tick_log import decode_packed
from app.domain.market import Tick, TickKind
from app.oracle.declared import Declared, Source
from app.oracle.sequencer import ClockMode
from app.oracle.unpacking import _hash, packed_entries
from tests.unit.oracle.test_sequencer import ENTRIES, NOW_NS, SECOND, heartbeat, price, sequencer

LAST = (1 << 63) - 1
CLOCKS = st.sampled_from(list(ClockMode))
encode = msgspec.msgpack.encode


def taken(machine, packed, *, wall_ns=NOW_NS, entry="1-0"):
    """As the service takes it: by the loop if that is possible, and whether it was."""
    by_loop = machine.take_packed(packed_entries([(entry, packed)]), 0, 1, wall_ns=wall_ns) == 1
    if not by_loop:
        ticks = decode_packed(entry, packed).ticks
        machine.take(entry=entry, ticks=ticks, wall_ns=wall_ns)
        machine.close(wall_ns=wall_ns)
    return by_loop


def one_by_one(machine, packed, *, wall_ns=NOW_NS, entry="1-0"):
    ticks = decode_packed(entry, packed).ticks
    machine.take(entry=entry, ticks=ticks, wall_ns=wall_ns)
    machine.close(wall_ns=wall_ns)


def alike(one, other):
    assert one.frames() == other.frames()
    assert one.consensus() == other.consensus()
    assert one.memory() == other.memory()
    assert (one.time_ns, one.sequence) == (other.time_ns, other.sequence)


def two_that_know(*ticks, **terms):
    """Two machines that have heard of them."""
    machines = sequencer(**terms), sequencer(**terms)
    for machine in machines:
        machine.take(entry="0-1", ticks=ticks, wall_ns=NOW_NS)
        machine.close(wall_ns=NOW_NS)
        machine.frames()
    return machines


@given(CLOCKS, ENTRIES)
def test_what_is_packed_comes_to_the_same_as_tick_by_tick(clock, entries):
    """Every entry twice: at first nobody in it may be known."""
    machine, other = sequencer(clock=clock), sequencer(clock=clock)
    for ticks, wall_ns in entries:
        later = [msgspec.structs.replace(tick, sequence=tick.sequence + 9) for tick in ticks]
        for packed in (encode(ticks), encode(later)):
            taken(machine, packed, wall_ns=wall_ns)
            one_by_one(other, packed, wall_ns=wall_ns)
    alike(machine, other)


@given(st.lists(st.floats(min_value=0.5, max_value=2.0) | st.integers(1, 1 << 40), min_size=1, max_size=9))
def test_an_entry_as_nearly_all_are_is_taken_by_the_loop(values):
    first = [price(1.0, sequence=1, source=source) for source in "abc"]
    machine, other = two_that_know(*first, clock=ClockMode.LIVE)
    ticks = [
        ("price", "abc"[n % 3], "BTC-USDT", n + 2, NOW_NS, value, 0.25)[: 6 + n % 2]
        for n, value in enumerate(values)
    ]
    assert taken(machine, encode(ticks))
    one_by_one(other, encode(ticks))
    alike(machine, other)


def test_one_tick_that_is_refused_leaves_the_loop_out_of_it():
    """A sequence that repeats, after others of the same source that do not: nothing of it is done twice."""
    machine, other = two_that_know(price(1.0, sequence=1), clock=ClockMode.LIVE)
    packed = encode([price(float(n), sequence=n) for n in (2, 3, 3, 4)])
    assert not taken(machine, packed)
    one_by_one(other, packed)
    alike(machine, other)
    assert machine.memory().quotes == [price(4.0, sequence=4)]


ODD = [
    b"", b"\x90", b"\xc0", b"\xdc", b"\xdd\xff\xff\xff\xff", b"\x91", b"\x91\x97", b"\x92\x97\xa5price",
    encode([price(1.0, sequence=2)])[:-1], encode([price(1.0, sequence=2)]) + b"\x01",
    encode([heartbeat(time_ns=NOW_NS)]), encode([("price", "venue", "BTC-USDT", -1, NOW_NS, 1.0, 0.0)]),
    encode([("price", "venue", "BTC-USDT", 1 << 63, NOW_NS, 1.0, 0.0)]),
    encode([("price", "venue", "BTC-USDT", 2, NOW_NS, 1.0, 0.0, 0.0)]),
    encode([("price", "venue", "BTC-USDT", 2, NOW_NS, "1.0", 0.0)]),
    encode([("price", "venue", "BTC-USDT", 2, 1 << 63, 1.0, 0.0)]),
    encode([("price", "v" * 40, "BTC-USDT", 2, NOW_NS, 1.0, 0.0)]),
]  # fmt: skip


def test_what_is_odd_comes_to_the_same_as_tick_by_tick():
    for packed in ODD:
        machine, other = two_that_know(price(1.0, sequence=1), clock=ClockMode.LIVE)
        assert not taken(machine, packed)
        one_by_one(other, packed)
        alike(machine, other)


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=4), st.integers(0, 400))
def test_whatever_bytes_are_hurt_or_missing_it_comes_to_the_same(hurt, length):
    first = [price(1.0, sequence=1, source=source) for source in "abc"]
    machine, other = two_that_know(*first, clock=ClockMode.LIVE)
    whole = bytearray(encode([price(2.0, sequence=n, source="abc"[n % 3]) for n in range(2, 10)]))
    for at, byte in hurt:
        if at < len(whole):
            whole[at] = byte
    packed = bytes(whole[: len(whole) if length > 200 else length])
    taken(machine, packed)
    one_by_one(other, packed)
    alike(machine, other)


def test_the_last_sequence_there_is_ends_what_a_source_can_say():
    machine, other = two_that_know(price(1.0, sequence=1), clock=ClockMode.LIVE)
    for sequence in (LAST - 1, LAST, LAST, 5):
        packed = encode([price(2.0, sequence=sequence)])
        taken(machine, packed)
        one_by_one(other, packed)
    alike(machine, other)
    assert [tick.sequence for tick in machine.memory().quotes] == [LAST]


@example(300)
@given(st.integers(1, 40))
def test_everybody_is_found_among_many(count):
    first = [price(1.0, sequence=1, source=f"source-{n}") for n in range(count)]
    machine, other = two_that_know(*first, clock=ClockMode.LIVE)
    packed = encode([msgspec.structs.replace(tick, sequence=2, value=2.0) for tick in reversed(first)])
    assert taken(machine, packed)
    one_by_one(other, packed)
    alike(machine, other)


def test_names_that_collide_are_read_tick_by_tick():
    def slot(source):
        packed = np.frombuffer(b"".join(map(encode, ("price", source, "BTC-USDT"))), dtype=np.uint8)
        return _hash(packed, 0, packed.size) & 255

    names = (f"source-{n}" for n in itertools.count())
    first = [
        price(1.0, sequence=1, source=name)
        for name in itertools.islice((name for name in names if slot(name) == 7), 100)
    ]
    machine, other = two_that_know(*first, clock=ClockMode.LIVE)
    found = []
    for tick in first:
        packed = encode([msgspec.structs.replace(tick, sequence=2, value=2.0)])
        found.append(taken(machine, packed))
        one_by_one(other, packed)
    alike(machine, other)
    assert found == [True] * 64 + [False] * 36


def test_whoever_is_newly_declared_is_looked_at_once_more():
    machine, _ = two_that_know(price(1.0, sequence=1), clock=ClockMode.LIVE)
    declared = Declared(sources={"venue": Source(weight=2.0)})
    machine.declare(instruments=machine.instruments, declared=declared)
    found = [taken(machine, encode([price(2.0, sequence=n, time_ns=NOW_NS)])) for n in (2, 3)]
    assert found == [False, True]


def test_whoever_signs_is_never_taken_by_the_loop():
    declared = Declared(sources={"venue": Source(public_key=b"k" * 32)})
    machine, _ = two_that_know(price(1.0, sequence=1), clock=ClockMode.LIVE, declared=declared)
    assert not taken(machine, encode([price(2.0, sequence=2)]))


def test_a_kind_nobody_knows_is_not_found():
    machine, _ = two_that_know(Tick(TickKind.PRICE, "a", "BTC-USDT", 1, NOW_NS, 1.0), clock=ClockMode.LIVE)
    packed = encode([("mark", "a", "BTC-USDT", 2, NOW_NS + SECOND, 1.0, 0.0)])
    assert not taken(machine, packed)
