"""Names to addresses by the system's resolver, each lookup in a thread of its own.

Event loops look names up in a few threads (uvloop in four, of which two at once), and a lookup cannot be
called off. Two names whose name servers keep silent would hold up every other name, and whoever registers an
endpoint chooses its name server.
"""

import asyncio
import socket
import threading
from contextlib import suppress
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult
from typing_extensions import override

_PLACES = 512
_NUMERIC = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV


class SystemResolver(AbstractResolver):
    """`places` lookups at once. Their threads are daemons: a silent name keeps no courier from leaving."""

    def __init__(self, *, places: int = _PLACES) -> None:
        self._places = asyncio.Semaphore(places)

    @override
    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """OSError where there is no such name."""
        await self._places.acquire()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[Any]] = loop.create_future()

        def ended(found: list[Any], error: Exception | None) -> None:
            self._places.release()
            if answer.done():  # nobody waits for it any more
                return
            if error is None:
                answer.set_result(found)
            else:
                answer.set_exception(error)

        def look_up() -> None:
            found: list[Any] = []
            failure: Exception | None = None
            try:
                found = socket.getaddrinfo(
                    host, port, family=family, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
                )
            except Exception as error:  # noqa: BLE001 - whatever it is, it is told where it is awaited
                failure = error
            with suppress(RuntimeError):  # the courier has left meanwhile
                loop.call_soon_threadsafe(ended, found, failure)

        try:
            threading.Thread(target=look_up, name="webhook-name", daemon=True).start()
        except RuntimeError as error:  # the system has no thread left
            self._places.release()
            raise OSError(f"no name can be looked up: {error}") from None
        return [
            ResolveResult(hostname=host, host=address, port=port, family=family, proto=proto, flags=_NUMERIC)
            for family, _, proto, _, (address, port, *_) in await answer
        ]

    @override
    async def close(self) -> None:
        pass
