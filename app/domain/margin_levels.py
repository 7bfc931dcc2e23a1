"""The levels of the margin ratio that are told, each when it is reached and when it is over.

A level is over further down than it is reached, so that a price that hovers about it is told once. 1 is
liquidation; a wallet or an exchange warns at about 0.8.
"""

from math import inf
from typing import Final, NamedTuple

from app.domain.events import EventType


class MarginLevel(NamedTuple):
    """Reached at `reached` or more, over below `over`."""

    event: EventType
    reached: float
    over: float


LEVELS: Final = (
    MarginLevel(EventType.PORTFOLIO_MARGIN_WARNING, reached=0.8, over=0.7),
    MarginLevel(EventType.PORTFOLIO_LIQUIDATION_RISK, reached=0.95, over=0.9),
)
"""In the order in which they are reached. An account is at as many as are not over."""


def level_after(level: int, margin_ratio: float) -> int:
    """How many an account is at, once its ratio is this; one that is not known leaves it where it is."""
    while level < len(LEVELS) and margin_ratio >= LEVELS[level].reached:
        level += 1
    while level > 0 and margin_ratio < LEVELS[level - 1].over:
        level -= 1
    return level


def ratios_of(level: int) -> tuple[float, float]:
    """From which and below which ratio an account stays where it is."""
    return (
        LEVELS[level - 1].over if level else -inf,
        LEVELS[level].reached if level < len(LEVELS) else inf,
    )
