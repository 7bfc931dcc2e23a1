"""Who listens to which logs in this process, and how far each log was handed out.

The cursor of one portfolio is a sequence. That of a tenant is a horizon (`ports.delivery`): all of it was
handed out here. It lags a little, because it takes a look at PostgreSQL to know one; an event goes out at
once with the horizon known by then. So whoever comes back with it misses nothing, and is at most told once
more what came between that look and the last event it has.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol
from uuid import UUID

from app.domain.identifiers import PortfolioId, TenantId
from app.ports.delivery import Horizon, LoggedEvent

UNKNOWN: Final = -1
NOTHING_YET: Final = 1 << 63


class Receiver(Protocol):
    """A client's end. `push` never waits: a client that does not keep up is closed by its owner."""

    @property
    def closed(self) -> bool: ...
    @property
    def congested(self) -> bool:
        """Something waits for the network. Whoever conflates holds back meanwhile."""
        ...

    def push(self, message: bytes) -> None: ...
    async def drained(self) -> None:
        """Until everything pushed was handed to the network, or the client is gone."""
        ...

    def end(self, code: int) -> None: ...
    def lose(self) -> None:
        """The log that it was told from is no longer there."""
        ...


def event_message(channel: str, cursor: str, body: bytes) -> bytes:
    head = f'{{"op":"event","channel":"{channel}","cursor":"{cursor}","event":'
    return b"%b%b}" % (head.encode(), body)


class Subscription:
    """One client on one channel.

    `ahead` holds, by portfolio, the sequence up to which live events are not for it: it has them, or is
    getting them from PostgreSQL. `floor` is the same for every other portfolio. With `naming`, only events
    that name this id are for it. `horizon` is what it has of its tenant until the tenant's own covers that.
    """

    __slots__ = ("ahead", "channel", "floor", "horizon", "log", "naming", "receiver", "tenant")

    def __init__(self, receiver: Receiver, channel: str, *, naming: UUID | None = None) -> None:
        self.receiver = receiver
        self.channel = channel
        self.naming = None if naming is None else f'"{naming}"'.encode()
        self.ahead: dict[UUID, int] = {}
        self.floor = NOTHING_YET
        self.horizon: Horizon | None = None
        self.log: Log | None = None
        self.tenant: Tenant | None = None

    def waits_for(self, event: LoggedEvent) -> bool:
        return event.sequence > self.ahead.get(event.portfolio_id, self.floor) and self.concerns(event)

    def concerns(self, event: LoggedEvent) -> bool:
        return self.naming is None or self.naming in event.body

    def told(self, event: LoggedEvent) -> bytes:
        """The message, to itself alone."""
        cursor = str(event.sequence) if self.horizon is None else self.horizon.cursor
        return event_message(self.channel, cursor, event.body)


@dataclass(slots=True, eq=False)
class Tenant:
    """`missing`: what, by portfolio, has still to be handed out until `horizon` may become `next_horizon`."""

    id: TenantId
    subscriptions: list[Subscription] = field(default_factory=list)
    logs: dict[PortfolioId, "Log"] = field(default_factory=dict)
    heads_known: bool = False
    horizon: Horizon | None = None
    next_horizon: Horizon | None = None
    missing: dict[PortfolioId, int] = field(default_factory=dict)

    @property
    def covered(self) -> Horizon:
        """What may be in doubt came after it: `horizon`, or that with which somebody joined first."""
        return self.horizon or self.next_horizon or Horizon(0)

    def aim_at(self, horizon: Horizon, heads: Mapping[PortfolioId, int]) -> None:
        """Where all of its logs ended at one moment. An earlier aim that is not reached yet comes first."""
        if self.next_horizon is not None and not horizon.covers(self.next_horizon):
            return  # what was asked before somebody joined is answered after it
        self.missing = self._lacking({key: at for key, at in self.missing.items() if key in heads})
        if not self.missing:
            self.next_horizon = horizon
            self.missing = self._lacking(heads)
        self._reach()

    def handed_out(self, log: "Log") -> None:
        if self.missing and log.sequence >= self.missing.get(log.portfolio_id, NOTHING_YET):
            del self.missing[log.portfolio_id]
            self._reach()

    def joined(self, subscription: Subscription) -> None:
        """It has all of every log; only where it is ahead of what is handed out here has to be remembered."""
        subscription.floor = 0
        subscription.ahead = {
            key: sequence
            for key, sequence in subscription.ahead.items()
            if (log := self.logs.get(PortfolioId(key))) is not None and sequence > log.sequence
        }
        self._share_with(subscription)

    def _lacking(self, heads: Mapping[PortfolioId, int]) -> dict[PortfolioId, int]:
        return {
            key: sequence
            for key, sequence in heads.items()
            if sequence > (self.logs[key].sequence if key in self.logs else 0)
        }

    def _reach(self) -> None:
        if not self.missing:
            self.horizon = self.next_horizon
            for subscription in self.subscriptions:
                self._share_with(subscription)

    def _share_with(self, subscription: Subscription) -> None:
        own = subscription.horizon
        if own is not None and subscription.floor == 0 and self.horizon is not None:
            subscription.horizon = None if self.horizon.covers(own) else own


@dataclass(slots=True, eq=False)
class Log:
    """`wanted` is the newest sequence heard of; `filling` holds live events back while older ones come."""

    portfolio_id: PortfolioId
    tenant: Tenant
    sequence: int = UNKNOWN
    wanted: int = 0
    filling: bool = True
    subscriptions: list[Subscription] = field(default_factory=list)

    def hand_out(self, event: LoggedEvent) -> None:
        """To everybody who waits for it; a message that is the same for many is made once."""
        self.sequence = event.sequence
        self.tenant.handed_out(self)
        messages: dict[str, bytes] = {}
        for subscription in self.subscriptions:
            if subscription.waits_for(event):
                message = messages.get(subscription.channel)
                if message is None:
                    message = messages[subscription.channel] = subscription.told(event)
                subscription.receiver.push(message)
        for subscription in self.tenant.subscriptions:
            if subscription.waits_for(event):
                horizon = subscription.horizon or self.tenant.horizon or Horizon(0)
                message = messages.get(horizon.cursor)
                if message is None:
                    message = event_message(subscription.channel, horizon.cursor, event.body)
                    messages[horizon.cursor] = message
                subscription.receiver.push(message)


class Listeners:
    """Logs are kept for as long as somebody listens to them or to all of their tenant."""

    def __init__(self) -> None:
        self.tenants: dict[UUID, Tenant] = {}
        self.logs: dict[UUID, Log] = {}
        self.receivers: set[Receiver] = set()

    def tenant(self, tenant_id: TenantId) -> Tenant:
        tenant = self.tenants.get(tenant_id)
        if tenant is None:
            tenant = self.tenants[tenant_id] = Tenant(tenant_id)
        return tenant

    def log(self, tenant: Tenant, portfolio_id: PortfolioId) -> Log:
        log = self.logs.get(portfolio_id)
        if log is None:
            log = self.logs[portfolio_id] = tenant.logs[portfolio_id] = Log(portfolio_id, tenant)
        return log

    def lose(self) -> None:
        """What is known of any log is no longer true: nothing more is handed out."""
        for log in self.logs.values():
            log.sequence, log.filling = UNKNOWN, True
        for tenant in self.tenants.values():
            tenant.heads_known = False
            tenant.horizon = tenant.next_horizon = None
            tenant.missing.clear()

    def unsubscribe(self, subscription: Subscription) -> None:
        log, tenant = subscription.log, subscription.tenant
        if log is not None:
            log.subscriptions.remove(subscription)
            if log.sequence == UNKNOWN:
                self.forget(log.portfolio_id)
            self._forget_unheard(log.tenant, (log,))
        if tenant is not None:
            tenant.subscriptions.remove(subscription)
            self._forget_unheard(tenant, tenant.logs.values())
        subscription.log = subscription.tenant = None
        subscription.floor = NOTHING_YET
        subscription.ahead.clear()

    def forget_deleted(self, tenant: Tenant, portfolio_ids: Iterable[PortfolioId]) -> None:
        """All of their events were handed out; who is joining may still have to read them."""
        if all(subscription.floor == 0 for subscription in tenant.subscriptions):
            for portfolio_id in portfolio_ids:
                self.forget(portfolio_id)

    def forget(self, portfolio_id: PortfolioId) -> None:
        """Unless it is listened to by itself."""
        log = self.logs.get(portfolio_id)
        if log is not None and not log.subscriptions:
            del log.tenant.logs[portfolio_id]
            del self.logs[portfolio_id]

    def _forget_unheard(self, tenant: Tenant, logs: Iterable[Log]) -> None:
        if tenant.subscriptions:
            return
        tenant.heads_known = False
        tenant.horizon = tenant.next_horizon = None
        tenant.missing.clear()
        for log in list(logs):
            self.forget(log.portfolio_id)
        if not tenant.logs:
            del self.tenants[tenant.id]
