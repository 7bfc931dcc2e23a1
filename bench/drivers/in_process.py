"""Portfolios and a market, for drivers that call the decision core themselves."""

import gc
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from uuid import UUID

from app.domain.market import Change, Frame, Quality, TickKind
from app.domain.policies import AnyPolicy, LeverageBand, LiquidationGuard, StoredPolicy
from app.domain.portfolios import Account, Balance, MarginMode, Portfolio, PortfolioState, Position
from app.engine.book import Book
from app.engine.frame_block import FrameBlock
from app.engine.market_view import MarketView
from app.engine.universe import Universe

GUARD = LiquidationGuard(name="alive", trigger=Decimal("0.5"), restore=Decimal("0.3"))
BAND = LeverageBand(name="band", minimum=Decimal("0.1"), target=Decimal(2), maximum=Decimal(5))
_NS_PER_SECOND = 1_000_000_000
_START_NS = 1_767_225_600 * _NS_PER_SECOND


def portfolio(
    number: int, held: Sequence[Position], balances: Sequence[Balance], policies: Sequence[AnyPolicy]
) -> Portfolio:
    """Of one account in cross margin. Another number is another portfolio."""
    account = Account(
        UUID(int=(1 << 64) + number), "main", "exchange", MarginMode.CROSS, tuple(held), tuple(balances)
    )
    stored = tuple(
        StoredPolicy(UUID(int=(2 << 64) + len(policies) * number + n), 1, policy)
        for n, policy in enumerate(policies)
    )
    return Portfolio(
        UUID(int=number + 1), UUID(int=1), "one", "USDT", PortfolioState.ACTIVE, 1, (account,), (), stored
    )


def stored(universe: Universe, portfolios: Iterable[Portfolio]) -> Book:
    """A book of them, which no collection of garbage walks through from then on."""
    book = Book(universe)
    for each in portfolios:
        book.put(each)
    gc.collect()
    gc.freeze()
    return book


class Market:
    def __init__(self, universe: Universe) -> None:
        self._view, self._sequence = MarketView(universe), 0

    def ticked(self, values: Mapping[str, float], kind: TickKind = TickKind.PRICE) -> FrameBlock:
        """A block of one frame, a second after the last one."""
        self._sequence += 1
        time_ns = _START_NS + self._sequence * _NS_PER_SECOND
        changes = tuple(
            Change(kind, name, value, 0.0, 1, Quality.VALID, time_ns) for name, value in values.items()
        )
        return self._view.advance([Frame(1, self._sequence, time_ns, "", 0, changes)])
