"""The oracle role: the one writer of the market stream, or its stand-by.

The work is `services/ingest_ticks.py`: read entries of ticks, admit or refuse, aggregate
(`oracle/consensus.py`), and append frames.
"""

import asyncio
from typing import TYPE_CHECKING

import structlog

from app.services.pacing import pause

if TYPE_CHECKING:
    from app.services.ingest_ticks import IngestTicks

RETRY_SECONDS = 0.5

_log = structlog.get_logger("oracle")


async def run(*, oracle: "IngestTicks", stop: asyncio.Event) -> None:
    """Until `stop`; the lease is then released."""
    _log.info("oracle_started")
    while not stop.is_set():
        try:
            await oracle.run(stop)
        except Exception:  # noqa: BLE001 - the role's outermost loop: nothing was taken that was not written
            _log.exception("oracle_turn_failed")
            await pause(stop, RETRY_SECONDS)
    _log.info("oracle_stopped")
