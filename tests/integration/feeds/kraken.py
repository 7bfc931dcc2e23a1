"""Kraken's public REST API, by its documentation (https://docs.kraken.com/api): messages written here in the
documented shape, none recorded.
"""

from contextlib import asynccontextmanager

from aiohttp import web

from tests.integration.feeds.served import served

ANSWERS = {
    "Assets": {
        "XXBT": {"aclass": "currency", "altname": "XBT", "decimals": 10, "display_decimals": 5},
        "ZUSD": {"aclass": "currency", "altname": "USD", "decimals": 4, "display_decimals": 2},
    },
    "AssetPairs": {
        "XXBTZUSD": {
            "altname": "XBTUSD", "wsname": "XBT/USD", "aclass_base": "currency", "base": "XXBT",
            "aclass_quote": "currency", "quote": "ZUSD", "pair_decimals": 1, "cost_decimals": 5,
            "lot_decimals": 8, "lot_multiplier": 1, "leverage_buy": [2], "leverage_sell": [2],
            "fees": [[0, 0.26]], "fees_maker": [[0, 0.16]], "fee_volume_currency": "ZUSD", "margin_call": 80,
            "margin_stop": 40, "ordermin": "0.0001", "costmin": "0.5", "tick_size": "0.1", "status": "online",
        },
    },
    "Ticker": {
        "XXBTZUSD": {
            "a": ["64251.00000", "1", "1.000"], "b": ["64250.00000", "1", "1.000"],
            "c": ["64000.00000", "0.00067643"], "v": ["4083.67001100", "4412.73601799"],
            "p": ["64706.77771", "64689.13206"], "t": [34_619, 38_907], "l": ["63513.0", "63513.0"],
            "h": ["65219.90000", "65219.90000"], "o": "64280.00000",
        },
    },
}  # fmt: skip


class Kraken:
    server = None

    @property
    def terms(self):
        return {"urls": {"api": {"public": self.server.url}}, "rateLimit": 1}

    def application(self):
        application = web.Application()
        application.router.add_get("/0/public/{method}", self._answer)
        return application

    async def _answer(self, request):
        return web.json_response({"error": [], "result": ANSWERS[request.match_info["method"]]})


@asynccontextmanager
async def kraken():
    it = Kraken()
    async with served(it.application) as server:
        it.server = server
        yield it
