"""Operator policies that bind more portfolios than one transaction may hold: the others follow in batches."""

import asyncio
from contextlib import suppress
from datetime import timedelta

import structlog

from app.ports.management import MarketNow, UnitsOfWork
from app.services.manage_operator_policies import BATCH, bring_in_line

_PERIOD = timedelta(seconds=1)
_log = structlog.get_logger(__name__)


class OperatorPolicyFollower:
    """Any number may run at once: one that finds a policy locked leaves it to whoever is at it."""

    def __init__(self, units: UnitsOfWork, market: MarketNow, *, batch: int = BATCH) -> None:
        self._units = units
        self._market = market
        self._batch = batch

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                more = await self.follow()
            except Exception as error:  # noqa: BLE001 - the outermost loop: the next round finds the same
                _log.warning("operator_policies_left_behind", error=repr(error))
                more = False
            if not more:
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), _PERIOD.total_seconds())

    async def follow(self) -> bool:
        """Takes one batch along; False when nobody is behind."""
        time_ns = await self._market.time_ns()
        async with self._units() as unit:
            behind = await unit.operator_policies.behind()
            if behind is None:
                return False
            await bring_in_line(unit, *behind, limit=self._batch, time_ns=time_ns)
        return True
