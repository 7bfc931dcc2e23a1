"""Server-sent events: the data of each, out of a body that never ends.

As https://html.spec.whatwg.org/multipage/server-sent-events.html has it, as far as prices need it: names and
ids of events are passed over, and what is dispatched ends with an empty line.
"""

from collections.abc import AsyncIterator

from app.domain.errors import FeedLost

LONGEST_EVENT_BYTES = 4 << 20


async def event_data(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Lines of data joined by line feeds; empty where something came that is none: a sign of life."""
    rest, data = b"", list[bytes]()
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            text = line.removesuffix(b"\r")
            if text.startswith(b"data:"):
                data.append(text[5:].removeprefix(b" "))
            elif text.startswith(b":"):
                yield b""
            elif not text and data:
                yield b"\n".join(data)
                data = []
        if len(rest) + sum(map(len, data)) > LONGEST_EVENT_BYTES:
            raise FeedLost(f"an event is longer than {LONGEST_EVENT_BYTES} bytes")
