"""Recorded history through the running service, in lock step.

Entry n + 1 is published only when the oracle has taken n, every shard has come to the frame it made, nothing
is queued or executing, and every revision has been evaluated. So a replay is a function of file and book.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from app.domain.errors import Unavailable
from app.domain.market import StreamPosition, Tick
from app.ports.market import TickPublisher

PATIENCE_SECONDS = 60.0


class Progress(Protocol):
    async def standing(self) -> tuple[str, StreamPosition | None, dict[int, StreamPosition]]: ...

    async def listen(self) -> None: ...

    async def wait(self) -> None: ...


class Books(Protocol):
    async def settled(self) -> bool: ...

    async def shards(self) -> int: ...


class Lockstep:
    def __init__(self, *, ticks: TickPublisher, progress: Progress, books: Books) -> None:
        self._ticks = ticks
        self._progress = progress
        self._books = books
        self._shards = 0

    async def run(
        self, entries: Iterable[Sequence[Tick]], *, published: Callable[[int], None] = lambda _count: None
    ) -> int:
        """How many entries were published and worked off."""
        self._shards = await self._books.shards()
        await self._progress.listen()
        await self._worked_off("0-0")
        count = 0
        for count, ticks in enumerate(entries, start=1):
            await self._worked_off(await self._ticks.publish(ticks))
            published(count)
        return count

    async def is_at_rest(self) -> bool:
        """The market has begun, and every shard stands where it stands."""
        self._shards = await self._books.shards()
        return await self._is_worked_off("0-0")

    async def has_settled(self) -> bool:
        """Nothing queued or executing, every revision evaluated."""
        return await self._books.settled()

    async def _worked_off(self, entry: str) -> None:
        """Waits first: whatever a frame brings about, it ends with a shard saying how far it is."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        await self._progress.wait()
        while not await self._is_worked_off(entry):
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"entry {entry} was not worked off in {PATIENCE_SECONDS:.0f} s: see the logs"
                )
            await self._progress.wait()

    async def _is_worked_off(self, entry: str) -> bool:
        cursor, position, shards = await self._progress.standing()
        if position is None or _order(cursor) < _order(entry):
            return False
        if len(shards) < self._shards or (position.sequence and min(shards.values()) < position):
            return False
        return await self._books.settled()


async def paced(
    ticks: TickPublisher,
    entries: Iterable[Sequence[Tick]],
    *,
    speed: float,
    published: Callable[[int], None] = lambda _count: None,
) -> int:
    """Publishes at so many times the recorded speed, and waits for nobody."""
    first_ns, began, count = None, time.monotonic(), 0
    for count, entry in enumerate(entries, start=1):
        first_ns = first_ns if first_ns is not None else entry[0].time_ns
        due = began + (entry[0].time_ns - first_ns) / 1e9 / speed
        if (left := due - time.monotonic()) > 0:
            await asyncio.sleep(left)
        await ticks.publish(entry)
        published(count)
    return count


def _order(entry: str) -> tuple[int, int]:
    milliseconds, _, number = entry.partition("-")
    return int(milliseconds), int(number)
