"""The server's half of a WebSocket (RFC 6455) that only sends: a handshake, then text frames."""

import asyncio
import base64
import hashlib
from typing import Any

_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_SHORT, _MEDIUM = 126, 1 << 16


def text_frame(payload: bytes) -> bytes:
    size = len(payload)
    if size < _SHORT:
        return bytes((0x81, size)) + payload
    if size < _MEDIUM:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload


class SendingSocket(asyncio.Protocol):
    """One client; what it sends after the handshake is not looked at."""

    def __init__(self, listeners: "set[asyncio.Transport]") -> None:
        self._listeners = listeners
        self._request = b""

    def connection_made(self, transport: Any) -> None:  # uvloop's are no asyncio.Transport
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._transport in self._listeners:
            return
        self._request += data
        if b"\r\n\r\n" not in self._request:
            return
        headers = dict(
            line.split(b": ", 1) for line in self._request.split(b"\r\n\r\n")[0].split(b"\r\n")[1:]
        )
        key = {name.lower(): value for name, value in headers.items()}[b"sec-websocket-key"]
        digest = hashlib.sha1(key + _MAGIC, usedforsecurity=False).digest()  # RFC 6455, 4.2.2
        self._transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: %b\r\n\r\n" % base64.b64encode(digest)
        )
        self._listeners.add(self._transport)

    def connection_lost(self, error: Exception | None) -> None:
        del error
        self._listeners.discard(self._transport)
