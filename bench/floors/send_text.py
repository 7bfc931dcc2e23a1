"""uvicorn and Starlette's `send_text`, and nothing else: `python -m bench.floors.send_text`.

Prints its ports. Of what the second one is told (`send N`, then N JSON strings, a line each) every text goes
to every client at `/v1/stream`. Whoever says anything is answered, as a greeting.
"""

import asyncio
import contextlib
import json
import socket

import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect


async def main() -> None:
    clients: list[WebSocket] = []

    async def stream(websocket: WebSocket) -> None:
        await websocket.accept()
        clients.append(websocket)
        with contextlib.suppress(WebSocketDisconnect):
            while True:
                await websocket.receive_text()
                await websocket.send_text("{}")
        clients.remove(websocket)

    async def control(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            texts = [json.loads(await reader.readline()) for _ in range(int(line.split()[1]))]
            for text in texts:
                for client in clients:
                    await client.send_text(text)

    app = Starlette(routes=[WebSocketRoute("/v1/stream", stream)])
    listener = socket.create_server(("127.0.0.1", 0), backlog=4_096)
    controlled = await asyncio.start_server(control, "127.0.0.1", 0, limit=1 << 20)
    server = uvicorn.Server(
        uvicorn.Config(app, log_config=None, access_log=False, ws_per_message_deflate=False, lifespan="off")
    )
    print(listener.getsockname()[1], controlled.sockets[0].getsockname()[1], flush=True)
    await server.serve(sockets=[listener])


if __name__ == "__main__":
    uvloop.run(main())
