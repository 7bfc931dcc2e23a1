"""What publishing a feed needs of it."""

from collections.abc import AsyncGenerator, Sequence
from typing import NamedTuple, Protocol

from app.domain.instruments import Instrument
from app.domain.market import Tick


class Line(NamedTuple):
    """A listed instrument, and what the source calls it."""

    instrument: Instrument
    name: str


class Feed(Protocol):
    @property
    def source(self) -> str:
        """Whose ticks these are."""

    def listen(self) -> AsyncGenerator[Sequence[Tick], None]:
        """Connects, and gives what is said, each group to be one entry; an empty one is a sign of life.

        Raises `FeedLost` when the connection is lost, for whoever listens to come back. `InvalidInput` and
        `ConfigurationError` are not mended by that: what was asked for is not what the source has.
        """
