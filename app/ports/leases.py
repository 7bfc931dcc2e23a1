"""Who may write: leases with fencing epochs, kept in PostgreSQL and judged by its clock."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from app.domain.identifiers import ShardId
from app.domain.market import StreamPosition


@dataclass(frozen=True, slots=True)
class OracleGrant:
    """`checkpoint` is the furthest that any shard has committed: the stream must not stand before it."""

    epoch: int
    generation: int
    clock: str
    checkpoint: StreamPosition


class OracleLease(Protocol):
    async def acquire(self) -> OracleGrant | None: ...

    async def renew(self, grant: OracleGrant) -> OracleGrant:
        """Raises Fenced when another took it. A higher generation than granted was asked for by a reader."""

    async def next_generation(self, grant: OracleGrant, *, reason: str) -> OracleGrant: ...

    async def release(self, grant: OracleGrant) -> None: ...

    async def oldest_snapshot(self) -> StreamPosition:
        """Every shard can restart from here on; older frames are no longer needed."""


@dataclass(frozen=True, slots=True)
class ShardGrant:
    """`snapshot` is the market view at (`position.generation`, `snapshot_sequence`), packed."""

    shard: ShardId
    epoch: int
    position: StreamPosition
    time_ns: int
    snapshot_sequence: int
    snapshot: bytes | None


class ShardLeases(Protocol):
    async def claim(self, held: Collection[ShardId]) -> list[ShardGrant]:
        """Free, expired or own shards that are not held yet, up to this worker's fair share."""

    async def renew(self, held: dict[ShardId, int]) -> tuple[set[ShardId], int]:
        """(what is still held, how many to give up so that others get their share)."""

    async def release(self, held: dict[ShardId, int]) -> None: ...

    async def leave(self) -> None:
        """No longer counted when shards are shared out."""
