"""Hop two: XREAD the frames, one commit, then a WebSocket message for each.

`python -m bench.floors.commit_and_send REDIS_SOCKET POSTGRES_DSN`; prints the port it listens on. All that
one XREAD gave is one multi-row INSERT, so under load commits are shared.
"""

import asyncio
import contextlib
import sys
from typing import Any

import asyncpg
import hiredis
import msgspec
import uvloop

from bench.floors.records import MARKET, READ_COUNT, Frame, message, portfolio_of
from bench.floors.redis_wire import command
from bench.floors.websocket_wire import SendingSocket, text_frame

SCHEMA = """
CREATE TABLE recommended (
    portfolio_id uuid NOT NULL, sequence bigint NOT NULL, body text NOT NULL,
    PRIMARY KEY (portfolio_id, sequence)
)
"""
INSERT = "INSERT INTO recommended SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::text[])"

_frames = msgspec.msgpack.Decoder(Frame)


class MarketReader(asyncio.Protocol):
    """Keeps one XREAD waiting and hands over what it gave."""

    def __init__(self) -> None:
        self._reader = hiredis.Reader()
        self.entries: asyncio.Queue[list[Any]] = asyncio.Queue()

    def connection_made(self, transport: Any) -> None:  # uvloop's are no asyncio.Transport
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        while (reply := self._reader.gets()) is not False:
            [[_, entries]] = reply
            self.entries.put_nowait(entries)

    def read(self, cursor: bytes) -> None:
        self._transport.write(
            command(b"XREAD", b"COUNT", READ_COUNT, b"BLOCK", b"0", b"STREAMS", MARKET, cursor)
        )


async def run(redis_path: str, dsn: str) -> None:
    loop = asyncio.get_running_loop()
    connection = await asyncpg.connect(dsn)
    await connection.execute(SCHEMA)
    insert = await connection.prepare(INSERT)
    listeners: set[asyncio.Transport] = set()
    server = await loop.create_server(lambda: SendingSocket(listeners), "127.0.0.1", 0)
    _, reader = await loop.create_unix_connection(MarketReader, redis_path)
    port = server.sockets[0].getsockname()[1]
    print(port, flush=True)
    reader.read(b"0")
    sequence = 0
    while True:
        entries = await reader.entries.get()
        portfolios, sequences, bodies = [], [], []
        for _, (_, packed) in entries:
            sequence += 1
            portfolio = portfolio_of(_frames.decode(packed).changes[0].instrument)
            portfolios.append(portfolio)
            sequences.append(sequence)
            bodies.append(message(portfolio=portfolio, sequence=sequence))
        await insert.fetch(portfolios, sequences, [body.decode() for body in bodies])
        out = b"".join(map(text_frame, bodies))
        for listener in listeners:
            listener.write(out)
        reader.read(entries[-1][0])


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(run(sys.argv[1], sys.argv[2]))
