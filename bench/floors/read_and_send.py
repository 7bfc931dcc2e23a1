"""Rows of a log to a WebSocket: `python -m bench.floors.read_and_send POSTGRES_DSN PORTFOLIO`.

Prints its port. Whoever says anything is sent them all, read in pages and framed as they are.
"""

import asyncio
import contextlib
import sys
from typing import Any
from uuid import UUID

import asyncpg
import uvloop

from bench.floors.websocket_wire import SendingSocket, text_frame

PAGE = 200
_PAGE_OF = """
SELECT sequence, type, version, time_ns, data FROM events
WHERE portfolio_id = $1 AND sequence > $2 ORDER BY sequence LIMIT $3
"""
_MESSAGE = (
    b'{"op":"event","channel":"portfolio.%b","cursor":"%d","event":{"id":"evt_%032x","type":"%b","version":%d,'
    b'"portfolio_id":"%b","sequence":%d,"previous_sequence":%d,"time":"2026-11-23T09:00:00.000000000Z",'
    b'"data":%b}}'
)


async def send_all(pool: Any, portfolio: UUID, transport: Any) -> None:
    name, position = str(portfolio).encode(), 0
    while rows := await pool.fetch(_PAGE_OF, portfolio, position, PAGE):
        for sequence, kind, version, _, data in rows:
            body = _MESSAGE % (
                name, sequence, sequence, kind.encode(), version, name, sequence, sequence - 1, data.encode()
            )  # fmt: skip
            transport.write(text_frame(body))
        position = rows[-1]["sequence"]


class Asked(SendingSocket):
    """Sends once the client says something after the handshake."""

    def __init__(self, pool: Any, portfolio: UUID) -> None:
        super().__init__(set())
        self._pool = pool
        self._portfolio = portfolio
        self._sending: asyncio.Task[None] | None = None

    def data_received(self, data: bytes) -> None:
        if self._transport not in self._listeners:
            super().data_received(data)
        elif self._sending is None:
            self._sending = asyncio.create_task(send_all(self._pool, self._portfolio, self._transport))


async def run(dsn: str, portfolio: UUID) -> None:
    async with asyncpg.create_pool(dsn, min_size=1, max_size=1) as pool:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Asked(pool, portfolio), "127.0.0.1", 0)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt, asyncio.CancelledError):
        uvloop.run(run(sys.argv[1], UUID(sys.argv[2])))
