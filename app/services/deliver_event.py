"""Deliver webhooks: claim what is due, send, record; again later if it did not work.

Killed anywhere, a claim's lease runs out and the delivery is due again: at least once, never lost. A lease
is therefore longer than any attempt, or two couriers would send the same event at once.

An endpoint that is slow fills its own few places. A request that has been under way for a second gives its
place up, so that many slow ones at once do not fill them all; only then is there a ceiling. From half of it
on nothing more is sent to an endpoint while it is slow to answer: many dead ones hold one request each.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
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
from app.services.retry_schedule import RETRIES, retry_after

_log = structlog.get_logger()

LEASE = timedelta(seconds=30)
_GATHER_SECONDS = 0.005
"""Between two looks: what ends and what falls due meanwhile is recorded and claimed together."""
_SLOW_SECONDS = 1.0
_CEILING = 4
"""Requests under way for each place, the slow ones included."""
_PAUSE_AFTER_ERROR_SECONDS = 0.5
_GONE = "the endpoint answered 410 Gone"
_HOPELESS = "nothing was delivered to the endpoint for days"


class Deliverer:
    """One courier's hands: `concurrency` requests at once, `per_endpoint` of them to one endpoint.

    `market_time` is what an endpoint's being disabled is dated by, 0 without one; `count` hears what ended.
    """

    def __init__(
        self,
        *,
        queue: DeliveryQueue,
        sender: WebhookSender,
        lease: timedelta = LEASE,
        concurrency: int = 512,
        per_endpoint: int = 8,
        retries: Sequence[timedelta] = RETRIES,
        poll_period: timedelta = timedelta(seconds=1),
        grace: timedelta = timedelta(seconds=3),
        draw: Callable[[], float] = random.random,
        market_time: Callable[[], Awaitable[int]] | None = None,
        count: Callable[[Sequence[Attempt]], None] | None = None,
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
        self._retries = retries
        self._poll_period = poll_period
        self._grace = grace
        self._draw = draw
        self._market_time = market_time
        self._count = count
        self._wake = asyncio.Event()
        self._told = asyncio.Event()
        self._quick: dict[asyncio.Task[None], tuple[Delivery, float]] = {}  # the longest under way first
        self._slow: dict[asyncio.Task[None], Delivery] = {}
        self._slow_of: Counter[EndpointId] = Counter()
        self._in_flight: Counter[EndpointId] = Counter()
        self._finished: list[Attempt] = []
        self._doomed: dict[EndpointId, str] = {}  # to be disabled, and why

    def wake(self) -> None:
        """Something may be due: do not wait for the next poll."""
        self._wake.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Two loops, so that what is due is claimed while what was sent is recorded."""
        stopping = asyncio.create_task(self._wake_at(stop))
        recording = asyncio.create_task(self._repeat(self._record, self._told, stop))
        try:
            await self._repeat(self._claim, self._wake, stop)
        finally:
            stopping.cancel()
            await recording
            await self._finish()

    async def _repeat(
        self, step: Callable[[], Awaitable[None]], wake: asyncio.Event, stop: asyncio.Event
    ) -> None:
        loop = asyncio.get_running_loop()
        while not stop.is_set():
            wake.clear()
            looked_at = loop.time()
            try:
                await step()
            except Exception as error:  # noqa: BLE001 - the outermost loop: claims run out, nothing is lost
                _log.warning("deliveries_unreachable", error=repr(error))
                await asyncio.sleep(_PAUSE_AFTER_ERROR_SECONDS)
            await self._woken(wake)
            await asyncio.sleep(max(0.0, looked_at + _GATHER_SECONDS - loop.time()))

    async def _claim(self) -> None:
        room = self._room()
        if room <= 0:
            return
        crowded = len(self._slow) >= self._concurrency * _CEILING // 2
        claimed = await self._queue.claim(
            limit=room,
            per_endpoint=self._per_endpoint,
            in_flight=self._in_flight,
            lease=self._lease,
            passed_over=[*self._slow_of] if crowded else [],
        )
        started = asyncio.get_running_loop().time()
        for delivery in claimed:
            self._in_flight[delivery.endpoint_id] += 1
            task = asyncio.create_task(self._deliver(delivery))
            self._quick[task] = (delivery, started)
            task.add_done_callback(self._done)
        if claimed:
            self._wake.set()  # there may be more

    def _room(self) -> int:
        """Places that are free, once those of slow requests were given up."""
        slow_since = asyncio.get_running_loop().time() - _SLOW_SECONDS
        while self._quick:
            task, (delivery, started) = next(iter(self._quick.items()))
            if started > slow_since:
                break
            del self._quick[task]
            self._slow[task] = delivery
            self._slow_of[delivery.endpoint_id] += 1
        under_way = len(self._quick) + len(self._slow)
        return min(self._concurrency - len(self._quick), self._concurrency * _CEILING - under_way)

    async def _deliver(self, delivery: Delivery) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            outcome = await self._sender.send(delivery)
        except Exception as error:  # noqa: BLE001 - one endpoint's oddity must not end the courier
            outcome = Retryable(f"{type(error).__name__}: {error}")
        self._finished.append(self._judged(delivery, outcome, timedelta(seconds=loop.time() - started)))
        if isinstance(outcome, Delivered):
            self._free(delivery)

    def _judged(self, delivery: Delivery, outcome: Outcome, latency: timedelta) -> Attempt:
        match outcome:
            case Delivered() | Rejected():
                again = None
            case Retryable():
                again = retry_after(
                    delivery.retries + 1, draw=self._draw(), wait=outcome.wait, schedule=self._retries
                )
            case _:
                assert_never(outcome)
        return Attempt(delivery, outcome, again, latency)

    def _done(self, task: asyncio.Task[None]) -> None:
        if self._quick.pop(task, None) is None:
            _take_off(self._slow_of, self._slow.pop(task).endpoint_id)
        self._told.set()
        self._wake.set()

    def _free(self, delivery: Delivery) -> None:
        """One more may go to its endpoint: at once after a success, else when the failure is known to all."""
        _take_off(self._in_flight, delivery.endpoint_id)

    async def _record(self) -> None:
        """What finished since the last time, in one statement; kept for the next one if that fails."""
        finished, self._finished = self._finished, []
        try:
            hopeless = await self._queue.record(finished)
        except BaseException:
            self._finished = finished + self._finished
            raise
        if self._count is not None:
            self._count(finished)
        for attempt in finished:
            if not isinstance(attempt.outcome, Delivered):
                self._free(attempt.delivery)
            if isinstance(attempt.outcome, Rejected) and attempt.outcome.gone:
                self._doomed[attempt.delivery.endpoint_id] = _GONE
        for endpoint_id in hopeless:
            self._doomed.setdefault(endpoint_id, _HOPELESS)
        if finished:
            self._wake.set()  # what waited for one of these may be due
        await self._disable_doomed()

    async def _disable_doomed(self) -> None:
        """Whoever cannot be yet, since somebody is away, is at the next turn."""
        for endpoint_id, reason in list(self._doomed.items()):
            time_ns = await self._market_time() if self._market_time else 0
            await self._queue.disable(endpoint_id, reason, time_ns=time_ns)
            del self._doomed[endpoint_id]

    async def _woken(self, wake: asyncio.Event) -> None:
        """Until something may be due, or a place may be free because its request is slow."""
        period = self._poll_period.total_seconds()
        try:
            async with asyncio.timeout(min(period, _SLOW_SECONDS) if self._quick else period):
                await wake.wait()
        except TimeoutError:
            pass

    async def _wake_at(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._told.set()
        self._wake.set()

    async def _finish(self) -> None:
        """Let what is under way end; what does not end in time goes back into the queue."""
        under_way = [*self._quick, *self._slow]
        if under_way:
            await asyncio.wait(under_way, timeout=self._grace.total_seconds())
        unfinished = {task: delivery for task, (delivery, _) in self._quick.items()} | self._slow
        for task in unfinished:
            task.cancel()
        await asyncio.gather(*unfinished, return_exceptions=True)
        await self._record()
        if unfinished:
            await self._queue.release(list(unfinished.values()))


def _take_off(counts: Counter[EndpointId], endpoint_id: EndpointId) -> None:
    counts[endpoint_id] -= 1
    if not counts[endpoint_id]:
        del counts[endpoint_id]
