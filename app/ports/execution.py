"""What executing needs: venues that trade, a store that claims and settles, and someone to tell."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Protocol

from app.domain.adjustments import (
    Adjustment,
    AdjustmentState,
    Fill,
    Leg,
    LendingLeg,
    TradeLeg,
    TransferLeg,
)
from app.domain.events import Event
from app.domain.identifiers import AdjustmentId, Asset, FillId, InstrumentId, PortfolioId
from app.domain.instruments import Instrument
from app.domain.portfolios import Portfolio


@dataclass(frozen=True, slots=True)
class TradeOrder:
    """One leg for one venue. `client_order_id` is derived: sent again, it is the same order."""

    client_order_id: FillId
    leg: TradeLeg
    instrument: Instrument

    @property
    def asset(self) -> Asset:
        """What its fee is paid in."""
        return self.instrument.settlement_asset


@dataclass(frozen=True, slots=True)
class TransferOrder:
    client_order_id: FillId
    leg: TransferLeg

    @property
    def asset(self) -> Asset:
        return self.leg.asset


@dataclass(frozen=True, slots=True)
class LendingOrder:
    client_order_id: FillId
    leg: LendingLeg
    instrument: Instrument

    @property
    def asset(self) -> Asset:
        return self.instrument.settlement_asset


Order = TradeOrder | TransferOrder | LendingOrder


@dataclass(frozen=True, slots=True)
class Filled:
    """`quantity` is signed as a trade's, else an amount; less than ordered is a partial fill.

    The fee of a transfer is kept out of what arrives.
    """

    quantity: Decimal
    price: Decimal
    fee: Decimal


@dataclass(frozen=True, slots=True)
class Refused:
    """The venue will not do it, now or later."""

    reason: str


@dataclass(frozen=True, slots=True)
class Throttled:
    """The venue did not look at it: its rate limit."""

    retry_after: timedelta


@dataclass(frozen=True, slots=True)
class Unanswered:
    """No answer came, so it may have been done. Not a failure: ask with `find` before sending again."""

    reason: str


@dataclass(frozen=True, slots=True)
class NeverArrived:
    """The venue knows no such order."""


class Venue(Protocol):
    async def execute(self, order: Order) -> Filled | Refused | Throttled | Unanswered: ...

    async def find(self, order: Order) -> Filled | Refused | NeverArrived | Unanswered:
        """What became of an order that may have been sent before, by its client order id."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """An adjustment that is ours to finish; which of its legs remain is read with its portfolio.

    `time_ns` is the market time it fills at. `resumed`: someone began before, orders may have been sent.
    """

    adjustment: Adjustment
    time_ns: int
    resumed: bool


@dataclass(frozen=True, slots=True)
class Claims:
    """What one claim took, and what it ended on the way: `released` portfolios lost legs in flight.

    `more`: the limit was reached, there may be further work.
    """

    clock_ns: int
    work: tuple[Claimed, ...] = ()
    events: tuple[Event, ...] = ()
    released: tuple[PortfolioId, ...] = ()
    more: bool = False


@dataclass(frozen=True, slots=True)
class Settlement:
    """How an adjustment ended, with everything that changes at that moment."""

    claimed: Claimed
    before: Portfolio
    after: Portfolio
    fills: tuple[Fill, ...]
    remaining: tuple[Leg, ...]
    state: AdjustmentState
    outcome: str


class ExecutionStore(Protocol):
    async def take_back(self) -> None:
        """Frees what this owner held when it died, so that its successor need not wait for the lease."""

    async def claim(self, *, clock_ns: int, limit: int) -> Claims:
        """The most urgent work, in order; what is out of date or not allowed any more ends here."""

    async def portfolios(self, ids: Collection[PortfolioId]) -> Mapping[PortfolioId, Portfolio]: ...

    async def instruments(self, ids: Iterable[InstrumentId]) -> Mapping[InstrumentId, Instrument]:
        """Those that exist."""

    async def settle(self, settlement: Settlement) -> Sequence[Event]:
        """One transaction. Raises `RevisionMoved`, or `Fenced` when another process took it over."""

    async def put_back(self, ids: Collection[AdjustmentId], *, after: timedelta) -> None:
        """Lets go of unfinished work; anyone may resume it `after` that."""


class Announcer(Protocol):
    async def announce(self, events: Sequence[Event], changed: Collection[PortfolioId]) -> None:
        """After a commit: publishes and hints. Whatever gets lost here is swept from the database."""


class MarketClock(Protocol):
    async def now_ns(self) -> int: ...


class Wakeups(Protocol):
    async def wait(self, *, at_most: timedelta) -> None:
        """Returns when work may have come, at the latest after that time."""
