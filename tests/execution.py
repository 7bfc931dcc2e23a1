"""What tests of executing share: queued work, an exchange with a book of its own, executors to run."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from uuid import UUID, uuid4

import asyncpg

from app.adapters.postgres.event_rows import to_json
from app.adapters.postgres.execution_store import PostgresExecutionStore
from app.adapters.postgres.portfolio_rows import load_portfolios
from app.adapters.venues.paper import PaperVenue
from app.domain.adjustment_json import legs_to_json
from app.domain.adjustments import Leg, TradeLeg
from app.domain.events import Event
from app.domain.identifiers import AdjustmentId, InstrumentId, PortfolioId
from app.domain.portfolios import Portfolio
from app.ports.execution import (
    Filled,
    NeverArrived,
    Order,
    Refused,
    Throttled,
    Unanswered,
    Venue,
)
from app.services.execute_adjustment import ExecuteAdjustments, Outcome
from tests.factories import BTC_PERP

SECOND_NS = 1_000_000_000
DECIDED_NS = 1_700_000_000 * SECOND_NS

_INSERT = """
INSERT INTO adjustments (id, tenant_id, portfolio_id, policy_id, policy_version, state, mode, priority,
    risk_reducing, legs, remaining, expected_cost, metrics_before, metrics_after, reaches_target, generation,
    sequence, decided_at_ns, expires_at_ns, fill_time_ns)
VALUES ($1, $2, $3, $4, 1, $5, 'auto', $6, $7, $8, $8, 0, '{}', '{}', true, 1, 1, $9, $10, $11)
"""


def sell(
    portfolio: Portfolio, quantity: str = "0.5", *, price: str = "50000", reduces: bool = True
) -> TradeLeg:
    """So much of the perpetual, in the portfolio's first account."""
    return TradeLeg(
        portfolio.accounts[0].id, InstrumentId(BTC_PERP.id), -Decimal(quantity), Decimal(price), reduces
    )


async def queue(
    pool: asyncpg.Pool,
    portfolio: Portfolio,
    legs: Sequence[Leg] | None = None,
    *,
    adjustment_id: UUID | None = None,
    state: str = "queued",
    risk_reducing: bool = True,
    priority: int = 100,
    decided_at_ns: int = DECIDED_NS,
    expires_at_ns: int = DECIDED_NS + 300 * SECOND_NS,
    fill_time_ns: int | None = None,
) -> AdjustmentId:
    """An adjustment as the evaluator's commit leaves it, the portfolio's revision moved."""
    identity = adjustment_id or uuid4()
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("UPDATE portfolios SET revision = revision + 1 WHERE id = $1", portfolio.id)
        await connection.execute(
            _INSERT, identity, portfolio.tenant_id, portfolio.id, uuid4(), state, priority, risk_reducing,
            to_json(legs_to_json([sell(portfolio)] if legs is None else legs)),
            decided_at_ns, expires_at_ns, fill_time_ns,
        )  # fmt: skip
    return AdjustmentId(identity)


@dataclass
class Exchange:
    """A venue that lives apart from Ballast: it keeps its book, and can be cut off in every way.

    It prices as the paper venue does. `trades` counts what was done for each client order id.
    """

    lost_replies: int = 0
    deaf: bool = False
    refuses: frozenset[str] = frozenset()
    orders_left: int | None = None
    trades: Counter[UUID] = field(default_factory=Counter)
    book: dict[UUID, Filled] = field(default_factory=dict)
    seen: list[Order] = field(default_factory=list)

    async def execute(self, order: Order) -> Filled | Refused | Throttled | Unanswered:
        self.seen.append(order)
        if self.orders_left == 0:
            return Throttled(timedelta(milliseconds=50))
        if order.leg.type in self.refuses:
            return Refused("not today")
        filled = await PaperVenue().execute(order)
        assert isinstance(filled, Filled)
        self.trades[order.client_order_id] += 1
        self.book[order.client_order_id] = filled
        if self.orders_left is not None:
            self.orders_left -= 1
        if self.lost_replies:
            self.lost_replies -= 1
            return Unanswered("no reply within 5 s")
        return filled

    async def find(self, order: Order) -> Filled | Refused | NeverArrived | Unanswered:
        if self.deaf:
            return Unanswered("no reply within 5 s")
        return self.book.get(order.client_order_id, NeverArrived())


@dataclass
class Clock:
    time_ns: int = DECIDED_NS

    async def now_ns(self) -> int:
        return self.time_ns


@dataclass
class Heard:
    """An announcer that remembers."""

    events: list[Event] = field(default_factory=list)
    changed: list[PortfolioId] = field(default_factory=list)

    async def announce(self, events: Sequence[Event], changed: Sequence[PortfolioId]) -> None:
        self.events += events
        self.changed += changed


@dataclass
class Desk:
    """An executor with its surroundings, driven by hand."""

    pool: asyncpg.Pool
    venue: Venue = field(default_factory=PaperVenue)
    owner: str = "executor-1"
    lease: timedelta = timedelta(seconds=30)
    clock: Clock = field(default_factory=Clock)
    heard: Heard = field(default_factory=Heard)
    limit: int = 16

    def __post_init__(self) -> None:
        self.store = PostgresExecutionStore(self.pool, owner=self.owner, lease=self.lease)
        venues: Mapping[str, Venue] = {"paper": self.venue}
        self.executor = ExecuteAdjustments(
            store=self.store, venues=venues, announcer=self.heard, clock=self.clock, limit=self.limit
        )

    async def drain(self) -> list[Outcome]:
        """Everything there is to claim now, in order."""
        outcomes: list[Outcome] = []
        more = True
        while more:
            claims = await self.executor.claim()
            outcomes += [await self.executor.execute(w, clock_ns=claims.clock_ns) for w in claims.work]
            more = claims.more
        return outcomes


async def portfolio_now(pool: asyncpg.Pool, portfolio_id: PortfolioId) -> Portfolio:
    async with pool.acquire() as connection:
        return (await load_portfolios(connection, [portfolio_id]))[0]


async def events_of(pool: asyncpg.Pool, portfolio_id: PortfolioId) -> list[tuple[int, str]]:
    rows = await pool.fetch(
        "SELECT sequence, type FROM events WHERE portfolio_id = $1 ORDER BY sequence", portfolio_id
    )
    return [(row["sequence"], row["type"]) for row in rows]


async def ending(pool: asyncpg.Pool, adjustment_id: AdjustmentId) -> tuple[str, str]:
    """Its state and why it ended."""
    row = await pool.fetchrow("SELECT state, outcome FROM adjustments WHERE id = $1", adjustment_id)
    return row["state"], row["outcome"]
