"""Publish a feed: its ticks into `oracle:ticks`, and when the connection is lost, come back.

Nothing is said on behalf of a source that is silent: its last tick grows old in the oracle, and the quality
of what it took part in shows that. What the source did not move since is not told again. A tick that is ahead
of this machine's clock is left out: remembered as the last, it would keep out all that follow.
"""

import asyncio
import random
from asyncio import sleep
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from contextlib import aclosing, suppress

import structlog

from app.domain.errors import FeedLost, InvalidInput
from app.domain.identifiers import InstrumentId
from app.domain.market import Tick, TickKind
from app.domain.times import NS_PER_SECOND
from app.ports.clock import WallClock
from app.ports.feeds import Feed, Line
from app.ports.management import UnitOfWork
from app.ports.market import TickPublisher

FIRST_BACKOFF_SECONDS = 1.0
LONGEST_BACKOFF_SECONDS = 60.0
LONGEST_SILENCE_SECONDS = 30.0
MAXIMUM_LEAD_NS = 5 * NS_PER_SECOND  # as the oracle has it


def backoff_seconds(losses: int, *, draw: float) -> float:
    """After so many in a row: between half of a doubling time and all of it. `draw` is uniform in [0, 1)."""
    doubled = FIRST_BACKOFF_SECONDS * 2.0 ** min(losses - 1, 16)
    return min(doubled, LONGEST_BACKOFF_SECONDS) * (1.0 + draw) / 2.0


async def listed_lines(unit: UnitOfWork, names: Mapping[str, str]) -> Sequence[Line]:
    """By our instruments' ids, what the source calls them. InvalidInput for what is not listed."""
    listed = await unit.instruments.some(names)
    if missing := [ours for ours in names if ours not in listed]:
        raise InvalidInput(
            f"no instrument {', '.join(missing)} is listed: list it (POST /v1/instruments), "
            "or write OURS=THEIRS where the source has another name for one that is"
        )
    return [Line(listed[InstrumentId(ours)], theirs) for ours, theirs in names.items()]


class PublishFeed:
    def __init__(
        self,
        *,
        feed: Feed,
        publisher: TickPublisher,
        clock: WallClock,
        longest_silence_seconds: float = LONGEST_SILENCE_SECONDS,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._feed = feed
        self._publisher = publisher
        self._clock = clock
        self._longest_silence_seconds = longest_silence_seconds
        self._draw = draw
        self._told: dict[tuple[TickKind, str], int] = {}
        self._lost_ns = 0
        self._losses = 0
        self._log = structlog.get_logger("feed").bind(source=feed.source)

    async def run(self, stop: asyncio.Event) -> None:
        """Until told to stop. Raises what coming back does not mend."""
        listening = asyncio.create_task(self._keep_listening())
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({listening, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            listening.cancel()
            with suppress(asyncio.CancelledError):
                await listening

    async def _keep_listening(self) -> None:
        while True:
            try:
                async with aclosing(self._said()) as said:
                    async for ticks in said:
                        await self._publish(ticks)
            except FeedLost as lost:
                self._lost_ns = self._lost_ns or self._clock.now_ns()
                self._losses += 1
                pause = max(lost.retry_after_seconds, backoff_seconds(self._losses, draw=self._draw()))
                self._log.warning("feed_lost", reason=str(lost), retry_in_seconds=round(pause, 3))
                await sleep(pause)

    async def _said(self) -> AsyncGenerator[Sequence[Tick], None]:
        """What the feed says; a silence that is too long is a lost connection, whatever TCP makes of it."""
        async with aclosing(self._feed.listen()) as said:
            while True:
                try:
                    async with asyncio.timeout(self._longest_silence_seconds):
                        ticks = await anext(said)
                except StopAsyncIteration:
                    raise FeedLost("the other end closed it") from None
                except TimeoutError:
                    raise FeedLost(f"nothing was said for {self._longest_silence_seconds:g} s") from None
                yield ticks

    async def _publish(self, ticks: Collection[Tick]) -> None:
        newest_ns = self._clock.now_ns() + MAXIMUM_LEAD_NS
        fresh = {
            (tick.kind, tick.instrument, tick.sequence): tick
            for tick in ticks
            if tick.time_ns <= newest_ns and tick.sequence > self._told.get((tick.kind, tick.instrument), -1)
        }
        if early := sum(tick.time_ns > newest_ns for tick in ticks):
            self._log.warning("ticks_from_the_future", count=early)
        if not fresh:
            return
        await self._publisher.publish(list(fresh.values()))
        for tick in fresh.values():
            line = (tick.kind, tick.instrument)
            self._told[line] = max(tick.sequence, self._told.get(line, -1))
        if self._lost_ns:
            silent_seconds = (self._clock.now_ns() - self._lost_ns) / NS_PER_SECOND
            self._log.info("feed_resumed", silent_seconds=round(silent_seconds, 3))
        self._losses = self._lost_ns = 0
