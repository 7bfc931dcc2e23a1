"""What is told of a portfolio itself."""

from collections.abc import Mapping, Sequence

from app.domain.events import EventType, NewEvent
from app.domain.margin_levels import LEVELS, MarginLevel
from app.domain.market import Frame, Quality
from app.domain.portfolios import Account, Portfolio, PortfolioState


def state_event(portfolio: Portfolio, state: PortfolioState, time_ns: int) -> NewEvent:
    """It is put into another state than it has."""
    data = {
        "portfolio_id": str(portfolio.id),
        "previous_state": portfolio.state.value,
        "state": state.value,
    }
    return NewEvent(EventType.PORTFOLIO_STATE_CHANGED, portfolio.tenant_id, portfolio.id, time_ns, data)


def margin_events(
    portfolio: Portfolio, account: Account, before: int, after: int, margin_ratio: str, frame: Frame
) -> Sequence[NewEvent]:
    """One for each level that an account reached, or that is over, on its way from `before` to `after`."""
    if after > before:
        return [
            _margin_event(portfolio, account, level, True, margin_ratio, frame)
            for level in LEVELS[before:after]
        ]
    return [
        _margin_event(portfolio, account, level, False, margin_ratio, frame)
        for level in reversed(LEVELS[after:before])
    ]


def _margin_event(
    portfolio: Portfolio,
    account: Account,
    level: MarginLevel,
    is_reached: bool,
    margin_ratio: str,
    frame: Frame,
) -> NewEvent:
    data = {
        "portfolio_id": str(portfolio.id),
        "account_id": str(account.id),
        "account": account.name,
        "crossed": "above" if is_reached else "below",
        "level": f"{level.reached if is_reached else level.over:g}",
        "margin_ratio": margin_ratio,
        "market_position": frame.position.entry_id,
    }
    return NewEvent(level.event, portfolio.tenant_id, portfolio.id, frame.time_ns, data)


def market_event(
    portfolio: Portfolio, markets: Mapping[str, Quality], *, is_degraded: bool, frame: Frame
) -> NewEvent:
    """Of markets that turned with one frame."""
    data = {
        "portfolio_id": str(portfolio.id),
        "markets": [
            {"instrument": instrument, "quality": quality.name.lower()}
            for instrument, quality in markets.items()
        ],
        "market_position": frame.position.entry_id,
    }
    kind = EventType.MARKET_DEGRADED if is_degraded else EventType.MARKET_RECOVERED
    return NewEvent(kind, portfolio.tenant_id, portfolio.id, frame.time_ns, data)
