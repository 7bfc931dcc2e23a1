"""Portfolios' metrics, told to whoever watches them, no more often than each of them asked for.

Pictures of now, which no log keeps: a client that is still reading the last one is passed over, and gets the
newest one later. All that is due is computed on one view of the market.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter

import structlog

from app.domain.errors import NotFound, Unavailable
from app.domain.identifiers import PortfolioId, TenantId
from app.domain.market import StreamPosition
from app.domain.portfolios import Portfolio
from app.engine.market_view import MarketView
from app.engine.risk import RiskReport, portfolio_risk
from app.ports.management import MarketNow, UnitsOfWork
from app.services.event_listeners import Receiver
from app.services.show_risk import market_as_it_stands

_AGAIN_SECONDS = 0.1
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PortfolioRisk:
    portfolio: Portfolio
    report: RiskReport


@dataclass(slots=True, eq=False)
class RiskWatch:
    """`due` is on the event loop's clock; `told` is which revision it has, on which frame."""

    tenant_id: TenantId
    portfolio_id: PortfolioId
    seconds: float
    receiver: Receiver
    tell: Callable[[PortfolioRisk], None]
    due: float
    told: tuple[int, StreamPosition] | None = None


class Risks:
    """One of them in each process that serves clients."""

    def __init__(self, units: UnitsOfWork, market: MarketNow) -> None:
        self._units = units
        self._market = market
        self._watches: set[RiskWatch] = set()
        self._wanted = asyncio.Event()

    async def check(self, tenant_id: TenantId, portfolio_id: PortfolioId) -> None:
        """NotFound for a portfolio that is not there, or not the tenant's."""
        async with self._units() as unit:
            await unit.portfolios.get(tenant_id, portfolio_id)

    def watch(
        self,
        tenant_id: TenantId,
        portfolio_id: PortfolioId,
        *,
        seconds: float,
        receiver: Receiver,
        tell: Callable[[PortfolioRisk], None],
    ) -> RiskWatch:
        """Told at once, and then of whatever is new, every so many seconds at most."""
        now = asyncio.get_running_loop().time()
        watch = RiskWatch(tenant_id, portfolio_id, seconds, receiver, tell, now)
        self._watches.add(watch)
        self._wanted.set()
        return watch

    def unwatch(self, watch: RiskWatch) -> None:
        self._watches.discard(watch)

    async def run(self) -> None:
        """Until cancelled. After a look that took long, half of the time is left to everything else."""
        clock = asyncio.get_running_loop().time
        while True:
            await self._something_is_due(clock)
            began = clock()
            try:
                await self.look(began)
            except Exception as error:  # noqa: BLE001 - the outermost loop: the next look begins anew
                _log.warning("risk_not_told", error=repr(error))
            await asyncio.sleep(max(_AGAIN_SECONDS, clock() - began))

    async def look(self, now: float) -> None:
        """At everything that is due."""
        due = [watch for watch in self._watches if watch.due <= now and not watch.receiver.congested]
        if not due:
            return
        try:
            market = await market_as_it_stands(self._units, self._market)
        except Unavailable:
            return  # no frame was written yet
        of_portfolio = attrgetter("tenant_id", "portfolio_id")
        for (tenant_id, portfolio_id), watches in groupby(sorted(due, key=of_portfolio), key=of_portfolio):
            await self._look_at(tenant_id, portfolio_id, list(watches), market, now)
            await asyncio.sleep(0)  # a portfolio takes milliseconds, and other clients wait

    async def _look_at(
        self,
        tenant_id: TenantId,
        portfolio_id: PortfolioId,
        watches: list[RiskWatch],
        market: MarketView,
        now: float,
    ) -> None:
        try:
            async with self._units() as unit:
                portfolio = await unit.portfolios.get(tenant_id, portfolio_id)
        except NotFound:
            return  # deleted, which events have said
        seen = (portfolio.revision, market.position)
        behind = [watch for watch in watches if watch.told != seen and watch in self._watches]
        told = PortfolioRisk(portfolio, portfolio_risk(portfolio, market)) if behind else None
        for watch in watches:
            watch.due = now + watch.seconds
        for watch in behind:
            if told is not None and not watch.receiver.congested:
                watch.told = seen
                watch.tell(told)

    async def _something_is_due(self, clock: Callable[[], float]) -> None:
        """Or somebody new wants to know."""
        self._wanted.clear()
        next_due = min((watch.due for watch in self._watches), default=None)
        try:
            async with asyncio.timeout(None if next_due is None else max(0.0, next_due - clock())):
                await self._wanted.wait()
        except TimeoutError:
            pass
