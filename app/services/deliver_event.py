"""Deliver webhooks: claim what is due, send, record; again later if it did not work.

Killed anywhere, a claim's lease runs out and the delivery is due again: at least once, never lost. A lease
is therefore longer than any attempt, or two couriers would send the same event at once. An endpoint that is
slow fills its own few places and nobody else's.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import assert_never

import structlog

from app.domain.errors import ConfigurationError
from app.domain.identifiers import EndpointId
from app.ports.delivery import (
    Attempt,
    Delivered,
    Delivery,
    DeliveryQueue,
    Outcome,
    Rejected,
    Retryable,
    WebhookSender,
)

_log = structlog.get_logger()

RETRIES = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=10),
)
LEASE = timedelta(seconds=30)
_JITTER = 0.2  # an endpoint that comes back is not met by everything at once
_PAUSE_AFTER_ERROR_SECONDS = 0.5
_FORGET_PERIOD_SECONDS = 30.0


def retry_after(attempts_made: int, *, draw: float) -> timedelta | None:
    """How long to wait after so many attempts; None where none is left. `draw` is uniform in [0, 1)."""
    if attempts_made > len(RETRIES):
        return None
    return RETRIES[attempts_made - 1] * (1 + _JITTER * draw)


class Deliverer:
    """One courier's hands: at most `concurrency` requests at once, `per_endpoint` of them to one endpoint."""

    def __init__(
        self,
        *,
        queue: DeliveryQueue,
        sender: WebhookSender,
        lease: timedelta = LEASE,
        concurrency: int = 256,
        per_endpoint: int = 8,
        poll_period: timedelta = timedelta(seconds=1),
        grace: timedelta = timedelta(seconds=3),
        draw: Callable[[], float] = random.random,
    ) -> None:
        if lease <= sender.timeout:
            raise ConfigurationError(
                f"a webhook's claim ({lease.total_seconds():g} s) must outlast its request time-out "
                f"({sender.timeout.total_seconds():g} s), or two couriers send it at once: lengthen the claim"
            )
        self._queue = queue
        self._sender = sender
        self._lease = lease
        self._concurrency = concurrency
        self._per_endpoint = per_endpoint
        self._poll_period = poll_period
        self._grace = grace
        self._draw = draw
        self._wake = asyncio.Event()
        self._sending: dict[asyncio.Task[None], Delivery] = {}
        self._in_flight: Counter[EndpointId] = Counter()
        self._finished: list[Attempt] = []

    def wake(self) -> None:
        """Something may be due: do not wait for the next poll."""
        self._wake.set()

    async def run(self, stop: asyncio.Event) -> None:
        stopping = asyncio.create_task(self._wake_at(stop))
        forget_at = 0.0
        try:
            while not stop.is_set():
                self._wake.clear()
                try:
                    if asyncio.get_running_loop().time() >= forget_at:
                        await self._queue.forget_deleted()
                        forget_at = asyncio.get_running_loop().time() + _FORGET_PERIOD_SECONDS
                    await self._step()
                except Exception as error:  # noqa: BLE001 - the outermost loop: claims run out, nothing is lost
                    _log.warning("deliveries_unreachable", error=repr(error))
                    await asyncio.sleep(_PAUSE_AFTER_ERROR_SECONDS)
                await self._woken()
        finally:
            stopping.cancel()
            await self._finish()

    async def _step(self) -> None:
        await self._record()
        room = self._concurrency - len(self._sending)
        if room <= 0:
            return
        claimed = await self._queue.claim(
            limit=room, per_endpoint=self._per_endpoint, in_flight=self._in_flight, lease=self._lease
        )
        for delivery in claimed:
            self._in_flight[delivery.endpoint_id] += 1
            task = asyncio.create_task(self._deliver(delivery))
            self._sending[task] = delivery
            task.add_done_callback(self._done)
        if len(claimed) == room:
            self._wake.set()

    async def _deliver(self, delivery: Delivery) -> None:
        try:
            outcome = await self._sender.send(delivery)
        except Exception as error:  # noqa: BLE001 - one endpoint's oddity must not end the courier
            outcome = Retryable(f"{type(error).__name__}: {error}")
        self._finished.append(self._judged(delivery, outcome))

    def _judged(self, delivery: Delivery, outcome: Outcome) -> Attempt:
        match outcome:
            case Delivered() | Rejected():
                return Attempt(delivery, outcome)
            case Retryable():
                return Attempt(delivery, outcome, retry_after(delivery.attempts + 1, draw=self._draw()))
            case _:
                assert_never(outcome)

    def _done(self, task: asyncio.Task[None]) -> None:
        endpoint_id = self._sending.pop(task).endpoint_id
        self._in_flight[endpoint_id] -= 1
        if not self._in_flight[endpoint_id]:
            del self._in_flight[endpoint_id]
        self._wake.set()

    async def _record(self) -> None:
        """What finished since the last time, in one statement; kept for the next one if that fails."""
        finished, self._finished = self._finished, []
        try:
            await self._queue.record(finished)
        except BaseException:
            self._finished = finished + self._finished
            raise

    async def _woken(self) -> None:
        try:
            async with asyncio.timeout(self._poll_period.total_seconds()):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _wake_at(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._wake.set()

    async def _finish(self) -> None:
        """Let what is under way end; what does not end in time goes back into the queue."""
        if self._sending:
            await asyncio.wait(self._sending, timeout=self._grace.total_seconds())
        unfinished = dict(self._sending)
        for task in unfinished:
            task.cancel()
        await asyncio.gather(*unfinished, return_exceptions=True)
        await self._record()
        if unfinished:
            await self._queue.release(list(unfinished.values()))
