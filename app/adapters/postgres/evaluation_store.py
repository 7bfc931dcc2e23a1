"""The evaluator's commit: one statement, so one round trip and one transaction.

It locks the shards and checks their epochs, locks the deciding portfolios in id order and checks their
revisions, numbers the events, and writes decisions, adjustments, events, memory and checkpoint. Portfolios
that moved are left out; shards that were lost take their portfolios with them. Only what writes holdings too,
a liquidation or what the clock does, and a commit of very many portfolios take a transaction of several
statements.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import asyncpg

from app.adapters.postgres.event_rows import numbered_event, to_json
from app.adapters.postgres.portfolio_rows import load_portfolios, write_holdings
from app.adapters.postgres.stored_book import read_shards
from app.domain.adjustment_json import legs_to_json, misses_to_json
from app.domain.adjustments import OPEN_STATES, Adjustment, Decision, Fill
from app.domain.events import EVENTS, Event
from app.domain.identifiers import PortfolioId, ShardId
from app.domain.instruments import Instrument
from app.engine.verdicts import Verdict
from app.ports.evaluation import Commit, Committed, Loaded, StoredMemory

_COMMIT = """
WITH held AS MATERIALIZED (
    SELECT s.shard FROM shards s JOIN unnest($1::int[], $2::bigint[]) AS h(shard, epoch) USING (shard)
    WHERE s.epoch = h.epoch ORDER BY s.shard FOR NO KEY UPDATE OF s
), wanted AS (
    SELECT * FROM unnest($3::uuid[], $4::bigint[], $5::bigint[], $6::int[])
        AS w(id, revision, next_revision, events)
), locked AS MATERIALIZED (
    SELECT p.id, p.tenant_id, w.next_revision, w.events
    FROM portfolios p JOIN wanted w ON w.id = p.id AND w.revision = p.revision
    WHERE p.shard IN (SELECT shard FROM held) AND p.deleted_at IS NULL
    ORDER BY p.id FOR NO KEY UPDATE OF p
), numbered AS (
    UPDATE portfolios p
    SET event_sequence = p.event_sequence + l.events,
        revision = l.next_revision, evaluated_revision = l.next_revision
    FROM locked l WHERE p.id = l.id
    RETURNING p.id, p.event_sequence - l.events AS before
), decided AS (
    INSERT INTO decisions (id, tenant_id, portfolio_id, policy_id, policy_version, portfolio_revision,
        generation, sequence, time_ns, outcome, reason, conditions, inputs, repeats_before, adjustment_id)
    SELECT d.id, l.tenant_id, d.portfolio_id, d.policy_id, d.policy_version, d.portfolio_revision,
        d.generation, d.sequence, d.time_ns, d.outcome, d.reason, d.conditions, d.inputs,
        d.repeats_before, d.adjustment_id
    FROM unnest($7::uuid[], $8::uuid[], $9::uuid[], $10::int[], $11::bigint[], $12::bigint[], $13::bigint[],
        $14::bigint[], $15::text[], $16::text[], $17::jsonb[], $18::jsonb[], $19::bigint[], $20::uuid[])
        AS d(id, portfolio_id, policy_id, policy_version, portfolio_revision, generation, sequence,
             time_ns, outcome, reason, conditions, inputs, repeats_before, adjustment_id)
    JOIN locked l ON l.id = d.portfolio_id
), adjusted AS (
    INSERT INTO adjustments (id, tenant_id, portfolio_id, policy_id, policy_version, state, mode, priority,
        risk_reducing, legs, remaining, expected_cost, metrics_before, metrics_after, reaches_target,
        policies, misses, generation, sequence, decided_at_ns, expires_at_ns)
    SELECT a.id, l.tenant_id, a.portfolio_id, a.policy_id, a.policy_version, a.state, a.mode, a.priority,
        a.risk_reducing, a.legs, a.legs, a.expected_cost, a.metrics_before, a.metrics_after,
        a.reaches_target, a.policies::uuid[], a.misses, a.generation, a.sequence, a.decided_at_ns,
        a.expires_at_ns
    FROM unnest($21::uuid[], $22::uuid[], $23::uuid[], $24::int[], $25::text[], $26::text[],
        $27::smallint[], $28::bool[], $29::jsonb[], $30::numeric[], $31::jsonb[], $32::jsonb[], $33::bool[],
        $34::text[], $35::jsonb[], $36::bigint[], $37::bigint[], $38::bigint[], $39::bigint[])
        AS a(id, portfolio_id, policy_id, policy_version, state, mode, priority, risk_reducing, legs,
             expected_cost, metrics_before, metrics_after, reaches_target, policies, misses, generation,
             sequence, decided_at_ns, expires_at_ns)
    JOIN locked l ON l.id = a.portfolio_id
), ended AS (
    UPDATE adjustments a SET state = x.state, outcome = x.outcome
    FROM unnest($40::uuid[], $41::uuid[], $42::text[], $43::text[]) AS x(id, portfolio_id, state, outcome)
    JOIN locked l ON l.id = x.portfolio_id
    WHERE a.id = x.id AND a.state IN ('recommended', 'approved')
), logged AS (
    INSERT INTO events (portfolio_id, sequence, tenant_id, type, version, time_ns, data)
    SELECT e.portfolio_id, n.before + e.ordinal, l.tenant_id, e.type, e.version, e.time_ns, e.data
    FROM unnest($44::uuid[], $45::int[], $46::text[], $47::smallint[], $48::bigint[], $49::jsonb[])
        AS e(portfolio_id, ordinal, type, version, time_ns, data)
    JOIN numbered n ON n.id = e.portfolio_id JOIN locked l ON l.id = e.portfolio_id
), remembered AS (
    INSERT INTO policy_memory (policy_id, portfolio_id, memory)
    SELECT m.policy_id, m.portfolio_id, m.memory
    FROM unnest($50::uuid[], $51::uuid[], $52::bytea[], $53::bool[])
        AS m(policy_id, portfolio_id, memory, decided)
    WHERE CASE WHEN m.decided THEN m.portfolio_id IN (SELECT id FROM locked)
        ELSE EXISTS (SELECT FROM portfolios p JOIN held USING (shard) WHERE p.id = m.portfolio_id) END
    ON CONFLICT (policy_id) DO UPDATE SET memory = EXCLUDED.memory
), moved_on AS (
    UPDATE shards s
    SET generation = $54, sequence = $55, time_ns = $56,
        snapshot = coalesce($57::bytea, s.snapshot),
        snapshot_sequence = CASE WHEN $57::bytea IS NULL THEN s.snapshot_sequence ELSE $55 END
    FROM held WHERE s.shard = held.shard
)
SELECT NULL::uuid AS id, shard::bigint AS number FROM held
UNION ALL SELECT id, before FROM numbered
"""

_INSTRUMENTS = "SELECT terms FROM instruments ORDER BY id"
_TERMS = "SELECT terms FROM instruments WHERE id = ANY($1::text[])"
_HEADS = """
SELECT id, unevaluated AS open FROM portfolios
WHERE shard = ANY($1::int[]) AND id = ANY($2::uuid[]) AND deleted_at IS NULL ORDER BY id
"""
_ACTING = f"""
SELECT DISTINCT p.id FROM adjustments a JOIN portfolios p ON p.id = a.portfolio_id
WHERE p.shard = ANY($1::int[]) AND p.deleted_at IS NULL
    AND a.state IN ({", ".join(f"'{state}'" for state in sorted(OPEN_STATES))})
ORDER BY p.id
"""  # noqa: S608 - the states are constants of the domain
_MEMORIES = """
SELECT m.policy_id, m.portfolio_id, m.memory FROM policy_memory m JOIN portfolios p ON p.id = m.portfolio_id
WHERE p.shard = ANY($1::int[]) AND p.deleted_at IS NULL
"""
_MEMORIES_OF = """
SELECT policy_id, portfolio_id, memory FROM policy_memory WHERE portfolio_id = ANY($1::uuid[])
"""

_FILLS = """
INSERT INTO fills (id, tenant_id, portfolio_id, account_id, leg, kind, instrument_id, asset, quantity, price,
    fee, time_ns)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
"""

# Nobody evaluates a deleted portfolio: without an end to it, the sweep would find every one for ever.
_DELETED_IS_NEWS: Final = timedelta(minutes=1)

# Its joins are planned for few rows: what they cost grows with the square of how many there are.
_PORTFOLIOS_PER_STATEMENT: Final = 256

# PostgreSQL undid the whole transaction in favour of another one: doing it again is right.
_UNDONE: Final = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
_REPETITIONS: Final = 4


class PostgresEvaluationStore:
    def __init__(self, pool: Any) -> None:
        self._pool = pool

    async def instruments(self) -> Sequence[Instrument]:
        return [_instrument(row) for row in await self._pool.fetch(_INSTRUMENTS)]

    async def shards(self) -> int:
        return int(await self._pool.fetchval("SELECT count(*) FROM shards"))

    async def load_shards(self, shards: Iterable[ShardId]) -> Loaded:
        """As at one moment."""
        held = list(shards)
        async with (
            self._pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            stored = await read_shards(connection, held)
            acting = await connection.fetch(_ACTING, held)
            return Loaded(
                portfolios=await load_portfolios(connection, [row["id"] for row in acting]),
                instruments=[_instrument(row) for row in await connection.fetch(_INSTRUMENTS)],
                unevaluated=stored.unevaluated,
                memories=_memories(await connection.fetch(_MEMORIES, held)),
                stored=stored,
            )

    async def load(self, portfolio_ids: Iterable[PortfolioId], shards: Iterable[ShardId]) -> Loaded:
        """Heads first: what changes while the rest is read makes a revision old, never too new."""
        async with self._pool.acquire() as connection:
            heads = await connection.fetch(_HEADS, list(shards), list(portfolio_ids))
            ids = [row["id"] for row in heads]
            portfolios = await load_portfolios(connection, ids)
            used = {name for portfolio in portfolios for name in portfolio.instruments}
            return Loaded(
                portfolios=portfolios,
                instruments=[_instrument(row) for row in await connection.fetch(_TERMS, list(used))],
                unevaluated=frozenset(row["id"] for row in heads if row["open"]),
                memories=_memories(await connection.fetch(_MEMORIES_OF, ids)),
            )

    async def changed(self, shards: Iterable[ShardId]) -> Sequence[PortfolioId]:
        rows = await self._pool.fetch(
            "SELECT id FROM portfolios WHERE shard = ANY($1::int[]) AND unevaluated "
            "AND (deleted_at IS NULL OR deleted_at > now() - $2::interval)",
            list(shards),
            _DELETED_IS_NEWS,
        )
        return [row["id"] for row in rows]

    async def commit(self, commit: Commit) -> Committed:
        """Revisions and epochs are checked anew each time it is repeated."""
        for _ in range(_REPETITIONS):
            with suppress(*_UNDONE):
                return await self._commit(commit)
        return await self._commit(commit)

    async def _commit(self, commit: Commit) -> Committed:
        parts = _parts(commit)
        async with self._pool.acquire() as connection:
            if len(parts) == 1 and not any(v.fills or v.changes_state for v in commit.verdicts):
                return _committed(commit, await connection.fetch(_COMMIT, *_arguments(commit)))
            async with connection.transaction():
                written = [await _write(connection, part) for part in parts]
        return Committed(
            shards=written[0].shards,
            portfolios=frozenset().union(*(part.portfolios for part in written)),
            events=[event for part in written for event in part.events],
        )

    async def report_lost_market(self, generation: int) -> None:
        await self._pool.execute(
            "UPDATE markets SET generation = generation + 1, generation_reason = $2 WHERE generation = $1",
            generation,
            "an evaluator found the stream behind its checkpoint",
        )


def _parts(commit: Commit) -> list[Commit]:
    """Of a commit of very many portfolios, as when funding falls due: what one statement takes at a time.

    Portfolios are locked in the order of their ids here too. The first part holds the shards for all.
    """
    verdicts = sorted(commit.verdicts, key=lambda verdict: verdict.before.id)
    if len(verdicts) <= _PORTFOLIOS_PER_STATEMENT:
        return [commit]
    starts = range(0, len(verdicts), _PORTFOLIOS_PER_STATEMENT)
    first, *others = (verdicts[start : start + _PORTFOLIOS_PER_STATEMENT] for start in starts)
    return [
        replace(commit, verdicts=first),
        *(replace(commit, verdicts=part, memories=(), snapshot=None) for part in others),
    ]


async def _write(connection: Any, commit: Commit) -> Committed:
    committed = _committed(commit, await connection.fetch(_COMMIT, *_arguments(commit)))
    landed = [v for v in commit.verdicts if v.before.id in committed.portfolios]
    await write_holdings(connection, [(v.before, v.after) for v in landed if v.fills])
    await connection.executemany(_FILLS, [_fill(f, v) for v in landed for f in v.fills])
    states = [(v.before.id, v.after.state.value) for v in landed if v.changes_state]
    await connection.executemany("UPDATE portfolios SET state = $2 WHERE id = $1", states)
    return committed


def _memories(rows: Iterable[Any]) -> list[StoredMemory]:
    return [StoredMemory(row["policy_id"], row["portfolio_id"], row["memory"]) for row in rows]


def _instrument(row: Any) -> Instrument:
    return Instrument.model_validate_json(row["terms"])


def _committed(commit: Commit, rows: Sequence[Any]) -> Committed:
    before = {row["id"]: row["number"] for row in rows if row["id"] is not None}
    events: list[Event] = []
    for verdict in commit.verdicts:
        first = before.get(verdict.before.id)
        if first is not None:
            events += (numbered_event(e, first + n) for n, e in enumerate(verdict.events, start=1))
    return Committed(
        shards=frozenset(ShardId(row["number"]) for row in rows if row["id"] is None),
        portfolios=frozenset(PortfolioId(key) for key in before),
        events=events,
    )


def _arguments(commit: Commit) -> list[object]:
    verdicts = commit.verdicts
    return [
        list(commit.epochs),
        list(commit.epochs.values()),
        *_columns(4, ((v.before.id, v.before.revision, v.after.revision, len(v.events)) for v in verdicts)),
        *_columns(14, (_decision(d) for v in verdicts for d in v.decisions)),
        *_columns(19, (_adjustment(a, v) for v in verdicts for a in v.adjustments)),
        *_columns(4, ((e.work.id, v.before.id, e.state, e.outcome) for v in verdicts for e in v.ended)),
        *_columns(6, _event_rows(verdicts)),
        *_columns(4, _memory_rows(commit)),
        commit.position.generation,
        commit.position.sequence,
        commit.time_ns,
        commit.snapshot,
    ]


def _columns(width: int, rows: Iterable[tuple[object, ...]]) -> list[list[object]]:
    """Arrays for unnest, also of no rows."""
    return [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(width)]


def _decision(decision: Decision) -> tuple[object, ...]:
    return (
        decision.id,
        decision.portfolio_id,
        decision.policy_id,
        decision.policy_version,
        decision.portfolio_revision,
        decision.position.generation,
        decision.position.sequence,
        decision.time_ns,
        decision.outcome.value,
        decision.reason.value,
        to_json(decision.conditions),
        to_json(decision.inputs),
        decision.repeats_before,
        decision.adjustment_id,
    )


def _adjustment(adjustment: Adjustment, verdict: Verdict) -> tuple[object, ...]:
    """One that was recommended and ended within the same frames is stored as it ended."""
    state = next((e.state for e in verdict.ended if e.work.id == adjustment.id), adjustment.state)
    return (
        adjustment.id,
        adjustment.portfolio_id,
        adjustment.policy_id,
        adjustment.policy_version,
        state.value,
        adjustment.mode,
        adjustment.priority,
        adjustment.risk_reducing,
        to_json(legs_to_json(adjustment.legs)),
        adjustment.expected_cost,
        to_json(adjustment.metrics_before),
        to_json(adjustment.metrics_after),
        adjustment.reaches_target,
        _array_text(adjustment.policies),
        to_json(misses_to_json(adjustment.misses)),
        adjustment.position.generation,
        adjustment.position.sequence,
        adjustment.decided_at_ns,
        adjustment.expires_at_ns,
    )


def _array_text(ids: Sequence[UUID]) -> str:
    """As PostgreSQL writes an array: unnest would flatten arrays of arrays."""
    return f"{{{','.join(map(str, ids))}}}"


def _event_rows(verdicts: Sequence[Verdict]) -> Iterable[tuple[object, ...]]:
    for verdict in verdicts:
        for ordinal, event in enumerate(verdict.events, start=1):
            yield (
                event.portfolio_id,
                ordinal,
                event.type.value,
                EVENTS[event.type].version,
                event.time_ns,
                to_json(event.data),
            )


def _memory_rows(commit: Commit) -> Iterable[tuple[object, ...]]:
    for verdict in commit.verdicts:
        for policy_id, memory in verdict.memories.items():
            yield policy_id, verdict.before.id, memory.packed(), True
    for portfolio_id, policy_id, packed in commit.memories:
        yield policy_id, portfolio_id, packed, False


def _fill(fill: Fill, verdict: Verdict) -> tuple[UUID | str | int | object, ...]:
    return (
        fill.id,
        verdict.before.tenant_id,
        fill.portfolio_id,
        fill.account_id,
        fill.leg,
        fill.kind,
        fill.instrument,
        fill.asset,
        fill.quantity,
        fill.price,
        fill.fee,
        fill.time_ns,
    )
