"""A Hermes server, by its documentation: messages written here in the documented shape, none recorded.

https://docs.pyth.network/api-reference/pyth-core/hermes (`/v2/price_feeds`, `/v2/updates/price/stream`).
"""

import asyncio
import itertools
import json
from contextlib import asynccontextmanager

from aiohttp import web

from tests.integration.feeds.served import served

BTC_USD = "e62df6c8b4a85fe1a67db44dc12de5db330f7ac66b72dc658afedf0f4a415b43"
KNOWN = [
    {
        "id": BTC_USD,
        "attributes": {
            "asset_type": "Crypto",
            "base": "BTC",
            "description": "BITCOIN / US DOLLAR",
            "display_symbol": "BTC/USD",
            "generic_symbol": "BTCUSD",
            "quote_currency": "USD",
            "symbol": "Crypto.BTC/USD",
        },
    },
]


def update(price, *, conf="1000000000", expo=-8, publish_time, slot):
    """One message of the stream."""
    told = {"price": price, "conf": conf, "expo": expo, "publish_time": publish_time}
    metadata = {
        "slot": slot, "proof_available_time": publish_time + 1, "prev_publish_time": publish_time - 1,
    }  # fmt: skip
    parsed = [{"id": BTC_USD, "price": told, "ema_price": told, "metadata": metadata}]
    return {"binary": {"encoding": "base64", "data": ["UE5BVQ=="]}, "parsed": parsed}


class Hermes:
    """`said` is what every listener hears from its beginning on; `refuse` answers instead of streaming."""

    def __init__(self):
        self.said = []
        self.news = asyncio.Condition()
        self.queries = []
        self.headers = []
        self.refuse = None
        self.server = None

    async def say(self, message):
        async with self.news:
            self.said.append(message)
            self.news.notify_all()

    def application(self):
        application = web.Application()
        application.router.add_get("/v2/price_feeds", self._price_feeds)
        application.router.add_get("/v2/updates/price/stream", self._stream)
        return application

    async def _price_feeds(self, request):
        return web.json_response(
            [each for each in KNOWN if request.query["query"] in each["attributes"]["base"]]
        )

    async def _stream(self, request):
        self.queries.append(request.query)
        self.headers.append(request.headers)
        if self.refuse is not None:
            return self.refuse()
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b":\n\n")
        for told in itertools.count():
            async with self.news:
                while len(self.said) <= told:
                    await self.news.wait()
            await response.write(b"data:" + json.dumps(self.said[told]).encode() + b"\n\n")
        return response


@asynccontextmanager
async def hermes():
    it = Hermes()
    async with served(it.application) as server:
        it.server = server
        yield it
