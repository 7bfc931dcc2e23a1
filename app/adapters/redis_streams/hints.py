"""Hints that a portfolio changed. Losing one costs at most a sweep's period."""

from collections.abc import Iterable
from uuid import UUID

from app.adapters.redis_streams.keys import HINTS
from app.adapters.redis_streams.wire import Command, Wire

KEEP_ENTRIES = 10_000


def hints(portfolio_ids: Iterable[UUID]) -> list[Command]:
    return [("XADD", HINTS, "MAXLEN", "~", KEEP_ENTRIES, "*", "p", key.bytes) for key in portfolio_ids]


async def hint(wire: Wire, portfolio_ids: Iterable[UUID]) -> None:
    await wire.execute_many(hints(portfolio_ids))
