"""Portfolios' metrics, told to whoever watches them, no more often than each of them asked for.

Pictures of now, which no log keeps: a client that is still reading the last one is passed over, and gets the
newest one later. All that is due is looked at together, on one view of the market, and a portfolio is read
and computed once for however many watch it.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from app.domain.errors import Unavailable
from app.domain.identifiers import PortfolioId, TenantId
from app.domain.portfolios import Portfolio
from app.engine.market_view import MarketView
from app.engine.risk import RiskReport, portfolio_risk
from app.ports.management import MarketNow, UnitsOfWork
from app.services.event_listeners import Receiver
from app.services.pacing import in_parts
from app.services.show_risk import market_as_it_stands
from app.services.watched_portfolios import WatchedPortfolios

_AGAIN_SECONDS = 0.1
_RETRY_SECONDS = 0.5
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class PortfolioRisk:
    """One picture, the same for all who are told it."""

    portfolio: Portfolio
    report: RiskReport

    def is_of(self, portfolio: Portfolio, market: MarketView) -> bool:
        revision, position = self.portfolio.revision, self.report.position
        return (revision, position) == (portfolio.revision, market.position)


@dataclass(slots=True, eq=False)
class RiskWatch:
    """`due` is on the event loop's clock. `gone` is called once the portfolio is not there any more."""

    portfolio_id: PortfolioId
    seconds: float
    receiver: Receiver
    tell: Callable[[PortfolioRisk], None]
    gone: Callable[[], None]
    due: float
    told: PortfolioRisk | None = None

    def is_due(self, now: float) -> bool:
        return self.due <= now and not self.receiver.congested

    def offer(self, picture: PortfolioRisk, now: float) -> None:
        self.due = now + self.seconds
        if self.told is not picture:
            self.told = picture
            self.tell(picture)


class Risks:
    """One of them in each process that serves clients."""

    def __init__(self, units: UnitsOfWork, market: MarketNow) -> None:
        self._units = units
        self._market = market
        self._watches: dict[PortfolioId, set[RiskWatch]] = {}
        self._portfolios = WatchedPortfolios()
        self._pictures: dict[PortfolioId, PortfolioRisk] = {}
        self._wanted = asyncio.Event()

    async def check(self, tenant_id: TenantId, portfolio_id: PortfolioId) -> None:
        """NotFound for a portfolio that is not there, or not the tenant's."""
        async with self._units() as unit:
            await unit.portfolios.get(tenant_id, portfolio_id)

    def watch(
        self,
        portfolio_id: PortfolioId,
        *,
        seconds: float,
        receiver: Receiver,
        tell: Callable[[PortfolioRisk], None],
        gone: Callable[[], None],
    ) -> RiskWatch:
        """Told at once, and then of whatever is new, every so many seconds at most.

        Whose portfolio it is has been checked before.
        """
        now = asyncio.get_running_loop().time()
        watch = RiskWatch(portfolio_id, seconds, receiver, tell, gone, now)
        self._watches.setdefault(portfolio_id, set()).add(watch)
        self._wanted.set()
        return watch

    def unwatch(self, watch: RiskWatch) -> None:
        watches = self._watches[watch.portfolio_id]
        watches.discard(watch)
        if not watches:
            del self._watches[watch.portfolio_id]
            self._pictures.pop(watch.portfolio_id, None)

    async def run(self) -> None:
        """Until cancelled. After a look that took long, half of the time is left to everything else."""
        clock = asyncio.get_running_loop().time
        while True:
            await self._something_is_due(clock)
            began = clock()
            try:
                await self.look(began)
                await asyncio.sleep(max(_AGAIN_SECONDS, clock() - began))
            except Unavailable:  # no frame was written yet
                await asyncio.sleep(_RETRY_SECONDS)
            except Exception as error:  # noqa: BLE001 - the outermost loop: the next look begins anew
                _log.warning("risk_not_told", error=repr(error))
                await asyncio.sleep(_RETRY_SECONDS)

    async def look(self, now: float) -> None:
        """At everything that is due. Unavailable before the market's first frame."""
        due = [key for key, watches in self._watches.items() if any(each.is_due(now) for each in watches)]
        if not due:
            return
        market = await market_as_it_stands(self._units, self._market)
        self._portfolios.keep(self._watches.keys())
        for part in in_parts(due):
            await self._look_at(part, market, now)

    async def _look_at(self, portfolio_ids: Sequence[PortfolioId], market: MarketView, now: float) -> None:
        async with self._units() as unit:
            portfolios = await self._portfolios.read(unit, portfolio_ids)
        for portfolio_id in portfolio_ids:
            self._tell(portfolio_id, portfolios.get(portfolio_id), market, now)
            await asyncio.sleep(0)  # a portfolio takes milliseconds, and other clients wait

    def _tell(
        self, portfolio_id: PortfolioId, portfolio: Portfolio | None, market: MarketView, now: float
    ) -> None:
        due = [watch for watch in self._watches.get(portfolio_id, ()) if watch.is_due(now)]
        if not due:
            return
        picture = None if portfolio is None else self._picture(portfolio, market)
        for watch in due:
            if picture is None:
                watch.gone()
            else:
                watch.offer(picture, now)

    def _picture(self, portfolio: Portfolio, market: MarketView) -> PortfolioRisk:
        picture = self._pictures.get(portfolio.id)
        if picture is None or not picture.is_of(portfolio, market):
            picture = PortfolioRisk(portfolio, portfolio_risk(portfolio, market))
            self._pictures[portfolio.id] = picture
        return picture

    async def _something_is_due(self, clock: Callable[[], float]) -> None:
        """Or somebody new wants to know."""
        self._wanted.clear()
        next_due = min((each.due for watches in self._watches.values() for each in watches), default=None)
        try:
            async with asyncio.timeout(None if next_due is None else max(0.0, next_due - clock())):
                await self._wanted.wait()
        except TimeoutError:
            pass
