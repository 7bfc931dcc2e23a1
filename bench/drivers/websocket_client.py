"""A WebSocket client on a blocking socket (RFC 6455): nothing between the kernel and the measurement."""

import base64
import os
import socket
import struct
from collections.abc import Mapping

_CHUNK_BYTES = 1 << 20
_TEXT, _CLOSE, _PING, _PONG = 0x1, 0x8, 0x9, 0xA
_SHORT, _MEDIUM = 126, 127


class WebSocketClient:
    def __init__(
        self, *, port: int, path: str, headers: Mapping[str, str], timeout_seconds: float = 30.0
    ) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=timeout_seconds)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._data = b""
        self.answers_pings = True
        self._shake_hands(path, headers)

    def send(self, text: str) -> None:
        self._send(_TEXT, text.encode())

    def receive(self) -> list[bytes]:
        """The text messages that have come, at least one; pings are answered on the way."""
        while True:
            messages = []
            for opcode, payload in self._complete_frames():
                if opcode == _TEXT:
                    messages.append(payload)
                elif opcode == _PING and self.answers_pings:
                    self._send(_PONG, payload)
                elif opcode == _CLOSE:
                    code = int.from_bytes(payload[:2], "big")
                    raise ConnectionError(f"closed with {code} {payload[2:].decode(errors='replace')}")
            if messages:
                return messages
            self._read_more()

    def fileno(self) -> int:
        return self._socket.fileno()

    def read_into(self, buffer: bytearray) -> int:
        """Whatever there is, unread by anybody: how much."""
        received = self._socket.recv_into(buffer)
        if not received:
            raise ConnectionError("the server closed the connection")
        return received

    def ping(self, payload: bytes, *, times: int) -> None:
        self._socket.sendall(_frame(_PING, payload) * times)

    def close(self) -> None:
        self._socket.close()

    def _shake_hands(self, path: str, headers: Mapping[str, str]) -> None:
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [
            f"GET {path} HTTP/1.1",
            "Host: 127.0.0.1",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {key}",
            "Sec-WebSocket-Version: 13",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        self._socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        while b"\r\n\r\n" not in self._data:
            self._read_more()
        head, self._data = self._data.split(b"\r\n\r\n", 1)
        if b" 101 " not in head.split(b"\r\n", 1)[0]:
            raise ConnectionError(head.decode(errors="replace") + "\n" + self._data.decode(errors="replace"))

    def _read_more(self) -> None:
        received = self._socket.recv(_CHUNK_BYTES)
        if not received:
            raise ConnectionError("the server closed the connection")
        self._data += received

    def _complete_frames(self) -> list[tuple[int, bytes]]:
        """Servers do not mask; fragmented messages are not expected of ours."""
        data, start, frames = self._data, 0, []
        while len(data) - start >= 2:
            size, header = data[start + 1] & 0x7F, 2
            if size == _SHORT:
                size, header = int.from_bytes(data[start + 2 : start + 4], "big"), 4
            elif size == _MEDIUM:
                size, header = int.from_bytes(data[start + 2 : start + 10], "big"), 10
            end = start + header + size
            if len(data) < end:
                break
            frames.append((data[start] & 0x0F, data[start + header : end]))
            start = end
        self._data = data[start:]
        return frames

    def _send(self, opcode: int, payload: bytes) -> None:
        self._socket.sendall(_frame(opcode, payload))


def _frame(opcode: int, payload: bytes) -> bytes:
    """A mask of zeros leaves the payload as it is: it protects proxies, and there is none here."""
    size = len(payload)
    if size < _SHORT:
        head = struct.pack("!BB", 0x80 | opcode, 0x80 | size)
    elif size < 1 << 16:
        head = struct.pack("!BBH", 0x80 | opcode, 0x80 | _SHORT, size)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, 0x80 | _MEDIUM, size)
    return head + b"\0\0\0\0" + payload
