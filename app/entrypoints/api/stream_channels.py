"""The channels that one client is subscribed to."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Final
from uuid import UUID

from app.domain.errors import BallastError, InvalidInput, NotFound, Unavailable
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
_INSTRUMENT: Final = re.compile(r"[!-~]{1,128}")
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
            case "adjustments" if command.channel == kind:
                subscription = self._subscription(command.channel)
                await join_tenant(self.sources.hub, subscription, self.tenant_id, recovery)
            case "portfolio":
                await self._join_portfolio(command.channel, PortfolioId(_id(subject)), recovery)
            case "policy":
                await self._join_policy(command.channel, PolicyId(_id(subject)), recovery)
            case "risk":
                await self._join_risk(command, PortfolioId(_id(subject)))
            case "market" if _INSTRUMENT.fullmatch(subject):
                await self._join_market(command, subject)
            case _:
                raise InvalidInput(f"no such channel: {_KINDS}")

    async def _join_portfolio(
        self, channel: str, portfolio_id: PortfolioId, recovery: Recovery | None
    ) -> None:
        await join_portfolio(
            self.sources.hub, self._subscription(channel), self.tenant_id, portfolio_id, recovery
        )
        self._watch_rests(channel, portfolio_id)

    async def _join_policy(self, channel: str, policy_id: PolicyId, recovery: Recovery | None) -> None:
        hub = self.sources.hub
        portfolio_id = await self.sources.rests.portfolio_of(self.tenant_id, policy_id)
        subscription = self._subscription(channel, naming=policy_id)
        await join_portfolio(hub, subscription, self.tenant_id, portfolio_id, recovery, policy_id=policy_id)
        self._watch_rests(channel, portfolio_id, policy_id)

    def _watch_rests(
        self, channel: str, portfolio_id: PortfolioId, policy_id: PolicyId | None = None
    ) -> None:
        rests, tell = self.sources.rests, partial(self._tell_rest, channel)
        watch = rests.watch(portfolio_id, policy_id, receiver=self.outgoing, tell=tell)
        self._on_leaving(channel, rests.unwatch, watch)

    async def _join_risk(self, command: SubscribeCommand, portfolio_id: PortfolioId) -> None:
        risks, channel = self.sources.risks, command.channel
        await risks.check(self.tenant_id, portfolio_id)
        interval_ms = _granted(command)
        self.outgoing.push(message(op="subscribed", channel=channel, interval_ms=interval_ms))
        watch = risks.watch(
            portfolio_id,
            seconds=interval_ms / 1_000,
            receiver=self.outgoing,
            tell=self._tell_risk,
            gone=partial(self._end_risk, channel, portfolio_id),
        )
        self._on_leaving(channel, risks.unwatch, watch)

    async def _join_market(self, command: SubscribeCommand, instrument: str) -> None:
        market, channel = self.sources.market, command.channel
        await market.check(instrument)
        interval_ms = _granted(command)
        watch = await market.watch(
            instrument,
            seconds=interval_ms / 1_000,
            receiver=self.outgoing,
            tell=partial(self._tell_market, channel),
        )
        self._on_leaving(channel, market.unwatch, watch)
        self.outgoing.push(message(op="subscribed", channel=channel, interval_ms=interval_ms))
        watch.begin()

    def _subscription(self, channel: str, *, naming: UUID | None = None) -> Subscription:
        subscription = Subscription(self.outgoing, channel, naming=naming)
        self._on_leaving(channel, self.sources.hub.listeners.unsubscribe, subscription)
        return subscription

    def _on_leaving(self, channel: str, end: Callable[..., None], given: object) -> None:
        self.leaving[channel].append(partial(end, given))

    def _end_risk(self, channel: str, portfolio_id: PortfolioId) -> None:
        """The portfolio was deleted."""
        self.leave(channel)
        self.outgoing.push(refusal(channel, NotFound("portfolio", portfolio_id)))

    def _tell_rest(self, channel: str, told: PolicyRest) -> None:
        self.outgoing.push(RestMessage.of(channel, told).model_dump_json().encode())

    def _tell_risk(self, told: PortfolioRisk) -> None:
        self.outgoing.push(_risk_message(told))

    def _tell_market(self, channel: str, told: MarketPicture) -> None:
        self.outgoing.push(MarketMessage.of(channel, told).model_dump_json().encode())


def refusal(channel: str, error: BallastError) -> bytes:
    codes = ((NotFound, "not_found"), (Unavailable, "unavailable"), (BallastError, "invalid"))
    code = next(code for kind, code in codes if isinstance(error, kind))
    return message(op="error", code=code, message=str(error), channel=channel)


@lru_cache(maxsize=1)
def _risk_message(told: PortfolioRisk) -> bytes:
    """One picture is told to all of its watchers in turn: it is written once."""
    return RiskMessage.of(f"risk.{told.portfolio.id}", told).model_dump_json().encode()


def _granted(command: SubscribeCommand) -> int:
    """As near to the interval that was asked for as may be."""
    asked = DEFAULT_INTERVAL_MS if command.interval_ms is None else command.interval_ms
    return min(max(asked, LEAST_INTERVAL_MS), GREATEST_INTERVAL_MS)


def _id(subject: str) -> UUID:
    try:
        identifier = UUID(subject)
    except ValueError:
        identifier = None
    if identifier is None or str(identifier) != subject:
        raise InvalidInput(f"no such channel: {_KINDS}")
    return identifier
