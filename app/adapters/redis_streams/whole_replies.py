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
        # Where the next element begins, and how many are missing of the reply.
        self._progress: IntArray = np.array([0, 1])

    def feed(self, data: bytes) -> None:
        if not self._arrived:
            self._arrived = data
        else:
            if not isinstance(self._arrived, bytearray):
                self._arrived = bytearray(self._arrived)
            self._arrived += data

    def gets(self) -> bytes | ResponseError | bool:
        """False where it is not all there."""
        if not self._arrived:
            return False
        _go_on(readable(self._arrived), self._progress)
        end, missing = self._progress.tolist()
        if missing == _MALFORMED:
            raise RedisConnectionError("what came is no reply of Redis")
        if missing:
            return False
        reply, self._arrived = bytes(self._arrived[:end]), self._arrived[end:]
        self._progress[:] = 0, 1
        if reply.startswith(b"-"):
            return error_of(reply[1:-_NEWLINE].decode(errors="replace"))
        return reply


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


@compiled_in_place
def _go_on(data: ByteArray, progress: IntArray) -> None:
    """Past all elements that are there, of nested arrays too."""
    at, missing = progress[0], progress[1]
    while missing > 0 and at < data.shape[0]:
        kind = data[at]
        if kind not in (0x24, 0x2A, 0x2B, 0x2D, 0x3A):  # $ * + - :
            missing = _MALFORMED
            break
        end = line_end(data, at)
        if end == data.shape[0]:
            break
        next_at = end + _NEWLINE
        if kind in (0x24, 0x2A):
            size = number_between(data, at + 1, end)
            if (size < 0 and not _is_null(data, at + 1, end)) or (kind == 0x2A and size > _MOST_ELEMENTS):
                missing = _MALFORMED
                break
            if kind == 0x2A:
                missing += max(0, size)
            elif size >= 0:
                next_at += size + _NEWLINE
                if next_at > data.shape[0]:
                    break
        missing -= 1
        at = next_at
    progress[0], progress[1] = at, missing
