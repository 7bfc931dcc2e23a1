"""What was decided and done, in canonical order, without wall-clock columns: equal runs, equal bytes."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

from msgspec import json

from app.domain.times import rfc3339

_DECISIONS = """
SELECT id, portfolio_id, policy_id, policy_version, portfolio_revision, generation, sequence, time_ns,
    outcome, reason, conditions, inputs, repeats_before, adjustment_id
FROM decisions ORDER BY generation, sequence, portfolio_id, policy_id, id
"""
_ADJUSTMENTS = """
SELECT id, portfolio_id, policy_id, policy_version, state, mode, priority, risk_reducing, legs, remaining,
    trim_scale(expected_cost) AS expected_cost, metrics_before, metrics_after, reaches_target, policies,
    misses, generation, sequence, decided_at_ns, expires_at_ns, fill_time_ns, outcome
FROM adjustments ORDER BY generation, sequence, portfolio_id, policy_id, id
"""
_FILLS = """
SELECT id, portfolio_id, account_id, source_account_id, adjustment_id, leg, kind, instrument_id, asset,
    trim_scale(quantity) AS quantity, trim_scale(price) AS price, trim_scale(fee) AS fee, time_ns
FROM fills ORDER BY time_ns, portfolio_id, account_id, adjustment_id, leg, id
"""
_POSITIONS = """
SELECT a.portfolio_id, p.account_id, p.ordinal, p.instrument_id, trim_scale(p.quantity) AS quantity,
    trim_scale(p.entry_price) AS entry_price
FROM positions p JOIN accounts a ON a.id = p.account_id ORDER BY a.portfolio_id, a.ordinal, p.ordinal
"""
_BALANCES = """
SELECT a.portfolio_id, b.account_id, b.ordinal, b.asset, trim_scale(b.amount) AS amount
FROM balances b JOIN accounts a ON a.id = b.account_id ORDER BY a.portfolio_id, a.ordinal, b.ordinal
"""
_COUNTS = """
SELECT
    (SELECT count(*) FROM decisions WHERE portfolio_id = $1) AS decisions,
    (SELECT count(*) FROM adjustments WHERE portfolio_id = $1) AS adjustments,
    (SELECT count(*) FROM adjustments WHERE portfolio_id = $1 AND state = 'executed') AS executed,
    (SELECT count(*) FROM fills WHERE portfolio_id = $1) AS fills,
    (SELECT count(*) FROM events WHERE portfolio_id = $1 AND type = 'account.liquidated') AS liquidations
"""
_TOTALS = """
SELECT
    (SELECT count(*) FROM decisions WHERE tenant_id = $1) AS decisions,
    (SELECT count(*) FROM adjustments WHERE tenant_id = $1) AS adjustments,
    (SELECT count(*) FROM events WHERE tenant_id = $1) AS events
"""
_LATEST = """
SELECT p.name AS portfolio, a.state, a.legs, a.decided_at_ns FROM adjustments a
JOIN portfolios p ON p.id = a.portfolio_id WHERE a.tenant_id = $1
ORDER BY a.created_at DESC, a.id LIMIT 12
"""
_TABLES = {
    "decision": _DECISIONS,
    "adjustment": _ADJUSTMENTS,
    "fill": _FILLS,
    "position": _POSITIONS,
    "balance": _BALANCES,
}


class PostgresExports:
    def __init__(self, pool: Any) -> None:
        self._pool = pool

    async def lines(self) -> AsyncIterator[str]:
        """One JSON object a line; decimals as strings."""
        async with (
            self._pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            for kind, query in _TABLES.items():
                wrapped = (
                    f"SELECT jsonb_build_object('record', '{kind}') || to_jsonb(r) AS line "  # noqa: S608 - constants above
                    f"FROM ({query}) AS r"
                )
                async for row in connection.cursor(wrapped):
                    yield row["line"]

    async def counts(self, portfolio_id: UUID) -> dict[str, int]:
        row = await self._pool.fetchrow(_COUNTS, portfolio_id)
        return dict(row)

    async def totals(self, tenant_id: UUID) -> dict[str, int]:
        return dict(await self._pool.fetchrow(_TOTALS, tenant_id))

    async def heads(self, tenant_id: UUID) -> dict[str, int]:
        """The last event's sequence, by portfolio."""
        rows = await self._pool.fetch(
            "SELECT id, event_sequence FROM portfolios WHERE tenant_id = $1", tenant_id
        )
        return {str(row["id"]): row["event_sequence"] for row in rows}

    async def events(self, tenant_id: UUID) -> list[tuple[str, int]]:
        rows = await self._pool.fetch(
            "SELECT portfolio_id, sequence FROM events WHERE tenant_id = $1", tenant_id
        )
        return [(str(row["portfolio_id"]), row["sequence"]) for row in rows]

    async def latest_adjustments(self, tenant_id: UUID) -> list[dict[str, str]]:
        """In words, newest first."""
        return [
            {
                "portfolio": row["portfolio"],
                "state": row["state"],
                "time": rfc3339(row["decided_at_ns"])[11:23],
                "what": ", ".join(_in_words(leg) for leg in json.decode(row["legs"])),
            }
            for row in await self._pool.fetch(_LATEST, tenant_id)
        ]


def _in_words(leg: dict[str, Any]) -> str:
    if leg["type"] == "transfer":
        tops_up = leg.get("source_account_id") is None
        return f"{'top up' if tops_up else 'move'} {leg['amount']} {leg['asset']}"
    if leg["type"] == "lending":
        return f"{leg['action']} {leg['amount']} {leg['instrument']}"
    sells = leg["quantity"].startswith("-")
    return f"{'sell' if sells else 'buy'} {leg['quantity'].removeprefix('-')} {leg['instrument']}"
