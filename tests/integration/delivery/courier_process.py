"""A courier as a process of its own, to be killed: addresses from the environment, short times."""

import asyncio
import contextlib
import os
import sys
from datetime import timedelta

import asyncpg

from app.adapters.postgres.delivery_queue import PostgresDeliveryQueue
from app.adapters.postgres.delivery_store import PostgresOutbox
from app.adapters.redis_streams.events import EventStream
from app.adapters.redis_streams.wire import Wire
from app.adapters.webhooks.addresses import parse_networks
from app.adapters.webhooks.sender import HttpWebhookSender
from app.services.deliver_event import Deliverer
from app.services.dispatch_events import EventDispatcher


async def main():
    async with (
        asyncpg.create_pool(os.environ["COURIER_DATABASE_URL"], min_size=0, max_size=4) as pool,
        Wire(os.environ["COURIER_REDIS_URL"]) as reading,
        Wire(os.environ["COURIER_REDIS_URL"]) as writing,
        HttpWebhookSender(
            timeout=timedelta(seconds=1), allowed_networks=parse_networks(["127.0.0.0/8"])
        ) as sender,
    ):
        deliverer = Deliverer(
            queue=PostgresDeliveryQueue(pool),
            sender=sender,
            lease=timedelta(seconds=1.5),
            poll_period=timedelta(milliseconds=100),
        )
        dispatcher = EventDispatcher(
            feed=EventStream(reading=reading, writing=writing),
            outbox=PostgresOutbox(pool),
            due=deliverer.wake,
            sweep_period=timedelta(milliseconds=100),
            sweep_age=timedelta(milliseconds=100),
        )
        stop = asyncio.Event()
        await asyncio.gather(deliverer.run(stop), dispatcher.run(stop))


@contextlib.asynccontextmanager
async def courier_process(database_url, redis_url):
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.integration.delivery.courier_process"),
        env={**os.environ, "COURIER_DATABASE_URL": database_url, "COURIER_REDIS_URL": redis_url},
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


if __name__ == "__main__":
    asyncio.run(main())
