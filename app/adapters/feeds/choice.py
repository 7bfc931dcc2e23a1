"""Which feed, of what, and how: as it was asked for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from app.domain.errors import InvalidInput
from app.domain.market import MAXIMUM_NAME, SOURCE_NAME


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedChoice:
    """`instruments` are names of the source by our ids. What a feed does not know of, it leaves alone.

    `quote` is the currency in which the source is declared to quote, where it is not the instruments' own.
    `token` is a secret. `poll` asks where a source would tell by itself, `every` so often.
    `window` is that of an average.
    """

    name: str
    instruments: Mapping[str, str]
    source: str
    url: str | None = None
    token: str | None = field(default=None, repr=False)
    quote: str | None = None
    poll: bool = False
    every: timedelta | None = None
    window: timedelta | None = None

    def __post_init__(self) -> None:
        if len(self.source) > MAXIMUM_NAME or not SOURCE_NAME.fullmatch(self.source):
            raise InvalidInput(
                f"--source: a name has at most {MAXIMUM_NAME} letters, digits, spaces and . _ : / @ + -, "
                f"which {self.source!r} has not"
            )
