"""Couriers as processes, killed again and again wherever they are: nothing is lost, and order is kept."""

import asyncio
import contextlib
import random
from collections import defaultdict

import msgspec
from aiohttp import web

from tests.integration.delivery.courier_process import courier_process
from tests.integration.delivery.receivers import ids, receiver
from tests.waiting import eventually

KILLS, PORTFOLIOS, EVENTS = 8, 3, 48


def firsts(hook):
    """Of each portfolio, in the order in which they arrived first."""
    arrived = defaultdict(dict)
    for _, body in hook.received:
        event = msgspec.json.decode(body)
        arrived[event["portfolio_id"]][event["sequence"]] = None
    return {portfolio: list(sequences) for portfolio, sequences in arrived.items()}


async def test_killed_anywhere_everything_arrives_and_with_order_in_order(
    *, committed, feed, register, states, database_url, redis_url
):
    """One after another dies within a moment of its first request: between any two of its steps."""
    tenant = await committed.tenant()
    portfolios = [await committed.portfolio(tenant) for _ in range(PORTFOLIOS)]
    chance = random.Random(7)

    async def answer(request):
        await asyncio.sleep(chance.random() / 50)
        return web.Response()

    async with (
        receiver(answer) as ordered,
        receiver(answer) as unordered,
        contextlib.AsyncExitStack() as all_,
    ):
        await register(tenant, ordered.url, ordered=True)
        await register(tenant, unordered.url, rate_limit=400)
        for round_ in range(KILLS):
            courier = await all_.enter_async_context(courier_process(database_url, redis_url))
            for portfolio in portfolios:
                events = await committed.commit(tenant, portfolio, EVENTS // KILLS)
                if round_ % 2:  # else it is for the sweep to find them
                    await feed.publish(events)
            seen = len(ordered.received) + len(unordered.received)
            await eventually(
                lambda seen=seen: len(ordered.received) + len(unordered.received) > seen, timeout=30
            )
            await asyncio.sleep(chance.random() / 5)
            courier.kill()
            await courier.wait()
        await all_.enter_async_context(courier_process(database_url, redis_url))

        async def all_told():
            return await states() == {"delivered": 2 * PORTFOLIOS * EVENTS}

        await eventually(all_told, timeout=90)
    for hook in (ordered, unordered):
        assert len(ids(hook)) == PORTFOLIOS * EVENTS
    assert firsts(ordered) == {str(portfolio): list(range(1, EVENTS + 1)) for portfolio in portfolios}
