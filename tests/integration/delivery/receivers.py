"""HTTP servers that webhooks are sent to: good ones and bad ones."""

import asyncio
import contextlib
from collections import Counter
from types import SimpleNamespace

import msgspec
from aiohttp import web


@contextlib.asynccontextmanager
async def receiver(answer=None):
    """Records (headers, body) of every POST; `answer(request)` decides what is said."""
    received = []

    async def take(request):
        received.append((dict(request.headers), await request.read()))
        return (await answer(request)) if answer else web.Response()

    app = web.Application()
    app.router.add_post("/{path:.*}", take)
    app.router.add_get("/{path:.*}", take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        yield SimpleNamespace(url=f"http://127.0.0.1:{port}/hook", port=port, received=received)
    finally:
        await runner.cleanup()


def ids(hook):
    return Counter(headers["webhook-id"] for headers, _ in hook.received)


def sequences(hook):
    return sorted(msgspec.json.decode(body)["sequence"] for _, body in hook.received)


@contextlib.asynccontextmanager
async def raw_server(handle):
    """Whatever `handle(reader, writer)` makes of HTTP."""

    async def serve(reader, writer):
        try:
            await reader.readuntil(b"\r\n\r\n")
            await handle(writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        server.close()
