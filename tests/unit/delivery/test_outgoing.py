"""What may wait for a client to read: here and in its connection together."""

import asyncio

from app.entrypoints.api.outgoing import Outgoing
from app.entrypoints.api.stream_messages import CloseCode

LIMIT = 10_000


class Stuck:
    """A connection that the network takes nothing from, and that was full before it said so."""

    disconnected = False

    def __init__(self, waiting):
        self.writable = asyncio.Event()
        self._waiting = waiting

    def waiting(self):
        return self._waiting

    def send_frame(self, frame):
        raise AssertionError(f"it takes nothing, not even {frame[:10]!r}")


async def test_f37_what_the_connection_holds_counts():
    line = Stuck(waiting=6_500)
    outgoing = Outgoing(line, limit=LIMIT)
    for _ in range(3):
        outgoing.push(b"x" * 1_000)
        assert not outgoing.closed
    outgoing.push(b"x" * 1_000)
    assert outgoing.ended.result() is CloseCode.SLOW
