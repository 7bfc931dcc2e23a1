"""Each role as a process: connect, run until SIGTERM or SIGINT, leave in order."""

import asyncio
import gc
import resource
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import structlog
import uvloop
from fastapi import FastAPI

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
    from app.oracle.warm_up import warm_up

    warm_up()
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
        from app.entrypoints.api.application import create_app
        from app.entrypoints.api.dependencies import Dependencies
        from app.entrypoints.api.serving import Server, server_config
        from app.entrypoints.api.stream_channels import Sources
        from app.entrypoints.api.stream_commands import StreamCommands
        from app.entrypoints.api.stream_connection import StreamServices
        from app.entrypoints.api.stream_messages import CloseCode
        from app.entrypoints.api.websocket import stream_router
        from app.services.follow_operator_policies import OperatorPolicyFollower

        warm_up()  # risk is computed by the evaluator's loops
        parts = await connected.api()
        follower = OperatorPolicyFollower(parts.units, parts.market)
        leaving = asyncio.Event()
        fanning_out: list[asyncio.Task[None]] = []

        @asynccontextmanager
        async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
            fanning_out.append(
                asyncio.create_task(parts.hub.run(leaving, close_code=CloseCode.SERVICE_RESTART))
            )
            beside = [
                asyncio.create_task(parts.rests.run(stop)),
                asyncio.create_task(parts.risks.run()),
                asyncio.create_task(parts.quotes.run()),
                asyncio.create_task(parts.admission.run(close_code=CloseCode.INVALID_TOKEN)),
                asyncio.create_task(follower.run(stop)),
            ]
            try:
                yield
            finally:
                for task in (*fanning_out, *beside):
                    task.cancel()

        dependencies = Dependencies(
            units=parts.units,
            market=parts.market,
            checks=parts.checks,
            evaluators=parts.evaluators,
            oracle=parts.oracle,
            rejections=parts.rejections,
            publisher=parts.publisher,
            tickets=parts.tickets,
            webhook_reach=parts.webhook_reach,
            deliveries_kept=parts.deliveries_kept,
            attempts=parts.attempts,
            queues=parts.queues.figures,
        )
        stream = StreamServices(
            Sources(parts.hub, parts.rests, parts.risks, parts.quotes),
            parts.admission,
            StreamCommands(parts.units, parts.market),
        )
        app = create_app(
            dependencies,
            routers=[stream_router(stream, allowed_origins=connected.settings.stream_allowed_origins)],
            lifespan=lifespan,
        )
        server = Server(server_config(app, host=host, port=port))

        async def leave() -> None:
            await stop.wait()
            leaving.set()
            await server.leave(lambda: asyncio.gather(*fanning_out))

        stopping = asyncio.create_task(leave())
        structlog.get_logger("api").info("api_started", host=host, port=port)
        await server.serve()
        stop.set()
        await stopping

    return serve


ROLES: dict[str, Role] = {
    "oracle": oracle,
    "evaluator": evaluator,
    "executor": executor,
    "courier": courier,
}
