"""What is told of a portfolio itself."""

from app.domain.events import EventType, NewEvent
from app.domain.portfolios import Portfolio, PortfolioState


def state_event(portfolio: Portfolio, state: PortfolioState, time_ns: int) -> NewEvent:
    """It is put into another state than it has."""
    data = {
        "portfolio_id": str(portfolio.id),
        "previous_state": portfolio.state.value,
        "state": state.value,
    }
    return NewEvent(EventType.PORTFOLIO_STATE_CHANGED, portfolio.tenant_id, portfolio.id, time_ns, data)
