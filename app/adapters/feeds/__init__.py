"""Sources of ticks, by name. Each is imported when it is asked for: their packages are large."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from app.adapters.feeds.choice import FeedChoice
from app.domain.errors import ConfigurationError, InvalidInput
from app.ports.feeds import Feed, Line

__all__ = ["FeedChoice", "open_feed"]

_OPTIONAL = ("ccxt", "web3")


def open_feed(choice: FeedChoice, lines: Sequence[Line]) -> Feed:
    """InvalidInput for a name that no feed has, ConfigurationError where its package is not installed."""
    with _packages():
        match choice.name:
            case "pyth":
                return _pyth(choice, lines)
            case "chainlink" | "uniswap":
                return _chain(choice, lines)
            case _:
                return _exchange(choice, lines)


def _pyth(choice: FeedChoice, lines: Sequence[Line]) -> Feed:
    from app.adapters.feeds.pyth import PUBLIC_HERMES, PythFeed

    return PythFeed(
        source=choice.source,
        lines=lines,
        url=choice.url or PUBLIC_HERMES,
        token=choice.token,
        quote=choice.quote,
    )


def _exchange(choice: FeedChoice, lines: Sequence[Line]) -> Feed:
    from app.adapters.feeds.exchanges import POLL_EVERY, ExchangeFeed

    return ExchangeFeed(
        source=choice.source,
        exchange=choice.name,
        lines=lines,
        url=choice.url,
        quote=choice.quote,
        poll=choice.poll,
        every=choice.every or POLL_EVERY,
    )


def _chain(choice: FeedChoice, lines: Sequence[Line]) -> Feed:
    from app.adapters.feeds.chain import POLL_EVERY, ChainFeed
    from app.adapters.feeds.chainlink import chainlink
    from app.adapters.feeds.uniswap import WINDOW, uniswap

    if choice.url is None:
        raise InvalidInput("say which chain, by the address of a node: --url or BALLAST_FEED_URL")
    if choice.name == "chainlink":
        open_line = chainlink(choice.source, quote=choice.quote)
    else:
        open_line = uniswap(choice.source, window=choice.window or WINDOW, quote=choice.quote)
    return ChainFeed(
        source=choice.source,
        lines=lines,
        url=choice.url,
        open_line=open_line,
        every=choice.every or POLL_EVERY,
    )


@contextmanager
def _packages() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as missing:
        if missing.name not in _OPTIONAL:
            raise
        raise ConfigurationError(
            f"this feed needs the package {missing.name}: "
            "pip install --require-hashes -r requirements/feeds.txt"
        ) from None
