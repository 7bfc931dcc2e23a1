"""The market's row and its shards, and whether everything that was published has been worked off."""

from typing import Any

from app.adapters.postgres.leases import MARKET_NAME
from app.domain.errors import ConfigurationError


async def ensure_market(pool: Any, *, clock: str, shards: int) -> None:
    """Creates the market once; its clock and the number of its shards stay what they are."""
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(
            "INSERT INTO markets (name, clock, shards) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            MARKET_NAME,
            clock,
            shards,
        )
        row = await connection.fetchrow("SELECT clock, shards FROM markets WHERE name = $1", MARKET_NAME)
        if row["clock"] != clock:
            raise ConfigurationError(
                f"this database's market runs on the {row['clock']} clock, not {clock}: use another database"
            )
        await connection.execute(
            "INSERT INTO shards (shard) SELECT generate_series(0, $1::int - 1) ON CONFLICT DO NOTHING",
            row["shards"],
        )


class Quiescence:
    """Nothing queued or executing, every revision evaluated."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    async def settled(self) -> bool:
        return bool(
            await self._pool.fetchval(
                "SELECT NOT EXISTS (SELECT FROM adjustments WHERE state IN ('queued', 'executing')) "
                "AND NOT EXISTS (SELECT FROM portfolios "
                "WHERE unevaluated AND deleted_at IS NULL)"
            )
        )

    async def shards(self) -> int:
        return int(await self._pool.fetchval("SELECT count(*) FROM shards"))
