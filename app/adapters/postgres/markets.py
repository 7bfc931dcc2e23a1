"""The market's row and shards, what is listed, and whether all that was published has been worked off."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from app.adapters.postgres.leases import MARKET_NAME
from app.domain.errors import ConfigurationError
from app.domain.instruments import InstrumentKind
from app.domain.times import to_ns
from app.oracle.declared import OptionTerms, Pair


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


async def listed_pairs(connection: Any) -> dict[str, Pair]:
    """What the oracle must know of every instrument."""
    rows = await connection.fetch(
        "SELECT id, kind, underlying, terms->>'quote' AS quote, terms->>'strike' AS strike, "
        "terms->>'expiry' AS expiry, terms->>'marked_by' AS marked_by FROM instruments"
    )
    return {
        row["id"]: Pair(
            row["underlying"],
            row["quote"],
            row["kind"] == InstrumentKind.SPOT,
            _option_terms(row) if row["kind"] == InstrumentKind.OPTION else None,
        )
        for row in rows
    }


def _option_terms(row: Mapping[str, str]) -> OptionTerms:
    return OptionTerms(float(row["strike"]), to_ns(datetime.fromisoformat(row["expiry"])), row["marked_by"])


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
