"""What is listed and declared: written by whoever runs the service, followed by the oracle."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from app.oracle.declared import Declared, Pair


class SourceStore(Protocol):
    async def declared(self) -> Declared: ...

    async def declare(self, declared: Declared) -> None:
        """In place of all that was; whoever declares at the same time waits."""
        ...


class Listed(NamedTuple):
    instruments: Mapping[str, Pair]
    declared: Declared


class Listings(Protocol):
    """The oracle's view, as of one moment."""

    async def read(self) -> Listed: ...
