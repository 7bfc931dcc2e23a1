"""The executor's queue and book-keeping: two short transactions per adjustment, on asyncpg directly.

Claiming skips whatever somebody else has locked, portfolio or adjustment, so it never waits and never
deadlocks. Settling takes the portfolio's next revision first: from then on nothing it read can change.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import asyncpg
from msgspec.structs import replace

from app.adapters.postgres.adjustment_rows import adjustment_of
from app.adapters.postgres.event_rows import append_events, to_json
from app.adapters.postgres.portfolio_rows import load_portfolios, touch, write_holdings
from app.domain.adjustment_events import adjustment_event
from app.domain.adjustment_json import legs_to_json
from app.domain.adjustments import AdjustmentState, Fill, check_transition
from app.domain.errors import Fenced, RevisionMoved
from app.domain.events import Event, NewEvent
from app.domain.identifiers import AdjustmentId, InstrumentId, PortfolioId, TenantId
from app.domain.instruments import Instrument
from app.domain.portfolios import Portfolio, PortfolioState
from app.ports.execution import Claimed, Claims, Settlement

_URGENT_FIRST = """
SELECT a.*, p.state AS portfolio_state, p.deleted_at IS NOT NULL AS portfolio_deleted
FROM portfolios p JOIN adjustments a ON a.portfolio_id = p.id
WHERE a.state IN ('queued', 'executing') AND (a.state = 'queued' OR a.claimed_until < now())
ORDER BY a.risk_reducing DESC, a.priority, a.decided_at_ns, a.id
LIMIT $1
FOR NO KEY UPDATE OF p, a SKIP LOCKED
"""

_TAKE = """
UPDATE adjustments a SET state = w.state, outcome = w.outcome,
    claimed_by = CASE WHEN w.state = 'executing' THEN $4 END,
    claimed_until = CASE WHEN w.state = 'executing' THEN now() + $5::interval END
FROM unnest($1::uuid[], $2::text[], $3::text[]) AS w(id, state, outcome)
WHERE a.id = w.id
"""

_TAKE_BACK = (
    "UPDATE adjustments SET claimed_until = '-infinity' WHERE state = 'executing' AND claimed_by = $1"
)

_PUT_BACK = """
UPDATE adjustments SET claimed_by = NULL, claimed_until = now() + $3::interval
WHERE id = ANY($1::uuid[]) AND state = 'executing' AND claimed_by = $2
"""

_SETTLE = """
UPDATE adjustments SET state = $3, remaining = $4::jsonb, outcome = $5
WHERE id = $1 AND state = 'executing' AND claimed_by = $2
RETURNING tenant_id
"""

_FILLS = """
INSERT INTO fills (id, tenant_id, portfolio_id, account_id, adjustment_id, leg, kind, instrument_id, asset,
                   quantity, price, fee, time_ns, source_account_id)
SELECT id, $1, portfolio_id, account_id, adjustment_id, leg, kind, instrument_id, asset, quantity, price, fee,
       time_ns, source_account_id
FROM unnest($2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[], $6::int[], $7::text[], $8::text[], $9::text[],
            $10::numeric[], $11::numeric[], $12::numeric[], $13::bigint[], $14::uuid[])
    AS f(id, portfolio_id, account_id, adjustment_id, leg, kind, instrument_id, asset, quantity, price, fee,
         time_ns, source_account_id)
ON CONFLICT (id) DO NOTHING
"""

_INSTRUMENTS = "SELECT terms FROM instruments WHERE id = ANY($1::text[])"

_S = AdjustmentState
_Verdict = tuple[AdjustmentState, str]


class PostgresExecutionStore:
    """`owner` names this executor; a successor of that name takes its work back at once."""

    def __init__(self, pool: asyncpg.Pool, *, owner: str, lease: timedelta) -> None:
        self._pool = pool
        self._owner = owner
        self._lease = lease

    async def take_back(self) -> None:
        await self._pool.execute(_TAKE_BACK, self._owner)

    async def claim(self, *, clock_ns: int, limit: int) -> Claims:
        async with self._pool.acquire() as connection, connection.transaction():
            rows = await connection.fetch(_URGENT_FIRST, limit)
            if not rows:
                return Claims(clock_ns)
            verdicts = [_verdict(row, clock_ns) for row in rows]
            await connection.execute(
                _TAKE,
                [row["id"] for row in rows],
                [state.value for state, _ in verdicts],
                [outcome for _, outcome in verdicts],
                self._owner,
                self._lease,
            )
            judged = list(zip(rows, verdicts, strict=True))
            released = {
                row["portfolio_id"]
                for row, (state, _) in judged
                if state is not _S.EXECUTING and not row["portfolio_deleted"]
            }
            for portfolio_id in sorted(released):
                await touch(connection, portfolio_id)
            news = [_change(row, *verdict, clock_ns) for row, verdict in judged if row["state"] != verdict[0]]
            events = await append_events(connection, news)
        return Claims(
            clock_ns,
            work=tuple(_claimed(row) for row, (state, _) in judged if state is _S.EXECUTING),
            events=tuple(events),
            released=tuple(sorted(released)),
            more=len(rows) == limit,
        )

    async def portfolios(self, ids: Collection[PortfolioId]) -> Mapping[PortfolioId, Portfolio]:
        async with self._pool.acquire() as connection:
            return {p.id: p for p in await load_portfolios(connection, list(ids))}

    async def instruments(self, ids: Iterable[InstrumentId]) -> Mapping[InstrumentId, Instrument]:
        rows = await self._pool.fetch(_INSTRUMENTS, list(ids))
        found = (Instrument.model_validate_json(row["terms"]) for row in rows)
        return {instrument.instrument_id: instrument for instrument in found}

    async def settle(self, settlement: Settlement) -> Sequence[Event]:
        claimed, before = settlement.claimed, settlement.before
        check_transition(_S.EXECUTING, settlement.state)
        async with self._pool.acquire() as connection, connection.transaction():
            await touch(connection, before.id, before.revision)
            tenant_id = await connection.fetchval(
                _SETTLE,
                claimed.adjustment.id,
                self._owner,
                settlement.state.value,
                to_json(legs_to_json(settlement.remaining)),
                settlement.outcome,
            )
            if tenant_id is None:
                raise Fenced(f"adjustment {claimed.adjustment.id} was taken over")
            if settlement.fills:
                await _insert_fills(connection, tenant_id, settlement.fills)
            await write_holdings(connection, [(before, settlement.after)])
            return await append_events(connection, [_ending(tenant_id, settlement)])

    async def put_back(self, ids: Collection[AdjustmentId], *, after: timedelta) -> None:
        await self._pool.execute(_PUT_BACK, list(ids), self._owner, after)


def _verdict(row: Any, clock_ns: int) -> _Verdict:
    """What becomes of a row of the queue: taken, or ended with the reason."""
    old = AdjustmentState(row["state"])
    new, outcome = _judged(row, clock_ns, queued=old is _S.QUEUED)
    if new is not old:
        check_transition(old, new)
    return new, outcome


def _judged(row: Any, clock_ns: int, *, queued: bool) -> _Verdict:
    if row["portfolio_deleted"]:
        return (_S.REJECTED if queued else _S.FAILED), "its portfolio was deleted"
    if queued and row["expires_at_ns"] <= clock_ns:
        return _S.EXPIRED, "its time passed before it was taken"
    if queued and not row["risk_reducing"] and row["portfolio_state"] != PortfolioState.ACTIVE:
        return _S.REJECTED, f"its portfolio is {row['portfolio_state']}, and it does not reduce risk"
    return _S.EXECUTING, ""


def _claimed(row: Any) -> Claimed:
    return Claimed(
        replace(adjustment_of(row), state=_S.EXECUTING),
        time_ns=_fill_time_ns(row),
        resumed=row["state"] == _S.EXECUTING,
    )


def _fill_time_ns(row: Any) -> int:
    """Market time of the frame it fills on: the one that decided, or the last one at its approval."""
    return int(row["decided_at_ns"] if row["fill_time_ns"] is None else row["fill_time_ns"])


def _change(row: Any, state: AdjustmentState, outcome: str, clock_ns: int) -> NewEvent:
    """Taking happens on the frame that it fills on; ending in the queue happens now, on the market clock."""
    time_ns = _fill_time_ns(row) if state is _S.EXECUTING else clock_ns
    return adjustment_event(
        row["tenant_id"], replace(adjustment_of(row), state=state), time_ns, outcome=outcome
    )


def _ending(tenant_id: TenantId, settlement: Settlement) -> NewEvent:
    claimed = settlement.claimed
    return adjustment_event(
        tenant_id,
        replace(claimed.adjustment, state=settlement.state),
        claimed.time_ns,
        outcome=settlement.outcome,
        fills=settlement.fills,
    )


async def _insert_fills(connection: Any, tenant_id: TenantId, fills: Sequence[Fill]) -> None:
    """All are new, or nothing is written: one that exists was booked by somebody, so read again."""
    status = await connection.execute(
        _FILLS,
        tenant_id,
        [fill.id for fill in fills],
        [fill.portfolio_id for fill in fills],
        [fill.account_id for fill in fills],
        [fill.adjustment_id for fill in fills],
        [fill.leg for fill in fills],
        [fill.kind for fill in fills],
        [fill.instrument for fill in fills],
        [fill.asset for fill in fills],
        [fill.quantity for fill in fills],
        [fill.price for fill in fills],
        [fill.fee for fill in fills],
        [fill.time_ns for fill in fills],
        [fill.source for fill in fills],
    )
    if status != f"INSERT 0 {len(fills)}":
        raise RevisionMoved("a fill of this adjustment was booked meanwhile; read it again")
