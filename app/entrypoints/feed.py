"""A feed as a process of its own: one source, its ticks into `oracle:ticks`.

The work is `services/publish_feed.py`; the sources are in `adapters/feeds`.
"""

import asyncio
from typing import TYPE_CHECKING

import structlog

from app.domain.errors import ConfigurationError, InvalidInput
from app.services.pacing import pause

if TYPE_CHECKING:
    from app.services.publish_feed import PublishFeed

RETRY_SECONDS = 0.5

_log = structlog.get_logger("feed")


async def run(*, feed: "PublishFeed", stop: asyncio.Event) -> None:
    """Until `stop`; what the operator has to change ends it."""
    _log.info("feed_started")
    while not stop.is_set():
        try:
            await feed.run(stop)
        except (ConfigurationError, InvalidInput):
            raise
        except Exception:  # noqa: BLE001 - the role's outermost loop: what was not published is told again
            _log.exception("feed_turn_failed")
            await pause(stop, RETRY_SECONDS)
    _log.info("feed_stopped")
