"""When time alone may change what is decided: an expiry, or the end of a cooldown that held back."""

import heapq
from collections.abc import Mapping

from app.domain.adjustments import AWAITING_STATES, Reason
from app.domain.identifiers import PolicyId, PortfolioId
from app.domain.portfolios import Portfolio
from app.engine.memory import NOTHING, PolicyMemory


class WakeTimes:
    """In the order of time. One too many only costs a look."""

    def __init__(self) -> None:
        self._times: list[tuple[int, PortfolioId]] = []

    def schedule(self, portfolio: Portfolio, memories: Mapping[PolicyId, PolicyMemory], time_ns: int) -> None:
        """After a portfolio or what is remembered of it changed; `time_ns` is the market's."""
        times = [work.expires_at_ns for work in portfolio.in_flight if work.state in AWAITING_STATES]
        for stored in portfolio.policies:
            memory = memories.get(stored.id, NOTHING)
            if memory.suppressed is Reason.COOLDOWN or memory.cooldown_until_ns > time_ns:
                times.append(memory.cooldown_until_ns)
            if memory.wake_ns > time_ns:
                times.append(memory.wake_ns)
        for due_ns in times:
            heapq.heappush(self._times, (due_ns, portfolio.id))

    def due(self, until_ns: int) -> list[tuple[int, PortfolioId]]:
        """Taken out: whoever is due by then."""
        due = []
        while self._times and self._times[0][0] <= until_ns:
            due.append(heapq.heappop(self._times))
        return due
