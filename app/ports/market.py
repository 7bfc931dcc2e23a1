"""What the oracle and the evaluator need of the streams."""

from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from app.domain.events import Event
from app.domain.identifiers import ShardId
from app.domain.market import Frame, PackedFrames, StreamPosition, Tick
from app.oracle.memory import Memory

Answer_co = TypeVar("Answer_co", covariant=True)


@dataclass(frozen=True, slots=True)
class OracleState:
    """Where the oracle stands: exactly at its cursor, because both are written in one step."""

    position: StreamPosition
    time_ns: int
    cursor: str
    memory: Memory


class UnderWay(Protocol[Answer_co]):
    """What was sent already, and may be waited for. A failure is told to whoever waits, to nobody else."""

    def __await__(self) -> Generator[Any, None, Answer_co]: ...

    def cancel(self) -> None:
        """Nobody will wait for it."""


class TickPublisher(Protocol):
    async def publish(self, ticks: Sequence[Tick], signature: bytes = b"") -> str:
        """One entry, signed or not, and its id."""


class MarketLog(Protocol):
    """The writer's end. Raises `Fenced` for an old epoch, `StreamReset` when the stream is not as left."""

    async def open(self, *, epoch: int, at_least: StreamPosition) -> OracleState | None:
        """Takes the stream over; None when it was flushed or stands before `at_least`."""

    async def start_generation(self, *, epoch: int, generation: int) -> OracleState: ...

    def together(self) -> AbstractContextManager[None]:
        """What is appended within, and the read of ticks that is asked for, leave at its end, in order."""

    def append(
        self,
        *,
        epoch: int,
        previous: StreamPosition,
        cursor: str,
        frames: PackedFrames,
        consensus: bytes,
        memory: Memory,
        whole: bool,
    ) -> UnderWay[None]:
        """`consensus` is the name of each line in the frames and its last change, packed, each behind its
        length, the last word on a line counting; `memory` is what moved since
        the last append or, with `whole`, all of it.
        """

    async def progress(self) -> Collection[StreamPosition]:
        """How far each shard says it has come."""

    async def trim(self, before: StreamPosition) -> None: ...


@dataclass(frozen=True, slots=True)
class MarketNews:
    """What a reader got: frames in order, and portfolios hinted to have changed."""

    frames: Sequence[Frame]
    changed: frozenset[bytes]


class FrameStream(Protocol):
    """The `market` stream for whoever only wants what is newest."""

    async def tail(self) -> str:
        """The newest entry's id, `0-0` for an empty stream."""

    async def read(self, after: str) -> Sequence[tuple[str, Frame]]: ...


class MarketFeed(Protocol):
    """The reader's end, and where a reader says how far it came."""

    async def seek(self, after: StreamPosition) -> None: ...

    async def read(self, *, count: int, block_ms: int) -> MarketNews: ...

    async def newest(self) -> StreamPosition:
        """Where the stream ends."""

    async def between(self, after: StreamPosition, upto: StreamPosition) -> Sequence[Frame]: ...

    async def publish(self, events: Sequence[Event], progress: Mapping[int, StreamPosition]) -> None: ...

    async def report(self, shard: ShardId, packed: bytes) -> None:
        """Figures of whoever holds the shard, shown for as long as they are renewed."""

    async def close(self) -> None:
        """Nothing more is read."""
