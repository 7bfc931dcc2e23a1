"""The registry of sources, and what the oracle reads of it and of the instruments."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple
from typing import Any, Final

import msgspec
from typing_extensions import override

from app.adapters.postgres.markets import listed_pairs
from app.domain.market import TickKind
from app.oracle.declared import (
    Declared,
    Ladder,
    LadderTerms,
    Pair,
    Quorum,
    QuorumTerms,
    Source,
    Standard,
)
from app.ports.sources import Listed, Listings, SourceStore

_SOURCES: Final = """
SELECT id, weight, kind, base, quote, maximum_age_ns, heartbeat_ns, public_key, publisher, enabled
FROM sources ORDER BY id
"""
_TERMS: Final = "SELECT instrument, terms FROM consensus_terms ORDER BY instrument"
_KINDS: Final = """
SELECT kind, tolerance, least_sources, least_weight, volatile_ratio, uncertain_fraction, dispersed_fraction,
       diverging_fraction, stale_for_margin_ns, stale_for_trading_ns
FROM kind_terms ORDER BY kind
"""
_LOCK: Final = "LOCK TABLE sources, consensus_terms, kind_terms IN SHARE ROW EXCLUSIVE MODE"
_INSERT_SOURCE: Final = """
INSERT INTO sources (
    id, weight, kind, base, quote, maximum_age_ns, heartbeat_ns, public_key, publisher, enabled
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
"""
_INSERT_TERMS: Final = "INSERT INTO consensus_terms (instrument, terms) VALUES ($1, $2::jsonb)"
_INSERT_KIND: Final = """
INSERT INTO kind_terms (
    kind, tolerance, least_sources, least_weight, volatile_ratio, uncertain_fraction, dispersed_fraction,
    diverging_fraction, stale_for_margin_ns, stale_for_trading_ns
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
"""


class _Terms(msgspec.Struct, frozen=True):
    quorum: QuorumTerms | None
    ladder: LadderTerms | None


_terms = msgspec.json.Decoder(_Terms)


class SourceRows(SourceStore):
    """On a connection in a transaction."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw

    @override
    async def declared(self) -> Declared:
        sources, terms = await self._raw.fetch(_SOURCES), await self._raw.fetch(_TERMS)
        return _declared(sources, terms, await self._raw.fetch(_KINDS))

    @override
    async def pairs(self) -> Mapping[str, Pair]:
        return await listed_pairs(self._raw)

    @override
    async def declare(self, declared: Declared) -> None:
        await self._raw.execute(_LOCK)
        await self._raw.execute("DELETE FROM sources")
        await self._raw.execute("DELETE FROM consensus_terms")
        await self._raw.execute("DELETE FROM kind_terms")
        sources = [(name, *astuple(source)) for name, source in declared.sources.items()]
        await self._raw.executemany(_INSERT_SOURCE, sources)
        named = declared.quorums.keys() | declared.ladders.keys()
        terms = {name: _Terms(declared.quorums.get(name), declared.ladders.get(name)) for name in named}
        rows = [(name, msgspec.json.encode(each).decode()) for name, each in terms.items()]
        await self._raw.executemany(_INSERT_TERMS, rows)
        kinds = [
            (kind, s.tolerance, *astuple(s.quorum), *astuple(s.ladder)) for kind, s in declared.kinds.items()
        ]
        await self._raw.executemany(_INSERT_KIND, kinds)


class PostgresListings(Listings):
    def __init__(self, pool: Any) -> None:
        self._pool = pool

    @override
    async def read(self) -> Listed:
        async with (
            self._pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            rows = SourceRows(connection)
            return Listed(await rows.pairs(), await rows.declared())


def _declared(sources: Sequence[Any], terms: Sequence[Any], kinds: Sequence[Any]) -> Declared:
    by_instrument = {row["instrument"]: _terms.decode(row["terms"]) for row in terms}
    return Declared(
        sources={row["id"]: _source(row) for row in sources},
        quorums={name: each.quorum for name, each in by_instrument.items() if each.quorum},
        ladders={name: each.ladder for name, each in by_instrument.items() if each.ladder},
        kinds={TickKind(row["kind"]): _standard(row) for row in kinds},
    )


def _standard(row: Any) -> Standard:
    _, tolerance, sources, weight, *thresholds = row
    return Standard(Ladder(*thresholds), Quorum(sources, weight), tolerance)


def _source(row: Any) -> Source:
    return Source(
        weight=row["weight"],
        kind=TickKind(row["kind"]) if row["kind"] is not None else None,
        base=row["base"],
        quote=row["quote"],
        maximum_age_ns=row["maximum_age_ns"],
        heartbeat_ns=row["heartbeat_ns"],
        public_key=row["public_key"],
        publisher=row["publisher"],
        enabled=row["enabled"],
    )
