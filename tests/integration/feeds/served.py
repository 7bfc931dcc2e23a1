"""A local HTTP server that can go away and come back at the same address, as a source's would."""

from contextlib import asynccontextmanager

from aiohttp import web


class Served:
    def __init__(self, make_application):
        self._make_application = make_application
        self._runner = None
        self.port = 0

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    async def begin(self):
        self._runner = web.AppRunner(self._make_application(), shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()
        self.port = self._runner.addresses[0][1]

    async def end(self):
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None


@asynccontextmanager
async def served(make_application):
    server = Served(make_application)
    await server.begin()
    try:
        yield server
    finally:
        await server.end()
