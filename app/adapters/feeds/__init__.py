"""Sources of ticks, by name. Each is imported when it is asked for: their packages are large."""

from collections.abc import Sequence

from app.adapters.feeds.choice import FeedChoice
from app.domain.errors import InvalidInput
from app.ports.feeds import Feed, Line

__all__ = ["FeedChoice", "open_feed"]


def open_feed(choice: FeedChoice, lines: Sequence[Line]) -> Feed:
    """InvalidInput for a name that no feed has, ConfigurationError where its package is missing."""
    if choice.name == "pyth":
        from app.adapters.feeds.pyth import PUBLIC_HERMES, PythFeed

        return PythFeed(
            source=choice.source,
            lines=lines,
            url=choice.url or PUBLIC_HERMES,
            token=choice.token,
            quote=choice.quote,
        )
    raise InvalidInput(f"no feed {choice.name}: there is pyth")
