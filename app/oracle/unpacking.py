"""Packed ticks, read by a loop: an entry of many is taken or left without one of Python's objects a tick.

Taken is an entry all of whose ticks are as nearly all are: well-formed, from places that were heard before,
in order, in time and within bounds. Any other is left as it was, for somebody to look at closely.
Reference: msgpack specification; FNV-1a (Fowler, Noll, Vo) for names.
"""

from math import inf

import numpy as np

from app.oracle.packing import Names
from app.oracle.records import NEVER, NOBODY, Records
from app.quant.arrays import ByteArray, FloatArray, IntArray
from app.quant.compiled import compiled_in_place, inlined_in_place

_LEAST_BYTES = 7
"""Of a tick: array, three names and three numbers take no less."""
_STEPS = 64
"""Further from its slot nothing is put or looked for: names thought up to collide are read tick by tick."""
_SEED, _PRIME = 0xCBF29CE484222325 - (1 << 64), 0x100000001B3


def stated_count(packed: bytes) -> int:
    """How many ticks there should be, without a look at them."""
    match packed[:1]:
        case b"\xdc":
            return int.from_bytes(packed[1:3], "big")
        case b"\xdd":
            return int.from_bytes(packed[1:5], "big")
        case header:
            return int.from_bytes(header, "big") & 0x0F


class Places:
    """Rows of names, found by what stands packed in a tick."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._slots: IntArray = np.full(256, NOBODY, dtype=np.int64)

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
        packed: bytes,
        places: Records,
        lines: Records,
        after: IntArray,
        *,
        oldest_ns: int,
        newest_ns: int,
    ) -> tuple[IntArray, FloatArray] | None:
        """Of each tick place and time, value and confidence; None where one of them needs a closer look.

        A sequence is taken above the one in `after`, where it takes its place.
        """
        data = np.frombuffer(packed, dtype=np.uint8)
        room = data.size // _LEAST_BYTES + 1
        whole, told = np.empty((room, 3), dtype=np.int64), np.empty((room, 2))
        count = _read(
            data,
            self._slots,
            self._names.packed,
            self._names.ends,
            places["line"],
            lines["above"],
            lines["most"],
            after,
            oldest_ns,
            newest_ns,
            whole,
            told,
            told.view(np.int64),
        )
        return None if count < 0 else (whole[:count, :2], told[:count])


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
def _count(data: ByteArray) -> tuple[int, int]:
    """Of the array that begins here, and where its first element does; -1 where none does."""
    if data.shape[0] > 0 and data[0] & 0xF0 == 0x90:
        return int(data[0] & 0x0F), 1
    if data.shape[0] > 3 and data[0] == 0xDC:
        return _big_endian(data, 1, 2), 3
    if data.shape[0] > 5 and data[0] == 0xDD:
        return _big_endian(data, 1, 4), 5
    return -1, 0


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


@compiled_in_place
def _read(
    data: ByteArray,
    slots: IntArray,
    names: ByteArray,
    ends: IntArray,
    line_of: IntArray,
    above: FloatArray,
    most: FloatArray,
    after: IntArray,
    oldest_ns: int,
    newest_ns: int,
    whole: IntArray,
    told: FloatArray,
    bits: IntArray,
) -> int:
    """How many ticks there are, or -1 when one of them needs a closer look.

    The third column of `whole` is the sequence before.
    """
    count, at = _count(data)
    done = 0
    while done < count and at < data.shape[0]:
        sequence, at = _tick(data, at, slots, names, ends, whole, told, bits, done)
        if at < 0:
            break
        place, time_ns = whole[done, 0], whole[done, 1]
        value, confidence = told[done, 0], told[done, 1]
        line = line_of[place]
        if not (
            after[place] < sequence < NEVER
            and oldest_ns <= time_ns <= newest_ns
            and above[line] < value <= most[line]
            and 0.0 <= confidence < inf
        ):
            break
        whole[done, 2] = after[place]
        after[place] = sequence
        done += 1
    if done == count and at == data.shape[0]:
        return done
    for i in range(done - 1, -1, -1):
        after[whole[i, 0]] = whole[i, 2]
    return -1
