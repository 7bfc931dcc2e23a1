"""Each role as a process: connect, run until SIGTERM or SIGINT, leave in order."""

import asyncio
import gc
import resource
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress

import uvloop

from app.bootstrap import Stack, configure_logging, stack
from app.entrypoints import courier as courier_role
from app.entrypoints import executor as executor_role
from app.entrypoints import oracle as oracle_role
from app.settings import Settings

Role = Callable[[Stack, asyncio.Event], Awaitable[None]]
_COLLECT_AFTER = 50_000


def run_role(role: Role, settings: Settings) -> None:
    configure_logging(settings.log_level)
    open_as_many_files_as_may_be()
    uvloop.run(_run(role, settings))


def open_as_many_files_as_may_be() -> None:
    """Each connection is one. Where 1,024 are open at once by default, receivers would be blamed for that."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # some systems allow less than they say
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def _run(role: Role, settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    # What was imported stays: the collector need not look at it again in the middle of a tick. What comes and
    # goes with a decision holds no cycles: looking for some every 700 objects took a tenth of the time.
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER)
    async with stack(settings) as connected:
        await role(connected, stop)


async def oracle(connected: Stack, stop: asyncio.Event) -> None:
    from app.adapters.redis_streams import tick_reply
    from app.oracle.warm_up import warm_up

    warm_up()
    tick_reply.warm_up()
    await oracle_role.run(oracle=await connected.oracle(), stop=stop)


async def evaluator(connected: Stack, stop: asyncio.Event) -> None:
    from app.adapters.postgres import copied
    from app.engine.warm_up import warm_up
    from app.entrypoints import evaluator as evaluator_role

    warm_up()
    copied.warm_up()
    leases, open_lane = await connected.shard_leases(), await connected.lanes()
    await evaluator_role.run(leases=leases, open_lane=open_lane, stop=stop)


async def executor(connected: Stack, stop: asyncio.Event) -> None:
    work, wakeups = await connected.executor()
    await executor_role.run(executor=work, wakeups=wakeups, stop=stop)


async def courier(connected: Stack, stop: asyncio.Event) -> None:
    parts = await connected.courier()
    await courier_role.run(
        feed=parts.feed,
        outbox=parts.outbox,
        queue=parts.queue,
        sender=parts.sender,
        mail=parts.mail,
        market_time=parts.market_time,
        counts=parts.counts,
        stop=stop,
    )


def api(*, host: str, port: int) -> Role:
    async def serve(connected: Stack, stop: asyncio.Event) -> None:
        from app.engine.warm_up import warm_up
        from app.entrypoints.api import role

        warm_up()  # risk is computed by the evaluator's loops
        await role.run(
            parts=await connected.api(),
            allowed_origins=connected.settings.stream_allowed_origins,
            host=host,
            port=port,
            stop=stop,
        )

    return serve


ROLES: dict[str, Role] = {
    "oracle": oracle,
    "evaluator": evaluator,
    "executor": executor,
    "courier": courier,
}
