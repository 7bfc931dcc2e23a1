"""Portfolios that clients watch, read once in a process for however many of them do.

Whoever looks asks for the revisions of many at once, and reads again those that moved since the last look.
"""

from collections.abc import Collection, Sequence

from app.domain.identifiers import PortfolioId
from app.domain.portfolios import Portfolio
from app.ports.management import UnitOfWork


class WatchedPortfolios:
    def __init__(self) -> None:
        self._known: dict[PortfolioId, Portfolio] = {}

    async def read(
        self, unit: UnitOfWork, portfolio_ids: Sequence[PortfolioId]
    ) -> dict[PortfolioId, Portfolio]:
        """As they stand now; deleted ones are left out."""
        revisions = await unit.portfolios.revisions(portfolio_ids)
        moved = [key for key, revision in revisions.items() if not self._is_known(key, revision)]
        self._known |= {portfolio.id: portfolio for portfolio in await unit.portfolios.some(moved)}
        return {key: self._known[key] for key in revisions if key in self._known}

    def keep(self, watched: Collection[PortfolioId]) -> None:
        """What nobody watches any more is forgotten."""
        for key in self._known.keys() - watched:
            del self._known[key]

    def _is_known(self, key: PortfolioId, revision: int) -> bool:
        known = self._known.get(key)
        return known is not None and known.revision == revision
