"""What one client of the stream is still to be sent, in order and bounded.

Messages go to the connection as frames (RFC 6455), past ASGI: the same one goes to very many clients in turn,
so its frame is made once, and a client costs a write and nothing else. Nothing is compressed, so there is
nothing in a frame that is a client's own.
"""

import asyncio
from collections import deque
from typing import Final, Protocol

from app.entrypoints.api.stream_messages import CloseCode

QUEUE_LIMIT: Final = 1 << 20
"""Bytes that may wait for a client to read: here, and in the connection."""
_TEXT: Final = 0x81
_SHORT, _MEDIUM = 126, 1 << 16


class Line(Protocol):
    """The connection. `writable` is set while it takes data, and for good once the client is gone."""

    writable: asyncio.Event
    disconnected: bool

    def waiting(self) -> int:
        """Bytes that it was given and the network has not taken."""
        ...

    def send_frame(self, frame: bytes) -> None:
        """To nowhere, where the client is gone."""
        ...


class Outgoing:
    """The `Receiver` of the services. While the connection takes data nothing is queued."""

    __slots__ = ("_limit", "_line", "_queue", "_queued", "_writer", "ended")

    def __init__(self, line: Line, *, limit: int = QUEUE_LIMIT) -> None:
        self._line = line
        self._limit = limit
        self._queue: deque[bytes] = deque()
        self._queued = 0
        self._writer: asyncio.Task[None] | None = None
        self.ended: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()

    @property
    def closed(self) -> bool:
        return self.ended.done() or self._line.disconnected

    @property
    def congested(self) -> bool:
        return self._writer is not None or not self._line.writable.is_set()

    def push(self, message: bytes) -> None:
        if self.ended.done():
            return
        if self.congested:
            self._enqueue(message)
        else:
            self._line.send_frame(_frames.of(message))

    async def drained(self) -> None:
        if self._writer is not None:
            await asyncio.wait([self._writer])
        elif self.congested and not self.closed:
            await self._line.writable.wait()

    def end(self, code: int | None) -> None:
        """Nothing more is sent but this close code (none for a client that is gone)."""
        if self.ended.done():
            return
        self.ended.set_result(code)
        self._queue.clear()
        self._queued = 0
        if self._writer is not None:
            self._writer.cancel()

    def lose(self) -> None:
        self.end(CloseCode.INSUFFICIENT_STATE)

    def _enqueue(self, message: bytes) -> None:
        if self._line.waiting() + self._queued + len(message) > self._limit:
            self.end(CloseCode.SLOW)
            return
        self._queued += len(message)
        self._queue.append(message)
        if self._writer is None:
            self._writer = asyncio.create_task(self._write())

    async def _write(self) -> None:
        try:
            while self._queue:
                await self._line.writable.wait()
                message = self._queue.popleft()
                self._queued -= len(message)
                self._line.send_frame(_frames.of(message))
        finally:
            self._writer = None


class _Frames:
    """Remembers the last one: whoever fans out gives the same message again and again."""

    def __init__(self) -> None:
        self._message = self._frame = b""

    def of(self, message: bytes) -> bytes:
        if message is not self._message:
            self._message, self._frame = message, _framed(message)
        return self._frame


def _framed(message: bytes) -> bytes:
    """One text frame; what a server sends is not masked."""
    size = len(message)
    if size < _SHORT:
        return bytes((_TEXT, size)) + message
    if size < _MEDIUM:
        return bytes((_TEXT, 126)) + size.to_bytes(2, "big") + message
    return bytes((_TEXT, 127)) + size.to_bytes(8, "big") + message


_frames = _Frames()
