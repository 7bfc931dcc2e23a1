"""Keep the webhooks' house: end what waits in vain, drop what is old, tell the operator who was disabled."""

import asyncio
from datetime import timedelta

import structlog

from app.ports.delivery import DeliveryQueue, OperatorMail

_log = structlog.get_logger()

PERIOD = timedelta(seconds=30)


class WebhookKeeper:
    """`mail` is absent where the operator named no address; then nobody is told by mail."""

    def __init__(
        self, *, queue: DeliveryQueue, mail: OperatorMail | None = None, period: timedelta = PERIOD
    ) -> None:
        self._queue = queue
        self._mail = mail
        self._period = period

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                await self._queue.forget()
                if self._mail is not None:
                    await self._tell(self._mail)
            except Exception as error:  # noqa: BLE001 - the outermost loop: the next round does the same
                _log.warning("webhooks_unkept", error=repr(error))
            try:
                async with asyncio.timeout(self._period.total_seconds()):
                    await stop.wait()
            except TimeoutError:
                pass

    async def _tell(self, mail: OperatorMail) -> None:
        """At least once: a mail that was sent and not noted is sent again."""
        disabled = await self._queue.untold()
        if not disabled:
            return
        lines = [f"{e.url} of tenant {e.tenant_id} (endpoint {e.id}): {e.reason}" for e in disabled]
        plural = "s were" if len(disabled) > 1 else " was"
        await mail.send(f"{len(disabled)} webhook endpoint{plural} disabled", "\n".join(lines) + "\n")
        await self._queue.told(disabled)
