"""What a loop makes of entries as Redis tells them is what they come to one by one, to the bit."""

import struct
from itertools import pairwise

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.adapters.redis_streams.keys import TICKS
from app.adapters.redis_streams.tick_log import decode_entry, decode_packed
from app.adapters.redis_streams.tick_publisher import flat_fields
from app.adapters.redis_streams.tick_reply import FIELDS, TickReply, warm_up
from app.domain.market import MAXIMUM_NAME, Rejection, Tick, TickKind
from app.oracle.entries import END, START, STATED, UNREAD
from app.oracle.signatures import SIGNATURE_BYTES

LAST = (1 << 63) - 1
NAMES = [name.encode() for name in FIELDS]
LEAST_TICK = 7  # bytes: a header, three empty names and three numbers
encode = msgspec.msgpack.encode


def as_sent(word):
    return word if isinstance(word, bytes) else str(word).encode()


def bulk(word):
    return b"$%d\r\n%b\r\n" % (len(word), word)


def array(elements):
    return b"*%d\r\n%b" % (len(elements), b"".join(elements))


def replied(entries):
    """As XREAD answers of them."""
    told = [array([bulk(name.encode()), array([bulk(word) for word in flat])]) for name, flat in entries]
    return TickReply(array([array([bulk(TICKS.encode()), array(told)])]))


def read(reply, i):
    """The packed ticks, or nothing where the loop left the entry."""
    row = reply.entries.rows[i]
    if row[START] == UNREAD:
        assert row[END] == UNREAD
        return None
    return reply.entries.data[row[START] : row[END]].tobytes()


def stated(packed):
    """By its own word, in the three forms of an array's header; no more than there is room for."""
    room = len(packed) // LEAST_TICK + 1
    if packed[:1] == b"\xdc" and len(packed) > 3:
        return min(int.from_bytes(packed[1:3]), room)
    if packed[:1] == b"\xdd" and len(packed) > 5:
        return min(int.from_bytes(packed[1:5]), room)
    return min(packed[0] & 0x0F, room) if packed and packed[0] & 0xF0 == 0x90 else 0


def agrees(reply, i, entry, flat):
    """With the entry that was sent, and with what it comes to when it is decoded word by word."""
    assert (reply.id(i), reply.flat(i)) == (entry, flat)
    told, count = read(reply, i), reply.entries.rows[i, STATED]
    if told is None:
        assert 1 <= count <= 1 + sum(map(len, flat))
        return
    if flat[0] == b"packed":
        assert (told, count) == (flat[1], stated(flat[1]))
        return
    decoded = decode_entry(entry, flat)
    assert count == 1
    if not decoded.rejected:
        assert told == encode(decoded.ticks)
        return
    # Names are not looked at twice: none is known that is no kind or no UTF-8, so nobody takes such a tick.
    (refused,) = decoded.rejected
    assert refused.reason == Rejection.UNKNOWN_KIND or "not UTF-8" in refused.message
    assert not decode_packed(entry, told).ticks


def all_agree(entries):
    reply = replied(entries)
    assert len(reply) == len(entries)
    for i, (entry, flat) in enumerate(entries):
        agrees(reply, i, entry, flat)
    assert reply.entries.ticks == reply.entries.rows[:, STATED].sum()
    return reply


def of_values(*values):
    """An entry each, as a publisher might write it."""
    plain = [as_sent(word) for word in flat_fields(Tick(TickKind.PRICE, "venue", "BTC-USDT", 1, 2, 1.0, 0.5))]
    return [(f"1-{n}", [*plain[:11], value, *plain[12:]]) for n, value in enumerate(values)]


IDS = st.builds("{}-{}".format, st.integers(0, (1 << 64) - 1), st.integers(0, (1 << 64) - 1))
NAME = st.text(max_size=MAXIMUM_NAME).filter(lambda name: len(name.encode()) <= MAXIMUM_NAME)
WHOLE = st.integers(0, LAST) | st.builds(
    lambda power, off: (1 << power) + off, st.integers(1, 62), st.integers(-1, 1)
)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
PUBLISHED = st.builds(
    Tick, kind=st.sampled_from(TickKind), source=NAME, instrument=NAME, sequence=WHOLE, time_ns=WHOLE,
    value=FINITE, confidence=FINITE,
)  # fmt: skip
DECIMAL = st.from_regex(
    rb"-?([0-9]{1,25}(\.[0-9]{0,25})?|\.[0-9]{1,25})([eE][+-]?[0-9]{1,3})?", fullmatch=True
)
# Around where a number is no longer whole below 2**53 by or over a power of ten up to the 22nd.
NEAR = st.builds(
    lambda whole, point, power: b"%d.%de%d" % (whole, point, power),
    st.integers((1 << 53) - 3, (1 << 53) + 3) | st.integers(0, 1 << 54),
    st.integers(0, 9), st.integers(-25, 25),
)  # fmt: skip
# Whole numbers and powers at the border of what is exact; halfway between two doubles and beside it; what is
# less than normal, least, most and more; and what is written in another way than Python writes it.
HARD = [
    b"9007199254740991", b"9007199254740992", b"9007199254740993", b"9007199254740993.0",
    b"-9007199254740993", b"9007199254740992e22", b"9007199254740991e-22", b"1e22", b"1e23", b"1e-22",
    b"1e-23", b"8.5e22", b"1E+022", b"0.1", b"0.30000000000000004", b"123456789.123456789",
    b"17976931348623157e292", b"1.7976931348623159e308", b"5e-324", b"2e-324", b"4.9406564584124654e-324",
    b"2.2250738585072011e-308", b"2.2250738585072014e-308",
    b"-0", b"-0.0", b"0e5", b"-0e-999", b"5.", b".5", b"-.5", b"-5.", b"00012.50", b"1e400", b"-1e400",
    b"1e-400", b"1" + b"0" * 400, b"0." + b"0" * 400 + b"1", b"0" * 400 + b"7.5", b"0.1" + b"0" * 400,
    b"1e000000000000000001",
]  # fmt: skip
ODD_NUMBERS = [
    b"", b".", b"-", b"+", b"e", b"e5", b"1e", b"1e+", b"1e-", b"-.", b".e1", b"1.2.3", b"1..", b"--1", b"1-",
    b"+1", b"+1.5", b" 1", b"1 ", b"1\n", b"\t1", b"1_000", b"1_0.5", b"1e1_0", b"0x10", b"0x1p3", b"1,5",
    b"1e5.0", b"1f", b"inf", b"-inf", b"Infinity", b"nan", b"-nan", b"NaN", b"true", b"1\0", b"\x001",
    b"\xd9\xa1\xd9\xa2", b"\xef\xbc\x91", b"\xb2", b"1e400", b"-1e400", b"1e-400", b"1" * 400,
    b"1e0000000000000000000001", b"1e999999999999999999", b"0e999999999999999999", b"1e-999999999999999999",
    b"1e-9999999999999999999", b"0" * 400 + b"7",
]  # fmt: skip
ODD_INTEGERS = [
    *(b"%d" % (base + off) for base in (10**17, 10**18, 1 << 63, 10**19, 1 << 64) for off in (-2, -1, 0, 1)),
    *(b"-%d" % ((1 << 63) + off) for off in (-1, 0, 1)),
    b"0", b"-0", b"-1", b"00", b"007", b"0" * 17 + b"7", b"0" * 18 + b"7", b"0" * 19 + b"7", b"9" * 19,
    b"9223372036854775799", b"922337203685477580:", b"92233720368547758/7", b"1.0", b"1e3", b"9" * 40,
]  # fmt: skip
LENGTHS = st.integers(0, MAXIMUM_NAME + 6)
NAME_WORD = st.one_of(
    st.text(max_size=20).map(str.encode),
    st.binary(max_size=70),
    st.builds(lambda letter, size: letter * size, st.sampled_from([b"x", b"\xc3\xa9", b"\xff"]), LENGTHS),
)  # fmt: skip
KIND_WORD = st.sampled_from([kind.value.encode() for kind in TickKind]) | NAME_WORD
NUMBER_WORD = st.one_of(
    FINITE.map(repr).map(str.encode), DECIMAL, NEAR, st.sampled_from(ODD_NUMBERS), st.binary(max_size=8)
)
INTEGER_WORD = st.one_of(
    WHOLE.map(as_sent),
    st.sampled_from(ODD_INTEGERS),
    st.sampled_from(ODD_NUMBERS),
    st.integers().map(as_sent),
)
IN_ORDER = st.tuples(
    KIND_WORD, NAME_WORD, NAME_WORD, INTEGER_WORD, INTEGER_WORD, NUMBER_WORD, NUMBER_WORD
).map(lambda words: [word for pair in zip(NAMES, words, strict=True) for word in pair])
PUBLISHED_FLAT = PUBLISHED.map(lambda tick: [as_sent(word) for word in flat_fields(tick)])
SIGNATURE = st.binary(min_size=SIGNATURE_BYTES, max_size=SIGNATURE_BYTES) | st.binary(max_size=70)
PACKED = st.one_of(
    st.lists(PUBLISHED, max_size=20).map(encode),
    st.lists(PUBLISHED, min_size=1, max_size=2).map(lambda ticks: encode(ticks)[:-1]),
    st.sampled_from([encode([]), b"", b"\xdc", b"\xdc\xff\xff", b"\xdc\xff\xff\x00", b"\x9f", b"\xc0"]),
    st.sampled_from([b"\xdd", b"\xdd\xff\xff\xff\xff", b"\xdd\xff\xff\xff\xff\x00", b"\xdd\0\0\0\1\x97"]),
    st.binary(max_size=20),
).map(lambda body: [b"packed", body])  # fmt: skip
PAIRS = st.lists(
    st.tuples(st.sampled_from([*NAMES, b"packed", b"signature", b"kind "]), NUMBER_WORD),
    min_size=1,
    max_size=9,
)


def paired(flat):
    return list(zip(flat[::2], flat[1::2], strict=True))


def unpaired(pairs):
    return [word for pair in pairs for word in pair]


FLAT = st.one_of(
    PUBLISHED_FLAT,
    IN_ORDER,
    IN_ORDER.map(lambda flat: flat[:-2]),
    IN_ORDER.flatmap(lambda flat: st.permutations(paired(flat))).map(unpaired),
    st.builds(lambda flat, i: [*flat[:12], *flat[2 * i : 2 * i + 2]], IN_ORDER, st.integers(0, 5)),
    st.builds(lambda flat, signature: [*flat, b"signature", signature], IN_ORDER | PACKED, SIGNATURE),
    PACKED,
    PAIRS.map(unpaired),
)
ENTRIES = st.lists(st.tuples(IDS, FLAT), max_size=12)


@given(ENTRIES)
def test_an_entry_is_read_as_it_comes_to_or_left_to_a_closer_look(entries):
    all_agree(entries)


@given(st.lists(st.tuples(IDS, PUBLISHED_FLAT), min_size=1, max_size=8))
def test_what_a_publisher_writes_is_read_by_the_loop(entries):
    reply = all_agree(entries)
    for i, (entry, flat) in enumerate(entries):
        assert read(reply, i) == encode(decode_entry(entry, flat).ticks)


@given(st.lists(DECIMAL | NEAR | FINITE.map(repr).map(str.encode), min_size=1, max_size=30))
@example(HARD)
def test_a_decimal_is_read_as_python_reads_it(values):
    """Bit for bit, however it is written; and every one of them by the loop."""
    reply = all_agree(of_values(*values))
    for i, value in enumerate(values):
        packed = read(reply, i)
        assert packed is not None
        assert packed[-18:-9] == b"\xcb" + struct.pack(">d", float(value))


@pytest.mark.parametrize("odd", ODD_NUMBERS)
def test_what_is_odd_for_a_number_stops_nobody_behind_it(odd):
    """Nor does a number before it that is left for Python to read."""
    behind = of_values(b"2.5")
    (_, plain), (_, odd_value), (_, long_value) = of_values(b"1.5", odd, b"1e23")
    for flat in (odd_value, [*plain[:-1], odd], [*long_value[:-1], odd]):
        assert read(all_agree([("0-1", flat), *behind]), 1) == read(replied(behind), 0)


@pytest.mark.parametrize("number", ODD_INTEGERS)
def test_a_whole_number_of_64_bits_is_read_and_no_other(number):
    entries = [("1-1", [*flat[:7], number, *flat[8:]]) for _, flat in of_values(b"1.5")]
    is_plain = number.isdigit() and len(number) <= 19 and int(number) <= LAST
    assert (read(all_agree(entries), 0) is not None) == is_plain


@pytest.mark.parametrize("size", range(MAXIMUM_NAME + 7))
def test_names_are_read_up_to_the_longest_that_there_may_be(size):
    for place in (3, 5):
        ((entry, flat),) = of_values(b"1.5")
        flat[place] = b"n" * size
        assert (read(all_agree([(entry, flat)]), 0) is not None) == (size <= MAXIMUM_NAME)


def test_ticks_are_counted_by_their_own_word_or_by_their_size():
    """What is signed is not looked into: it counts for as many as it has, and for less than twice as many."""
    tick = Tick(TickKind.PRICE, "binance", "BTC-USDT", 1_700_000, 1_700_000_000_000_000_000, 50_000.5, 1.25)
    sizes = [1, 15, 16, 400, 70_000]
    packed = [("1-1", [b"packed", encode([tick] * size)]) for size in sizes]
    signed = [(entry, [*flat, b"signature", bytes(SIGNATURE_BYTES)]) for entry, flat in packed]
    reply = all_agree([*packed, *signed])
    counts = reply.entries.rows[:, STATED].tolist()
    assert counts[: len(sizes)] == sizes
    assert all(size <= count <= 2 * size + 3 for size, count in zip(sizes, counts[len(sizes) :], strict=True))
    assert reply.entries.ticks == sum(counts)


def test_entries_stand_one_behind_the_other():
    reply = all_agree(
        [*of_values(b"1", b"x", b"1e23"), ("2-0", [b"packed", encode([])]), ("2-1", [b"packed", b""])]
    )
    rows = [row for row in reply.entries.rows.tolist() if row[START] != UNREAD]
    assert rows[0][START] == 0
    assert all(before[END] == after[START] for before, after in pairwise(rows))


@pytest.mark.parametrize("reply", [b"*-1\r\n", b"*0\r\n", b"$-1\r\n"])
def test_what_tells_of_no_stream_has_no_entries(reply):
    """Nothing came in time."""
    nothing = TickReply(reply)
    assert (len(nothing), nothing.entries.ticks) == (0, 0)


def test_a_stream_without_entries_has_none():
    assert (len(replied([])), replied([]).entries.ticks) == (0, 0)


def test_the_loops_are_warmed_by_a_reply():
    warm_up()
