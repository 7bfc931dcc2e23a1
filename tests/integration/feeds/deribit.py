"""Deribit's public API, REST and WebSocket, by its documentation (https://docs.deribit.com): messages written
here in the documented shape, none recorded.
"""

import time
from contextlib import asynccontextmanager

from aiohttp import web

from tests.integration.feeds.served import served

EXPIRY_MS = 1_909_008_000_000  # 2030-06-30 08:00 UTC


def instrument(name, kind, *, settlement_period, **terms):
    return {
        "tick_size": 0.5, "taker_commission": 0.0005, "maker_commission": 0.0, "min_trade_amount": 10.0,
        "contract_size": 10.0, "is_active": True, "creation_timestamp": 1_534_242_287_000, "kind": kind,
        "instrument_name": name, "base_currency": "BTC", "quote_currency": "USD", "counter_currency": "USD",
        "settlement_currency": "BTC", "settlement_period": settlement_period,
        "expiration_timestamp": EXPIRY_MS, "block_trade_commission": 0.0001,
    } | terms  # fmt: skip


INSTRUMENTS = [
    instrument(
        "BTC-PERPETUAL", "future", settlement_period="perpetual", future_type="reversed",
        expiration_timestamp=32_503_708_800_000,
    ),
    instrument("BTC-30JUN30", "future", settlement_period="month", future_type="reversed"),
    instrument(
        "BTC-30JUN30-100000-C", "option", settlement_period="month", strike=100_000.0, option_type="call",
        quote_currency="BTC", contract_size=1.0, min_trade_amount=0.1, tick_size=0.0001,
    ),
]  # fmt: skip
CURRENCIES = [{"currency": "BTC", "currency_long": "Bitcoin", "coin_type": "BITCOIN", "fee_precision": 4,
               "min_confirmations": 1, "withdrawal_fee": 0.0005, "min_withdrawal_fee": 0.0005,
               "withdrawal_priorities": []}]  # fmt: skip


def ticker(name, timestamp_ms, *, bid=64_250.0, ask=64_251.0, mark=64_250.25):
    told = {
        "timestamp": timestamp_ms, "state": "open", "instrument_name": name, "best_bid_price": bid,
        "best_bid_amount": 19_470.0, "best_ask_price": ask, "best_ask_amount": 343_280.0,
        "mark_price": mark, "last_price": 64_000.0, "index_price": 64_248.01, "settlement_price": 64_000.0,
        "open_interest": 111_543_850, "min_price": 63_000.0, "max_price": 66_000.0,
        "stats": {"volume": 60_627.5, "low": 61_000.0, "high": 66_000.0},
    }  # fmt: skip
    if name.endswith("-C"):
        greeks = {"rho": 130.6, "theta": -13.4, "vega": 141.9, "gamma": 0.00002, "delta": 0.59621}
        return told | {
            "bid_iv": 60.5, "ask_iv": 61.9, "mark_iv": 61.25, "underlying_price": 64_300.0,
            "underlying_index": "BTC-30JUN30", "interest_rate": 0.0, "greeks": greeks,
        }  # fmt: skip
    return told | {"funding_8h": 0.00008, "current_funding": 0.0}


class Deribit:
    """Every instrument has one ticker, with the time at which it is asked for or told."""

    def __init__(self):
        self.server = None
        self.asked = []
        self.sockets = set()

    @property
    def terms(self):
        return {
            "urls": {"api": {"rest": self.server.url, "ws": f"ws://127.0.0.1:{self.server.port}/ws/api/v2"}},
            "rateLimit": 1,
        }

    def application(self):
        application = web.Application()
        application.router.add_get("/api/v2/public/{method}", self._rest)
        application.router.add_get("/ws/api/v2", self._websocket)
        return application

    async def _rest(self, request):
        method = request.match_info["method"]
        self.asked.append(method)
        answers = {
            "get_instruments": lambda: INSTRUMENTS,
            "get_currencies": lambda: CURRENCIES,
            "ticker": lambda: ticker(request.query["instrument_name"], int(time.time() * 1_000)),
            "get_funding_rate_value": lambda: 0.00008,
        }
        return web.json_response({"jsonrpc": "2.0", "result": answers[method](), "testnet": False})

    async def _websocket(self, request):
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.sockets.add(socket)
        try:
            async for message in socket:
                asked = message.json()
                if asked["method"] == "public/subscribe":
                    channels = asked["params"]["channels"]
                    await socket.send_json({"jsonrpc": "2.0", "id": asked["id"], "result": channels})
                    for channel in channels:
                        await socket.send_json(notification(channel))
        finally:
            self.sockets.discard(socket)
        return socket

    async def tell(self, name):
        for socket in list(self.sockets):
            await socket.send_json(notification(f"ticker.{name}.100ms"))

    async def break_connections(self):
        for socket in list(self.sockets):
            await socket.close()


def notification(channel):
    data = ticker(channel.split(".")[1], int(time.time() * 1_000))
    params = {"channel": channel, "data": data}
    return {"jsonrpc": "2.0", "method": "subscription", "params": params}


@asynccontextmanager
async def deribit():
    it = Deribit()
    async with served(it.application) as server:
        it.server = server
        yield it
