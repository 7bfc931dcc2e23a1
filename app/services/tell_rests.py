"""Between which prices policies rest, told to whoever watches them: pictures of now, which no log keeps.

Only what somebody watches is looked at, every few seconds and all of it on one view of the market, so a
client hears of a policy at most once in that time however often the market ticks. It is told what it has not
heard yet, and then what moved by a step. One that fires is often at rest again a moment later: whether it
rests at all is told once two looks in turn have found the same.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import structlog

from app.domain.errors import Unavailable
from app.domain.identifiers import PolicyId, PortfolioId, TenantId
from app.domain.portfolios import Portfolio
from app.engine.inspection import has_moved, rest_alone
from app.engine.market_view import MarketView
from app.engine.memory import PolicyMemory
from app.engine.sleeping import Rest
from app.ports.management import MarketNow, UnitsOfWork
from app.services.event_listeners import Receiver
from app.services.pacing import in_parts, pause
from app.services.preview_policy import memories_of
from app.services.show_risk import market_as_it_stands
from app.services.watched_portfolios import WatchedPortfolios

PERIOD = timedelta(seconds=3)

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PolicyRest:
    """`rest` is None while the policy fires, or where no bound is known. `instruments` names its rows."""

    portfolio_id: PortfolioId
    policy_id: PolicyId
    version: int
    time_ns: int
    rest: Rest | None
    instruments: Sequence[str]


@dataclass(slots=True, eq=False)
class Watch:
    """What one client has heard, of one policy or of all that a portfolio has."""

    portfolio_id: PortfolioId
    policy_id: PolicyId | None
    receiver: Receiver
    tell: Callable[[PolicyRest], None]
    told: dict[PolicyId, PolicyRest] = field(default_factory=dict)
    turned: set[PolicyId] = field(default_factory=set)

    def is_of(self, policy_id: PolicyId) -> bool:
        return self.policy_id in (None, policy_id)

    def offer(self, now: PolicyRest, market: MarketView) -> None:
        """Whoever is still reading is passed over, and hears of it later."""
        if not self.receiver.congested and self._is_news(now, market):
            self.told[now.policy_id] = now
            self.tell(now)

    def _is_news(self, now: PolicyRest, market: MarketView) -> bool:
        told, turned = self.told.get(now.policy_id), now.policy_id in self.turned
        self.turned.discard(now.policy_id)
        if told is None or told.version != now.version:
            return True
        if told.rest is not None and now.rest is not None:
            return has_moved(told.rest, now.rest, market)
        if told.rest is now.rest:
            return False
        self.turned.add(now.policy_id)
        return turned


class Rests:
    """One of them in each process that serves clients."""

    def __init__(self, units: UnitsOfWork, market: MarketNow, *, period: timedelta = PERIOD) -> None:
        self._units = units
        self._market = market
        self._seconds = period.total_seconds()
        self._watches: set[Watch] = set()
        self._portfolios = WatchedPortfolios()

    def watch(
        self,
        portfolio_id: PortfolioId,
        policy_id: PolicyId | None,
        *,
        receiver: Receiver,
        tell: Callable[[PolicyRest], None],
    ) -> Watch:
        """Of one policy, or of all. Whose portfolio it is has been checked before."""
        watch = Watch(portfolio_id, policy_id, receiver, tell)
        self._watches.add(watch)
        return watch

    async def portfolio_of(self, tenant_id: TenantId, policy_id: PolicyId) -> PortfolioId:
        async with self._units() as unit:
            return (await unit.policies.get(tenant_id, policy_id)).portfolio_id

    def unwatch(self, watch: Watch) -> None:
        self._watches.discard(watch)

    async def run(self, stop: asyncio.Event) -> None:
        """Where many are watched a look takes long: then half of the time is left to everything else."""
        while not stop.is_set():
            began = time.monotonic()
            try:
                await self.look()
            except Exception as error:  # noqa: BLE001 - the outermost loop: the next look begins anew
                _log.warning("rests_not_told", error=repr(error))
            await pause(stop, max(self._seconds, time.monotonic() - began))

    async def look(self) -> None:
        """At everything that is watched, once."""
        if not self._watches:
            return
        try:
            market = await market_as_it_stands(self._units, self._market)
        except Unavailable:
            return  # no frame was written yet
        watches: defaultdict[PortfolioId, list[Watch]] = defaultdict(list)
        for watch in self._watches:
            watches[watch.portfolio_id].append(watch)
        self._portfolios.keep(watches.keys())
        for part in in_parts(list(watches)):
            async with self._units() as unit:
                portfolios = await self._portfolios.read(unit, part)
                with_policies = [portfolio for portfolio in portfolios.values() if portfolio.policies]
                memories = await memories_of(unit, *(portfolio.id for portfolio in with_policies))
            for portfolio in with_policies:
                await self._look_at(portfolio, memories, watches[portfolio.id], market)

    async def _look_at(
        self,
        portfolio: Portfolio,
        memories: Mapping[PolicyId, PolicyMemory],
        watches: Collection[Watch],
        market: MarketView,
    ) -> None:
        names = market.universe.names
        for stored in portfolio.policies:
            asked = [watch for watch in watches if watch.is_of(stored.id) and watch in self._watches]
            if asked:
                rest = rest_alone(portfolio, stored, memories, market)
                now = PolicyRest(portfolio.id, stored.id, stored.version, market.time_ns, rest, names)
                for watch in asked:
                    watch.offer(now, market)
                await asyncio.sleep(0)  # a policy takes milliseconds, and other clients wait
