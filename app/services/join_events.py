"""How a client joins a log: what was granted, then a snapshot or everything it missed, then live.

It needs no lock and no buffer. A client reads PostgreSQL up to the log's `sequence` or beyond it; between
that comparison and being attached nothing is awaited, so nothing can slip between the two.

Recovery is all or nothing: everything after the client's cursor, or `recovered: false` and a snapshot.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from app.domain.errors import InvalidInput, NotFound
from app.domain.identifiers import PolicyId, PortfolioId, TenantId
from app.ports.delivery import NOTHING_SINCE, End, Horizon, TenantSnapshot
from app.services.event_listeners import UNKNOWN, Log, Receiver, Subscription, Tenant
from app.services.fan_out_events import PAGE, Hub

BEGINNING: Final = "0"
_SNAPSHOT_PART: Final = 100
_SNAPSHOT_PART_BYTES: Final = 1 << 18
"""Of the open adjustments at most so many, and so large, in a message; one alone may be larger."""
_LOGS_AT_ONCE: Final = 20
_LONGEST_SEQUENCE: Final = 18

_json = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class Recovery:
    """Where a client stopped. Without an epoch it can only be the beginning, which every log has."""

    cursor: str
    epoch: str | None = None

    def is_of(self, epoch: str) -> bool:
        return self.epoch == epoch or (self.epoch is None and self.cursor == BEGINNING)


async def join_portfolio(
    hub: Hub,
    subscription: Subscription,
    tenant_id: TenantId,
    portfolio_id: PortfolioId,
    recovery: Recovery | None,
    *,
    policy_id: PolicyId | None = None,
) -> None:
    """With a policy, only what names it."""
    wanted = None if recovery is None else _sequence(recovery.cursor)
    end = await _end(hub, tenant_id, portfolio_id)  # whose it is comes before everything
    tenant = hub.listeners.tenant(tenant_id)
    log = hub.listeners.log(tenant, portfolio_id)
    log.subscriptions.append(subscription)
    subscription.log = log
    if log.sequence == UNKNOWN:  # read again now that live events are noticed
        end = await _end(hub, tenant_id, portfolio_id)
        hub.opened(log, 0 if tenant.heads_known else end.sequence)
        hub.want(log, end.sequence)
    if recovery is not None and wanted is not None and recovery.is_of(end.epoch) and wanted <= end.sequence:
        position = wanted
        _acknowledge(subscription, end.epoch, str(position), recovered=True)
    else:
        position, adjustments = await hub.history.snapshot(portfolio_id)
        if policy_id is not None:
            adjustments = [each for each in adjustments if str(policy_id) in each["policies"]]
        _acknowledge(subscription, end.epoch, str(position), recovered=False)
        await _show(subscription, str(position), adjustments)
    await _catch_up(hub, subscription, log, position)


async def join_tenant(
    hub: Hub, subscription: Subscription, tenant_id: TenantId, recovery: Recovery | None
) -> None:
    """All portfolios, those that are still to be created among them."""
    since = None if recovery is None else _horizon(recovery.cursor)
    tenant = hub.listeners.tenant(tenant_id)
    tenant.subscriptions.append(subscription)
    subscription.tenant = tenant
    now, adjustments = await _tenant_snapshot(hub, tenant, since or NOTHING_SINCE)
    hub.is_of(now.epoch)
    ends = {head.portfolio_id: head.sequence for head in now.heads}
    for portfolio_id, end in ends.items():
        hub.opened(hub.listeners.log(tenant, portfolio_id), end)
    tenant.heads_known = True
    for log in list(tenant.logs.values()):
        if log.sequence == UNKNOWN:  # a new one, which will be found, or an old one of a deleted portfolio
            hub.listeners.forget(log.portfolio_id)
    tenant.aim_at(now.horizon, ends)
    if (
        recovery is not None
        and since is not None
        and recovery.is_of(now.epoch)
        and since.end <= now.horizon.end
    ):
        positions = ends | dict(await hub.history.before(tenant_id, since))
        subscription.horizon = since
        _acknowledge(subscription, now.epoch, since.cursor, recovered=True)
    else:
        positions = ends
        subscription.horizon = now.horizon
        _acknowledge(subscription, now.epoch, now.horizon.cursor, recovered=False)
        await _show(subscription, now.horizon.cursor, adjustments)
    while joining := [log for log in tenant.logs.values() if log.portfolio_id not in subscription.ahead]:
        for start in range(0, len(joining), _LOGS_AT_ONCE):
            await _catch_up_all(hub, subscription, joining[start : start + _LOGS_AT_ONCE], positions)
    tenant.joined(subscription)


async def _end(hub: Hub, tenant_id: TenantId, portfolio_id: PortfolioId) -> End:
    end = await hub.history.end(tenant_id, portfolio_id)
    if end is None:
        raise NotFound("portfolio", portfolio_id)
    hub.is_of(end.epoch)
    return end


async def _tenant_snapshot(hub: Hub, tenant: Tenant, since: Horizon) -> TenantSnapshot:
    """With the end of every log that is handed out here, of portfolios that were deleted too."""
    while True:
        snapshot = await hub.history.tenant_snapshot(tenant.id, since, list(tenant.logs))
        listed = {head.portfolio_id for head in snapshot.heads.heads}
        if all(log.sequence == UNKNOWN or log.portfolio_id in listed for log in tenant.logs.values()):
            return snapshot


async def _catch_up_all(
    hub: Hub, subscription: Subscription, logs: Sequence[Log], positions: dict[PortfolioId, int]
) -> None:
    """Most have a few events or none: those come in one read, and what is more is left to each."""
    behind = {
        log.portfolio_id: positions.setdefault(log.portfolio_id, 0)
        for log in logs
        if positions.get(log.portfolio_id, 0) < log.sequence
    }
    if behind and not subscription.receiver.closed:
        for event in await hub.history.after_each(behind, limit=PAGE // _LOGS_AT_ONCE):
            await _send(subscription.receiver, subscription.told(event))
            positions[PortfolioId(event.portfolio_id)] = event.sequence
    for log in logs:
        await _catch_up(hub, subscription, log, positions.get(log.portfolio_id, 0))


async def _catch_up(hub: Hub, subscription: Subscription, log: Log, position: int) -> None:
    """From PostgreSQL until it has what the log handed out; then, without awaiting, attach it."""
    receiver = subscription.receiver
    while position < log.sequence and not receiver.closed:
        for event in await hub.history.after(log.portfolio_id, position, limit=PAGE):
            if subscription.concerns(event):
                await _send(receiver, subscription.told(event))
            position = event.sequence
    subscription.ahead[log.portfolio_id] = position


def _sequence(cursor: str) -> int:
    if not cursor.isascii() or not cursor.isdigit() or len(cursor) > _LONGEST_SEQUENCE:
        raise InvalidInput(f"recover: {cursor[:40]!r} is no cursor of this channel")
    return int(cursor)


def _horizon(cursor: str) -> Horizon:
    try:
        return Horizon.of(cursor)
    except ValueError:
        raise InvalidInput(f"recover: {cursor[:40]!r} is no cursor of this channel") from None


def _acknowledge(subscription: Subscription, epoch: str, cursor: str, *, recovered: bool) -> None:
    granted = {"epoch": epoch, "cursor": cursor, "recovered": recovered}
    message = {"op": "subscribed", "channel": subscription.channel, **granted}
    subscription.receiver.push(_json.encode(message))


async def _show(subscription: Subscription, cursor: str, adjustments: list[dict[str, Any]]) -> None:
    """In parts, the last of which says so: all that is open may be more than fits a message."""
    head = {"op": "snapshot", "channel": subscription.channel, "cursor": cursor}
    *others, last = _parts([_json.encode(adjustment) for adjustment in adjustments])
    for part in others:
        await _send(subscription.receiver, _json.encode(head | {"adjustments": part, "last": False}))
    await _send(subscription.receiver, _json.encode(head | {"adjustments": last, "last": True}))


def _parts(encoded: Sequence[bytes]) -> list[list[msgspec.Raw]]:
    """At least one, which may be empty."""
    parts: list[list[msgspec.Raw]] = [[]]
    size = 0
    for each in encoded:
        if parts[-1] and (len(parts[-1]) == _SNAPSHOT_PART or size + len(each) > _SNAPSHOT_PART_BYTES):
            parts.append([])
            size = 0
        parts[-1].append(msgspec.Raw(each))
        size += len(each)
    return parts


async def _send(receiver: Receiver, message: bytes) -> None:
    """As fast as the client reads: what it asked for at once may be more than may wait for it."""
    receiver.push(message)
    if receiver.congested:
        await receiver.drained()
