"""The unit of work of the management services: one transaction, announced after its commit."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import asyncpg
import structlog
from redis.exceptions import RedisError
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from app.adapters.postgres.addresses import sqlalchemy_address
from app.adapters.postgres.event_rows import append_events
from app.adapters.postgres.management_adjustments import AdjustmentRows
from app.adapters.postgres.management_deliveries import DeliveryRows
from app.adapters.postgres.management_fills import FillRows
from app.adapters.postgres.management_idempotency import IdempotencyRows
from app.adapters.postgres.management_instruments import InstrumentRows
from app.adapters.postgres.management_keys import KeyRows
from app.adapters.postgres.management_operator_policies import OperatorPolicyRows
from app.adapters.postgres.management_policies import PolicyRows
from app.adapters.postgres.management_portfolios import PortfolioRows
from app.adapters.postgres.management_webhooks import WebhookRows
from app.adapters.postgres.source_rows import SourceRows
from app.adapters.redis_streams.events import StreamedEvent, streamed_event
from app.domain.errors import Unavailable
from app.domain.events import Event, NewEvent

Publish = Callable[[Iterable[StreamedEvent]], Awaitable[None]]
Hint = Callable[[Iterable[UUID]], Awaitable[None]]

ANNOUNCE_SECONDS = 2.0
_START = text("SELECT set_config('lock_timeout', '5s', true), set_config('statement_timeout', '15s', true)")
_AWAY = (OperationalError, InterfaceError, PoolTimeout, OSError, asyncpg.PostgresConnectionError)
_TOO_LONG = (asyncpg.LockNotAvailableError, asyncpg.QueryCanceledError, asyncpg.DeadlockDetectedError)
_log = structlog.get_logger(__name__)


def management_engine(url: str, *, connections: int = 10) -> AsyncEngine:
    """JSON columns stay text, as they do for the modules that work on the driver's own connections.

    Parameters stay out of errors, which are logged: among them are signing secrets.
    """
    return create_async_engine(
        sqlalchemy_address(url),
        pool_size=connections,
        max_overflow=0,
        pool_pre_ping=True,
        json_deserializer=str,
        hide_parameters=True,
    )


class PostgresUnitOfWork:
    """Stores on one connection. `raw` is the driver's own, for the modules that all roles share."""

    def __init__(self, connection: AsyncConnection, raw: Any, *, market: str) -> None:
        self._raw = raw
        self.events: list[Event] = []
        self.touched: set[UUID] = set()
        self.keys = KeyRows(connection)
        self.instruments = InstrumentRows(connection)
        self.sources = SourceRows(raw)
        self.portfolios = PortfolioRows(connection, raw, market=market, touched=self.touched)
        self.fills = FillRows(connection)
        self.policies = PolicyRows(connection)
        self.operator_policies = OperatorPolicyRows(raw, touched=self.touched)
        self.adjustments = AdjustmentRows(connection)
        self.webhooks = WebhookRows(connection, raw)
        self.deliveries = DeliveryRows(raw)
        self.idempotency = IdempotencyRows(connection)

    async def append(self, events: Sequence[NewEvent]) -> None:
        self.events += await append_events(self._raw, events)


class PostgresUnitsOfWork:
    """Hands out units of work; what they appended is published once they are committed.

    The engine is a `management_engine`.
    """

    def __init__(self, engine: AsyncEngine, *, publish: Publish, hint: Hint, market: str = "market") -> None:
        self._engine = engine
        self._publish = publish
        self._hint = hint
        self._market = market

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[PostgresUnitOfWork]:
        try:
            async with self._engine.begin() as connection:
                # The driver opens the transaction with the first statement, and `raw` bypasses the driver.
                await connection.execute(_START)
                raw = (await connection.get_raw_connection()).driver_connection
                unit = PostgresUnitOfWork(connection, raw, market=self._market)
                yield unit
        except _TOO_LONG as error:
            raise Unavailable("others hold what this needs; try again") from error
        except DBAPIError as error:
            if isinstance(error.orig and error.orig.__cause__, _TOO_LONG):
                raise Unavailable("others hold what this needs; try again") from error
            if error.connection_invalidated or isinstance(error, _AWAY):
                raise Unavailable("the database is away; try again") from error
            raise
        except _AWAY as error:
            raise Unavailable("the database is away; try again") from error
        await self._announce(unit)

    async def _announce(self, unit: PostgresUnitOfWork) -> None:
        """Best effort: the courier sweeps events not dispatched, the evaluator sweeps revisions."""
        streamed = [streamed_event(e) for e in unit.events]
        try:
            async with asyncio.timeout(ANNOUNCE_SECONDS):
                if streamed:
                    await self._publish(streamed)
                if unit.touched:
                    await self._hint(sorted(unit.touched))
        except (RedisError, OSError, TimeoutError) as error:
            _log.warning("announce_left_to_sweeps", events=len(streamed), reason=repr(error))
