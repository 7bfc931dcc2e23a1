"""What one client of the stream is still to be sent, in order and bounded."""

import asyncio
import types
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Final

from starlette.websockets import WebSocketDisconnect

from app.entrypoints.api.stream_messages import CloseCode

QUEUE_LIMIT: Final = 1 << 20
"""Bytes."""


class Outgoing:
    """The `Receiver` of the services.

    While the socket takes data nothing is queued: `push` runs the send right there, as far as it goes
    without waiting, which is to its end. Once it has to wait, a task takes it over and then the queue.
    """

    def __init__(self, send: Callable[[str], Coroutine[Any, Any, None]], *, limit: int = QUEUE_LIMIT) -> None:
        self._send = send
        self._limit = limit
        self._queue: deque[str] = deque()
        self._queued = 0
        self._writer: asyncio.Task[None] | None = None
        self.ended: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()

    @property
    def closed(self) -> bool:
        return self.ended.done()

    @property
    def congested(self) -> bool:
        return self._writer is not None

    def push(self, text: str) -> None:
        if self.ended.done():
            return
        if self._writer is not None:
            self._enqueue(text)
            return
        sending = self._send(text)
        try:
            awaited = sending.send(None)
        except StopIteration:
            return
        except (WebSocketDisconnect, RuntimeError, OSError):
            self.end(None)
            return
        self._writer = asyncio.create_task(self._write(sending, awaited))

    async def drained(self) -> None:
        if self._writer is not None:
            await asyncio.wait([self._writer])

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

    def _enqueue(self, text: str) -> None:
        self._queued += _size(text)
        if self._queued > self._limit:
            self.end(CloseCode.SLOW)
        else:
            self._queue.append(text)

    async def _write(self, sending: Coroutine[Any, Any, None], awaited: Any) -> None:
        try:
            await _rest_of(sending, awaited)
            while self._queue:
                text = self._queue.popleft()
                self._queued -= _size(text)
                await self._send(text)
        except (WebSocketDisconnect, RuntimeError, OSError):
            self.end(None)
        finally:
            self._writer = None


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


@types.coroutine
def _rest_of(begun: Coroutine[Any, Any, None], awaited: Any) -> Generator[Any, Any, None]:
    """What is left of a coroutine that was begun outside a task and stopped to wait for `awaited`."""
    try:
        yield awaited
    except BaseException:
        begun.close()
        raise
    yield from begun.__await__()
