"""Routes for whoever runs the service: alive, ready, measured. No key is asked for."""

import asyncio
import time

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, Counter, Histogram, generate_latest
from prometheus_client.registry import Collector, CollectorRegistry
from pydantic import Field
from redis.exceptions import RedisError
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.domain.errors import Unavailable
from app.entrypoints.api.dependencies import Check, Dependencies, Deps
from app.entrypoints.api.evaluator_metrics import EvaluatorMetrics
from app.entrypoints.api.oracle_metrics import OracleMetrics
from app.entrypoints.api.schemas import Shown
from app.entrypoints.api.webhook_metrics import AttemptMetrics, QueueMetrics

router = APIRouter(tags=["operations"])

CHECK_SECONDS = 2.0


class Health(Shown):
    status: str = Field(examples=["ok"])
    failing: dict[str, str] = Field(default_factory=dict, examples=[{}])


@router.get("/healthz")
async def healthz() -> Health:
    """The process serves."""
    return Health(status="ok")


@router.get("/readyz", responses={503: {"model": Health, "description": "Not ready: see `failing`."}})
async def readyz(deps: Deps, response: Response) -> Health:
    """What it needs is there."""
    names = list(deps.checks)
    reasons = await asyncio.gather(*(_failure(deps.checks[name]) for name in names))
    failing = {name: reason for name, reason in zip(names, reasons, strict=True) if reason is not None}
    if failing:
        response.status_code = 503
    return Health(status="failing" if failing else "ok", failing=failing)


async def _failure(check: Check) -> str | None:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            await check()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is why we are not ready
        return type(error).__name__
    return None


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(deps: Deps) -> Response:
    """Prometheus text format: what this process served, what the evaluators say of themselves, whom the
    oracle refused, and how webhooks go out.
    """
    shared = CollectorRegistry()
    for read in (_of_evaluators, _of_the_oracle, _of_attempts, _of_queues):
        try:
            shared.register(await read(deps))
        except (RedisError, Unavailable):
            continue  # requests are counted though nobody can be asked
    text = generate_latest(deps.registry) + generate_latest(shared)
    return Response(text, media_type=CONTENT_TYPE_LATEST)


async def _of_evaluators(deps: Dependencies) -> Collector:
    return EvaluatorMetrics(await deps.evaluators())


async def _of_the_oracle(deps: Dependencies) -> Collector:
    rejections = await deps.rejections()
    async with deps.units() as unit:
        registered = (await unit.sources.declared()).sources
    return OracleMetrics(rejections, registered)


async def _of_attempts(deps: Dependencies) -> Collector:
    return AttemptMetrics(await deps.attempts())


async def _of_queues(deps: Dependencies) -> Collector:
    return QueueMetrics(await deps.queues())


class Measured:
    """Counts and times requests by route, never by path: paths hold ids."""

    def __init__(self, app: ASGIApp, *, registry: CollectorRegistry) -> None:
        self._app = app
        labels = ("method", "route", "status")
        self._requests = Counter("ballast_http_requests", "Requests served.", labels, registry=registry)
        self._seconds = Histogram(
            "ballast_http_request_seconds", "Time to serve.", ("method", "route"), registry=registry
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        started = time.perf_counter()
        try:
            await self._app(scope, receive, watched)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._requests.labels(method, route, status).inc()
            self._seconds.labels(method, route).observe(time.perf_counter() - started)


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
