"""What is listed and declared: written by whoever runs the service, followed by the oracle."""

from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple, Protocol

from app.oracle.declared import Declared, Pair
from app.oracle.memory import Memory


class SourceStore(Protocol):
    async def declared(self) -> Declared: ...

    async def pairs(self) -> Mapping[str, Pair]:
        """Of every listed instrument."""
        ...

    async def declare(self, declared: Declared) -> None:
        """In place of all that was; whoever declares at the same time waits."""
        ...


class Listed(NamedTuple):
    instruments: Mapping[str, Pair]
    declared: Declared


class Listings(Protocol):
    """The oracle's view, as of one moment."""

    async def read(self) -> Listed: ...


Rejections = Mapping[str, Mapping[str, int]]
"""How often the oracle refused whom for which reason: "" is nobody known."""


class OracleNow(NamedTuple):
    """What the oracle remembers, and whom it refused."""

    memory: Memory
    rejections: Rejections


ReadOracle = Callable[[], Awaitable[OracleNow]]
"""Without asking the oracle: as it was with its last write."""

ReadRejections = Callable[[], Awaitable[Rejections]]
