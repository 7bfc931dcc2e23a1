"""One client of the stream, from its first message to its close."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import structlog
from redis.exceptions import RedisError
from starlette.websockets import WebSocket, WebSocketDisconnect

from app.domain.errors import BallastError
from app.entrypoints.api.outgoing import Outgoing
from app.entrypoints.api.problems import redis_away
from app.entrypoints.api.serving import LINE
from app.entrypoints.api.stream_channels import Channels, Sources, refusal
from app.entrypoints.api.stream_commands import StreamCommands
from app.entrypoints.api.stream_messages import (
    ApproveCommand,
    AuthenticateCommand,
    CloseCode,
    Command,
    PingCommand,
    RejectCommand,
    SubscribeCommand,
    UnsubscribeCommand,
    message,
    parsed,
)
from app.ports.management import Scope
from app.services.admit_client import Admission, Admitted

AUTHENTICATION_SECONDS: Final = 5.0
COMMANDS_AT_ONCE: Final = 1_000
COMMANDS_PER_SECOND: Final = 50
ORDERS_WAITING: Final = 100
"""Commands about channels that are read before they can be followed."""
_CLOSING_SECONDS: Final = 5.0
_log = structlog.get_logger()

Introduction = Callable[[], Awaitable[Admitted | None]]


@dataclass(frozen=True, slots=True)
class StreamServices:
    """What a process has for all of its clients."""

    sources: Sources
    admission: Admission
    commands: StreamCommands


class _UnintelligibleError(Exception):
    """Not a message of this protocol."""


class Connection:
    """Channels are joined and left one by one, in the order in which that is asked for. This may take as long
    as the client reads what it missed, so approving and rejecting do not wait for it.
    """

    def __init__(self, websocket: WebSocket, services: StreamServices) -> None:
        self._websocket = websocket
        self._services = services
        self._outgoing = Outgoing(websocket.scope["extensions"][LINE])
        self._pace = Pace()
        self._orders: deque[tuple[Command, Channels]] = deque()
        self._following: asyncio.Task[None] | None = None
        self._admitted: Admitted | None = None
        self._channels: Channels | None = None

    async def serve(self, introduction: Introduction | None) -> None:
        """Where the handshake gave none, the first message has to."""
        listening = asyncio.create_task(self._guarded(self._listen(introduction or self._introduced)))
        try:
            either: list[asyncio.Future[Any]] = [listening, self._outgoing.ended]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            running = [task for task in (listening, self._following) if task is not None]
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            self._services.sources.hub.leave(self._outgoing)
            self._services.admission.leave(self._outgoing)
            if self._channels is not None:
                self._channels.leave_all()
            self._outgoing.end(None)
        await self._close(self._outgoing.ended.result())

    async def _close(self, code: int | None) -> None:
        """A client that does not read does not get to keep us waiting."""
        if code is None:
            return
        try:
            async with asyncio.timeout(_CLOSING_SECONDS):
                await self._websocket.close(code)
        except (TimeoutError, WebSocketDisconnect, RuntimeError, OSError):
            pass

    async def _listen(self, introduction: Introduction) -> None:
        """Returns when the client is to be closed."""
        channels = self._entered(await introduction())
        while channels is not None:
            command = await self._heard()
            await self._pace.keep()
            if isinstance(command, ApproveCommand | RejectCommand):
                await self._consent(command)
            else:
                await self._order(command, channels)

    async def _heard(self) -> Command:
        try:
            return parsed(await self._websocket.receive_text())
        except msgspec.MsgspecError as error:
            raise _UnintelligibleError(str(error)) from None
        except KeyError:
            raise _UnintelligibleError("it is binary") from None

    async def _order(self, command: Command, channels: Channels) -> None:
        """Nothing runs for a client that has asked for nothing more: there are very many of them."""
        self._orders.append((command, channels))
        if self._following is None:
            self._following = asyncio.create_task(self._guarded(self._follow_orders()))
        elif len(self._orders) >= ORDERS_WAITING:
            await asyncio.wait([self._following])

    async def _follow_orders(self) -> None:
        try:
            while self._orders and not self._outgoing.closed:
                await self._execute(*self._orders.popleft())
        finally:
            self._following = None

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except WebSocketDisconnect:
            self._outgoing.end(None)
        except _UnintelligibleError as error:
            self._refuse(CloseCode.BAD_REQUEST, "bad_request", f"not a message of this protocol: {error}")
        except Exception as error:  # noqa: BLE001 - this client's outermost loop: it reconnects and resumes
            _log.warning("stream_failed", error=repr(error))
            self._outgoing.end(CloseCode.INTERNAL_ERROR)

    async def _introduced(self) -> Admitted | None:
        try:
            async with asyncio.timeout(AUTHENTICATION_SECONDS):
                command = await self._heard()
        except (TimeoutError, _UnintelligibleError):
            return None  # whatever it says, nothing is discussed before it has authenticated
        match command:
            case AuthenticateCommand(key=str(key), ticket=None):
                return await self._services.admission.by_key(key)
            case AuthenticateCommand(key=None, ticket=str(ticket)):
                return await self._services.admission.by_ticket(ticket)
        return None

    def _entered(self, admitted: Admitted | None) -> Channels | None:
        if admitted is None:
            self._refuse(CloseCode.INVALID_TOKEN, "invalid_token", "send a valid key or ticket first")
            return None
        if Scope.READ not in admitted.caller.scopes:
            self._refuse(CloseCode.DENIED, "denied", f"this key lacks the scope {Scope.READ}")
            return None
        self._admitted = admitted
        self._channels = Channels(self._services.sources, self._outgoing, admitted.caller.tenant_id)
        self._services.admission.enter(self._outgoing, admitted)
        self._services.sources.hub.enter(self._outgoing)
        self._say(op="authenticated")
        return self._channels

    async def _execute(self, command: Command, channels: Channels) -> None:
        match command:
            case SubscribeCommand():
                await self._subscribe(command, channels)
            case UnsubscribeCommand(channel):
                channels.leave(channel)
                self._say(op="unsubscribed", channel=channel)
            case PingCommand():
                self._say(op="pong")
            case AuthenticateCommand():
                self._say(op="error", code="bad_request", message="already authenticated")

    async def _subscribe(self, command: SubscribeCommand, channels: Channels) -> None:
        try:
            await channels.subscribe(command)
        except BallastError as error:
            self._outgoing.push(refusal(command.channel, error))
        except RedisError as error:
            self._outgoing.push(refusal(command.channel, redis_away(error)))

    async def _consent(self, command: ApproveCommand | RejectCommand) -> None:
        """Whoever acts is asked for its key again, as with every request by HTTP."""
        assert self._admitted is not None  # noqa: S101 - commands are obeyed after authentication only
        if await self._services.admission.still(self._admitted):
            self._outgoing.push(await self._services.commands.answer(self._admitted.caller, command))
        else:
            self._refuse(CloseCode.INVALID_TOKEN, "invalid_token", "the key was revoked")

    def _say(self, **members: object) -> None:
        self._outgoing.push(message(**members))

    def _refuse(self, close_code: CloseCode, code: str, why: str) -> None:
        self._say(op="error", code=code, message=why)
        self._outgoing.end(close_code)


class Pace:
    """So many commands at once and so many a second; whoever sends faster is read slower."""

    __slots__ = ("_allowance", "_as_of")

    def __init__(self) -> None:
        self._allowance = float(COMMANDS_AT_ONCE)
        self._as_of = asyncio.get_running_loop().time()

    async def keep(self) -> None:
        now = asyncio.get_running_loop().time()
        earned = (now - self._as_of) * COMMANDS_PER_SECOND
        self._allowance = min(self._allowance + earned, COMMANDS_AT_ONCE) - 1.0
        self._as_of = now
        if self._allowance < 0.0:
            await asyncio.sleep(-self._allowance / COMMANDS_PER_SECOND)
