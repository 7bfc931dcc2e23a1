"""Packed ticks, read by a loop: entries are taken or left without one of Python's objects a tick.

Taken is an entry all of whose ticks are as nearly all are: well-formed, from places that were heard before,
in order, in time and within bounds. Any other is left as it was, for somebody to look at closely.
Reference: msgpack specification; FNV-1a (Fowler, Noll, Vo) for names.
"""

from collections.abc import Iterable
from math import inf

import numpy as np

from app.oracle.admission import LATEST_NS
from app.oracle.entries import END, START, STATED, UNREAD, Entries, Taken, Window
from app.oracle.packing import Names
from app.oracle.records import NEVER, NOBODY, Records
from app.quant.arrays import ByteArray, FloatArray, IntArray, with_room
from app.quant.compiled import compiled_in_place, inlined_in_place

LEAST_BYTES = 7
"""Of a tick: array, three names and three numbers take no less."""
_STEPS = 64
"""Further from its slot nothing is put or looked for: names thought up to collide are read tick by tick."""
_SEED, _PRIME = 0xCBF29CE484222325 - (1 << 64), 0x100000001B3


def packed_entries(packed: Iterable[tuple[str, bytes]]) -> Entries:
    """Of ids, and of ticks as msgpack."""
    names, bodies = zip(*packed, strict=True)
    id_ends, ends = np.cumsum([0, *map(len, names)]), np.cumsum([0, *map(len, bodies)])
    rows = np.column_stack([id_ends[:-1], id_ends[1:], ends[:-1], ends[1:], ends[1:]])
    data = np.array(bytearray(b"".join(bodies)), dtype=np.uint8)
    return Entries(rows, np.frombuffer("".join(names).encode(), dtype=np.uint8), data, _state(data, rows))


class Places:
    """Rows of names, found by what stands packed in a tick."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._slots: IntArray = np.full(256, NOBODY, dtype=np.int64)
        self._before: IntArray = np.empty(0, dtype=np.int64)  # sequences whose place was taken

    def add_last(self) -> None:
        """The last row of names that was added."""
        rows = self._names.rows
        first = rows - 1
        if 2 * rows > self._slots.size:
            self._slots = np.full(2 * self._slots.size, NOBODY, dtype=np.int64)
            first = 0
        _place(self._slots, self._names.packed, self._names.ends, first, rows)

    def read(
        self,
        entries: Entries,
        start: int,
        end: int,
        places: Records,
        lines: Records,
        after: IntArray,
        window: Window,
        taken: Taken,
    ) -> int:
        """Takes entries from `start` on, before the first that needs a closer look or has no ticks: how many.

        A sequence is taken above the one in `after`, where it takes its place.
        """
        rows = entries.rows
        room = entries.ticks if end - start == len(rows) else int(rows[start:end, STATED].sum())
        taken.claim(room, end - start)
        self._before = with_room(self._before, len(taken.whole))
        count = _read(
            entries.data,
            rows,
            start,
            end,
            self._slots,
            self._names.packed,
            self._names.ends,
            places,
            lines,
            after,
            self._before,
            *window,
            taken.whole,
            taken.told,
            taken.bits,
            taken.ticks,
            taken.ends,
            taken.entries,
        )
        if count:
            taken.entries += count
            taken.ticks = int(taken.ends[taken.entries - 1, 0])
        return count


@inlined_in_place
def _hash(data: ByteArray, start: int, end: int) -> int:
    found = _SEED
    for i in range(start, end):
        found = (found ^ data[i]) * _PRIME
    return found ^ (found >> 32)


@compiled_in_place
def _place(slots: IntArray, names: ByteArray, ends: IntArray, first: int, rows: int) -> None:
    for row in range(first, rows):
        first_slot = _hash(names, ends[row], ends[row + 1])
        for step in range(_STEPS):
            slot = (first_slot + step) & (slots.shape[0] - 1)
            if slots[slot] == NOBODY:
                slots[slot] = row
                break


@inlined_in_place
def _found(data: ByteArray, start: int, end: int, slots: IntArray, names: ByteArray, ends: IntArray) -> int:
    first_slot = _hash(data, start, end)
    for step in range(_STEPS):
        row = slots[(first_slot + step) & (slots.shape[0] - 1)]
        if row == NOBODY:
            break
        if ends[row + 1] - ends[row] == end - start:
            same = 0
            while same < end - start and data[start + same] == names[ends[row] + same]:
                same += 1
            if same == end - start:
                return int(row)
    return NOBODY


@inlined_in_place
def _big_endian(data: ByteArray, at: int, count: int) -> int:
    found = 0
    for i in range(count):
        found = (found << 8) | data[at + i]
    return found


@inlined_in_place
def _after_name(data: ByteArray, at: int) -> int:
    """Where the string ends that begins here; past the end where none does."""
    if at + 1 >= data.shape[0]:
        return int(data.shape[0])
    if data[at] & 0xE0 == 0xA0:
        return at + 1 + int(data[at] & 0x1F)
    if data[at] == 0xD9:
        return at + 2 + int(data[at + 1])
    return int(data.shape[0])


@inlined_in_place
def _integer(data: ByteArray, at: int) -> tuple[int, int]:
    """One that is not negative, and where it ends; past the end where none begins here."""
    past = data.shape[0] + 1
    if at >= data.shape[0]:
        return 0, past
    kind = data[at]
    if kind < 0x80:
        return int(kind), at + 1
    if kind < 0xCC or kind > 0xCF or at + 1 + (1 << (kind - 0xCC)) > data.shape[0]:
        return 0, past
    size = 1 << (kind - 0xCC)
    value = _big_endian(data, at + 1, size)
    return (value, at + 1 + size) if value >= 0 else (0, past)


@inlined_in_place
def _number(data: ByteArray, at: int, told: FloatArray, bits: IntArray, i: int, column: int) -> int:
    """Into row i of `told`, whose bits are `bits`; where it ends, which is past the end where none begins."""
    if at < data.shape[0] and data[at] == 0xCB:
        if at + 9 <= data.shape[0]:
            bits[i, column] = _big_endian(data, at + 1, 8)
        return at + 9
    value, end = _integer(data, at)
    told[i, column] = value
    return end


@inlined_in_place
def count_of(data: ByteArray) -> tuple[int, int]:
    """Of the array that begins here, and where its first element does; -1 where none does."""
    if data.shape[0] > 0 and data[0] & 0xF0 == 0x90:
        return int(data[0] & 0x0F), 1
    if data.shape[0] > 3 and data[0] == 0xDC:
        return _big_endian(data, 1, 2), 3
    if data.shape[0] > 5 and data[0] == 0xDD:
        return _big_endian(data, 1, 4), 5
    return -1, 0


@inlined_in_place
def stated_count(data: ByteArray) -> int:
    """How many ticks the array that begins here has by its own word, but no more than there is room for."""
    count, _ = count_of(data)
    return min(max(count, 0), int(data.shape[0]) // LEAST_BYTES + 1)


@compiled_in_place
def _state(data: ByteArray, rows: IntArray) -> int:
    """How many ticks the entries have in all."""
    ticks = 0
    for e in range(rows.shape[0]):
        rows[e, STATED] = stated_count(data[rows[e, START] : rows[e, END]])
        ticks += rows[e, STATED]
    return ticks


@inlined_in_place
def _tick(
    data: ByteArray,
    at: int,
    slots: IntArray,
    names: ByteArray,
    ends: IntArray,
    whole: IntArray,
    told: FloatArray,
    bits: IntArray,
    i: int,
) -> tuple[int, int]:
    """Into row i place and time, value and confidence. Sequence, and where it ends; -1 where it is none."""
    fields = data[at] if at < data.shape[0] else 0
    end = _after_name(data, _after_name(data, _after_name(data, at + 1)))
    if fields not in (0x96, 0x97) or end >= data.shape[0]:
        return 0, -1
    whole[i, 0] = _found(data, at + 1, end, slots, names, ends)
    sequence, at = _integer(data, end)
    whole[i, 1], at = _integer(data, at)
    at = _number(data, at, told, bits, i, 0)
    told[i, 1] = 0.0
    if fields == 0x97:
        at = _number(data, at, told, bits, i, 1)
    return sequence, at if at <= data.shape[0] and whole[i, 0] != NOBODY else -1


@inlined_in_place
def _read_entry(
    data: ByteArray,
    slots: IntArray,
    names: ByteArray,
    ends: IntArray,
    places: Records,
    lines: Records,
    after: IntArray,
    before: IntArray,
    now_ns: int,
    maximum_age_ns: int,
    maximum_lead_ns: int,
    moves: bool,
    whole: IntArray,
    told: FloatArray,
    bits: IntArray,
    first: int,
) -> tuple[int, int]:
    """The ticks of one entry, from row `first` on: the row after the last one, or `first` when one of them
    needs a closer look; and the clock then. The sequences that they take the place of are put into `before`.
    """
    count, at = count_of(data)
    last = first + min(count, whole.shape[0] - first)
    done = first
    while done < last and at < data.shape[0]:
        sequence, at = _tick(data, at, slots, names, ends, whole, told, bits, done)
        if at < 0:
            break
        place, time_ns = whole[done, 0], whole[done, 1]
        value, confidence = told[done, 0], told[done, 1]
        line = lines[places[place].line]
        if not (
            after[place] < sequence < NEVER
            and max(1, now_ns - maximum_age_ns) <= time_ns < LATEST_NS
            and time_ns <= now_ns + maximum_lead_ns
            and line.above < value <= line.most
            and 0.0 <= confidence < inf
        ):
            break
        before[done] = after[place]
        after[place] = sequence
        if moves:
            now_ns = max(now_ns, time_ns)
        done += 1
    if done == first + count and at == data.shape[0]:
        return done, now_ns
    for i in range(done - 1, first - 1, -1):
        after[whole[i, 0]] = before[i]
    return first, now_ns


@compiled_in_place
def _read(
    data: ByteArray,
    rows: IntArray,
    start: int,
    end: int,
    slots: IntArray,
    names: ByteArray,
    name_ends: IntArray,
    places: Records,
    lines: Records,
    after: IntArray,
    before: IntArray,
    now_ns: int,
    maximum_age_ns: int,
    maximum_lead_ns: int,
    moves: bool,
    until_ns: int,
    whole: IntArray,
    told: FloatArray,
    bits: IntArray,
    done: int,
    ends: IntArray,
    entry: int,
) -> int:
    """How many entries were read, into rows from `done` on, and from `entry` on."""
    for e in range(start, end):
        if rows[e, START] == UNREAD:
            return e - start
        first = done
        done, entry_ns = _read_entry(
            data[rows[e, START] : rows[e, END]], slots, names, name_ends, places, lines, after, before,
            now_ns, maximum_age_ns, maximum_lead_ns, moves, whole, told, bits, first,
        )  # fmt: skip
        if done == first:
            return e - start
        now_ns = entry_ns
        ends[entry, 0], ends[entry, 1] = done, now_ns
        entry += 1
        if now_ns >= until_ns:
            return e + 1 - start
    return end - start
