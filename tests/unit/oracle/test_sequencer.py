"""Laws of the sequencer: one gapless sequence, a clock that never goes back, nothing taken twice."""

from typing import NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import InvalidTick
from app.domain.market import Change, Frame, Quality, Rejection, Tick, TickKind
from app.oracle.admission import MAXIMUM_UNLISTED
from app.oracle.declared import Declared, Pair, Source
from app.oracle.kinds import STANDARDS
from app.oracle.memory import Memory
from app.oracle.sequencer import ClockMode, Limits, Sequencer

NOW_NS = 1_767_225_600_000_000_000
SECOND = 1_000_000_000
INSTRUMENTS = ("BTC-USDT", "ETH-USDT")
PAIRS = {name: Pair(*name.split("-"), is_spot=True) for name in INSTRUMENTS}


def sequencer(*, clock=ClockMode.REPLAY, time_ns=NOW_NS, sequence=0, memory=None, limits=None, declared=None):
    return Sequencer(
        generation=3,
        sequence=sequence,
        time_ns=time_ns,
        clock=clock,
        instruments=PAIRS,
        declared=declared,
        memory=memory,
        limits=limits,
    )


def price(value, *, sequence, source="venue", instrument="BTC-USDT", time_ns=NOW_NS, kind=TickKind.PRICE):
    return Tick(kind, source, instrument, sequence, time_ns, value)


def heartbeat(*, time_ns):
    return Tick(TickKind.HEARTBEAT, "venue", "", 1, time_ns, 0.0)


class Stepped(NamedTuple):
    frame: Frame | None
    quotes: list[Tick]
    rejected: list[tuple[Tick, InvalidTick]]


def one_frame(machine, *, entry, ticks, wall_ns):
    """An entry, and the frame that it makes alone."""
    step = machine.take(entry=entry, ticks=ticks, wall_ns=wall_ns)
    return Stepped(closed(machine, wall_ns), step.quotes, step.rejected)


def closed(machine, wall_ns):
    machine.close(wall_ns=wall_ns)
    return next(iter(machine.frames()), None)


def reasons(step):
    return [refusal.reason for _, refusal in step.rejected]


# On both sides of every limit: an entry may carry a replay's clock past its own first ticks.
TIMES = st.integers(NOW_NS - 90 * SECOND, NOW_NS + 90 * SECOND)
TICKS = st.builds(
    Tick,
    kind=st.sampled_from(list(TickKind)),
    source=st.sampled_from(["a", "b", "c"]),
    instrument=st.sampled_from([*INSTRUMENTS, "NOBODY-KNOWS"]),
    sequence=st.integers(min_value=0, max_value=8),
    time_ns=st.sampled_from([0, 1 << 62]) | TIMES,
    value=st.one_of(st.floats(), st.floats(min_value=0.5, max_value=2.0)),
    confidence=st.one_of(st.just(0.0), st.floats()),
)
ENTRIES = st.lists(
    st.tuples(st.lists(TICKS, max_size=4), st.integers(NOW_NS - 9 * SECOND, NOW_NS + 9 * SECOND)),
    max_size=12,
)
CLOCKS = st.sampled_from(list(ClockMode))


def steps(machine, entries):
    return [
        one_frame(machine, entry=f"{n}-0", ticks=ticks, wall_ns=wall_ns)
        for n, (ticks, wall_ns) in enumerate(entries)
    ]


@given(CLOCKS, ENTRIES)
def test_frames_are_gapless_and_their_clock_never_goes_back(clock, entries):
    frames = [step.frame for step in steps(sequencer(clock=clock), entries) if step.frame]
    times = [NOW_NS, *(frame.time_ns for frame in frames)]
    assert [frame.sequence for frame in frames] == list(range(1, len(frames) + 1))
    assert times == sorted(times)


@given(CLOCKS, ENTRIES)
def test_every_tick_is_a_quote_or_refused_or_a_heartbeat(clock, entries):
    for (ticks, _), step in zip(entries, steps(sequencer(clock=clock), entries), strict=True):
        beats = [t for t in ticks if t.kind is TickKind.HEARTBEAT]
        refused = [t for t, _ in step.rejected]
        assert len(step.quotes) + sum(t.kind is not TickKind.HEARTBEAT for t in refused) == (
            len(ticks) - len(beats)
        )
        served = bool(step.quotes) or len(beats) > sum(t.kind is TickKind.HEARTBEAT for t in refused)
        assert (step.frame is not None) == served


@given(CLOCKS, ENTRIES)
def test_no_source_is_heard_twice_with_the_same_sequence(clock, entries):
    heard = {}
    for step in steps(sequencer(clock=clock), entries):
        for quote in step.quotes:
            key = (quote.kind, quote.instrument, quote.source)
            assert quote.sequence > heard.get(key, -1)
            heard[key] = quote.sequence


@given(CLOCKS, ENTRIES)
def test_the_same_entries_once_more_change_no_price(clock, entries):
    machine = sequencer(clock=clock)
    steps(machine, entries)
    repeated = [step for step in steps(machine, entries) if step.quotes]
    # What was refused at first for its time alone may be in time now; nothing taken is taken again.
    taken = {id(quote) for step in steps(sequencer(clock=clock), entries) for quote in step.quotes}
    assert all(id(quote) not in taken for step in repeated for quote in step.quotes)


@given(CLOCKS, ENTRIES, st.integers(min_value=0, max_value=12), st.integers(min_value=0, max_value=12))
def test_a_successor_goes_on_exactly_where_it_was_killed(clock, entries, cut, snapshot):
    """Position, clock and memory are the whole state, told at once or bit by bit."""
    whole = steps(sequencer(clock=clock), entries)
    first = sequencer(clock=clock)
    done, told = [], []
    for nth, (ticks, wall_ns) in enumerate(entries[:cut]):
        done.append(one_frame(first, entry=f"{nth}-0", ticks=ticks, wall_ns=wall_ns))
        news = first.news()
        told = [first.memory()] if nth == snapshot else [*told, news]
    for memory in (Memory.joined(told), first.memory()):
        successor = sequencer(clock=clock, time_ns=first.time_ns, sequence=first.sequence, memory=memory)
        rest = [
            one_frame(successor, entry=f"{cut + n}-0", ticks=ticks, wall_ns=wall_ns)
            for n, (ticks, wall_ns) in enumerate(entries[cut:])
        ]
        assert [s.frame for s in done + rest] == [s.frame for s in whole]
        assert [reasons(s) for s in done + rest] == [reasons(s) for s in whole]


def test_a_replay_is_dated_by_its_publisher_and_not_by_the_wall():
    machine = sequencer(time_ns=0)
    then_ns = NOW_NS - 400 * 86_400 * SECOND
    first = one_frame(
        machine, entry="1-0", ticks=[price(1.0, sequence=1, time_ns=then_ns)], wall_ns=NOW_NS
    ).frame
    assert (first.time_ns, first.stamp_ns, first.entry) == (then_ns, NOW_NS, "1-0")
    older = price(2.0, sequence=2, time_ns=then_ns - SECOND)
    second = one_frame(machine, entry="2-0", ticks=[older], wall_ns=NOW_NS + 1).frame
    assert second.time_ns == then_ns


def test_a_live_market_is_dated_by_the_wall_and_not_by_its_publishers():
    machine = sequencer(clock=ClockMode.LIVE, time_ns=0)
    tick = price(1.0, sequence=1, time_ns=NOW_NS - 7)
    frame = one_frame(machine, entry="1-0", ticks=[tick], wall_ns=NOW_NS).frame
    assert frame.time_ns == NOW_NS
    assert frame.changes[0].time_ns == NOW_NS - 7
    machine.heartbeat(wall_ns=NOW_NS - SECOND)
    (later,) = machine.frames()
    assert later.time_ns == NOW_NS


@pytest.mark.parametrize(
    ("clock", "lead_ns", "refused"),
    [
        (ClockMode.LIVE, 5 * SECOND, []),
        (ClockMode.LIVE, 5 * SECOND + 1, [Rejection.FUTURE]),
        (ClockMode.REPLAY, 30 * 86_400 * SECOND, []),
        (ClockMode.REPLAY, 30 * 86_400 * SECOND + 1, [Rejection.FUTURE]),
    ],
)
def test_only_a_replay_leaps_over_gaps(clock, lead_ns, refused):
    tick = price(1.0, sequence=1, time_ns=NOW_NS + lead_ns)
    assert reasons(one_frame(sequencer(clock=clock), entry="1-0", ticks=[tick], wall_ns=NOW_NS)) == refused


def test_the_limits_are_those_given():
    machine = sequencer(limits=Limits(maximum_age_ns=10))
    stale = price(1.0, sequence=1, time_ns=NOW_NS - 11)
    assert reasons(one_frame(machine, entry="1-0", ticks=[stale], wall_ns=0)) == [Rejection.STALE]


@pytest.mark.parametrize("second", [5, 4, 0, -1])
def test_an_old_sequence_is_refused_within_and_across_entries(second):
    machine = sequencer()
    both = [price(100.0, sequence=5), price(1.0, sequence=second)]
    step = one_frame(machine, entry="1-0", ticks=both, wall_ns=0)
    assert reasons(step) == [Rejection.OLD_SEQUENCE]
    assert [change.value for change in step.frame.changes] == [100.0]
    again = one_frame(machine, entry="2-0", ticks=[price(1.0, sequence=second)], wall_ns=0)
    assert reasons(again) == [Rejection.OLD_SEQUENCE]
    assert again.frame is None


def test_sources_kinds_and_instruments_count_for_themselves():
    ticks = [
        price(100.0, sequence=5),
        price(101.0, sequence=5, source="other"),
        price(102.0, sequence=5, kind=TickKind.MARK),
        price(3.0, sequence=5, instrument="ETH-USDT"),
    ]
    step = one_frame(sequencer(), entry="1-0", ticks=ticks, wall_ns=0)
    assert not step.rejected
    assert {(c.kind.value, c.instrument): (c.value, c.sources) for c in step.frame.changes} == {
        ("price", "BTC-USDT"): (100.5, 2),
        ("mark", "BTC-USDT"): (102.0, 1),
        ("price", "ETH-USDT"): (3.0, 1),
    }


def test_a_refused_tick_neither_votes_nor_moves_the_clock():
    machine = sequencer()
    bad = price(-1.0, sequence=9, time_ns=NOW_NS + 50 * SECOND)
    unknown = price(1.0, sequence=9, instrument="NOBODY-KNOWS", time_ns=NOW_NS + 50 * SECOND)
    step = one_frame(machine, entry="1-0", ticks=[bad, unknown], wall_ns=0)
    assert (step.frame, step.quotes, machine.time_ns, machine.sequence) == (None, [], NOW_NS, 0)
    assert reasons(step) == [Rejection.NOT_POSITIVE, Rejection.UNKNOWN_INSTRUMENT]
    good = one_frame(machine, entry="2-0", ticks=[price(100.0, sequence=1)], wall_ns=0)
    assert good.frame.changes[0].value == 100.0


def stress(value, *, sequence=1, index="MARKET", source="venue"):
    return price(value, sequence=sequence, source=source, instrument=index, kind=TickKind.STRESS)


def test_an_index_of_stress_need_not_be_listed():
    machine = sequencer()
    ticks = [stress(0.2), stress(0.4, source="b"), stress(0.9, source="c"), stress(-0.1, index="BTC")]
    step = one_frame(machine, entry="1-0", ticks=[*ticks, stress(0.5, index="")], wall_ns=0)
    assert reasons(step) == [Rejection.NOT_POSITIVE, Rejection.UNKNOWN_INSTRUMENT]
    (change,) = step.frame.changes
    assert (change.kind, change.instrument, change.value, change.sources) == ("stress", "MARKET", 0.4, 3)


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (TickKind.SENTIMENT, ["FEAR-GREED", "alternative.me"], ["", " ", "-", "a" * 65]),
        (TickKind.GAS_PRICE, ["ethereum", "arbitrum-one"], ["", "Ethereum", "eth/mainnet", "e" * 33]),
        (
            TickKind.BOOK_DEPTH,
            ["binance/BTC-USDT/50bps", "dydx/ETH/USD:PERP/1bps"],
            ["binance", "BTC-USDT", "binance/BTC-USDT", "binance/BTC-USDT/0bps", "binance//50bps",
             "binance/BTC-USDT/50", "/BTC-USDT/50bps", "v/" + "m" * 58 + "/1bps", "b/m/50bps\n"],
        ),
        (TickKind.POOL_DEPTH, ["ethereum/0x" + "a" * 40 + "/100bps"], ["ethereum/pool/10000bps"]),
    ],
)  # fmt: skip
def test_what_need_not_be_listed_has_names_of_a_form(kind, good, bad):
    machine = sequencer()
    ticks = [price(1.0, sequence=1, instrument=name, kind=kind) for name in [*good, *bad]]
    step = one_frame(machine, entry="1-0", ticks=ticks, wall_ns=0)
    assert [tick.instrument for tick in step.quotes] == good
    assert reasons(step) == [Rejection.UNKNOWN_INSTRUMENT] * len(bad)


def test_an_index_that_is_named_like_an_instrument_is_none():
    """What a source declares of that instrument's currencies says nothing of it."""
    declared = Declared(sources={"venue": Source(base="SOL")})
    machine = sequencer()
    machine.declare(instruments=PAIRS, declared=declared)
    step = one_frame(machine, entry="1-0", ticks=[stress(0.5, index="BTC-USDT")], wall_ns=0)
    assert not step.rejected


@pytest.mark.parametrize("kind", STANDARDS)
@pytest.mark.parametrize("clock", list(ClockMode))
def test_a_kind_has_an_age_of_its_own(kind, clock):
    """Up to it a tick is let in and votes; prices by the limits of the sequencer."""
    age_ns = STANDARDS[kind].ladder.stale_for_margin_ns
    name = {TickKind.GAS_PRICE: "ethereum", TickKind.SENTIMENT: "FEAR-GREED"}.get(kind, "BTC-USDT")
    name = f"venue/{name}/50bps" if "depth" in kind else name
    machine = sequencer(clock=clock)
    older = [
        price(0.5, sequence=n, instrument=name, kind=kind, time_ns=NOW_NS - age)
        for n, age in enumerate((age_ns + 1, age_ns))
    ]
    step = one_frame(machine, entry="1-0", ticks=older, wall_ns=NOW_NS)
    assert reasons(step) == [Rejection.STALE]
    assert [(change.sources, change.quality) for change in step.frame.changes] == [
        (1, Quality.STALE_FOR_TRADING)
    ]


def test_there_is_a_limit_to_the_indices_of_stress():
    """Whoever publishes names them, and every one is kept."""
    machine = sequencer()
    ticks = [stress(0.5, index=f"I{n}") for n in range(MAXIMUM_UNLISTED + 1)]
    step = one_frame(machine, entry="1-0", ticks=ticks, wall_ns=0)
    assert reasons(step) == [Rejection.UNKNOWN_INSTRUMENT]
    again = one_frame(machine, entry="2-0", ticks=[stress(0.6, sequence=2, index="I0")], wall_ns=0)
    assert not again.rejected


def test_a_heartbeat_carries_time_alone():
    machine = sequencer()
    one_frame(machine, entry="1-0", ticks=[price(100.0, sequence=1)], wall_ns=0)
    step = one_frame(machine, entry="2-0", ticks=[heartbeat(time_ns=NOW_NS + SECOND)], wall_ns=0)
    assert (step.frame.changes, step.frame.time_ns, step.frame.sequence) == ((), NOW_NS + SECOND, 2)
    assert step.quotes == []


def test_the_oracles_own_heartbeat_follows_the_wall():
    machine = sequencer(clock=ClockMode.LIVE)
    machine.heartbeat(wall_ns=NOW_NS + SECOND)
    (frame,) = machine.frames()
    assert (frame.time_ns, frame.changes, frame.entry, frame.sequence) == (NOW_NS + SECOND, (), "", 1)


@given(CLOCKS, ENTRIES, st.integers(NOW_NS - 9 * SECOND, NOW_NS + 9 * SECOND))
def test_a_merged_frame_is_the_market_after_the_last_of_the_unmerged_ones(clock, entries, wall_ns):
    ticks_of = [ticks for ticks, _ in entries]
    one_by_one = sequencer(clock=clock)
    unmerged = steps(one_by_one, [(ticks, wall_ns) for ticks in ticks_of])
    frames = [step.frame for step in unmerged if step.frame]
    machine = sequencer(clock=clock)
    taken = [machine.take(entry=f"{n}-0", ticks=ticks, wall_ns=wall_ns) for n, ticks in enumerate(ticks_of)]
    merged = closed(machine, wall_ns)
    assert [step.quotes for step in taken] == [step.quotes for step in unmerged]
    assert [reasons(step) for step in taken] == [reasons(step) for step in unmerged]
    assert machine.memory() == one_by_one.memory()
    if merged is None:
        assert frames == []
        return
    assert (merged.covers, merged.sequence) == (len(frames), 1)
    assert (merged.entry, merged.time_ns) == (frames[-1].entry, frames[-1].time_ns)
    last = {(change.kind, change.instrument): change for frame in frames for change in frame.changes}
    now = {(change.kind, change.instrument): change for change in merged.changes}
    assert now.keys() == last.keys()
    if clock is ClockMode.LIVE:  # a replay's clock moves between the entries, and is never merged
        assert now == last


@given(ENTRIES, st.integers(min_value=0, max_value=12))
def test_frames_after_a_merged_one_go_on_as_if_nothing_was_merged(entries, cut):
    clock = ClockMode.LIVE
    walls = [(ticks, NOW_NS) for ticks, _ in entries]
    plain, merging = sequencer(clock=clock), sequencer(clock=clock)
    steps(plain, walls[:cut])
    for n, (ticks, wall_ns) in enumerate(walls[:cut]):
        merging.take(entry=f"{n}-0", ticks=ticks, wall_ns=wall_ns)
    closed(merging, NOW_NS)
    merged_away = plain.sequence - merging.sequence
    rest = [
        (plain_step.frame, step.frame)
        for plain_step, step in zip(steps(plain, walls[cut:]), steps(merging, walls[cut:]), strict=True)
    ]
    for expected, frame in rest:
        if expected is None:
            assert frame is None
        else:
            assert frame == msgspec.structs.replace(expected, sequence=expected.sequence - merged_away)


@given(CLOCKS, ENTRIES, st.lists(st.booleans(), min_size=12, max_size=12))
def test_frames_are_the_same_however_many_are_asked_for_at_once(clock, entries, asked):
    whole = [step.frame for step in steps(sequencer(clock=clock), entries) if step.frame]
    machine, found = sequencer(clock=clock), []
    for nth, (ticks, wall_ns) in enumerate(entries):
        machine.take(entry=f"{nth}-0", ticks=ticks, wall_ns=wall_ns)
        machine.close(wall_ns=wall_ns)
        found += machine.frames() if asked[nth] else []
    assert [*found, *machine.frames()] == whole


def test_nothing_taken_makes_no_frame():
    machine = sequencer(clock=ClockMode.LIVE)
    machine.take(entry="1-0", ticks=[price(-1.0, sequence=1)], wall_ns=NOW_NS)
    assert closed(machine, NOW_NS) is None
    assert one_frame(machine, entry="2-0", ticks=[price(1.0, sequence=1)], wall_ns=NOW_NS).frame.covers == 1
    assert closed(machine, NOW_NS) is None


def test_sources_are_counted_as_they_come():
    machine = sequencer(memory=Memory.of([price(1.0, sequence=1)]))
    ticks = [price(2.0, sequence=2), price(2.0, sequence=2, source="other"), price(3.0, sequence=1)]
    one_frame(machine, entry="1-0", ticks=ticks, wall_ns=0)
    assert machine.sources == len(machine.memory().quotes) == 2


@pytest.mark.parametrize("sources", [63, 64, 65, 130])
def test_a_successor_takes_over_any_number_of_sources(sources):
    machine = sequencer()
    ticks = [
        price(1.0 + n, sequence=1, source=f"s{n}", instrument=INSTRUMENTS[n % 2]) for n in range(sources)
    ]
    one_frame(machine, entry="1-0", ticks=ticks, wall_ns=0)
    memory = machine.memory()
    successor = sequencer(memory=memory, sequence=machine.sequence)
    assert successor.memory() == memory
    later = [msgspec.structs.replace(tick, sequence=2) for tick in ticks]
    frames = [one_frame(each, entry="2-0", ticks=later, wall_ns=0).frame for each in (machine, successor)]
    assert frames[0] == frames[1]


def test_readers_of_either_age_decode_a_merged_frame():
    class OlderFrame(msgspec.Struct, array_like=True):
        generation: int
        sequence: int
        time_ns: int
        entry: str
        stamp_ns: int
        changes: tuple[Change, ...] = ()

    frame = Frame(1, 2, NOW_NS, "3-0", NOW_NS, (), 4)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(frame), type=OlderFrame).entry == "3-0"
    older = msgspec.msgpack.encode(OlderFrame(1, 2, NOW_NS, "3-0", NOW_NS))
    assert msgspec.msgpack.decode(older, type=Frame).covers == 1
