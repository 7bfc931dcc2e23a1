"""What an exchange says of its markets, through ccxt: WebSocket (ccxt.pro), or REST polling.

Names are ccxt's unified symbols (`BTC/USDT:USDT`) or the exchange's own (`BTC-PERPETUAL`). Whatever is on the
other side of a name has to be the instrument: kind, base, quote currency, and settlement, expiry, strike and
option type where there are such.

- A price is the middle of bid and ask, its confidence half of the spread; the last trade where they are
  missing.
- The mark price of perpetuals and futures is the exchange's own, where its tickers have one.
- A funding rate is asked for over REST, and told per funding interval of the instrument.
- Of options the implied volatility of the mark is told, its confidence half the distance between those of bid
  and ask. Greeks are not: they follow from it. Exchanges give volatilities in units of their own, which ccxt
  passes on, so only those are read whose unit is stated here.

Times are the exchange's; where it gives none, as Kraken's tickers, that of the answer's arrival.
https://docs.ccxt.com (tickers, funding rates, greeks)
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

import ccxt
from ccxt import async_support, pro

from app.adapters.feeds.checks import check_pair
from app.adapters.feeds.sequences import sequence_at
from app.adapters.wall_clock import SystemClock
from app.domain.errors import ConfigurationError, FeedLost, InvalidInput
from app.domain.instruments import InstrumentKind, OptionType, Settlement
from app.domain.market import Tick, TickKind
from app.domain.times import NS_PER_SECOND
from app.ports.clock import WallClock
from app.ports.feeds import Line

POLL_EVERY = timedelta(seconds=2)
FUNDING_EVERY = timedelta(seconds=60)
_SIGN_OF_LIFE_SECONDS = 10.0
_TOO_MANY_SECONDS = 60.0
_LONGEST_WORDS = 200
_NS_PER_MS = 1_000_000
_VOLATILITY_UNITS = {"deribit": 0.01}  # of `markImpliedVolatility`; its tickers carry the greeks
_TYPES = {
    "spot": InstrumentKind.SPOT,
    "swap": InstrumentKind.PERPETUAL,
    "future": InstrumentKind.FUTURE,
    "option": InstrumentKind.OPTION,
}
_WITH_MARK = (InstrumentKind.PERPETUAL, InstrumentKind.FUTURE)

Json = Mapping[str, Any]


class _Question(NamedTuple):
    """Asked again so long after it was answered."""

    ask: Callable[[], Awaitable[Sequence[Tick]]]
    again_after_seconds: float


class ExchangeFeed:
    """`url` is a server in the exchange's place, its own or a proxy, that has all of its paths.

    `terms` is what ccxt makes the exchange of, beside its own.
    """

    def __init__(
        self,
        *,
        source: str,
        exchange: str,
        lines: Sequence[Line],
        url: str | None = None,
        quote: str | None = None,
        poll: bool = False,
        every: timedelta = POLL_EVERY,
        terms: Json | None = None,
        clock: WallClock | None = None,
    ) -> None:
        if exchange not in async_support.exchanges:
            raise InvalidInput(
                f"no feed {exchange}: there are pyth, chainlink, uniswap, and every exchange that ccxt knows"
            )
        if url is not None and urlsplit(url).scheme not in ("http", "https"):
            raise InvalidInput(
                f"--url of {exchange} begins with http:// or https://, and WebSockets follow it"
            )
        self.source = source
        self._id = exchange
        self._lines = lines
        self._url = url
        self._quote = quote
        self._poll = poll
        self._every_seconds = every.total_seconds()
        self._terms = dict(terms or {})
        self._clock = clock or SystemClock()
        self._markets: Json = {}

    async def listen(self) -> AsyncGenerator[Sequence[Tick], None]:
        async with self._connected() as exchange:
            questions = self._questions(exchange)
            waiting = {asyncio.create_task(_asked(each, 0.0)): each for each in questions}
            try:
                while waiting:
                    # That a connection is dead, ccxt finds by its own pings and time-outs: quiet is no loss.
                    done, _ = await asyncio.wait(
                        waiting, timeout=_SIGN_OF_LIFE_SECONDS, return_when=asyncio.FIRST_COMPLETED
                    )
                    ticks: list[Tick] = []
                    for task in done:
                        question = waiting.pop(task)
                        ticks += task.result()
                        again = asyncio.create_task(_asked(question, question.again_after_seconds))
                        waiting[again] = question
                    yield ticks
            finally:
                for task in waiting:
                    task.cancel()
                await asyncio.gather(*waiting, return_exceptions=True)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Any]:
        """The exchange, its markets known; errors in our terms."""
        streams = not self._poll and self._id in pro.exchanges
        exchange = getattr(pro if streams else async_support, self._id)(self._terms)
        if self._url is not None:
            exchange.urls["api"] = _moved(exchange.urls["api"], self._url)
        try:
            if self._markets:
                exchange.set_markets(self._markets)
            else:
                self._markets = await exchange.load_markets()
            yield exchange
        except ccxt.AuthenticationError as error:
            raise ConfigurationError(f"{self._id} does not let us in: {_words(error)}") from None
        except ccxt.RateLimitExceeded as error:
            raise FeedLost(_words(error), retry_after_seconds=_TOO_MANY_SECONDS) from None
        except ccxt.BaseError as error:
            raise FeedLost(_words(error)) from None
        finally:
            await exchange.close(True)  # REST as well

    def _questions(self, exchange: Any) -> Sequence[_Question]:
        watch = not self._poll and exchange.has.get("watchTicker")
        questions = []
        for line in self._lines:
            market = self._market(exchange, line)
            if line.instrument.expiry is not None and line.instrument.expiry <= self._now():
                continue
            fetch = exchange.watch_ticker if watch else exchange.fetch_ticker
            ask = partial(self._ticker, exchange, line, market, fetch)
            questions.append(_Question(ask, 0.0 if watch else self._every_seconds))
            if market["swap"] and exchange.has.get("fetchFundingRate"):
                ask = partial(self._funding, exchange, line, market)
                questions.append(_Question(ask, FUNDING_EVERY.total_seconds()))
        if not questions:
            raise InvalidInput("every instrument has expired: there is nothing to listen to")
        return questions

    def _market(self, exchange: Any, line: Line) -> Json:
        """What the name stands for, once it is known to be the instrument."""
        found = [exchange.markets[line.name]] if line.name in exchange.markets else []
        found = found or list(exchange.markets_by_id.get(line.name, ()))
        if len(found) != 1:
            raise InvalidInput(_unknown(exchange, line, found))
        market: Json = found[0]
        if market["type"] == "option" and self._id not in _VOLATILITY_UNITS:
            known = ", ".join(_VOLATILITY_UNITS)
            raise InvalidInput(
                f"volatilities of {self._id} are in a unit of its own: options are read of {known}"
            )
        check_pair(line, base=market["base"], quote=market["quote"], declared_quote=self._quote)
        _check_terms(line, market)
        return market

    async def _ticker(
        self, exchange: Any, line: Line, market: Json, fetch: Callable[[str], Awaitable[Json]]
    ) -> Sequence[Tick]:
        ticker = await fetch(market["symbol"])
        if market["type"] == "option":
            return self._volatility(line, exchange.parse_greeks(ticker["info"], market))
        ticks = []
        bid, ask = ticker.get("bid"), ticker.get("ask")
        if bid and ask and bid <= ask:
            ticks.append(self._tick(TickKind.PRICE, line, ticker, (bid + ask) / 2, (ask - bid) / 2))
        elif ticker.get("last"):
            ticks.append(self._tick(TickKind.PRICE, line, ticker, ticker["last"]))
        if line.instrument.kind in _WITH_MARK and ticker.get("markPrice"):
            ticks.append(self._tick(TickKind.MARK, line, ticker, ticker["markPrice"]))
        return ticks

    def _volatility(self, line: Line, greeks: Json) -> Sequence[Tick]:
        unit = _VOLATILITY_UNITS[self._id]
        mark, bid, ask = (greeks[f"{of}ImpliedVolatility"] for of in ("mark", "bid", "ask"))
        if not mark:
            return ()
        width = (ask - bid) / 2 * unit if bid and ask and bid <= ask else 0.0
        return (self._tick(TickKind.IMPLIED_VOL, line, greeks, mark * unit, width),)

    async def _funding(self, exchange: Any, line: Line, market: Json) -> Sequence[Tick]:
        rate = await exchange.fetch_funding_rate(market["symbol"])
        if rate["fundingRate"] is None:
            return ()
        intervals = 1.0
        if rate.get("interval"):
            theirs_ns = exchange.parse_timeframe(rate["interval"]) * NS_PER_SECOND
            intervals = line.instrument.accrual_interval_ns / theirs_ns
        return (self._tick(TickKind.FUNDING_RATE, line, rate, rate["fundingRate"] * intervals),)

    def _tick(self, kind: TickKind, line: Line, told: Json, value: float, confidence: float = 0.0) -> Tick:
        milliseconds = told.get("timestamp")
        time_ns = int(milliseconds) * _NS_PER_MS if milliseconds else self._clock.now_ns()
        return Tick(
            kind,
            self.source,
            line.instrument.id,
            sequence_at(time_ns),
            time_ns,
            float(value),
            float(confidence),
        )

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.now_ns() / NS_PER_SECOND, UTC)


async def _asked(question: _Question, after_seconds: float) -> Sequence[Tick]:
    await asyncio.sleep(after_seconds)
    return await question.ask()


def _moved(addresses: Any, url: str) -> Any:
    """The same paths at `url`; what is secured there is secured throughout."""
    if isinstance(addresses, Mapping):
        return {name: _moved(each, url) for name, each in addresses.items()}
    server, theirs = urlsplit(url), urlsplit(addresses)
    kind = "ws" if theirs.scheme.startswith("ws") else "http"
    scheme = kind + "s" * (server.scheme == "https")
    return urlunsplit((scheme, server.netloc, server.path.rstrip("/") + theirs.path, "", ""))


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:_LONGEST_WORDS]}"


def _unknown(exchange: Any, line: Line, found: Sequence[Json]) -> str:
    instrument = line.instrument
    if found:
        ways = ", ".join(market["symbol"] for market in found)
        return f"{line.name} is several markets of {exchange.id}: write {instrument.id}= one of {ways}"
    near = sorted(
        market["symbol"]
        for market in exchange.markets.values()
        if market["base"] == instrument.underlying and _TYPES.get(market["type"]) is instrument.kind
    )
    return (
        f"{exchange.id} has no market {line.name}; what it has of {instrument.underlying} "
        f"({instrument.kind}): {', '.join(near[:20]) or 'nothing'}: write {instrument.id}=THEIRS"
    )


def _check_terms(line: Line, market: Json) -> None:
    """InvalidInput for a market that is another contract than the instrument."""
    instrument = line.instrument
    theirs: dict[str, object] = {"kind": _TYPES.get(market["type"], market["type"])}
    if market["type"] in ("swap", "future"):
        theirs["settlement"] = Settlement.INVERSE if market["inverse"] else Settlement.LINEAR
    if market["type"] in ("future", "option"):
        theirs["expiry"] = datetime.fromtimestamp(market["expiry"] / 1_000, UTC)
    if market["type"] == "option":
        theirs |= {"strike": market["strike"], "option_type": OptionType(market["optionType"])}
    for term, value in theirs.items():
        ours = getattr(instrument, term)
        if (float(ours) if term == "strike" and ours is not None else ours) != value:
            raise InvalidInput(
                f"{line.name} is no {instrument.id}: its {term.replace('_', ' ')} is {value}, not {ours}; "
                "list an instrument with its terms, or name another market"
            )
    if market.get("active") is False:
        raise InvalidInput(f"{line.name} is not traded any more")
