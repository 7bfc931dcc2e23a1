"""Very many WebSocket clients of one process, that only count what they hear.

They share one thread: a socket that has something is read, and of what was read the bytes are counted, so
that the clients take as little of the machine from the server as can be.
"""

import select
import time
from collections.abc import Mapping, Sequence

from bench.drivers.websocket_client import WebSocketClient

_CHUNK_BYTES = 1 << 18
_SECONDS = 60.0
_HEARTBEATS_BYTES = 500


class Listeners:
    """A client for each text of `hello`, which it says; it has been answered so often, and is silent."""

    def __init__(
        self, *, port: int, path: str, headers: Mapping[str, str], hello: Sequence[str], answers: int
    ) -> None:
        self._clients = []
        for text in hello:
            client = WebSocketClient(port=port, path=path, headers=headers)
            self._clients.append(client)
            client.send(text)
            heard = 0
            while heard < answers:
                heard += len(client.receive())
        self._poll = select.epoll()
        self._sockets = {client.fileno(): client for client in self._clients}
        for number in self._sockets:
            self._poll.register(number, select.EPOLLIN)
        self._buffer = bytearray(_CHUNK_BYTES)
        self._surplus = dict.fromkeys(self._sockets, 0)

    def __len__(self) -> int:
        return len(self._clients)

    def hear(self, size: int) -> float:
        """When every client has received so many bytes more, by the performance counter.

        A heartbeat may be among them: then the last bytes of this count for the next.
        """
        missing = {number: size - surplus for number, surplus in self._surplus.items()}
        deadline = time.perf_counter() + _SECONDS
        while missing:
            if time.perf_counter() > deadline:
                raise RuntimeError(
                    f"{len(missing)} clients still miss something: {sorted(missing.values())[:3]}"
                )
            for number, _ in self._poll.poll(1.0):
                left = missing.get(number, -self._surplus[number]) - self._read(number)
                if left > 0:
                    missing[number] = left
                    continue
                missing.pop(number, None)
                self._surplus[number] = -left
                if -left > _HEARTBEATS_BYTES:
                    raise RuntimeError(f"a client heard {-left} bytes too many")
        return time.perf_counter()

    def _read(self, number: int) -> int:
        return self._sockets[number].read_into(self._buffer)

    def close(self) -> None:
        self._poll.close()
        for client in self._clients:
            client.close()


def frame_size(message: bytes) -> int:
    """Bytes on the wire of a text message from a server (RFC 6455)."""
    payload = len(message)
    return payload + (2 if payload < 126 else 4 if payload < 1 << 16 else 10)
