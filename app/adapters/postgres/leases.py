"""Leases on the market's one writer and on shards. The epoch grows with every change of hands.

The same owner name takes its own lease over at once: a restarted process need not wait for its predecessor,
which the higher epoch has fenced.
"""

from collections.abc import Collection
from datetime import timedelta
from typing import Any

from app.domain.errors import ConfigurationError, Fenced
from app.domain.identifiers import ShardId
from app.domain.market import ORIGIN, StreamPosition
from app.ports.leases import OracleGrant, ShardGrant

LEASE = timedelta(seconds=10)
MARKET_NAME = "market"


class PostgresOracleLease:
    def __init__(self, pool: Any, *, owner: str, lease: timedelta = LEASE) -> None:
        self._pool = pool
        self._owner = owner
        self._lease = lease

    async def acquire(self) -> OracleGrant | None:
        row = await self._pool.fetchrow(
            "UPDATE markets SET oracle_owner = $2, oracle_epoch = oracle_epoch + 1, "
            "oracle_lease_until = now() + $3 "
            "WHERE name = $1 "
            "AND (oracle_owner = $2 OR oracle_lease_until IS NULL OR oracle_lease_until < now()) "
            "RETURNING oracle_epoch, generation, clock",
            MARKET_NAME,
            self._owner,
            self._lease,
        )
        if row is None:
            if await self._pool.fetchval("SELECT count(*) FROM markets") == 0:
                raise ConfigurationError("the database has no market yet; run `ballast migrate`")
            return None
        checkpoint = await self._pool.fetchrow(
            "SELECT generation, sequence FROM shards ORDER BY generation DESC, sequence DESC LIMIT 1"
        )
        return OracleGrant(
            epoch=row["oracle_epoch"],
            generation=row["generation"],
            clock=row["clock"],
            checkpoint=StreamPosition(*checkpoint) if checkpoint else ORIGIN,
        )

    async def renew(self, grant: OracleGrant) -> OracleGrant:
        return await self._update(grant, "oracle_lease_until = now() + $3", self._lease)

    async def next_generation(self, grant: OracleGrant, *, reason: str) -> OracleGrant:
        return await self._update(grant, "generation = generation + 1, generation_reason = $3", reason)

    async def release(self, grant: OracleGrant) -> None:
        await self._pool.execute(
            "UPDATE markets SET oracle_owner = NULL, oracle_lease_until = NULL "
            "WHERE name = $1 AND oracle_epoch = $2",
            MARKET_NAME,
            grant.epoch,
        )

    async def oldest_snapshot(self) -> StreamPosition:
        row = await self._pool.fetchrow(
            "SELECT generation, snapshot_sequence FROM shards ORDER BY generation, snapshot_sequence LIMIT 1"
        )
        return StreamPosition(*row) if row else ORIGIN

    async def _update(self, grant: OracleGrant, assignments: str, value: object) -> OracleGrant:
        row = await self._pool.fetchrow(
            f"UPDATE markets SET {assignments} WHERE name = $1 AND oracle_epoch = $2 RETURNING generation",  # noqa: S608 - constants above
            MARKET_NAME,
            grant.epoch,
            value,
        )
        if row is None:
            raise Fenced("another oracle writes this market now")
        return OracleGrant(grant.epoch, row["generation"], grant.clock, grant.checkpoint)


class PostgresShardLeases:
    def __init__(self, pool: Any, *, owner: str, lease: timedelta = LEASE) -> None:
        self._pool = pool
        self._owner = owner
        self._lease = lease

    async def claim(self, held: Collection[ShardId]) -> list[ShardGrant]:
        async with self._pool.acquire() as connection, connection.transaction():
            wanted = max(0, await self._share(connection) - len(held))
            rows = await connection.fetch(
                "WITH free AS ("
                "  SELECT shard FROM shards WHERE shard <> ALL($4::int[])"
                "  AND (owner = $1 OR lease_until IS NULL OR lease_until < now())"
                "  ORDER BY (owner = $1) DESC NULLS LAST, shard LIMIT $3 FOR UPDATE SKIP LOCKED) "
                "UPDATE shards s SET owner = $1, epoch = s.epoch + 1, lease_until = now() + $2 "
                "FROM free WHERE s.shard = free.shard "
                "RETURNING s.shard, s.epoch, s.generation, s.sequence, s.time_ns, "
                "s.snapshot_sequence, s.snapshot",
                self._owner,
                self._lease,
                wanted,
                list(held),
            )
        return [
            ShardGrant(
                shard=ShardId(row["shard"]),
                epoch=row["epoch"],
                position=StreamPosition(row["generation"], row["sequence"]),
                time_ns=row["time_ns"],
                snapshot_sequence=row["snapshot_sequence"],
                snapshot=row["snapshot"],
            )
            for row in sorted(rows, key=lambda r: r["shard"])
        ]

    async def renew(self, held: dict[ShardId, int]) -> tuple[set[ShardId], int]:
        async with self._pool.acquire() as connection, connection.transaction():
            share = await self._share(connection)
            rows = await connection.fetch(
                "UPDATE shards s SET lease_until = now() + $3 "
                "FROM unnest($1::int[], $2::bigint[]) AS h(shard, epoch) "
                "WHERE s.shard = h.shard AND s.epoch = h.epoch RETURNING s.shard",
                list(held),
                list(held.values()),
                self._lease,
            )
        kept = {ShardId(row["shard"]) for row in rows}
        return kept, max(0, len(kept) - share)

    async def release(self, held: dict[ShardId, int]) -> None:
        await self._pool.execute(
            "UPDATE shards s SET owner = NULL, lease_until = NULL "
            "FROM unnest($1::int[], $2::bigint[]) AS h(shard, epoch) "
            "WHERE s.shard = h.shard AND s.epoch = h.epoch",
            list(held),
            list(held.values()),
        )

    async def leave(self) -> None:
        await self._pool.execute("DELETE FROM workers WHERE name = $1", self._owner)

    async def _share(self, connection: Any) -> int:
        """ceil(shards / workers alive), this one included."""
        await connection.execute(
            "INSERT INTO workers (name, role, alive_until) VALUES ($1, 'evaluator', now() + $2) "
            "ON CONFLICT (name) DO UPDATE SET alive_until = EXCLUDED.alive_until",
            self._owner,
            self._lease,
        )
        return int(
            await connection.fetchval(
                "SELECT ceil((SELECT count(*) FROM shards)::numeric / greatest(count(*), 1)) "
                "FROM workers WHERE role = 'evaluator' AND alive_until > now()"
            )
        )
