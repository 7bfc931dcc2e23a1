"""Bodies end at a limit: counted as they come, so that memory stays flat whatever is announced."""

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.entrypoints.api.problems import problem_response


class _TooLarge(HTTPException):
    """An HTTPException, because FastAPI lets nothing else through from reading a body."""

    def __init__(self, limit: int) -> None:
        super().__init__(413, f"a body ends at {limit} bytes")


class BodyLimit:
    def __init__(self, app: ASGIApp, *, limit_bytes: int) -> None:
        self._app = app
        self._limit = limit_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = Request(scope).headers.get("content-length", "0")
        if announced.isdecimal() and (len(announced) > 18 or int(announced) > self._limit):
            detail = f"a body ends at {self._limit} bytes"
            refused = problem_response(Request(scope), 413, "too-large", "The body is too large", detail)
            await refused(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._limit:
                raise _TooLarge(self._limit)
            return message

        await self._app(scope, counted, send)
