"""How the queues stand, read by one at a time and at most so often: whoever asks need not have a key."""

import asyncio
from datetime import timedelta

from app.ports.management import UnitsOfWork
from app.ports.webhook_figures import QueueFigures

PERIOD = timedelta(seconds=5)


class QueueWatch:
    def __init__(self, units: UnitsOfWork, *, period: timedelta = PERIOD) -> None:
        self._units = units
        self._period = period
        self._reading = asyncio.Lock()
        self._read: tuple[float, QueueFigures] | None = None

    async def figures(self) -> QueueFigures:
        """Unavailable where they cannot be read."""
        async with self._reading:
            now = asyncio.get_running_loop().time()
            if self._read is None or now - self._read[0] >= self._period.total_seconds():
                async with self._units() as unit:
                    self._read = (now, await unit.deliveries.standing())
            return self._read[1]
