"""Laws of overload: it begins late, ends once the slowest shard has caught up, and forgets nothing of use."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from app.domain.market import StreamPosition, Tick, TickKind
from app.oracle.overload import BEGINS_NS, ENDS_NS, Overload
from app.ports.market import TickEntry
from app.services.ingest_ticks import READ_TICKS, parts, runs

NOW_NS = 1_767_225_600_000_000_000
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


ENTRIES = st.lists(st.lists(st.sampled_from(list(TickKind)), max_size=3), max_size=20)


@given(ENTRIES, st.booleans())
def test_a_run_keeps_order_and_a_heartbeat_has_one_of_its_own(kinds_of, merging):
    entries = [
        TickEntry(f"{number}-0", [Tick(kind, "a", "BTC-USDT", 1, NOW_NS, 1.0) for kind in kinds])
        for number, kinds in enumerate(kinds_of)
    ]
    found = list(runs(entries, merging=merging))
    assert [entry for run in found for entry in run] == entries
    assert all(run for run in found)
    beats = [any(tick.kind is TickKind.HEARTBEAT for entry in run for tick in entry.ticks) for run in found]
    assert all(len(run) == 1 for run, beat in zip(found, beats, strict=True) if beat or not merging)
    if merging:  # as few as can be
        assert not any(one is other is False for one, other in pairwise(beats))


@given(st.lists(st.integers(0, 2 * READ_TICKS), max_size=60))
def test_a_read_is_worked_on_in_steps_of_few_enough_ticks_and_nothing_is_left_out(counts):
    entries = [
        TickEntry(str(n), [], packed=b"\xdd" + count.to_bytes(4, "big")) for n, count in enumerate(counts)
    ]
    found = parts(entries)
    assert [entry for part in found for entry in part] == entries
    for part, following in pairwise(found):
        ticks = sum(counts[int(entry.id)] for entry in part)
        assert len(part) == 1 or ticks <= READ_TICKS
        assert ticks + counts[int(following[0].id)] > READ_TICKS  # none is smaller than need be
