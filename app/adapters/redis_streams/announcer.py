"""After a commit: its events to whoever listens, and a hint that portfolios changed.

Best effort by design. What Redis does not get is swept from PostgreSQL: events by the courier, revisions by
the evaluator.
"""

import asyncio
from collections.abc import Collection, Sequence

import structlog
from redis.exceptions import RedisError

from app.adapters.redis_streams.events import announced, streamed_event
from app.adapters.redis_streams.hints import hints
from app.adapters.redis_streams.wire import Wire
from app.domain.events import Event
from app.domain.identifiers import PortfolioId

ANNOUNCE_SECONDS = 1.0

_log = structlog.get_logger()


class RedisAnnouncer:
    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def announce(self, events: Sequence[Event], changed: Collection[PortfolioId]) -> None:
        streamed = [streamed_event(e) for e in events]
        try:
            async with asyncio.timeout(ANNOUNCE_SECONDS):
                await self._wire.execute_many([*announced(streamed), *hints(sorted(changed))])
        except (RedisError, OSError, TimeoutError) as error:
            _log.warning("announce_left_to_sweeps", events=len(streamed), reason=repr(error))
