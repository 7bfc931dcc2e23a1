"""The API role: HTTP and WebSocket, and what runs beside them for the streams."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from fastapi import FastAPI

from app.bootstrap import ApiParts
from app.entrypoints.api.application import create_app
from app.entrypoints.api.dependencies import Dependencies
from app.entrypoints.api.serving import Server, server_config
from app.entrypoints.api.stream_channels import Sources
from app.entrypoints.api.stream_commands import StreamCommands
from app.entrypoints.api.stream_connection import StreamServices
from app.entrypoints.api.stream_messages import CloseCode
from app.entrypoints.api.websocket import stream_router
from app.services.follow_operator_policies import OperatorPolicyFollower


async def run(
    *, parts: ApiParts, allowed_origins: tuple[str, ...], host: str, port: int, stop: asyncio.Event
) -> None:
    """Until `stop`; the clients of streams are shown out first."""
    beside = _Beside(parts, stop)
    stream = StreamServices(
        Sources(parts.hub, parts.rests, parts.risks, parts.quotes),
        parts.admission,
        StreamCommands(parts.units, parts.market),
    )
    app = create_app(
        _dependencies(parts),
        routers=[stream_router(stream, allowed_origins=allowed_origins)],
        lifespan=beside.lifespan,
    )
    server = Server(server_config(app, host=host, port=port))

    async def leave() -> None:
        await stop.wait()
        await server.leave(beside.show_out)

    stopping = asyncio.create_task(leave())
    structlog.get_logger("api").info("api_started", host=host, port=port)
    await server.serve()
    stop.set()
    await stopping


class _Beside:
    """The tasks that live as long as the application."""

    def __init__(self, parts: ApiParts, stop: asyncio.Event) -> None:
        self._parts = parts
        self._stop = stop
        self._leaving = asyncio.Event()
        self._fanning_out: list[asyncio.Task[None]] = []

    @asynccontextmanager
    async def lifespan(self, _app: FastAPI) -> AsyncIterator[None]:
        parts, stop = self._parts, self._stop
        follower = OperatorPolicyFollower(parts.units, parts.market)
        fanning_out = parts.hub.run(self._leaving, close_code=CloseCode.SERVICE_RESTART)
        self._fanning_out.append(asyncio.create_task(fanning_out))
        others = [
            asyncio.create_task(parts.rests.run(stop)),
            asyncio.create_task(parts.risks.run()),
            asyncio.create_task(parts.quotes.run()),
            asyncio.create_task(parts.admission.run(close_code=CloseCode.INVALID_TOKEN)),
            asyncio.create_task(follower.run(stop)),
        ]
        try:
            yield
        finally:
            for task in (*self._fanning_out, *others):
                task.cancel()

    async def show_out(self) -> None:
        """Whoever listens is told to come back later."""
        self._leaving.set()
        await asyncio.gather(*self._fanning_out)


def _dependencies(parts: ApiParts) -> Dependencies:
    return Dependencies(
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
