"""The channels that one client is subscribed to."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final
from uuid import UUID

from app.domain.errors import InvalidInput
from app.domain.identifiers import PolicyId, PortfolioId, TenantId
from app.entrypoints.api.outgoing import Outgoing
from app.entrypoints.api.stream_messages import (
    MarketMessage,
    RestMessage,
    RiskMessage,
    SubscribeCommand,
    message,
)
from app.services.event_listeners import Subscription
from app.services.fan_out_events import Hub
from app.services.join_events import Recovery, join_portfolio, join_tenant
from app.services.tell_market import MarketPicture, MarketWatches
from app.services.tell_rests import PolicyRest, Rests
from app.services.tell_risk import PortfolioRisk, Risks

MAX_SUBSCRIPTIONS: Final = 1_000
DEFAULT_INTERVAL_MS: Final = 1_000
LEAST_INTERVAL_MS: Final = 100
GREATEST_INTERVAL_MS: Final = 60_000
_CONFLATED: Final = ("risk", "market")
_KINDS: Final = "portfolio.<id>, policy.<id>, adjustments, risk.<portfolio> or market.<instrument>"


@dataclass(frozen=True, slots=True)
class Sources:
    """What channels are fed from: one of each in a process."""

    hub: Hub
    rests: Rests
    risks: Risks
    market: MarketWatches


@dataclass(slots=True)
class Channels:
    """`leaving` holds, by channel, what ends it."""

    sources: Sources
    outgoing: Outgoing
    tenant_id: TenantId
    leaving: dict[str, list[Callable[[], None]]] = field(default_factory=dict)

    async def subscribe(self, command: SubscribeCommand) -> None:
        """BallastError for what is refused; then nothing is left of it."""
        channel = command.channel
        if channel in self.leaving:
            raise InvalidInput(f"unsubscribe from {channel} first")
        if len(self.leaving) >= MAX_SUBSCRIPTIONS:
            raise InvalidInput(f"at most {MAX_SUBSCRIPTIONS} subscriptions a connection")
        self.leaving[channel] = []
        try:
            await self._join(command)
        except BaseException:
            self.leave(channel)
            raise

    def leave(self, channel: str) -> None:
        for end in self.leaving.pop(channel, ()):
            end()

    def leave_all(self) -> None:
        for channel in list(self.leaving):
            self.leave(channel)

    async def _join(self, command: SubscribeCommand) -> None:
        kind, _, subject = command.channel.partition(".")
        if kind in _CONFLATED and command.recover is not None:
            raise InvalidInput("recover: nothing of this channel is kept")
        if kind not in _CONFLATED and command.interval_ms is not None:
            raise InvalidInput("interval_ms: events are told at once, all of them")
        recovery = None
        if command.recover is not None:
            recovery = Recovery(command.recover.cursor, command.recover.epoch)
        match kind:
            case "adjustments" if not subject:
                subscription = self._subscription(command.channel)
                await join_tenant(self.sources.hub, subscription, self.tenant_id, recovery)
            case "portfolio":
                await self._join_portfolio(command.channel, PortfolioId(_id(subject)), recovery)
            case "policy":
                await self._join_policy(command.channel, PolicyId(_id(subject)), recovery)
            case "risk":
                await self._join_risk(command, PortfolioId(_id(subject)))
            case "market" if subject:
                await self._join_market(command, subject)
            case _:
                raise InvalidInput(f"no such channel: {_KINDS}")

    async def _join_portfolio(
        self, channel: str, portfolio_id: PortfolioId, recovery: Recovery | None
    ) -> None:
        subscription, rests = self._subscription(channel), self.sources.rests
        await join_portfolio(self.sources.hub, subscription, self.tenant_id, portfolio_id, recovery)
        tell = partial(self._tell_rest, channel)
        self._on_leaving(channel, rests.unwatch, rests.watch_portfolio(self.tenant_id, portfolio_id, tell))

    async def _join_policy(self, channel: str, policy_id: PolicyId, recovery: Recovery | None) -> None:
        rests, hub = self.sources.rests, self.sources.hub
        portfolio_id = await rests.portfolio_of(self.tenant_id, policy_id)
        subscription = self._subscription(channel, naming=policy_id)
        await join_portfolio(hub, subscription, self.tenant_id, portfolio_id, recovery, policy_id=policy_id)
        tell = partial(self._tell_rest, channel)
        watch = rests.watch_policy(self.tenant_id, portfolio_id, policy_id, tell)
        self._on_leaving(channel, rests.unwatch, watch)

    async def _join_risk(self, command: SubscribeCommand, portfolio_id: PortfolioId) -> None:
        risks = self.sources.risks
        await risks.check(self.tenant_id, portfolio_id)
        watch = risks.watch(
            self.tenant_id,
            portfolio_id,
            seconds=self._granted_seconds(command),
            receiver=self.outgoing,
            tell=partial(self._tell_risk, command.channel),
        )
        self._on_leaving(command.channel, risks.unwatch, watch)

    async def _join_market(self, command: SubscribeCommand, instrument: str) -> None:
        market = self.sources.market
        await market.check(instrument)
        watch = await market.watch(
            instrument,
            seconds=self._granted_seconds(command),
            receiver=self.outgoing,
            tell=partial(self._tell_market, command.channel),
        )
        self._on_leaving(command.channel, market.unwatch, watch)

    def _subscription(self, channel: str, *, naming: UUID | None = None) -> Subscription:
        subscription = Subscription(self.outgoing, channel, naming=naming)
        self._on_leaving(channel, self.sources.hub.listeners.unsubscribe, subscription)
        return subscription

    def _on_leaving(self, channel: str, end: Callable[..., None], given: object) -> None:
        self.leaving[channel].append(partial(end, given))

    def _granted_seconds(self, command: SubscribeCommand) -> float:
        """As near to the interval that was asked for as is granted, which is told."""
        asked = DEFAULT_INTERVAL_MS if command.interval_ms is None else command.interval_ms
        granted = min(max(asked, LEAST_INTERVAL_MS), GREATEST_INTERVAL_MS)
        self.outgoing.push(message(op="subscribed", channel=command.channel, interval_ms=granted))
        return granted / 1_000

    def _tell_rest(self, channel: str, told: PolicyRest) -> None:
        self.outgoing.push(RestMessage.of(channel, told).model_dump_json().encode())

    def _tell_risk(self, channel: str, told: PortfolioRisk) -> None:
        self.outgoing.push(RiskMessage.of(channel, told).model_dump_json().encode())

    def _tell_market(self, channel: str, told: MarketPicture) -> None:
        self.outgoing.push(MarketMessage.of(channel, told).model_dump_json().encode())


def _id(subject: str) -> UUID:
    try:
        identifier = UUID(subject)
    except ValueError:
        identifier = None
    if identifier is None or str(identifier) != subject:
        raise InvalidInput(f"no such channel: {_KINDS}")
    return identifier
