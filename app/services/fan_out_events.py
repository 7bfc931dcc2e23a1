"""The hub: one reader of the `events` stream per API process, for all of its WebSocket clients.

The stream may lose, repeat or go back. Each portfolio that somebody listens to has a `_Log` here, whose
`sequence` is the last event handed out: an older one is dropped, the next one goes out, a later one means a
gap, which is filled from PostgreSQL first. What is lost at the end of a log makes no gap, so all logs are
compared with PostgreSQL regularly, and at once when Redis is away or went back.

Joining needs no lock and no buffer. A client reads PostgreSQL up to the log's `sequence` or beyond it;
between that comparison and being attached nothing is awaited, so nothing can slip between the two.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, Protocol
from uuid import UUID

import msgspec
import structlog

from app.domain.errors import InvalidInput, NotFound
from app.domain.identifiers import PortfolioId, TenantId
from app.domain.times import rfc3339
from app.ports.delivery import EventFeed, EventHistory, LoggedEvent, is_before

_log = structlog.get_logger()

RESYNCHRONISE_PERIOD = timedelta(seconds=2)
HEARTBEAT_PERIOD = timedelta(seconds=25)
_PAGE = 200  # events; far below what a client's queue holds
_FILLS_AT_ONCE = 4
_RETRY_SECONDS = 0.5
_UNKNOWN: Final = -1
_EVERYTHING: Final = 1 << 63

_json = msgspec.json.Encoder()


class Receiver(Protocol):
    """A client's end. `push` never waits: a client that does not keep up is closed by its owner."""

    @property
    def closed(self) -> bool: ...
    def push(self, text: str) -> None: ...
    async def drained(self) -> None:
        """Until everything pushed was handed to the network, or the client is gone."""
        ...

    def end(self, code: int) -> None: ...


class Subscription:
    """One client on one channel.

    `ahead` holds, by portfolio, the sequence up to which live events are not for it: it has them, or is
    getting them from PostgreSQL. `floor` is the same for every other portfolio.
    """

    __slots__ = ("ahead", "channel", "floor", "log", "prefix", "receiver", "tenant")

    def __init__(self, receiver: Receiver, channel: str) -> None:
        self.receiver = receiver
        self.channel = channel
        self.prefix = f'{{"op":"event","channel":"{channel}","event":'
        self.ahead: dict[UUID, int] = {}
        self.floor = _EVERYTHING
        self.log: _Log | None = None
        self.tenant: _Tenant | None = None

    def offer(self, event: LoggedEvent, text: str) -> None:
        if event.sequence > self.ahead.get(event.portfolio_id, self.floor):
            self.receiver.push(f"{self.prefix}{text}}}")


@dataclass(slots=True, eq=False)
class _Tenant:
    id: TenantId
    subscriptions: list[Subscription] = field(default_factory=list)
    logs: dict[PortfolioId, "_Log"] = field(default_factory=dict)
    heads_known: bool = False


@dataclass(slots=True, eq=False)
class _Log:
    """`wanted` is the newest sequence heard of; `filling` holds live events back while older ones come."""

    portfolio_id: PortfolioId
    tenant: _Tenant
    sequence: int = _UNKNOWN
    wanted: int = 0
    filling: bool = True
    subscriptions: list[Subscription] = field(default_factory=list)


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
    ) -> None:
        self._feed = feed
        self._history = history
        self._market_time = market_time
        self._resynchronise_seconds = resynchronise_period.total_seconds()
        self._heartbeat_seconds = heartbeat_period.total_seconds()
        self._tenants: dict[UUID, _Tenant] = {}
        self._logs: dict[UUID, _Log] = {}
        self._receivers: set[Receiver] = set()
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
                for task in running:
                    task.cancel()
        finally:
            for receiver in list(self._receivers):
                receiver.end(close_code)
            for fill in self._fills:
                fill.cancel()

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
        log = self._logs.get(event.portfolio_id)
        if log is None:
            log = self._log_of_new_portfolio(event.tenant_id, PortfolioId(event.portfolio_id))
            if log is None:
                return
        if event.sequence == log.sequence + 1 and not log.filling:
            self._hand_out(log, event)
        elif event.sequence > log.sequence:
            self._want(log, event.sequence)

    def _hand_out(self, log: _Log, event: LoggedEvent) -> None:
        log.sequence = event.sequence
        text = event.body.decode()
        for subscription in log.subscriptions:
            subscription.offer(event, text)
        for subscription in log.tenant.subscriptions:
            subscription.offer(event, text)

    # -- gaps -----------------------------------------------------------------------------------------------

    def _want(self, log: _Log, sequence: int) -> None:
        log.wanted = max(log.wanted, sequence)
        if not log.filling and log.wanted > log.sequence:
            log.filling = True
            fill = asyncio.create_task(self._fill(log))
            self._fills.add(fill)
            fill.add_done_callback(self._fills.discard)

    async def _fill(self, log: _Log) -> None:
        """From PostgreSQL, in order, until the log has what was heard of."""
        try:
            while log.sequence < log.wanted and self._logs.get(log.portfolio_id) is log:
                async with self._fill_slots:
                    events = await self._history.after(log.portfolio_id, log.sequence, limit=_PAGE)
                for event in events:
                    self._hand_out(log, event)
                if not events:
                    _log.warning("event_unknown", portfolio_id=str(log.portfolio_id), sequence=log.wanted)
                    log.wanted = log.sequence
        except Exception as error:  # noqa: BLE001 - an outermost loop: found again when resynchronising
            _log.warning("gap_not_filled", portfolio_id=str(log.portfolio_id), error=repr(error))
        finally:
            log.filling = False

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
        listened_to = [tenant.id for tenant in self._tenants.values() if tenant.subscriptions]
        watched = [log.portfolio_id for log in self._logs.values() if not log.tenant.subscriptions]
        behind: dict[PortfolioId, int] = {}
        for tenant_id, portfolio_id, sequence in await self._history.heads(listened_to, watched):
            log = self._logs.get(portfolio_id)
            last = log.sequence if log is not None else 0
            if last == _UNKNOWN or sequence <= last:
                continue
            behind[portfolio_id] = sequence
            due = sequence if at_once else self._behind.get(portfolio_id, 0)
            log = log or self._log_of_new_portfolio(tenant_id, portfolio_id)
            if log is not None and due > last:
                self._want(log, due)
        self._behind = behind

    def _log_of_new_portfolio(self, tenant_id: UUID, portfolio_id: PortfolioId) -> _Log | None:
        """For a portfolio not heard of before; None where nobody here listens to its tenant."""
        tenant = self._tenants.get(tenant_id)
        if tenant is None or not tenant.subscriptions:
            return None
        log = self._new_log(tenant, portfolio_id)
        if tenant.heads_known:  # created since: all of its log is news
            self._opened(log, 0)
        return log

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._heartbeat_seconds)
            try:
                time: str | None = rfc3339(await self._market_time())
            except Exception:  # noqa: BLE001 - no market yet, or Redis is away: the beat goes on without a time
                time = None
            text = _json.encode({"op": "heartbeat", "time": time}).decode()
            for receiver in list(self._receivers):
                receiver.push(text)

    # -- joining and leaving --------------------------------------------------------------------------------

    def enter(self, receiver: Receiver) -> None:
        self._receivers.add(receiver)

    def leave(self, receiver: Receiver, subscriptions: Iterable[Subscription]) -> None:
        self._receivers.discard(receiver)
        for subscription in subscriptions:
            self.unsubscribe(subscription)

    async def join_portfolio(
        self, subscription: Subscription, tenant_id: TenantId, portfolio_id: PortfolioId, after: int | None
    ) -> None:
        """Acknowledge, then everything after `after` (or a snapshot), then live."""
        head = await self._head(tenant_id, portfolio_id)  # whose it is comes before everything
        log = self._logs.get(portfolio_id) or self._new_log(self._tenant(tenant_id), portfolio_id)
        log.subscriptions.append(subscription)
        subscription.log = log
        if log.sequence == _UNKNOWN:  # read again now that live events are noticed
            head = await self._head(tenant_id, portfolio_id)
            self._opened(log, head)
        if after is None:
            position, adjustments = await self._history.snapshot(portfolio_id)
            self._acknowledge(subscription, sequence=position)
            document = {
                "op": "snapshot",
                "channel": subscription.channel,
                "portfolio_id": str(portfolio_id),
                "sequence": position,
                "adjustments": adjustments,
            }
            subscription.receiver.push(_json.encode(document).decode())
        else:
            position = self._granted(after, head)
            self._acknowledge(subscription, sequence=position)
        await self._catch_up(subscription, log, position)

    async def join_tenant(
        self, subscription: Subscription, tenant_id: TenantId, after: Mapping[PortfolioId, int] | None
    ) -> None:
        """The same for all portfolios of a tenant; one that `after` leaves out is told from its beginning."""
        tenant = self._tenant(tenant_id)
        tenant.subscriptions.append(subscription)
        subscription.tenant = tenant
        heads = {head.portfolio_id: head.sequence for head in await self._history.heads([tenant_id], [])}
        for portfolio_id, head in heads.items():
            self._opened(self._logs.get(portfolio_id) or self._new_log(tenant, portfolio_id), head)
        tenant.heads_known = True
        for log in list(tenant.logs.values()):
            self._opened(log, 0)  # created after the heads were read
        if after is None:
            positions = heads
        else:
            positions = {
                portfolio_id: self._granted(after.get(portfolio_id, 0), head)
                for portfolio_id, head in heads.items()
            }
        self._acknowledge(subscription, sequences={str(key): value for key, value in positions.items()})
        while joining := [log for log in tenant.logs.values() if log.portfolio_id not in subscription.ahead]:
            for log in joining:
                await self._catch_up(subscription, log, positions.get(log.portfolio_id, 0))
        subscription.floor = 0

    def unsubscribe(self, subscription: Subscription) -> None:
        log, tenant = subscription.log, subscription.tenant
        if log is not None:
            log.subscriptions.remove(subscription)
            self._forget_unheard(log.tenant, [log])
        if tenant is not None:
            tenant.subscriptions.remove(subscription)
            self._forget_unheard(tenant, list(tenant.logs.values()))
        subscription.log = subscription.tenant = None
        subscription.floor = _EVERYTHING
        subscription.ahead.clear()

    def _forget_unheard(self, tenant: _Tenant, logs: Iterable[_Log]) -> None:
        if tenant.subscriptions:
            return
        tenant.heads_known = False
        for log in logs:
            if not log.subscriptions:
                del tenant.logs[log.portfolio_id]
                del self._logs[log.portfolio_id]
        if not tenant.logs:
            del self._tenants[tenant.id]

    def _tenant(self, tenant_id: TenantId) -> _Tenant:
        tenant = self._tenants.get(tenant_id)
        if tenant is None:
            tenant = self._tenants[tenant_id] = _Tenant(tenant_id)
        return tenant

    def _new_log(self, tenant: _Tenant, portfolio_id: PortfolioId) -> _Log:
        log = self._logs[portfolio_id] = tenant.logs[portfolio_id] = _Log(portfolio_id, tenant)
        return log

    def _opened(self, log: _Log, sequence: int) -> None:
        """Where a new log starts; what was heard of meanwhile is filled in."""
        if log.sequence == _UNKNOWN:
            log.sequence = sequence
            log.filling = False
            self._want(log, log.wanted)

    async def _head(self, tenant_id: TenantId, portfolio_id: PortfolioId) -> int:
        head = await self._history.head(tenant_id, portfolio_id)
        if head is None:
            raise NotFound("portfolio", portfolio_id)
        return head

    async def _catch_up(self, subscription: Subscription, log: _Log, position: int) -> None:
        """From PostgreSQL until it has what the log handed out; then, without awaiting, attach it."""
        receiver = subscription.receiver
        while position < log.sequence and not receiver.closed:
            events = await self._history.after(log.portfolio_id, position, limit=_PAGE)
            for event in events:
                receiver.push(f"{subscription.prefix}{event.body.decode()}}}")
                position = event.sequence
            await receiver.drained()
        subscription.ahead[log.portfolio_id] = position

    @staticmethod
    def _granted(after: int, head: int) -> int:
        if not 0 <= after <= head:
            raise InvalidInput(f"after {after} is not in the log, which ends at {head}: subscribe without it")
        return after

    @staticmethod
    def _acknowledge(subscription: Subscription, **granted: object) -> None:
        message = {"op": "subscribed", "channel": subscription.channel, **granted}
        subscription.receiver.push(_json.encode(message).decode())
