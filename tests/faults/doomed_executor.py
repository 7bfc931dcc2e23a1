"""An executor that stops at a chosen point, says so, and waits there to be killed.

`python -m tests.faults.doomed_executor DATABASE_URL POINT`
"""

import asyncio
import sys

import asyncpg

from app.adapters.postgres import execution_store
from app.adapters.venues.paper import PaperVenue
from app.domain.events import EventType
from app.entrypoints import executor as executor_role
from tests.execution import Desk

POINTS = ("claimed", "ordered", "filled", "settling", "settled")
"""Claim committed; order at the venue; answer received; all written, not committed; committed, not told."""


async def main(url: str, point: str) -> None:
    async with asyncpg.create_pool(url, min_size=0, max_size=2) as pool:
        desk = Desk(pool, venue=_Venue(point))
        _stop_in_store(desk, point)
        await executor_role.run(executor=desk.executor, wakeups=_NoWakeups(), stop=asyncio.Event())


async def _here() -> None:
    sys.stderr.write("here\n")  # the log goes to stdout
    sys.stderr.flush()
    await asyncio.Event().wait()


class _Venue(PaperVenue):
    def __init__(self, point: str) -> None:
        self._point = point

    async def execute(self, order):
        filled = await super().execute(order)
        if self._point == "ordered":
            await _here()
        return filled


class _NoWakeups:
    async def wait(self, *, at_most):
        await asyncio.sleep(at_most.total_seconds())


def _stop_in_store(desk: Desk, point: str) -> None:
    claim, settle, append = desk.store.claim, desk.store.settle, execution_store.append_events

    async def stopping_claim(**named):
        claims = await claim(**named)
        if claims.work and point == "claimed":
            await _here()
        return claims

    async def stopping_settle(settlement):
        if point == "filled":
            await _here()
        events = await settle(settlement)
        if point == "settled":
            await _here()
        return events

    async def stopping_append(connection, events):
        stored = await append(connection, events)
        if point == "settling" and any(e.type is EventType.ADJUSTMENT_EXECUTED for e in stored):
            await _here()
        return stored

    desk.store.claim, desk.store.settle = stopping_claim, stopping_settle
    execution_store.append_events = stopping_append


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
