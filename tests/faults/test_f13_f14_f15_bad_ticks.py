"""FAULTS 13, 14, 15: bad, repeated and untimely ticks are refused with a reason, and the market goes on."""

import time

import msgspec
import pytest

from app.adapters.redis_streams.tick_publisher import flat_fields
from app.domain.market import Rejection
from tests.running_oracle import BTC, PERP, START_NS, good, oracle
from tests.waiting import eventually

SECOND = 1_000_000_000

pack = msgspec.msgpack.encode


def flat(**changed):
    """A good tick's fields but for those given; None leaves one out."""
    names = flat_fields(good(1_000))
    terms = {**dict(zip(names[::2], names[1::2], strict=True)), **changed}
    return [part for name, value in terms.items() if value is not None for part in (name, value)]


def packed(**changed):
    """A good tick, packed, but for the fields given."""
    names = ("kind", "source", "instrument", "sequence", "time_ns", "value", "confidence")
    terms = dict(zip(names, ["price", "venue", BTC, 1_000, START_NS, 50_000.0, 0.0], strict=True))
    return ["packed", pack([list({**terms, **changed}.values())])]


@pytest.fixture
async def replay(engine, redis_url, database_url):
    """A replayed market that stands at one good price, sequence 1."""
    async with oracle(engine, redis_url, database_url, clock="replay") as publisher:
        await publisher.frame_of(flat_fields(good(1)))
        yield publisher


BAD_VALUES = {
    "nan": Rejection.NOT_FINITE,
    "inf": Rejection.NOT_FINITE,
    "-Infinity": Rejection.NOT_FINITE,
    "1e400": Rejection.NOT_FINITE,
    "9" * 400: Rejection.NOT_FINITE,
    "0": Rejection.NOT_POSITIVE,
    "-0.0": Rejection.NOT_POSITIVE,
    "-50000": Rejection.NOT_POSITIVE,
    "1e19": Rejection.OUT_OF_RANGE,
    "1" + "0" * 19: Rejection.OUT_OF_RANGE,
    "": Rejection.MALFORMED,
    "fifty thousand": Rejection.MALFORMED,
    "50_000": Rejection.MALFORMED,
    " 50000": Rejection.MALFORMED,
    "0x10": Rejection.MALFORMED,
    "50,000": Rejection.MALFORMED,
    b"\xff\x00": Rejection.MALFORMED,
}

BAD_FLAT = [
    *((flat(value=value), reason) for value, reason in BAD_VALUES.items()),
    (flat(confidence="nan"), Rejection.NOT_FINITE),
    (flat(confidence="-1"), Rejection.NOT_POSITIVE),
    (flat(kind="implied_vol", value="51"), Rejection.OUT_OF_RANGE),
    (flat(kind="funding_rate", value="-1.5"), Rejection.OUT_OF_RANGE),
    (flat(kind="rumour"), Rejection.UNKNOWN_KIND),
    (flat(kind=b"\xff"), Rejection.UNKNOWN_KIND),
    (flat(instrument="NOBODY-KNOWS"), Rejection.UNKNOWN_INSTRUMENT),
    (flat(instrument=""), Rejection.UNKNOWN_INSTRUMENT),
    (flat(instrument=b"\xff\xfe"), Rejection.MALFORMED),
    (flat(instrument="B" * 100_000), Rejection.MALFORMED),
    (flat(source="s" * 65), Rejection.MALFORMED),
    (flat(sequence="1.5"), Rejection.MALFORMED),
    (flat(sequence="10000000000000000000"), Rejection.MALFORMED),
    (flat(sequence="9" * 5_000), Rejection.MALFORMED),
    (flat(sequence="-"), Rejection.MALFORMED),
    (flat(time_ns="10000000000000000000"), Rejection.MALFORMED),
    (flat(time_ns="9223372036854775807"), Rejection.OUT_OF_RANGE),
    (flat(time_ns="-1"), Rejection.OUT_OF_RANGE),
    (flat(time_ns="yesterday"), Rejection.MALFORMED),
    (flat(value=None), Rejection.MALFORMED),
    (flat(colour="red"), Rejection.MALFORMED),
    ([*flat(), "value", "1"], Rejection.MALFORMED),
    ([*flat(), "packed", pack([good(1_000)])], Rejection.MALFORMED),
    ([*flat(), "signature", b"short"], Rejection.MALFORMED),
    ([*flat(), "signature", ""], Rejection.MALFORMED),
    ([*flat(), "signature", bytes(64), "signature", bytes(64)], Rejection.MALFORMED),
    ([*flat(value="nan"), "signature", bytes(64)], Rejection.NOT_FINITE),
]

BAD_PACKED = [
    (packed(value=float("nan")), Rejection.NOT_FINITE),
    (packed(value=float("-inf")), Rejection.NOT_FINITE),
    (packed(value=0), Rejection.NOT_POSITIVE),
    (packed(value=-1.0), Rejection.NOT_POSITIVE),
    (packed(value=10**19), Rejection.OUT_OF_RANGE),
    (packed(time_ns=10**19), Rejection.OUT_OF_RANGE),
    (packed(time_ns=-(1 << 63)), Rejection.OUT_OF_RANGE),
    (packed(instrument="NOBODY-KNOWS"), Rejection.UNKNOWN_INSTRUMENT),
    (packed(instrument="B" * 65), Rejection.MALFORMED),
    (["packed", packed(source="~")[1].replace(b"\xa1~", b"\xa1\xff")], Rejection.MALFORMED),
    (packed(kind="rumour"), Rejection.MALFORMED),
    (packed(value="50000"), Rejection.MALFORMED),
    (packed(value=None), Rejection.MALFORMED),
    (packed(sequence=1.5), Rejection.MALFORMED),
    (packed(source=7), Rejection.MALFORMED),
    (packed(confidence=[[]]), Rejection.MALFORMED),
    (["packed", b""], Rejection.MALFORMED),
    (["packed", b"\xc1"], Rejection.MALFORMED),
    (["packed", b"not msgpack at all"], Rejection.MALFORMED),
    (["packed", b"\xdd\xff\xff\xff\xff"], Rejection.MALFORMED),  # announces 4 billion ticks
    (["packed", pack([good(1_000)])[:-3]], Rejection.MALFORMED),
    (["packed", pack([good(1_000)]) + b"\x00"], Rejection.MALFORMED),
    (["packed", pack({"kind": "price"})], Rejection.MALFORMED),
    (["packed", pack([["price", "venue"]])], Rejection.MALFORMED),
    (["packed", b"\xc1", "signature", bytes(64)], Rejection.MALFORMED),
    ([*packed(), "signature", bytes(63)], Rejection.MALFORMED),
    (["packed", b"\x91" * 100_000], Rejection.MALFORMED),
    (["packed", b"\x91" * 100_000 + b"\xc0"], Rejection.MALFORMED),
]


@pytest.mark.parametrize("bad", [BAD_FLAT, BAD_PACKED], ids=["flat", "packed"])
async def test_f13_every_bad_tick_is_refused_and_the_next_good_one_is_served(replay, bad):
    expected = []
    for sequence, (body, reason) in enumerate(bad, start=2):
        entry = await replay.send(body)
        frame = await replay.frame_of(flat_fields(good(sequence, value=50_000.0 + sequence)))
        expected.append((entry, reason))
        assert (frame.sequence, frame.changes[0].value) == (sequence, 50_000.0 + sequence)
        assert await replay.refusals() == expected, body[:20]
    assert len(await replay.frames()) == 1 + len(bad)


async def test_f13_the_good_ticks_beside_a_bad_one_are_served(replay):
    ticks = [good(2, value=51_000.0), ["price", "venue", BTC, "3", 0, 1.0], good(2, instrument=PERP)]
    frame = await replay.frame_of(["packed", pack(ticks)])
    assert {c.instrument: c.value for c in frame.changes} == {BTC: 51_000.0, PERP: 50_000.0}
    assert [reason for _, reason in await replay.refusals()] == [Rejection.MALFORMED]


async def test_f13_a_flood_of_bad_ticks_in_one_read(replay):
    for number in range(50):
        await replay.send(flat(value="nan", sequence=1_000 + number))
    frame = await replay.frame_of(flat_fields(good(2)))
    assert frame.sequence == 2
    assert [reason for _, reason in await replay.refusals()] == [Rejection.NOT_FINITE] * 50


async def test_f14_repeated_and_overtaken_ticks_are_heard_once(replay):
    await replay.frame_of(flat_fields(good(5, value=51_000.0)))
    for sequence in (5, 4, 1, -1):
        await replay.send(flat_fields(good(sequence, value=1.0)))
    await replay.send(["packed", pack([good(5, value=1.0), good(5, value=1.0)])])
    frame = await replay.frame_of(flat_fields(good(6, value=52_000.0)))
    assert [c.value for f in await replay.frames() for c in f.changes] == [50_000.0, 51_000.0, 52_000.0]
    assert frame.sequence == 3
    assert [reason for _, reason in await replay.refusals()] == [Rejection.OLD_SEQUENCE] * 6


async def test_f15_a_replay_refuses_the_distant_past_and_leaps_no_further_than_a_month(replay):
    stale = await replay.send(flat_fields(good(2, time_ns=START_NS - 61 * SECOND)))
    future = await replay.send(flat_fields(good(2, time_ns=START_NS + 31 * 86_400 * SECOND)))
    late = await replay.frame_of(flat_fields(good(2, time_ns=START_NS - 59 * SECOND)))
    assert late.time_ns == START_NS  # the clock does not go back
    leap = await replay.frame_of(flat_fields(good(3, time_ns=START_NS + 29 * 86_400 * SECOND)))
    assert leap.time_ns == START_NS + 29 * 86_400 * SECOND
    assert await replay.refusals() == [(stale, Rejection.STALE), (future, Rejection.FUTURE)]


async def test_f15_a_live_market_keeps_its_own_time(engine, redis_url, database_url):
    """Ticks are judged by the wall clock, and time goes on while no tick comes."""
    async with oracle(engine, redis_url, database_url, clock="live") as live:
        before_ns = time.time_ns()
        stale = await live.send(flat_fields(good(1, time_ns=before_ns - 120 * SECOND)))
        future = await live.send(flat_fields(good(1, time_ns=before_ns + 600 * SECOND)))
        frame = await live.frame_of(flat_fields(good(1, time_ns=time.time_ns() - SECOND)))
        assert before_ns <= frame.time_ns <= time.time_ns()
        assert await live.refusals() == [(stale, Rejection.STALE), (future, Rejection.FUTURE)]

        async def beaten():
            return [f for f in await live.frames() if f.sequence > frame.sequence and not f.changes]

        beats = await eventually(beaten, what="a heartbeat")
        assert beats[0].time_ns > frame.time_ns
        sequences = [f.sequence for f in await live.frames()]
        assert sequences == list(range(1, len(sequences) + 1))
