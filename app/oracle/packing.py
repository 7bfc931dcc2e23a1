"""What the oracle tells, as msgpack, written by loops: byte for byte what msgspec makes of the same structs.

A change and a tick begin with names, which seldom change: they are packed once (`Names`) and copied.
Reference: msgpack specification, formats of integers, floats, strings and arrays.
"""

import msgspec
import numpy as np

from app.oracle.records import NEVER, Records
from app.quant.arrays import ByteArray, IntArray
from app.quant.compiled import compiled_in_place, inlined_in_place

_OF_NUMBERS = 48
"""More bytes than the numbers of a change or of a tick and the header of their array take."""
_pack = msgspec.msgpack.Encoder().encode


class Names:
    """The packed names of rows: those of row i are `packed[ends[i] : ends[i + 1]]`."""

    def __init__(self) -> None:
        self.packed: ByteArray = np.zeros(1_024, dtype=np.uint8)
        self.ends: IntArray = np.zeros(65, dtype=np.int64)
        self.rows = 0
        self.longest = 0

    def add(self, *names: str) -> None:
        packed = b"".join(map(_pack, names))
        start = int(self.ends[self.rows])
        end = start + len(packed)
        while end > self.packed.size:
            self.packed = np.concatenate([self.packed, np.zeros_like(self.packed)])
        if self.rows + 1 == self.ends.size:
            self.ends = np.concatenate([self.ends, np.zeros_like(self.ends)])
        self.rows += 1
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


def packed_changes(names: Names, whole: IntArray, numbers: IntArray) -> tuple[bytes, list[int]]:
    """Changes one after the other, and where each of them starts and the last one ends.

    Of each, row of names, sources, quality and time in `whole`, and the bits of value and confidence in
    `numbers`.
    """
    count = whole.shape[0]
    out = np.empty(count * (_OF_NUMBERS + names.longest), dtype=np.uint8)
    ends = np.empty(count, dtype=np.int64)
    written = _write_changes(names.packed, names.ends, whole, numbers, out, ends)
    return out[:written].tobytes(), [0, *ends.tolist()]


def packed_ticks(
    names: Names, places: Records, rows: IntArray, after: IntArray, sequences: IntArray
) -> bytes:
    """The last words of these places, one after the other.

    The sequence of each is the one in `after` or, where that says never, in `sequences`.
    """
    out = np.empty(rows.size * (_OF_NUMBERS + names.longest), dtype=np.uint8)
    values, confidences = places["value"].view(np.int64), places["confidence"].view(np.int64)
    written = _write_ticks(
        names.packed, names.ends, rows, after, sequences, places["time_ns"], values, confidences, out
    )
    return out[:written].tobytes()


@inlined_in_place
def _put_bytes(out: ByteArray, at: int, value: int, count: int) -> int:
    """Big-endian."""
    for i in range(count):
        out[at + i] = (value >> (8 * (count - 1 - i))) & 0xFF
    return at + count


@inlined_in_place
def _put_integer(out: ByteArray, at: int, value: int) -> int:
    """In the shortest form."""
    if -32 <= value < 128:
        return _put_bytes(out, at, value, 1)
    magnitude, sign = (~value, 1) if value < 0 else (value, 0)
    size = 0
    while size < 3 and magnitude >> ((8 << size) - sign) != 0:
        size += 1
    out[at] = (0xD0 if value < 0 else 0xCC) + size
    return _put_bytes(out, at + 1, value, 1 << size)


@inlined_in_place
def _put_number(out: ByteArray, at: int, bits: int) -> int:
    out[at] = 0xCB
    return _put_bytes(out, at + 1, bits, 8)


@inlined_in_place
def _put_names(out: ByteArray, at: int, names: ByteArray, ends: IntArray, row: int) -> int:
    for i in range(ends[row], ends[row + 1]):
        out[at] = names[i]
        at += 1
    return at


@compiled_in_place
def _write_changes(
    names: ByteArray, name_ends: IntArray, whole: IntArray, numbers: IntArray, out: ByteArray, ends: IntArray
) -> int:
    at = 0
    for i in range(whole.shape[0]):
        out[at] = 0x97
        at = _put_names(out, at + 1, names, name_ends, whole[i, 0])
        at = _put_number(out, at, numbers[i, 0])
        at = _put_number(out, at, numbers[i, 1])
        for column in range(1, 4):
            at = _put_integer(out, at, whole[i, column])
        ends[i] = at
    return at


@compiled_in_place
def _write_ticks(
    names: ByteArray,
    name_ends: IntArray,
    rows: IntArray,
    after: IntArray,
    sequences: IntArray,
    times_ns: IntArray,
    values: IntArray,
    confidences: IntArray,
    out: ByteArray,
) -> int:
    at = 0
    for i in range(rows.shape[0]):
        row = rows[i]
        out[at] = 0x97
        at = _put_names(out, at + 1, names, name_ends, row)
        at = _put_integer(out, at, sequences[row] if after[row] == NEVER else after[row])
        at = _put_integer(out, at, times_ns[row])
        at = _put_number(out, at, values[row])
        at = _put_number(out, at, confidences[row])
    return at
