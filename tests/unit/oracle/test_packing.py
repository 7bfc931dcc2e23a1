"""What loops write is what msgspec writes."""

import msgspec
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from app.domain.market import Change, PackedFrame, Quality, Tick, TickKind
from app.oracle.packing import Names, array_of, packed_changes, packed_ticks
from app.oracle.records import NEVER, PLACE

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


@given(st.lists(CHANGES, max_size=40))
def test_changes_are_packed_as_msgspec_packs_them(changes):
    names = Names()
    for change in changes:
        names.add(change.kind.value, change.instrument)
    whole = [(row, change.sources, change.quality, change.time_ns) for row, change in enumerate(changes)]
    numbers = np.array([(change.value, change.confidence) for change in changes]).reshape(-1, 2)
    packed, starts = packed_changes(
        names, np.array(whole, dtype=np.int64).reshape(-1, 4), numbers.view(np.int64)
    )
    each = [msgspec.msgpack.encode(change) for change in changes]
    assert packed == b"".join(each)
    assert starts == np.cumsum([0, *map(len, each)]).tolist()
    frame = PackedFrame(1, 2, 3, "4-0", 5, array_of(len(changes), packed))
    assert frame.changes == tuple(changes)


@given(st.lists(TICKS, max_size=40))
def test_ticks_are_packed_as_msgspec_packs_them(ticks):
    names, places = Names(), np.zeros(len(ticks), dtype=PLACE)
    for place, tick in zip(places, ticks, strict=True):
        names.add(tick.kind.value, tick.source, tick.instrument)
        place["time_ns"], place["value"], place["confidence"] = tick.time_ns, tick.value, tick.confidence
    told = np.array([tick.sequence for tick in ticks], dtype=np.int64)
    # Of every other one `after` says never, as it does of signers: the number is kept apart.
    kept_apart = (np.arange(len(ticks)) % 2 == 1) | (told == NEVER)
    after, apart = np.where(kept_apart, NEVER, told), np.where(kept_apart, told, 0)
    packed = packed_ticks(names, places, np.arange(len(ticks)), after, apart)
    assert array_of(len(ticks), packed) == msgspec.Raw(msgspec.msgpack.encode(ticks))


def test_arrays_of_any_size_have_the_header_that_they_need():
    for count in (0, 15, 16, (1 << 16) - 1, 1 << 16):
        assert array_of(count, b"\x01" * count) == msgspec.Raw(msgspec.msgpack.encode([1] * count))
