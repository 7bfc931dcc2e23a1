"""Portfolios that could not be decided: a defect of ours, told to the operator and tried again.

Nobody else waits for them. Until they are tried again nothing is decided for them, so their revision stays
unevaluated where it is, and no verdict of theirs is half committed.
"""

from collections.abc import Mapping

import structlog

from app.domain.identifiers import PortfolioId
from app.domain.times import NS_PER_SECOND

RETRY_NS = 60 * NS_PER_SECOND

_log = structlog.get_logger("evaluator")


class SetAside:
    def __init__(self) -> None:
        self._until_ns: dict[PortfolioId, int] = {}

    def __len__(self) -> int:
        return len(self._until_ns)

    def take(self, defects: Mapping[PortfolioId, Exception], *, time_ns: int, frame: str) -> None:
        """Out of the book since market time `time_ns`."""
        for portfolio_id, error in defects.items():
            self._until_ns[portfolio_id] = time_ns + RETRY_NS
            _log.error("portfolio_set_aside", portfolio=str(portfolio_id), frame=frame, exc_info=error)

    def due(self, time_ns: int) -> set[PortfolioId]:
        """Whose time it is to be loaded and decided again."""
        return {portfolio_id for portfolio_id, until_ns in self._until_ns.items() if until_ns <= time_ns}

    def returned(self, portfolio_id: PortfolioId) -> None:
        """It is in the book again, or gone for good."""
        self._until_ns.pop(portfolio_id, None)
