"""Pyth's prices from a Hermes server, as server-sent events.

`GET /v2/updates/price/stream?ids[]=…` tells each update as JSON: integers `price` and `conf` (the half width
of Pyth's own interval) to the power `expo` of ten, and `publish_time` in whole seconds, within which the slot
orders. `GET /v2/price_feeds` says what a price is of: it is checked before the first tick. The server ends a
stream after 24 hours, and asks a minute of those who come too often.
https://docs.pyth.network/api-reference/pyth-core/hermes
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Annotated, Any

import aiohttp
import msgspec

from app.adapters.feeds.checks import check_index, check_pair
from app.adapters.feeds.sequences import sequence_at
from app.adapters.feeds.server_sent_events import event_data
from app.domain.errors import ConfigurationError, FeedLost, InvalidInput
from app.domain.market import Tick, TickKind
from app.domain.times import NS_PER_SECOND
from app.ports.feeds import Line

PUBLIC_HERMES = "https://hermes.pyth.network"
_CONNECT_SECONDS = 10.0
_LOOK_UP = aiohttp.ClientTimeout(total=30.0)
_LISTEN = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS)
_TOO_MANY_SECONDS = 60.0
_MOST_DIGITS = 30  # of a price, before or behind the point: beyond them there is nothing to compute


class _Price(msgspec.Struct):
    price: str
    conf: str
    expo: Annotated[int, msgspec.Meta(ge=-_MOST_DIGITS, le=_MOST_DIGITS)]
    publish_time: int


class _Metadata(msgspec.Struct):
    slot: int | None = None


class _Update(msgspec.Struct):
    id: str
    price: _Price
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)


class _Message(msgspec.Struct):
    parsed: list[_Update] | None = None


class _Described(msgspec.Struct):
    id: str
    attributes: dict[str, str]


_message = msgspec.json.Decoder(_Message)
_descriptions = msgspec.json.Decoder(list[_Described])


class PythFeed:
    """`lines` name a price by its id (64 hexadecimal digits) or symbol (`Crypto.BTC/USD`)."""

    def __init__(
        self,
        *,
        source: str,
        lines: Sequence[Line],
        url: str = PUBLIC_HERMES,
        token: str | None = None,
        quote: str | None = None,
    ) -> None:
        self.source = source
        self._lines = lines
        self._url = url.rstrip("/")
        self._headers = {"authorization": f"Bearer {token}"} if token else {}
        self._quote = quote
        self._instruments: Mapping[str, str] = {}

    async def listen(self) -> AsyncGenerator[Sequence[Tick], None]:
        try:
            async with aiohttp.ClientSession(headers=self._headers, timeout=_LOOK_UP) as session:
                if not self._instruments:
                    self._instruments = await self._look_up(session)
                query = [("ids[]", price_id) for price_id in self._instruments]
                async with session.get(
                    f"{self._url}/v2/updates/price/stream",
                    params=[*query, ("parsed", "true"), ("encoding", "base64")],
                    timeout=_LISTEN,
                ) as response:
                    await _refuse_errors(response)
                    async for data in event_data(response.content.iter_any()):
                        yield self._ticks(data) if data else ()
        except (aiohttp.ClientError, OSError) as error:  # whose words may have the address, and a key in it
            raise FeedLost(f"Hermes cannot be reached: {type(error).__name__}") from None
        except (msgspec.DecodeError, ValueError) as error:
            raise FeedLost(f"not what Hermes says: {error}") from None

    def _ticks(self, data: bytes) -> Sequence[Tick]:
        return [
            Tick(
                TickKind.PRICE,
                self.source,
                self._instruments[update.id],
                sequence_at(update.price.publish_time * NS_PER_SECOND, update.metadata.slot or 0),
                update.price.publish_time * NS_PER_SECOND,
                _scaled(update.price.price, update.price.expo),
                _scaled(update.price.conf, update.price.expo),
            )
            for update in _message.decode(data).parsed or ()
            if update.id in self._instruments
        ]

    async def _look_up(self, session: aiohttp.ClientSession) -> Mapping[str, str]:
        """Instruments by the id of their price."""
        found = {}
        for line in self._lines:
            described = await self._described(session, line)
            base, quote = described.attributes.get("base", ""), described.attributes.get("quote_currency", "")
            check_index(line)
            check_pair(line, base=base, quote=quote, declared_quote=self._quote)
            found[described.id] = line.instrument.id
        return found

    async def _described(self, session: aiohttp.ClientSession, line: Line) -> _Described:
        url = f"{self._url}/v2/price_feeds"
        async with session.get(url, params={"query": line.instrument.underlying}) as response:
            await _refuse_errors(response)
            known = _descriptions.decode(await response.read())
        wanted = line.name.removeprefix("0x")
        for each in known:
            if wanted in (each.id, each.attributes.get("symbol")):
                return each
        symbols = sorted(each.attributes.get("symbol", each.id) for each in known)
        raise InvalidInput(
            f"Pyth has no price {line.name} of {line.instrument.underlying}; it has "
            f"{', '.join(symbols[:20]) or 'none'}: write {line.instrument.id}=SYMBOL, or the price's id"
        )


def _scaled(digits: str, exponent: int) -> float:
    """The float nearest to it."""
    return int(digits) / 10**-exponent if exponent < 0 else float(int(digits) * 10**exponent)


async def _refuse_errors(response: Any) -> None:
    if response.status == 200:
        return
    said = " ".join((await response.content.read(512)).decode(errors="replace").split())
    if response.status in (401, 403):
        raise ConfigurationError("Hermes wants a key, or another one: set BALLAST_FEED_TOKEN")
    if response.status in (400, 404):
        raise InvalidInput(f"Hermes does not take it: {said}")
    wait = _TOO_MANY_SECONDS if response.status == 429 else 0.0
    raise FeedLost(f"Hermes answered {response.status}", retry_after_seconds=wait)
