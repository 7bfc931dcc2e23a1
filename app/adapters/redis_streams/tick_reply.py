"""What XREAD answers of `oracle:ticks`, read by a loop: a single tick in flat fields becomes a packed one.

Flat fields in the order in which publishers write them, and a value that is a plain number, are read here;
of any other entry it is only known where it is (`TickReply.flat`). No object of Python's is made of an entry.
Reference: Redis serialization protocol (RESP2); W. D. Clinger, "How to read floating point numbers
accurately" (1990), for decimals that are exact in one operation.
"""

from struct import pack_into
from typing import Any

import hiredis
import numpy as np

from app.adapters.redis_streams.keys import TICKS
from app.adapters.redis_streams.whole_replies import WholeReplies, line_end, number_between, readable
from app.domain.market import MAXIMUM_NAME
from app.oracle.entries import END, ID_END, ID_START, START, STATED, UNREAD, Entries
from app.oracle.packing import put_bytes, put_integer, put_string
from app.oracle.unpacking import stated_count
from app.quant.arrays import ByteArray, FloatArray, IntArray
from app.quant.compiled import compiled_in_place, inlined_in_place

FIELDS = ("kind", "source", "instrument", "sequence", "time_ns", "value", "confidence")
_NAMES, _INTEGERS = 3, 5  # so many of them, and up to there
_TOLD = f"*1\r\n*2\r\n${len(TICKS)}\r\n{TICKS}\r\n*".encode()


def _as_told(*words: str) -> tuple[ByteArray, IntArray]:
    """As they stand in a reply, one after the other, and where each ends."""
    told = [f"${len(word)}\r\n{word}\r\n".encode() for word in words]
    return np.frombuffer(b"".join(told), dtype=np.uint8), np.cumsum([0, *map(len, told)])


_FIELDS, _FIELD_ENDS = _as_told(*FIELDS)
_PACKED, _ = _as_told("packed")
_BODY_START, _BODY_END = STATED + 1, STATED + 2  # where what was sent stands in the reply
_MOST_TENTHS, _LAST_DIGIT = divmod((1 << 63) - 1, 10)
_EXACT_INTEGER, _EXACT_POWER = 1 << 53, 22
_POWERS: FloatArray = np.array([10.0**power for power in range(_EXACT_POWER + 1)])
_OF_PACKED, _TYPICAL_BYTES = 4, 50  # fields and values, with a signature, and bytes of a tick
_NO_TICK, _EXACT, _ANY = 0, 1, 2


class TickReply:
    """The entries, and what was sent of each."""

    def __init__(self, reply: bytes) -> None:
        self._reply = reply
        self.entries = _read(reply)

    def __len__(self) -> int:
        return len(self.entries)

    def id(self, i: int) -> str:
        return self.entries.id(i)

    def flat(self, i: int) -> list[bytes]:
        """Its fields and values in turn."""
        reader = hiredis.Reader()
        start, end = self.entries.rows[i, _BODY_START:].tolist()
        reader.feed(self._reply[start:end])
        flat: Any = reader.gets()
        return list(flat)


def warm_up() -> None:
    """Reads a reply of one entry with every loop."""
    told = ["0-1", *(word for name in FIELDS for word in (name, "1"))]
    words = [f"${len(word)}\r\n{word}\r\n" for word in told]
    replies = WholeReplies()
    replies.feed(_TOLD + f"1\r\n*2\r\n{words[0]}*{len(words) - 1}\r\n{''.join(words[1:])}".encode())
    reply = replies.gets()
    if not (isinstance(reply, bytes) and len(TickReply(reply)) == 1):
        raise AssertionError("a reply was not read as it was written")


def _read(reply: bytes) -> Entries:
    count, at = 0, 0
    if reply.startswith(_TOLD):  # else nothing came in time
        at = reply.index(b"\r", len(_TOLD))
        count = int(reply[len(_TOLD) : at])
    told = readable(reply)
    data, rows = np.empty(len(reply), dtype=np.uint8), np.empty((count, _BODY_END + 1), dtype=np.int64)
    later, number = np.empty((2 * count, 3), dtype=np.int64), np.empty(1)
    ticks, left = _read_entries(told, at, data, rows, later, number, number.view(np.int64))
    for where, start, end in later[:left].tolist():
        pack_into(">d", data.data, where, float(reply[start:end]))
    return Entries(rows, told, data, ticks)


@inlined_in_place
def _next_line(reply: ByteArray, at: int) -> int:
    return line_end(reply, at) + 2


@inlined_in_place
def _bulk(reply: ByteArray, at: int) -> tuple[int, int]:
    """Where the string that is told here starts and ends."""
    header = line_end(reply, at)
    return header + 2, header + 2 + max(0, number_between(reply, at + 1, header))


@inlined_in_place
def _says(reply: ByteArray, at: int, words: ByteArray, start: int, end: int) -> bool:
    size, same = end - start, 0
    while same < size and at + same < reply.shape[0] and reply[at + same] == words[start + same]:
        same += 1
    return same == size


@inlined_in_place
def _decimal(reply: ByteArray, start: int, end: int, number: FloatArray) -> int:
    """Whether it is a plain number, and one that is exact: that is put into `number` then.

    A whole number below 2**53 by or over a power of ten up to the 22nd is rounded once, as it should be.
    """
    at, whole, power, digits, is_long, point = start, 0, 0, 0, False, 0
    is_negative = at < end and reply[at] == 0x2D
    if is_negative:
        at += 1
    while at < end and (0x30 <= reply[at] <= 0x39 or (reply[at] == 0x2E and not point)):
        if reply[at] == 0x2E:
            point = 1
        else:
            is_long = is_long or whole >= _EXACT_INTEGER
            if not is_long:
                whole = 10 * whole + int(reply[at]) - 0x30
            digits, power = digits + 1, power - point
        at += 1
    if digits == 0:
        return _NO_TICK
    if at < end:
        if reply[at] != 0x65 and reply[at] != 0x45:
            return _NO_TICK
        at += 1
        sign = -1 if at < end and reply[at] == 0x2D else 1
        if at < end and (reply[at] == 0x2D or reply[at] == 0x2B):
            at += 1
        exponent = number_between(reply, at, end)
        if exponent < 0:
            return _NO_TICK
        power += sign * exponent
    if is_long or whole > _EXACT_INTEGER or abs(power) > _EXACT_POWER:
        return _ANY
    number[0] = whole * _POWERS[power] if power >= 0 else whole / _POWERS[-power]
    if is_negative:
        number[0] = -number[0]
    return _EXACT


@inlined_in_place
def _tick(
    reply: ByteArray,
    at: int,
    data: ByteArray,
    to: int,
    later: IntArray,
    left: int,
    number: FloatArray,
    bits: IntArray,
) -> tuple[int, int, int]:
    """Of flat fields a packed tick. Where that ends, or `UNREAD`; where the fields do; and how many numbers
    are left to be read by who can read them all.
    """
    for field in range(len(FIELDS)):
        if not _says(reply, at, _FIELDS, _FIELD_ENDS[field], _FIELD_ENDS[field + 1]):
            return UNREAD, at, left
        start, end = _bulk(reply, at + _FIELD_ENDS[field + 1] - _FIELD_ENDS[field])
        at = end + 2
        if field < _NAMES:
            if end - start > MAXIMUM_NAME:
                return UNREAD, at, left
            to = put_string(data, to, reply, start, end)
        elif field < _INTEGERS:
            value = _digits(reply, start, end)
            if value < 0:
                return UNREAD, at, left
            to = put_integer(data, to, value)
        else:
            told = _decimal(reply, start, end, number)
            if told == _NO_TICK:
                return UNREAD, at, left
            if told == _ANY:
                later[left, 0], later[left, 1], later[left, 2] = to + 1, start, end
                left += 1
            data[to] = 0xCB
            to = put_bytes(data, to + 1, bits[0], 8)
    return to, at, left


@inlined_in_place
def _digits(reply: ByteArray, start: int, end: int) -> int:
    """A number that is not negative and has 64 bits; below zero for anything else."""
    if end - start != 19:
        return number_between(reply, start, end)
    most = number_between(reply, start, end - 1)
    last = number_between(reply, end - 1, end)
    if most < 0 or last < 0 or most > _MOST_TENTHS or (most == _MOST_TENTHS and last > _LAST_DIGIT):
        return -1
    return 10 * most + last


@compiled_in_place
def _read_entries(
    reply: ByteArray,
    at: int,
    data: ByteArray,
    rows: IntArray,
    later: IntArray,
    number: FloatArray,
    bits: IntArray,
) -> tuple[int, int]:
    """How many ticks they have in all, and how many numbers are left (see `_tick`). The entries begin behind
    the line that goes on `at`.
    """
    to, ticks, left, at = 0, 0, 0, _next_line(reply, at)
    for e in range(rows.shape[0]):
        row = rows[e]
        row[ID_START], row[ID_END] = _bulk(reply, _next_line(reply, at))
        at = row[ID_END] + 2
        header = line_end(reply, at)
        fields, body = number_between(reply, at + 1, header), header + 2
        row[_BODY_START] = at
        row[START], row[END], row[STATED] = UNREAD, UNREAD, 1
        if fields == 2 * len(FIELDS):
            data[to], data[to + 1] = 0x91, 0x97
            end, at, left_then = _tick(reply, body, data, to + 2, later, left, number, bits)
            if end != UNREAD:
                row[START], row[END] = to, end
                to, left = end, left_then
        elif fields == 2 and _says(reply, body, _PACKED, 0, _PACKED.shape[0]):
            first, last = _bulk(reply, body + _PACKED.shape[0])
            row[START], row[END] = to, to + last - first
            for i in range(first, last):
                data[to + i - first] = reply[i]
            to, at = row[END], last + 2
            row[STATED] = stated_count(data[row[START] : row[END]])
        if row[START] == UNREAD:
            at = body
            for _ in range(fields):
                _, end = _bulk(reply, at)
                at = end + 2
            if fields <= _OF_PACKED:
                row[STATED] = 1 + (at - body) // _TYPICAL_BYTES
        row[_BODY_END] = at
        ticks += row[STATED]
    return ticks, left
