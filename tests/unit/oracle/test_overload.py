"""Laws of overload: it begins late, ends once the slowest shard has caught up, and forgets nothing of use."""

from itertools import pairwise

import msgspec
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from app.domain.market import StreamPosition, Tick, TickKind
from app.oracle.entries import STATED, Entries
from app.oracle.overload import BEGINS_NS, ENDS_NS, Overload
from app.oracle.sequencer import ClockMode
from app.oracle.unpacking import packed_entries
from app.ports.ticks import TickEntry
from app.services.take_entries import READ_TICKS, TakeEntries, parts
from tests.unit.oracle.test_sequencer import NOW_NS, sequencer

MILLISECOND = 1_000_000


def at(sequence):
    return StreamPosition(1, sequence)


def written(count, *, every_ns=10 * MILLISECOND):
    """Frames 1 to `count`; the time of the last one."""
    overload = Overload()
    for sequence in range(1, count + 1):
        overload.wrote(at(sequence), wall_ns=NOW_NS + sequence * every_ns)
    return overload, NOW_NS + count * every_ns


@given(st.integers(0, 200), st.integers(0, 3_000 * MILLISECOND))
def test_a_shard_is_as_late_as_the_first_frame_that_it_has_not_done(done, waited_ns):
    overload, newest_ns = written(200)
    late_ns = overload.heard([at(done), at(200)], wall_ns=newest_ns + waited_ns)
    assert late_ns == (0 if done == 200 else newest_ns + waited_ns - (NOW_NS + (done + 1) * 10 * MILLISECOND))
    assert overload.merging == (late_ns > BEGINS_NS)


@given(st.lists(st.integers(0, 2_000), max_size=30))
def test_between_the_two_limits_nothing_changes(lates_ms):
    merging = False
    overload = Overload()
    for turn, late_ms in enumerate(lates_ms):
        overload.heard([at(turn)], wall_ns=0)  # caught up so far, unless it is merging
        overload.merging = merging
        overload.wrote(at(turn + 1), wall_ns=NOW_NS)
        overload.heard([at(turn)], wall_ns=NOW_NS + late_ms * MILLISECOND)
        if late_ms * MILLISECOND > BEGINS_NS:
            merging = True
        elif late_ms * MILLISECOND <= ENDS_NS:
            merging = False
        assert overload.merging == merging


def test_nobody_who_listens_is_not_late():
    overload, newest_ns = written(200)
    assert overload.heard([], wall_ns=newest_ns + BEGINS_NS + 1) == 0
    assert not overload.merging


def test_however_long_a_shard_is_away_it_stays_late_until_it_comes_back():
    overload, newest_ns = written(100_000)
    overload.heard([at(5)], wall_ns=newest_ns)
    assert overload.merging
    overload.heard([at(100_000)], wall_ns=newest_ns)
    assert not overload.merging


def test_frames_of_an_older_generation_are_all_behind():
    overload, newest_ns = written(200)
    overload.heard([StreamPosition(0, 999_999)], wall_ns=newest_ns)
    assert overload.merging


ENTRIES = st.lists(st.lists(st.sampled_from(list(TickKind)), min_size=1, max_size=3), min_size=1, max_size=20)
NAMES = {TickKind.GAS_PRICE: "ethereum", TickKind.BOOK_DEPTH: "a/b/5bps", TickKind.POOL_DEPTH: "a/b/5bps"}


class Batch:
    """Entries as a read finds them."""

    def __init__(self, ticks, entries):
        self.ticks = ticks
        self.entries = entries

    @classmethod
    def of(cls, kinds_of):
        ticks = [
            [
                Tick(kind, "a", NAMES.get(kind, "BTC-USDT"), 9 * number + n, NOW_NS, 0.5 + number / 100)
                for n, kind in enumerate(kinds, start=1)
            ]
            for number, kinds in enumerate(kinds_of)
        ]
        packed = ((f"{number}-0", msgspec.msgpack.encode(each)) for number, each in enumerate(ticks))
        return cls(ticks, packed_entries(packed))

    def __len__(self):
        return len(self.ticks)

    def id(self, i):
        return f"{i}-0"

    def entry(self, i):
        return TickEntry(self.id(i), self.ticks[i])


class Clock:
    """Later each time that it is asked."""

    def __init__(self):
        self._time_ns = NOW_NS

    def now_ns(self):
        self._time_ns += MILLISECOND
        return self._time_ns


async def taken(batch, *, merging):
    """Frames, and the last words on lines."""
    machine = sequencer(clock=ClockMode.LIVE)

    async def learn(_named):
        return

    assert await TakeEntries(machine, Clock(), learn)(batch, 0, len(batch), merging=merging) == []
    packed = machine.frames()
    frames = list(packed)
    assert (packed.time_ns, packed.stamp_ns) == (frames[-1].time_ns, frames[-1].stamp_ns)
    assert (packed.position, len(packed)) == (frames[-1].position, len(frames))
    assert packed.merged == sum(frame.covers > 1 for frame in frames)
    assert packed.entries == sum(frame.covers for frame in frames if frame.covers > 1)
    return frames, machine.consensus()


@given(ENTRIES, st.booleans())
async def test_frames_keep_the_order_and_a_heartbeat_has_one_of_its_own(kinds_of, merging):
    batch = Batch.of(kinds_of)
    frames, consensus = await taken(batch, merging=merging)
    assert sum(frame.covers for frame in frames) == len(batch)
    last, beats = -1, []
    for frame in frames:
        covered = range(last + 1, last + 1 + frame.covers)
        last = covered[-1]
        assert frame.entry == f"{last}-0"
        assert frame.time_ns == frame.stamp_ns > NOW_NS
        named = {(tick.kind, tick.instrument) for i in covered for tick in batch.ticks[i]}
        told = {(change.kind, change.instrument): change.value for change in frame.changes}
        assert told.keys() == {line for line in named if line[0] is not TickKind.HEARTBEAT}
        beats.append(TickKind.HEARTBEAT in {kind for kind, _ in named})
    assert all(frame.covers == 1 for frame, beat in zip(frames, beats, strict=True) if beat or not merging)
    if merging:  # as few as can be
        assert not any(one is other is False for one, other in pairwise(beats))
    assert consensus == (await taken(batch, merging=not merging))[1]


@given(st.lists(st.integers(0, 2 * READ_TICKS), max_size=60))
def test_a_read_is_worked_on_in_steps_of_few_enough_ticks_and_nothing_is_left_out(counts):
    rows = np.zeros((len(counts), STATED + 1), dtype=np.int64)
    rows[:, STATED] = counts
    none = np.empty(0, dtype=np.uint8)
    entries = Entries(rows, none, none, sum(counts))
    found = parts(entries)
    assert [i for start, end in found for i in range(start, end)] == list(range(len(counts)))
    for (start, end), (following, _) in pairwise(found):
        ticks = sum(counts[start:end])
        assert end - start == 1 or ticks <= READ_TICKS
        assert ticks + counts[following] > READ_TICKS  # none is smaller than need be
