"""What the oracle tells, as msgpack, written by loops: byte for byte what msgspec makes of the same structs.

A change and a tick begin with names, which seldom change: they are packed once (`Names`) and copied.
Reference: msgpack specification, formats of integers, floats, strings and arrays.
"""

import msgspec
import numpy as np

from app.oracle.records import NEVER, Records
from app.quant.arrays import BoolArray, ByteArray, FloatArray, IntArray, with_room
from app.quant.compiled import compiled_in_place, inlined_in_place

OF_NUMBERS = 48
"""More bytes than the numbers of a change or of a tick and the header of their array take."""
_pack = msgspec.msgpack.Encoder().encode


class Names:
    """What rows are called, packed: row i by `packed[ends[i] : ends[i + 1]]`."""

    def __init__(self) -> None:
        self.packed: ByteArray = np.zeros(1_024, dtype=np.uint8)
        self.ends: IntArray = np.zeros(65, dtype=np.int64)
        self.rows = 0
        self.longest = 0

    def add(self, *names: str) -> None:
        self.add_packed(b"".join(map(_pack, names)))

    def add_packed(self, packed: bytes) -> None:
        start = int(self.ends[self.rows])
        end = start + len(packed)
        self.rows += 1
        self.packed, self.ends = with_room(self.packed, end), with_room(self.ends, self.rows + 1)
        self.packed[start:end] = np.frombuffer(packed, dtype=np.uint8)
        self.ends[self.rows] = end
        self.longest = max(self.longest, len(packed))


def array_of(count: int, packed: bytes) -> msgspec.Raw:
    """An array of so many structs that are packed already."""
    if count < 16:
        header = bytes([0x90 | count])
    elif count < 1 << 16:
        header = b"\xdc" + count.to_bytes(2, "big")
    else:
        header = b"\xdd" + count.to_bytes(4, "big")
    return msgspec.Raw(header + packed)


@inlined_in_place
def put_bytes(out: ByteArray, at: int, value: int, count: int) -> int:
    """Big-endian."""
    for i in range(count):
        out[at + i] = (value >> (8 * (count - 1 - i))) & 0xFF
    return at + count


@inlined_in_place
def put_integer(out: ByteArray, at: int, value: int) -> int:
    """In the shortest form."""
    if -32 <= value < 128:
        return put_bytes(out, at, value, 1)
    magnitude, sign = (~value, 1) if value < 0 else (value, 0)
    size = 0
    while size < 3 and magnitude >> ((8 << size) - sign) != 0:
        size += 1
    out[at] = (0xD0 if value < 0 else 0xCC) + size
    return put_bytes(out, at + 1, value, 1 << size)


@inlined_in_place
def put_string(out: ByteArray, at: int, text: ByteArray, start: int, end: int) -> int:
    """Of at most 255 bytes."""
    size = end - start
    if size < 32:
        out[at] = 0xA0 | size
    else:
        out[at] = 0xD9
        at += 1
        out[at] = size
    at += 1
    for i in range(start, end):
        out[at] = text[i]
        at += 1
    return at


@inlined_in_place
def put_array(out: ByteArray, at: int, count: int) -> int:
    """The header of one of so many elements."""
    if count < 16:
        return put_bytes(out, at, 0x90 | count, 1)
    out[at] = 0xDC if count < 1 << 16 else 0xDD
    return put_bytes(out, at + 1, count, 2 if count < 1 << 16 else 4)


@inlined_in_place
def put_number(out: ByteArray, at: int, bits: int) -> int:
    out[at] = 0xCB
    return put_bytes(out, at + 1, bits, 8)


@inlined_in_place
def _put_names(out: ByteArray, at: int, names: ByteArray, ends: IntArray, row: int) -> int:
    for i in range(ends[row], ends[row + 1]):
        out[at] = names[i]
        at += 1
    return at


@compiled_in_place
def write_changes(
    names: ByteArray,
    name_ends: IntArray,
    whole: IntArray,
    numbers: IntArray,
    count: int,
    lines: IntArray,
    starts: IntArray,
    out: ByteArray,
    first: int,
) -> None:
    """The first `count` changes, as those from `first` on: rows of lines, where each starts, and in `out`
    what it is. Of each, row of names, sources, quality and time in `whole`, and the bits of value and
    confidence in `numbers`.
    """
    at = starts[first]
    for i in range(count):
        lines[first + i] = whole[i, 0]
        out[at] = 0x97
        at = _put_names(out, at + 1, names, name_ends, whole[i, 0])
        at = put_number(out, at, numbers[i, 0])
        at = put_number(out, at, numbers[i, 1])
        for column in range(1, 4):
            at = put_integer(out, at, whole[i, column])
        starts[first + i + 1] = at


@compiled_in_place
def write_last_words(
    names: ByteArray,
    name_ends: IntArray,
    lines: IntArray,
    starts: IntArray,
    changes: ByteArray,
    first: int,
    end: int,
    seen: BoolArray,
    out: ByteArray,
) -> int:
    """Of each line its name and the last of these changes, each behind its length (4 bytes)."""
    at = 0
    for i in range(end - 1, first - 1, -1):
        line = lines[i]
        if not seen[line]:
            seen[line] = True
            at = put_bytes(out, at, name_ends[line + 1] - name_ends[line], 4)
            at = _put_names(out, at, names, name_ends, line)
            at = put_bytes(out, at, starts[i + 1] - starts[i], 4)
            for j in range(starts[i], starts[i + 1]):
                out[at] = changes[j]
                at += 1
    for i in range(first, end):
        seen[lines[i]] = False
    return at


@compiled_in_place
def write_ticks(
    names: ByteArray,
    name_ends: IntArray,
    spoke: BoolArray,
    spoke_by_eights: IntArray,
    after: IntArray,
    sequences: IntArray,
    places: Records,
    number: FloatArray,
    bits: IntArray,
    out: ByteArray,
) -> tuple[int, int]:
    """The last words of places that `spoke`, who have not then: how many, and how many bytes.

    The sequence of each is the one in `after` or, where that says never, in `sequences`. `number` is for the
    loop's own use, and `bits` are its own.
    """
    at, count = 0, 0
    for eight in range(spoke_by_eights.shape[0]):
        if spoke_by_eights[eight] == 0:
            continue
        for row in range(8 * eight, 8 * eight + 8):
            if spoke[row]:
                spoke[row] = False
                count += 1
                out[at] = 0x97
                at = _put_names(out, at + 1, names, name_ends, row)
                at = put_integer(out, at, sequences[row] if after[row] == NEVER else after[row])
                at = put_integer(out, at, places[row].time_ns)
                number[0] = places[row].value
                at = put_number(out, at, bits[0])
                number[0] = places[row].confidence
                at = put_number(out, at, bits[0])
    return count, at


@compiled_in_place
def write_estimates(
    names: ByteArray,
    name_ends: IntArray,
    moved: BoolArray,
    moved_by_eights: IntArray,
    records: ByteArray,
    out: ByteArray,
) -> tuple[int, int]:
    """Of lines that `moved`, which have not then, their names and records of at most 255 bytes."""
    at, count = 0, 0
    for eight in range(moved_by_eights.shape[0]):
        if moved_by_eights[eight] == 0:
            continue
        for row in range(8 * eight, 8 * eight + 8):
            if moved[row]:
                moved[row] = False
                count += 1
                out[at] = 0x93
                at = _put_names(out, at + 1, names, name_ends, row)
                out[at], out[at + 1] = 0xC4, records.shape[1]
                at += 2
                for i in range(records.shape[1]):
                    out[at] = records[row, i]
                    at += 1
    return count, at
