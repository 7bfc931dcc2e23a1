"""The courier role: committed events become webhooks.

Four loops side by side: `services/dispatch_events.py` turns events into deliveries, from the stream and by
sweeping the outbox, and wakes `services/deliver_event.py`, which sends what is due;
`services/keep_webhooks.py` clears up behind them, and `services/count_attempts.py` says how it goes.
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from app.ports.delivery import DeliveryQueue, EventFeed, OperatorMail, Outbox, WebhookSender
from app.ports.webhook_figures import AttemptCounts
from app.services.count_attempts import AttemptTally
from app.services.deliver_event import Deliverer
from app.services.dispatch_events import EventDispatcher
from app.services.keep_webhooks import WebhookKeeper

_log = structlog.get_logger()


async def run(
    *,
    feed: EventFeed,
    outbox: Outbox,
    queue: DeliveryQueue,
    sender: WebhookSender,
    mail: OperatorMail | None,
    market_time: Callable[[], Awaitable[int]],
    counts: AttemptCounts,
    stop: asyncio.Event,
) -> None:
    """Until `stop`. Any number of couriers may run at once: they share the work by claims."""
    tally = AttemptTally(counts)
    deliverer = Deliverer(queue=queue, sender=sender, market_time=market_time, count=tally.count)
    dispatcher = EventDispatcher(feed=feed, outbox=outbox, due=deliverer.wake)
    _log.info("courier_started")
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(dispatcher.run(stop))
        tasks.create_task(deliverer.run(stop))
        tasks.create_task(tally.run(stop))
        tasks.create_task(WebhookKeeper(queue=queue, mail=mail).run(stop))
    await tally.add()
    _log.info("courier_stopped")
