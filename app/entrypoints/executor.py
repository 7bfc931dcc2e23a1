"""The executor role: takes queued adjustments by urgency and has venues fill them.

It wakes when one is queued and looks into the database every 250 ms anyway. The work itself is
`services/execute_adjustment.py`; what follows here is the pace, and what happens when work goes wrong.
"""

import asyncio
from collections import Counter
from datetime import timedelta

import structlog

from app.domain.errors import BallastError, Unavailable
from app.domain.identifiers import AdjustmentId
from app.ports.execution import Claimed, Claims, Wakeups
from app.services.execute_adjustment import ExecuteAdjustments, Postponed
from app.services.pacing import pause

POLL = timedelta(milliseconds=250)
ATTEMPTS = 5
"""Errors that one adjustment may cause before it ends as failed, so that it does not come back for ever."""

_log = structlog.get_logger()


async def run(*, executor: ExecuteAdjustments, wakeups: Wakeups, stop: asyncio.Event) -> None:
    """Until `stop`; what was claimed but not begun is put back then. Any number of executors may run."""
    role = _Role(executor, stop)
    _log.info("executor_started")
    taken_back = False
    waits_for = ""
    while not stop.is_set():
        try:
            if not taken_back:
                await executor.take_back()
                taken_back = True
            if not await role.turn():
                await wakeups.wait(at_most=POLL)
            waits_for = ""
        except Unavailable as missing:  # above all the market's first frame: said once, not at every look
            if str(missing) != waits_for:
                waits_for = str(missing)
                _log.info("executor_waits", reason=waits_for)
            await pause(stop, POLL.total_seconds())
        except Exception:  # noqa: BLE001 - the role's outermost loop: whatever it was is logged, work stays pending
            _log.exception("executor_turn_failed")
            await pause(stop, POLL.total_seconds())
    _log.info("executor_stopped")


class _Role:
    def __init__(self, executor: ExecuteAdjustments, stop: asyncio.Event) -> None:
        self._executor = executor
        self._stop = stop
        self._errors: Counter[AdjustmentId] = Counter()

    async def turn(self) -> bool:
        """One claim and its work; true when there may be more to claim at once."""
        claims = await self._executor.claim()
        for place, work in enumerate(claims.work):
            if self._stop.is_set():
                await self._executor.put_back(claims.work[place:], after=timedelta(0))
                return False
            throttled_for = await self._one(work, claims)
            if throttled_for is not None:
                # Nothing further is claimed meanwhile: it stays queued, where it can still expire.
                await self._executor.put_back(claims.work[place + 1 :], after=throttled_for)
                await pause(self._stop, throttled_for.total_seconds())
                return True
        return claims.more

    async def _one(self, work: Claimed, claims: Claims) -> timedelta | None:
        """How long its venue wants nothing more, if it said so."""
        key = work.adjustment.id
        try:
            outcome = await self._executor.execute(work, clock_ns=claims.clock_ns)
        except Exception as error:  # noqa: BLE001 - the same for one adjustment: the others must not wait for it
            self._errors[key] += 1
            _log.exception("adjustment_failed", adjustment_id=str(key), attempt=self._errors[key])
            if self._errors[key] < ATTEMPTS:
                await self._executor.put_back([work], after=POLL * self._errors[key])
                return None
            told = error if isinstance(error, BallastError) else type(error).__name__
            outcome = await self._executor.give_up(work, f"could not be executed: {told}")
        self._errors.pop(key, None)
        _log.debug("adjustment_worked", adjustment_id=str(key), outcome=str(outcome))
        return outcome.after if isinstance(outcome, Postponed) and outcome.throttled else None
