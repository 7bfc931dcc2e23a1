"""`/v1/stream`: events over WebSocket, and between which prices policies rest. It translates messages;
`services/fan_out_events.py` and `services/tell_rests.py` do the work.

A client authenticates (Authorization header, or as its first message, for browsers), subscribes, and then
only listens. Keys are never taken from a URL. Close codes below 3500 mean: reconnect and resume with
`after`; from 3500 on: do not come back like this.
"""

import asyncio
import types
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator
from enum import IntEnum
from functools import partial
from typing import Any, Final, Literal
from uuid import UUID

import msgspec
import structlog
from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from pydantic import Field

from app.domain.errors import BallastError, InvalidInput, NotFound
from app.domain.identifiers import PolicyId, PortfolioId, TenantId
from app.domain.times import rfc3339
from app.entrypoints.api.policy_status import ShownRest
from app.entrypoints.api.schemas import Id, Moment, Shown
from app.ports.management import Caller, Scope
from app.services.fan_out_events import Hub, Subscription
from app.services.tell_rests import PolicyRest, Rests, Watch

Authenticate = Callable[[str], Awaitable[Caller | None]]
"""Whose key this is; None for one that is not valid."""

PATH: Final = "/v1/stream"
QUEUE_LIMIT: Final = 1 << 20
AUTHENTICATION_SECONDS: Final = 5.0
MAX_SUBSCRIPTIONS: Final = 1_000
_CLOSING_SECONDS: Final = 5.0


class CloseCode(IntEnum):
    SHUTDOWN = 3001
    INTERNAL_ERROR = 3004
    SLOW = 3008
    INVALID_TOKEN = 3500
    BAD_REQUEST = 3501
    DENIED = 3507


class AuthenticateCommand(msgspec.Struct, tag_field="op", tag="authenticate"):
    key: str


class SubscribeCommand(msgspec.Struct, tag_field="op", tag="subscribe"):
    channel: str
    after: int | dict[UUID, int] | None = None


class UnsubscribeCommand(msgspec.Struct, tag_field="op", tag="unsubscribe"):
    channel: str


class PingCommand(msgspec.Struct, tag_field="op", tag="ping"):
    pass


class RestMessage(Shown):
    """A picture of now, in no log: it has no sequence, and nobody who was away is told of it later."""

    op: Literal["rest"]
    channel: str
    portfolio_id: Id
    policy_id: Id
    version: int
    clock: Moment
    rest: ShownRest | None = Field(description="Null while it fires, or where no bound is known.")

    @classmethod
    def of(cls, channel: str, told: PolicyRest) -> "RestMessage":
        return cls(
            op="rest",
            channel=channel,
            portfolio_id=told.portfolio_id,
            policy_id=told.policy_id,
            version=told.version,
            clock=rfc3339(told.time_ns),
            rest=ShownRest.of(told.rest, told.instruments) if told.rest else None,
        )


Command = AuthenticateCommand | SubscribeCommand | UnsubscribeCommand | PingCommand
_log = structlog.get_logger()
_commands = msgspec.json.Decoder(Command)
_json = msgspec.json.Encoder()


def stream_router(hub: Hub, rests: Rests, authenticate: Authenticate) -> APIRouter:
    router = APIRouter()

    async def stream(websocket: WebSocket) -> None:
        await websocket.accept()
        await Connection(websocket, hub, rests).serve(authenticate)

    router.add_api_websocket_route(PATH, stream)
    return router


class Outgoing:
    """What one client is still to be sent, in order and bounded; the `Receiver` of the hub.

    While the socket takes data nothing is queued: `push` runs the send right there, as far as it goes
    without waiting, which is to its end. Once it has to wait, a task takes it over and then the queue.
    """

    def __init__(self, send: Callable[[str], Coroutine[Any, Any, None]], *, limit: int = QUEUE_LIMIT) -> None:
        self._send = send
        self._limit = limit
        self._queue: deque[str] = deque()
        self._queued = 0
        self._writer: asyncio.Task[None] | None = None
        self.ended: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()

    @property
    def closed(self) -> bool:
        return self.ended.done()

    def push(self, text: str) -> None:
        if self.ended.done():
            return
        if self._writer is not None:
            self._enqueue(text)
            return
        sending = self._send(text)
        try:
            awaited = sending.send(None)
        except StopIteration:
            return
        except (WebSocketDisconnect, RuntimeError, OSError):
            self.end(None)
            return
        self._writer = asyncio.create_task(self._write(sending, awaited))

    async def drained(self) -> None:
        if self._writer is not None:
            await asyncio.wait([self._writer])

    def end(self, code: int | None) -> None:
        """Nothing more is sent but this close code (none for a client that is gone)."""
        if self.ended.done():
            return
        self.ended.set_result(code)
        self._queue.clear()
        self._queued = 0
        if self._writer is not None:
            self._writer.cancel()

    def _enqueue(self, text: str) -> None:
        self._queued += len(text)
        if self._queued > self._limit:
            self.end(CloseCode.SLOW)
        else:
            self._queue.append(text)

    async def _write(self, sending: Coroutine[Any, Any, None], awaited: Any) -> None:
        try:
            await _rest_of(sending, awaited)
            while self._queue:
                text = self._queue.popleft()
                self._queued -= len(text)
                await self._send(text)
        except (WebSocketDisconnect, RuntimeError, OSError):
            self.end(None)
        finally:
            self._writer = None


@types.coroutine
def _rest_of(begun: Coroutine[Any, Any, None], awaited: Any) -> Generator[Any, Any, None]:
    """What is left of a coroutine that was begun outside a task and stopped to wait for `awaited`."""
    try:
        yield awaited
    except BaseException:
        begun.close()
        raise
    yield from begun.__await__()


class Connection:
    """One client, from its first message to its close."""

    def __init__(self, websocket: WebSocket, hub: Hub, rests: Rests) -> None:
        self._websocket = websocket
        self._hub = hub
        self._rests = rests
        self._outgoing = Outgoing(self._send)
        self._subscriptions: dict[str, Subscription] = {}
        self._watches: dict[str, Watch] = {}
        self._tenant_id: TenantId | None = None

    async def serve(self, authenticate: Authenticate) -> None:
        commands = asyncio.create_task(self._obey(authenticate))
        try:
            either: list[asyncio.Future[Any]] = [commands, self._outgoing.ended]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            commands.cancel()
            await asyncio.gather(commands, return_exceptions=True)
            self._hub.leave(self._outgoing, self._subscriptions.values())
            for watch in self._watches.values():
                self._rests.unwatch(watch)
            self._outgoing.end(None)
        await self._close(self._outgoing.ended.result())

    async def _send(self, text: str) -> None:
        await self._websocket.send({"type": "websocket.send", "text": text})

    async def _close(self, code: int | None) -> None:
        """A client that does not read does not get to keep us waiting."""
        if code is None:
            return
        try:
            async with asyncio.timeout(_CLOSING_SECONDS):
                await self._websocket.close(code)
        except (TimeoutError, WebSocketDisconnect, RuntimeError, OSError):
            pass

    async def _obey(self, authenticate: Authenticate) -> None:
        """Commands one by one; returns when the client is gone or is to be closed."""
        try:
            if await self._authenticated(authenticate):
                self._hub.enter(self._outgoing)
                while True:
                    await self._execute(_parsed(await self._websocket.receive_text()))
        except WebSocketDisconnect:
            self._outgoing.end(None)
        except (msgspec.MsgspecError, KeyError) as error:  # KeyError: a binary message
            self._refuse(CloseCode.BAD_REQUEST, "bad_request", f"not a message of this protocol: {error}")
        except Exception as error:  # noqa: BLE001 - this client's outermost loop: it reconnects and resumes
            _log.warning("stream_failed", error=repr(error))
            self._outgoing.end(CloseCode.INTERNAL_ERROR)

    async def _authenticated(self, authenticate: Authenticate) -> bool:
        key = await self._key()
        caller = await authenticate(key) if key else None
        if caller is None:
            self._refuse(CloseCode.INVALID_TOKEN, "invalid_token", "send a valid key first")
            return False
        if Scope.READ not in caller.scopes:
            self._refuse(CloseCode.DENIED, "denied", f"this key lacks the scope {Scope.READ}")
            return False
        self._tenant_id = caller.tenant_id
        self._say(op="authenticated")
        return True

    async def _key(self) -> str | None:
        scheme, _, key = self._websocket.headers.get("authorization", "").partition(" ")
        if scheme:
            return key.strip() if scheme.lower() == "bearer" else None
        try:
            async with asyncio.timeout(AUTHENTICATION_SECONDS):
                command = _parsed(await self._websocket.receive_text())
        except (TimeoutError, msgspec.MsgspecError, KeyError):
            return None  # whatever it says, nothing is discussed before it has authenticated
        return command.key if isinstance(command, AuthenticateCommand) else None

    async def _execute(self, command: Command) -> None:
        match command:
            case SubscribeCommand(channel, after):
                await self._subscribe(channel, after)
            case UnsubscribeCommand(channel):
                subscription = self._subscriptions.pop(channel, None)
                if subscription is not None:
                    self._hub.unsubscribe(subscription)
                if channel in self._watches:
                    self._rests.unwatch(self._watches.pop(channel))
                self._say(op="unsubscribed", channel=channel)
            case PingCommand():
                self._say(op="pong")
            case AuthenticateCommand():
                self._say_error("bad_request", "already authenticated")

    async def _subscribe(self, channel: str, after: int | dict[UUID, int] | None) -> None:
        if channel in self._subscriptions:
            self._say_error("already_subscribed", f"unsubscribe from {channel} first", channel)
            return
        if len(self._subscriptions) >= MAX_SUBSCRIPTIONS:
            self._say_error("too_many", f"at most {MAX_SUBSCRIPTIONS} subscriptions a connection", channel)
            return
        subscription = self._subscriptions[channel] = Subscription(self._outgoing, channel)
        try:
            await self._join(subscription, after)
        except BallastError as error:
            del self._subscriptions[channel]
            self._hub.unsubscribe(subscription)
            self._say_error("not_found" if isinstance(error, NotFound) else "invalid", str(error), channel)

    async def _join(self, subscription: Subscription, after: int | dict[UUID, int] | None) -> None:
        assert self._tenant_id is not None  # noqa: S101 - commands are obeyed after authentication only
        channel = subscription.channel
        if channel == "adjustments":
            if isinstance(after, int):
                raise InvalidInput("after: on this channel, a sequence for each portfolio")
            known = after if after is None else {PortfolioId(key): value for key, value in after.items()}
            await self._hub.join_tenant(subscription, self._tenant_id, known)
            return
        kind, identifier = _subject_of(channel)
        tell = partial(self._tell_rest, channel)
        if kind == "policy":
            if after is not None:
                raise InvalidInput("after: nothing of this channel is kept")
            watch = await self._rests.watch_policy(self._tenant_id, PolicyId(identifier), tell)
            self._say(op="subscribed", channel=channel)
        else:
            if isinstance(after, dict):
                raise InvalidInput("after: on this channel, one sequence")
            portfolio_id = PortfolioId(identifier)
            await self._hub.join_portfolio(subscription, self._tenant_id, portfolio_id, after)
            watch = self._rests.watch_portfolio(self._tenant_id, portfolio_id, tell)
        self._watches[channel] = watch

    def _tell_rest(self, channel: str, told: PolicyRest) -> None:
        self._outgoing.push(RestMessage.of(channel, told).model_dump_json())

    def _say(self, **message: object) -> None:
        self._outgoing.push(_json.encode(message).decode())

    def _say_error(self, code: str, message: str, channel: str | None = None) -> None:
        about = {} if channel is None else {"channel": channel}
        self._say(op="error", code=code, message=message, **about)

    def _refuse(self, close_code: CloseCode, code: str, message: str) -> None:
        self._say_error(code, message)
        self._outgoing.end(close_code)


def _parsed(text: str) -> Command:
    command: Command = _commands.decode(text)
    return command


def _subject_of(channel: str) -> tuple[str, UUID]:
    kind, _, identifier = channel.partition(".")
    try:
        if kind in ("portfolio", "policy") and str(UUID(identifier)) == identifier:
            return kind, UUID(identifier)
    except ValueError:
        pass
    raise InvalidInput(f"no channel {channel!r}: portfolio.<id>, policy.<id> or adjustments")
