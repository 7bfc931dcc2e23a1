"""How uvicorn serves the API: its limits, who is alive, and how it leaves.

A WebSocket is pinged every 25 s. Who does not answer within 8 s is closed with a code of ours, and who does
not take that either is cut off: what waits for a client that is gone would stay for as long as TCP hopes.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import Any, Final, cast

import uvicorn
from fastapi import FastAPI
from typing_extensions import override
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame
from websockets.http11 import Request

from app.entrypoints.api.stream_messages import CloseCode

PING_SECONDS: Final = 25.0
PONG_SECONDS: Final = 8.0
LARGEST_CLIENT_MESSAGE: Final = 65_536
"""Bytes; a larger one is answered by close code 1009."""
MOST_FRAGMENTS: Final = 1_024
"""Of a client's message; likewise."""
_TOO_LARGE: Final = 1009
LINE: Final = "ballast.line"
"""The extension of a WebSocket's scope that is the connection itself."""
_PARTING_SECONDS: Final = 5.0


class StreamProtocol(WebSocketsSansIOProtocol):
    """A connection whose client may be gone, or may send and never read; the `Line` of its `Outgoing`."""

    @override
    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if not self.close_sent:  # it is a handshake
            cast(dict[str, Any], self.scope["extensions"])[LINE] = self

    def waiting(self) -> int:
        return self.transport.get_write_buffer_size()

    def send_frame(self, frame: bytes) -> None:
        if not (self.close_sent or self.disconnected):
            self.transport.write(frame)

    @override
    def keepalive_timeout(self) -> None:
        self.pong_timer = None
        self.pending_ping_payload = None
        if self.close_sent or self.transport.is_closing():
            return
        self.conn.fail(CloseCode.NO_PONG, "no pong")
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self.transport.close()

    @override
    def handle_cont(self, event: Frame) -> None:
        """Empty fragments count for nothing in the size of a message, and pile up all the same."""
        if self.close_sent:
            return
        if len(self.frames) < MOST_FRAGMENTS:
            super().handle_cont(event)
        else:
            self.conn.fail(_TOO_LARGE, "too many fragments")
            self.handle_parser_exception()

    @override
    def handle_ping(self) -> None:
        """Answers that the client does not read would pile up without a limit."""
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.transport.abort()

    @override
    def on_task_complete(self, task: asyncio.Task[None]) -> None:
        super().on_task_complete(task)
        if not self.disconnected:
            self.loop.call_later(_PARTING_SECONDS, self.transport.abort)


class Server(uvicorn.Server):
    """Signals are the role's, not the server's."""

    @override
    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    async def leave(self, drained: Callable[[], Awaitable[object]]) -> None:
        """Nobody new is taken; whoever is here is shown out first."""
        for listening in self.servers if self.started else ():
            listening.close()
        await drained()
        self.should_exit = True


def server_config(app: FastAPI, *, host: str = "127.0.0.1", port: int = 0, **more: object) -> uvicorn.Config:
    # It would write every address that is opened, and a ticket is in some of them.
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    options = {
        "host": host,
        "port": port,
        "loop": "none",
        "http": "httptools",
        "ws": StreamProtocol,
        "log_config": None,
        "access_log": False,
        "ws_per_message_deflate": False,
        "ws_ping_interval": PING_SECONDS,
        "ws_ping_timeout": PONG_SECONDS,
        "ws_max_size": LARGEST_CLIENT_MESSAGE,
        "timeout_graceful_shutdown": 5,
    }
    return uvicorn.Config(app, **(options | more))  # type: ignore[arg-type]  # each has its own type
