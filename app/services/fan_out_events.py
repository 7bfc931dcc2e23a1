"""The hub: one reader of the `events` stream per API process, for all of its WebSocket clients.

The stream may lose, repeat or go back. Each portfolio that somebody listens to has a `Log` here, whose
`sequence` is the last event handed out: an older one is dropped, the next one goes out, a later one means a
gap, which is filled from PostgreSQL first. What is lost at the end of a log makes no gap, so all logs are
compared with PostgreSQL regularly, and at once when Redis is away or went back. The same look says how far
everything was handed out. Should it find another database than before, or one that went back, then nothing
known here is true of it: every client is sent away, and comes back to a snapshot.

How a client joins is in `join_events.py`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from random import SystemRandom
from typing import Final

import msgspec
import structlog

from app.domain.identifiers import PortfolioId, TenantId
from app.domain.times import rfc3339
from app.ports.delivery import EventFeed, EventHistory, Heads, LoggedEvent, is_before
from app.services.event_listeners import UNKNOWN, Listeners, Log, Receiver, Tenant

_log = structlog.get_logger()

RESYNCHRONISE_PERIOD = timedelta(seconds=2)
HEARTBEAT_PERIOD = timedelta(seconds=25)
DRAIN_PERIOD = timedelta(seconds=3)
PAGE: Final = 200
"""Events read at a time; far below what a client's queue holds."""
_FILLS_AT_ONCE = 4
_RETRY_SECONDS = 0.5

_json = msgspec.json.Encoder()


class Hub:
    """`market_time` gives the market clock for heartbeats, or fails where there is none yet."""

    def __init__(
        self,
        *,
        feed: EventFeed,
        history: EventHistory,
        market_time: Callable[[], Awaitable[int]],
        resynchronise_period: timedelta = RESYNCHRONISE_PERIOD,
        heartbeat_period: timedelta = HEARTBEAT_PERIOD,
        drain_period: timedelta = DRAIN_PERIOD,
    ) -> None:
        self.listeners = Listeners()
        self.history = history
        self.epoch: str | None = None
        self._feed = feed
        self._market_time = market_time
        self._resynchronise_seconds = resynchronise_period.total_seconds()
        self._heartbeat_seconds = heartbeat_period.total_seconds()
        self._drain_seconds = drain_period.total_seconds()
        self._fills: set[asyncio.Task[None]] = set()
        self._fill_slots = asyncio.Semaphore(_FILLS_AT_ONCE)
        self._behind: dict[PortfolioId, int] = {}
        self._stream_ails = asyncio.Event()

    # -- the role -------------------------------------------------------------------------------------------

    async def run(self, stop: asyncio.Event, *, close_code: int) -> None:
        """Until `stop`; then every client is closed with `close_code` and may resume elsewhere."""
        try:
            async with asyncio.TaskGroup() as tasks:
                running = [
                    tasks.create_task(loop)
                    for loop in (self._follow(), self._resynchronise_for_ever(), self._beat())
                ]
                await stop.wait()
                await self._drain(close_code)
                for task in running:
                    task.cancel()
        finally:
            for receiver in list(self.listeners.receivers):
                receiver.end(close_code)
            for fill in self._fills:
                fill.cancel()

    async def _drain(self, close_code: int) -> None:
        """In any order and one after the other, for they all come back at once to who is left."""
        leaving = list(self.listeners.receivers)
        SystemRandom().shuffle(leaving)
        for receiver in leaving:
            receiver.end(close_code)
            await asyncio.sleep(self._drain_seconds / len(leaving))

    async def _follow(self) -> None:
        cursor: str | None = None
        while True:
            try:
                if cursor is None:
                    cursor = await self._feed.tail()
                    self._stream_ails.set()  # what was published until now is PostgreSQL's to tell
                entries = await self._feed.read(cursor)
                if entries:
                    for _, event in entries:
                        self._take(event)
                    cursor = entries[-1][0]
                elif is_before(await self._feed.tail(), cursor):
                    _log.warning("events_went_back", cursor=cursor)
                    cursor = None
            except Exception as error:  # noqa: BLE001 - the outermost loop: PostgreSQL serves meanwhile
                _log.warning("events_unreadable", error=repr(error))
                cursor = None
                self._stream_ails.set()
                await asyncio.sleep(_RETRY_SECONDS)

    def _take(self, event: LoggedEvent) -> None:
        log = self.listeners.logs.get(event.portfolio_id)
        if log is None:
            tenant = self.listeners.tenants.get(event.tenant_id)
            log = self._log_of_new_portfolio(tenant, event)
            if log is None:
                return
        if event.sequence == log.sequence + 1 and not log.filling:
            log.hand_out(event)
        elif event.sequence > log.sequence:
            self.want(log, event.sequence)

    # -- gaps -----------------------------------------------------------------------------------------------

    def opened(self, log: Log, sequence: int) -> None:
        """Where a new log starts; what was heard of meanwhile is filled in."""
        if log.sequence == UNKNOWN:
            log.sequence = sequence
            log.filling = False
            self.want(log, log.wanted)

    def want(self, log: Log, sequence: int) -> None:
        log.wanted = max(log.wanted, sequence)
        if not log.filling and log.wanted > log.sequence:
            log.filling = True
            fill = asyncio.create_task(self._fill(log))
            self._fills.add(fill)
            fill.add_done_callback(self._fills.discard)

    async def _fill(self, log: Log) -> None:
        """From PostgreSQL, in order, until the log has what was heard of."""
        try:
            while log.sequence < log.wanted and self.listeners.logs.get(log.portfolio_id) is log:
                async with self._fill_slots:
                    events = await self.history.after(log.portfolio_id, log.sequence, limit=PAGE)
                for event in events:
                    log.hand_out(event)
                if not events:
                    _log.warning("event_unknown", portfolio_id=str(log.portfolio_id), sequence=log.wanted)
                    log.wanted = log.sequence
        except Exception as error:  # noqa: BLE001 - an outermost loop: found again when resynchronising
            _log.warning("gap_not_filled", portfolio_id=str(log.portfolio_id), error=repr(error))
        finally:
            log.filling = False

    # -- what PostgreSQL says -------------------------------------------------------------------------------

    async def _resynchronise_for_ever(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._resynchronise_seconds):
                    await self._stream_ails.wait()
            except TimeoutError:
                pass
            at_once = self._stream_ails.is_set()
            self._stream_ails.clear()
            try:
                await self._resynchronise(at_once=at_once)
            except Exception as error:  # noqa: BLE001 - the outermost loop: the next turn compares again
                _log.warning("not_resynchronised", error=repr(error))
                await asyncio.sleep(_RETRY_SECONDS)

    async def _resynchronise(self, *, at_once: bool) -> None:
        """Fill what is behind: at once, or if it was behind at the last look too (else it is on its way)."""
        tenants, logs = self.listeners.tenants, self.listeners.logs
        listened_to = {tenant.id: tenant.covered for tenant in tenants.values() if tenant.heads_known}
        watched = [log.portfolio_id for log in logs.values() if not log.tenant.heads_known]
        if not listened_to and not watched:
            return
        handed_out = {log.portfolio_id: log.sequence for log in logs.values()}
        now = await self.history.heads(listened_to, watched)
        if self.is_of(now.epoch) and not self._went_back(now, handed_out):
            self._compare(now, at_once=at_once)
            self._aim(now, [tenants[key] for key in listened_to if key in tenants], handed_out)

    def is_of(self, epoch: str) -> bool:
        """Whether what is known here is of that database; what is of another one is forgotten."""
        if self.epoch not in (None, epoch):
            self._lose("epoch_changed")
            self.epoch = epoch
            return False
        self.epoch = epoch
        return True

    def _went_back(self, now: Heads, handed_out: Mapping[PortfolioId, int]) -> bool:
        lost = [head for head in now.heads if head.sequence < handed_out.get(head.portfolio_id, 0)]
        if lost:
            self._lose("log_went_back")
        return bool(lost)

    def _lose(self, what: str) -> None:
        _log.warning(what, clients=len(self.listeners.receivers))
        self.listeners.lose()
        for receiver in list(self.listeners.receivers):
            receiver.lose()

    def _compare(self, now: Heads, *, at_once: bool) -> None:
        behind: dict[PortfolioId, int] = {}
        for tenant_id, portfolio_id, sequence in now.heads:
            log = self.listeners.logs.get(portfolio_id)
            if log is None:
                tenant = self.listeners.tenants.get(tenant_id)
                if tenant is not None and tenant.heads_known:  # created since: all of its log is news
                    log = self.listeners.log(tenant, portfolio_id)
                    self.opened(log, 0)
                    self.want(log, sequence)
            elif UNKNOWN < log.sequence < sequence:
                behind[portfolio_id] = sequence
                self.want(log, sequence if at_once else self._behind.get(portfolio_id, 0))
        self._behind = behind

    def _aim(self, now: Heads, tenants: Sequence[Tenant], handed_out: Mapping[PortfolioId, int]) -> None:
        """Of these tenants all logs are in `now` but those of which nothing is to come any more."""
        heads: dict[TenantId, dict[PortfolioId, int]] = {tenant.id: {} for tenant in tenants}
        for tenant_id, portfolio_id, sequence in now.heads:
            if tenant_id in heads:
                heads[tenant_id][portfolio_id] = sequence
        for tenant in tenants:
            ends = heads[tenant.id]
            if tenant.heads_known:
                tenant.aim_at(now.horizon, ends)
                ended = (tenant.logs.keys() & handed_out.keys()) - ends.keys()
                self.listeners.forget_deleted(tenant, ended)

    def _log_of_new_portfolio(self, tenant: Tenant | None, event: LoggedEvent) -> Log | None:
        """Of one not heard of before. None where nobody here listens to its tenant, or it may be an old one:
        what is told late of a portfolio that was deleted; if it is none, the next look finds it.
        """
        if tenant is None or not tenant.subscriptions or (tenant.heads_known and event.sequence != 1):
            return None
        log = self.listeners.log(tenant, PortfolioId(event.portfolio_id))
        if tenant.heads_known:
            self.opened(log, 0)
        return log

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._heartbeat_seconds)
            try:
                time: str | None = rfc3339(await self._market_time())
            except Exception:  # noqa: BLE001 - no market yet, or Redis is away: the beat goes on without a time
                time = None
            message = _json.encode({"op": "heartbeat", "time": time})
            for receiver in list(self.listeners.receivers):
                receiver.push(message)

    # -- clients --------------------------------------------------------------------------------------------

    def enter(self, receiver: Receiver) -> None:
        self.listeners.receivers.add(receiver)

    def leave(self, receiver: Receiver) -> None:
        self.listeners.receivers.discard(receiver)
