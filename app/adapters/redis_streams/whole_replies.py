"""Replies as the bytes that they came in, for whoever reads them with a loop.

In hiredis' place on a connection: fed with what arrives, it gives one reply at a time once it is there. What
is an error to Redis is one here. Reference: Redis serialization protocol (RESP2).
"""

import numpy as np
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from app.adapters.redis_streams.wire import error_of
from app.quant.arrays import ByteArray, IntArray
from app.quant.compiled import compiled_in_place, inlined_in_place

_NEWLINE = 2
_MALFORMED = -1
_MOST_ELEMENTS = (1 << 32) - 1  # of an array, as hiredis has it


class WholeReplies:
    def __init__(self) -> None:
        self._arrived: bytes | bytearray = b""
        self._given = 0  # of its bytes
        self._ends: list[int] = []  # of replies that are there, the next one last
        # Where the next element begins, and how many are missing of its reply; and room for ends.
        self._progress: IntArray = np.array([0, 1])
        self._found: IntArray = np.empty(64, dtype=np.int64)

    def feed(self, data: bytes) -> None:
        if self._given == len(self._arrived):
            self._arrived = data
        elif self._given or not isinstance(self._arrived, bytearray):
            self._arrived = bytearray(self._arrived[self._given :]) + data
        else:
            self._arrived += data
        self._progress[0] -= self._given
        self._ends = [end - self._given for end in self._ends]
        self._given = 0

    def gets(self) -> bytes | ResponseError | bool:
        """False where it is not all there."""
        if not self._ends:
            self._look()
            if not self._ends:
                return False
        start, self._given = self._given, self._ends.pop()
        reply = bytes(self._arrived[start : self._given])
        if reply.startswith(b"-"):
            return error_of(reply[1:-_NEWLINE].decode(errors="replace"))
        return reply

    def _look(self) -> None:
        """For replies that are there."""
        if self._progress[0] == len(self._arrived):
            return
        count = _go_on(readable(self._arrived), self._progress, self._found)
        if count == _MALFORMED:
            raise RedisConnectionError("what came is no reply of Redis")
        self._ends = self._found[:count][::-1].tolist()


def readable(data: bytes | bytearray) -> ByteArray:
    """Of one type for all, so that loops are compiled for one."""
    return np.frombuffer(data if isinstance(data, bytes) else memoryview(data).toreadonly(), dtype=np.uint8)


@inlined_in_place
def line_end(data: ByteArray, at: int) -> int:
    """Where the line that begins here ends with CR LF; the size of the data where it does not yet."""
    while at + 1 < data.shape[0]:
        if data[at] == 0x0D and data[at + 1] == 0x0A:
            return at
        at += 1
    return int(data.shape[0])


@inlined_in_place
def number_between(data: ByteArray, start: int, end: int) -> int:
    """Digits, no more than 18; `_MALFORMED` for anything else, as for the -1 of what is null."""
    if end <= start or end - start > 18:
        return _MALFORMED
    number = 0
    for i in range(start, end):
        digit = int(data[i]) - 0x30
        if digit < 0 or digit > 9:
            return _MALFORMED
        number = 10 * number + digit
    return number


@inlined_in_place
def _is_null(data: ByteArray, start: int, end: int) -> bool:
    """Its header says -1."""
    return end - start == 2 and data[start] == 0x2D and data[start + 1] == 0x31


@inlined_in_place
def _after(data: ByteArray, at: int) -> tuple[int, int]:
    """Of the element that begins here where it ends, and how many follow in it; where it is not all there the
    data's end and one more, or `_MALFORMED`.
    """
    past = int(data.shape[0]) + 1
    kind = data[at]
    if kind not in (0x24, 0x2A, 0x2B, 0x2D, 0x3A):  # $ * + - :
        return _MALFORMED, 0
    end = line_end(data, at)
    if end == data.shape[0]:
        return past, 0
    if kind not in (0x24, 0x2A):
        return end + _NEWLINE, 0
    size = number_between(data, at + 1, end)
    if (size < 0 and not _is_null(data, at + 1, end)) or (kind == 0x2A and size > _MOST_ELEMENTS):
        return _MALFORMED, 0
    if kind == 0x2A:
        return end + _NEWLINE, max(0, size)
    return min(past, end + _NEWLINE + (size + _NEWLINE if size >= 0 else 0)), 0


@compiled_in_place
def _go_on(data: ByteArray, progress: IntArray, ends: IntArray) -> int:
    """Past all elements that are there, of nested arrays too: how many replies end, and where, as far as
    there is room. What is malformed ends what is found before it, or is told.
    """
    at, missing, count = progress[0], progress[1], 0
    while at < data.shape[0] and count < ends.shape[0]:
        end, within = _after(data, at)
        if end == _MALFORMED and count == 0:
            return _MALFORMED
        if end == _MALFORMED or end > data.shape[0]:
            break
        at, missing = end, missing - 1 + within
        if missing == 0:
            ends[count] = at
            count, missing = count + 1, 1
    progress[0], progress[1] = at, missing
    return count
