"""What the oracle reads: the tick stream."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from app.domain.market import Tick
from app.oracle.entries import Entries
from app.ports.market import UnderWay


@dataclass(frozen=True, slots=True)
class RejectedTick:
    """`payload` is what was sent, cut to a bounded size; `source` is empty where nobody known said it."""

    entry: str
    reason: str
    message: str
    payload: bytes
    source: str = ""


class TickEntry(msgspec.Struct):
    """One entry of the tick stream; what could not be decoded is already refused.

    The signature is over all of its ticks (`oracle.signatures`): once one was refused, it is none.
    """

    id: str
    ticks: list[Tick]
    rejected: list[RejectedTick] = []
    signature: bytes = b""


class TickBatch(Protocol):
    """What one read found."""

    @property
    def entries(self) -> Entries:
        """As loops read them."""

    def __len__(self) -> int: ...

    def id(self, i: int) -> str: ...

    def entry(self, i: int) -> TickEntry:
        """One of them, for a closer look."""


class TickLog(Protocol):
    def read(self, after: str, *, count: int, block_ms: int | None) -> UnderWay[TickBatch]:
        """Those after it that come in time, which may be none; without a time, those that are there."""

    async def reject(self, rejected: Sequence[RejectedTick]) -> None: ...

    async def trim(self, before: str) -> None: ...
