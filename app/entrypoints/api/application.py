"""The API: routes over services. `create_app` takes what they need; bootstrap makes it."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager

from fastapi import APIRouter, FastAPI
from starlette.routing import Route

from app.entrypoints.api import (
    adjustments,
    events,
    instruments,
    keys,
    market,
    metrics,
    operations,
    operator_policies,
    oracle,
    policies,
    policy_status,
    portfolios,
    risk,
    stream_tickets,
    webhook_deliveries,
    webhooks,
)
from app.entrypoints.api.body_limit import BodyLimit
from app.entrypoints.api.dependencies import Dependencies
from app.entrypoints.api.event_documents import event_webhooks
from app.entrypoints.api.openapi import openapi_document
from app.entrypoints.api.problems import Problem, install_problems

BODY_LIMIT_BYTES = 1 << 20
_ROUTERS = (
    keys,
    instruments,
    portfolios,
    policy_status,
    policies,
    operator_policies,
    adjustments,
    risk,
    market,
    oracle,
    metrics,
    stream_tickets,
    events,
    webhooks,
    webhook_deliveries,
    operations,
)

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def create_app(
    dependencies: Dependencies, *, routers: Sequence[APIRouter] = (), lifespan: Lifespan | None = None
) -> FastAPI:
    """`routers` are further ones, such as the WebSocket stream's; `lifespan` runs what they need."""
    app = describe_app(routers=routers, lifespan=lifespan)
    app.state.dependencies = dependencies
    app.add_middleware(BodyLimit, limit_bytes=BODY_LIMIT_BYTES)
    app.add_middleware(operations.Measured, registry=dependencies.registry)
    return app


def describe_app(*, routers: Sequence[APIRouter] = (), lifespan: Lifespan | None = None) -> FastAPI:
    """The routes alone: enough to describe the API, not to serve it."""
    app = FastAPI(
        title="Ballast",
        version="1",
        summary="Risk management for leveraged crypto portfolios.",
        description=(
            "Traders store scaling policies; oracle ticks arrive; Ballast decides what brings a portfolio "
            "back to the state its policies describe. Decimals are strings, times RFC 3339 UTC by the market "
            "clock, errors RFC 9457 problem documents."
        ),
        lifespan=lifespan,
        responses={"default": {"model": Problem, "description": "A problem document."}},
        redirect_slashes=False,
    )
    for module in _ROUTERS:
        app.include_router(module.router)
    for router in routers:
        app.include_router(router)
    app.webhooks.include_router(event_webhooks())
    every = [*app.routes, *(route for module in _ROUTERS for route in module.router.routes)]
    install_problems(app, [route for route in every if isinstance(route, Route)])
    app.openapi = lambda: openapi_document(app)  # type: ignore[method-assign]  # FastAPI's documented hook
    return app
