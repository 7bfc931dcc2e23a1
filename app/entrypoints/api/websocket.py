"""`/v1/stream`: events, metrics and prices over WebSocket.

A handshake that a browser makes for a page of somebody else is refused before it is accepted. Then the client
says who it is, by a key in the Authorization header, by a ticket in the address, or by either in its first
message; nothing else is said before. Keys are never taken from an address.

What goes on from there is in `stream_connection.py`, what it may subscribe to in `stream_channels.py`.
"""

from collections.abc import Collection
from functools import partial
from typing import Final

from fastapi import APIRouter
from fastapi.security.utils import get_authorization_scheme_param
from starlette.websockets import WebSocket

from app.entrypoints.api.stream_connection import Connection, Introduction, StreamServices
from app.services.admit_client import Admission

PATH: Final = "/v1/stream"


def stream_router(services: StreamServices, *, allowed_origins: Collection[str] = ()) -> APIRouter:
    router = APIRouter()

    async def stream(websocket: WebSocket) -> None:
        origin = websocket.headers.get("origin")
        if origin is not None and origin not in allowed_origins:
            await websocket.close()  # before it is accepted: HTTP 403
            return
        await websocket.accept()
        await Connection(websocket, services).serve(_introduction(websocket, services.admission))

    router.add_api_websocket_route(PATH, stream)
    return router


def _introduction(websocket: WebSocket, admission: Admission) -> Introduction | None:
    """How to find out who it is; None where the handshake does not say."""
    header, ticket = websocket.headers.get("authorization"), websocket.query_params.get("ticket")
    if header:
        scheme, key = get_authorization_scheme_param(header)
        return partial(admission.by_key, key.strip() if scheme.lower() == "bearer" else "")
    return None if ticket is None else partial(admission.by_ticket, ticket)
