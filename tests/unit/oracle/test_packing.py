"""What loops write is what msgspec writes."""

import msgspec
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from app.domain.market import Change, Quality, Tick, TickKind
from app.oracle.memory import Estimate
from app.oracle.packing import (
    OF_NUMBERS,
    Names,
    array_of,
    write_changes,
    write_estimates,
    write_last_words,
    write_ticks,
)
from app.oracle.records import ESTIMATE, NEVER, PLACE
from app.oracle.settled import Settled

# On both sides of every border between two forms of an integer.
INTEGERS = st.one_of(
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.builds(
        lambda power, off, sign: max(-(1 << 63), min((1 << 63) - 1, sign * (1 << power) + off)),
        st.integers(0, 63), st.integers(-1, 1), st.sampled_from([-1, 1]),
    ),
)  # fmt: skip
WORDS = st.text(st.characters(codec="utf-8"), max_size=16)
FLOATS = st.floats(allow_nan=False)
CHANGES = st.builds(
    Change, kind=st.sampled_from(TickKind), instrument=WORDS, value=FLOATS, confidence=FLOATS,
    sources=INTEGERS, quality=st.sampled_from(Quality), time_ns=INTEGERS,
)  # fmt: skip
TICKS = st.builds(
    Tick, kind=st.sampled_from(TickKind), source=WORDS, instrument=WORDS,
    sequence=INTEGERS, time_ns=INTEGERS, value=FLOATS, confidence=FLOATS,
)  # fmt: skip


@given(st.lists(CHANGES, max_size=40), st.lists(CHANGES, max_size=3))
def test_changes_are_packed_as_msgspec_packs_them(changes, before):
    """Behind others that are there already."""
    names, settled = Names(), Settled()
    for change in [*before, *changes]:
        names.add(change.kind.value, change.instrument)
    for first, some in ((0, before), (len(before), changes)):
        settled.claim(0, len(some), OF_NUMBERS + names.longest)
        whole = [(first + i, each.sources, each.quality, each.time_ns) for i, each in enumerate(some)]
        numbers = np.array([(change.value, change.confidence) for change in some]).reshape(-1, 2)
        write_changes(
            names.packed, names.ends, np.array(whole, dtype=np.int64).reshape(-1, 4), numbers.view(np.int64),
            len(some), settled.lines, settled.starts, settled.packed, settled.changes,
        )  # fmt: skip
        settled.changes += len(some)
    each = [msgspec.msgpack.encode(change) for change in [*before, *changes]]
    assert settled.between(0, settled.changes, merged=False) == (len(each), b"".join(each))
    assert settled.lines[: len(each)].tolist() == list(range(len(each)))
    assert settled.starts[: len(each) + 1].tolist() == np.cumsum([0, *map(len, each)]).tolist()


@given(st.lists(st.integers(0, 9), max_size=60), st.data())
def test_the_last_words_on_lines_are_packed_once_with_their_names(lines, data):
    names, settled = Names(), Settled()
    for line in range(10):
        names.add_packed(b"name %d" % line)
    words = [b"%d: %d" % (line, i) for i, line in enumerate(lines)]
    settled.claim(0, len(lines), 16)
    settled.lines[: len(lines)] = lines
    settled.starts[: len(lines) + 1] = np.cumsum([0, *map(len, words)])
    settled.packed[: len(b"".join(words))] = np.frombuffer(b"".join(words), dtype=np.uint8)
    first, seen = data.draw(st.integers(0, len(lines))), np.zeros(10, dtype=np.bool_)
    out = np.empty(1_000, dtype=np.uint8)
    written = write_last_words(
        names.packed, names.ends, settled.lines, settled.starts, settled.packed, first, len(lines), seen, out
    )
    told, at = [], 0
    while at < written:
        length = int.from_bytes(out[at : at + 4].tobytes(), "big")
        told.append(out[at + 4 : at + 4 + length].tobytes())
        at += 4 + length
    found = dict(zip(told[::2], told[1::2], strict=True))
    assert len(found) == len(told) // 2
    pairs = list(zip(lines, words, strict=True))[first:]
    assert found == {b"name %d" % line: word for line, word in dict(pairs).items()}
    assert not seen.any()


@given(st.lists(TICKS, max_size=40), st.data())
def test_ticks_of_whoever_spoke_are_packed_as_msgspec_packs_them(ticks, data):
    names, places = Names(), np.zeros(len(ticks), dtype=PLACE)
    for place, tick in zip(places, ticks, strict=True):
        names.add(tick.kind.value, tick.source, tick.instrument)
        place["time_ns"], place["value"], place["confidence"] = tick.time_ns, tick.value, tick.confidence
    told = np.array([tick.sequence for tick in ticks], dtype=np.int64)
    # Of every other one `after` says never, as it does of signers: the number is kept apart.
    kept_apart = (np.arange(len(ticks)) % 2 == 1) | (told == NEVER)
    after, apart = np.where(kept_apart, NEVER, told), np.where(kept_apart, told, 0)
    spoke = some_of(ticks, data)
    expected = [tick for tick, has in zip(ticks, spoke.tolist(), strict=False) if has]
    out = np.empty(len(ticks) * (OF_NUMBERS + names.longest), dtype=np.uint8)
    number = np.empty(1)
    count, written = write_ticks(
        names.packed, names.ends, spoke, spoke.view(np.int64), after, apart, places,
        number, number.view(np.int64), out,
    )  # fmt: skip
    assert array_of(count, out[:written].tobytes()) == msgspec.Raw(msgspec.msgpack.encode(expected))
    assert not spoke.any()


@given(st.lists(st.tuples(st.sampled_from(TickKind), WORDS), max_size=40), st.data())
def test_estimates_of_whatever_moved_are_packed_as_msgspec_packs_them(lines, data):
    names, records = Names(), np.zeros(len(lines), dtype=ESTIMATE)
    for n, (kind, instrument) in enumerate(lines):
        names.add(kind.value, instrument)
        records[n]["value"], records[n]["samples"] = n + 0.5, n
    moved = some_of(lines, data)
    size = ESTIMATE.itemsize
    expected = [Estimate(*line, records[n].tobytes()) for n, line in enumerate(lines) if moved[n]]
    out = np.empty(len(lines) * (3 + names.longest + size), dtype=np.uint8)
    count, written = write_estimates(
        names.packed, names.ends, moved, moved.view(np.int64), records.view(np.uint8).reshape(-1, size), out
    )
    assert array_of(count, out[:written].tobytes()) == msgspec.Raw(msgspec.msgpack.encode(expected))
    assert not moved.any()


def some_of(items, data):
    """Flags, in whole eights."""
    flags = np.zeros(-(-len(items) // 8) * 8, dtype=np.bool_)
    flags[: len(items)] = data.draw(st.lists(st.booleans(), min_size=len(items), max_size=len(items)))
    return flags


def test_arrays_of_any_size_have_the_header_that_they_need():
    for count in (0, 15, 16, (1 << 16) - 1, 1 << 16):
        assert array_of(count, b"\x01" * count) == msgspec.Raw(msgspec.msgpack.encode([1] * count))
