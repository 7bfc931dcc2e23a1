"""What the API is made of, and how its routes get at it."""

import secrets
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated, Any, cast
from uuid import UUID, uuid4

from fastapi import Depends, Path
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from fastapi.security.utils import get_authorization_scheme_param
from prometheus_client import CollectorRegistry
from starlette.requests import HTTPConnection
from typing_extensions import override

from app.domain.errors import Denied, Unavailable
from app.domain.instruments import InstrumentName
from app.domain.market import Tick
from app.entrypoints.api.problems import Unauthenticated
from app.oracle.memory import Memory
from app.ports.delivery import Retention
from app.ports.figures import EvaluatorFigures, Evaluators
from app.ports.management import Caller, MarketNow, Scope, UnitsOfWork
from app.ports.market import TickPublisher
from app.ports.sources import OracleNow, ReadOracle, ReadRejections, Rejections
from app.ports.stream_tickets import Tickets
from app.ports.webhook_figures import AttemptFigures, QueueFigures, ReadAttempts, ReadQueues
from app.services.authenticate import authenticate
from app.services.manage_webhooks import Reach

Check = Callable[[], Awaitable[object]]


async def _nobody() -> Sequence[EvaluatorFigures]:
    return ()


async def _no_oracle() -> OracleNow:
    return OracleNow(Memory(), {})


async def _no_rejections() -> Rejections:
    return {}


async def _no_attempts() -> AttemptFigures:
    return AttemptFigures()


async def _no_queues() -> QueueFigures:
    raise Unavailable("nobody watches the queues")


class _Nowhere(TickPublisher):
    @override
    async def publish(self, ticks: Sequence[Tick], signature: bytes = b"") -> str:
        raise Unavailable("no stream of ticks is connected")


class _NoTickets(Tickets):
    @override
    async def keep(self, digest: bytes, key_digest: bytes, lifetime: timedelta) -> None:
        raise Unavailable("no stream is connected")

    @override
    async def take(self, digest: bytes) -> bytes | None:
        return None


@dataclass(frozen=True, slots=True)
class Dependencies:
    """Plain services and ports. `checks` must all pass, by not raising, for the API to be ready."""

    units: UnitsOfWork
    market: MarketNow
    checks: Mapping[str, Check] = field(default_factory=dict)
    evaluators: Evaluators = _nobody
    oracle: ReadOracle = _no_oracle
    rejections: ReadRejections = _no_rejections
    publisher: TickPublisher = field(default_factory=_Nowhere)
    tickets: Tickets = field(default_factory=_NoTickets)
    attempts: ReadAttempts = _no_attempts
    queues: ReadQueues = _no_queues
    webhook_reach: Reach = field(default_factory=Reach)
    deliveries_kept: timedelta = Retention().ended
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    new_id: Callable[[], UUID] = uuid4
    new_secret: Callable[[int], bytes] = secrets.token_bytes


def dependencies_of(connection: HTTPConnection) -> Dependencies:
    return cast(Dependencies, connection.app.state.dependencies)


InstrumentPath = Annotated[InstrumentName, Path(description="May hold slashes.")]
Deps = Annotated[Dependencies, Depends(dependencies_of)]

bearer = HTTPBearer(bearerFormat="blst_…", scheme_name="apiKey", description="An API key.", auto_error=False)


async def caller_of(
    connection: HTTPConnection,
    deps: Deps,
    _documented: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
) -> Caller:
    scheme, token = get_authorization_scheme_param(connection.headers.get("Authorization"))
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated("send the API key as `Authorization: Bearer blst_…`")
    async with deps.units() as unit:
        caller = await authenticate(unit, token)
    if caller is None:
        raise Unauthenticated("no such key, or it was revoked")
    return caller


def allowed(scope: Scope) -> Callable[[Caller], Coroutine[Any, Any, Caller]]:
    """A dependency that gives the caller where its key has the scope."""

    async def check(caller: Annotated[Caller, Depends(caller_of)]) -> Caller:
        if scope not in caller.scopes:
            raise Denied(f"this needs a key with the scope {scope.value!r}")
        return caller

    return check


Reader = Annotated[Caller, Depends(allowed(Scope.READ))]
Trader = Annotated[Caller, Depends(allowed(Scope.TRADE))]
Publisher = Annotated[Caller, Depends(allowed(Scope.TICKS))]
Operator = Annotated[Caller, Depends(allowed(Scope.OPERATOR))]
Administrator = Annotated[Caller, Depends(allowed(Scope.ADMIN))]
