"""Waiting that a stop signal ends, and much work in parts."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final, TypeVar

_AT_ONCE: Final = 100
Item = TypeVar("Item")


async def pause(stop: asyncio.Event, seconds: float) -> None:
    """Returns after so many seconds, or at once when told to stop."""
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)


def in_parts(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """As many as are read together."""
    for start in range(0, len(items), _AT_ONCE):
        yield items[start : start + _AT_ONCE]
