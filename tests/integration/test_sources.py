"""The registry of sources in a real PostgreSQL, and the oracle that follows it while it runs."""

import asyncio

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from app.adapters.postgres.source_rows import PostgresListings, SourceRows
from app.adapters.redis_streams.tick_publisher import flat_fields
from app.domain.market import Quality, Rejection, TickKind
from app.oracle.declared import Declared, Ladder, Pair, Quorum, Source, Standard
from app.oracle.kinds import STANDARDS
from app.oracle.signatures import signed_bytes
from app.services.declare_sources import declare_sources
from tests import factories
from tests.running_oracle import BTC, START_NS, good, oracle
from tests.waiting import eventually

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key().public_bytes_raw()
EVERYTHING = Declared(
    sources={
        "desk": Source(0.1, TickKind.PRICE, "BTC", "USD", 90_000_000_001, 7, PUBLIC, "house", enabled=False),
        "venue": Source(),
    },
    quorums={BTC: {"sources": 3, "weight": 1.7}},
    ladders={
        BTC: {
            "volatile_ratio": 2.0,
            "uncertain_fraction": 0.1,
            "dispersed_fraction": 0.2,
            "diverging_fraction": 0.3,
            "stale_for_margin_ns": 5,
            "stale_for_trading_ns": 4,
        }
    },
    kinds={
        TickKind.GAS_PRICE: Standard(Ladder(2.5, 0.15, 0.25, 0.35, 6, 7), Quorum(4, 1.5), 0.125),
        TickKind.SENTIMENT: STANDARDS[TickKind.SENTIMENT],
    },
)


async def declare(pool, declared):
    async with pool.acquire() as connection, connection.transaction():
        await SourceRows(connection).declare(declared)


@pytest.mark.parametrize(
    "declared",
    [
        EVERYTHING,
        Declared(),
        Declared({"a": Source()}),
        Declared(quorums={BTC: {"sources": 2}}, ladders={"ethereum": {"stale_for_trading_ns": 1}}),
    ],
)
async def test_what_was_declared_is_read_in_place_of_all_that_was(engine, asyncpg_pool, declared):
    await factories.create_market(engine)
    await declare(asyncpg_pool, EVERYTHING)
    await declare(asyncpg_pool, declared)
    listed = await PostgresListings(asyncpg_pool).read()
    assert listed.declared == declared
    assert listed.instruments[BTC] == Pair("BTC", "USDT", is_spot=True)


async def test_two_who_declare_at_once_come_one_after_the_other(asyncpg_pool):
    some = [Declared({f"source {n}": Source(), "shared": Source(n + 1.0)}) for n in range(6)]
    await asyncio.gather(*[declare(asyncpg_pool, each) for each in some])
    assert (await PostgresListings(asyncpg_pool).read()).declared in some


async def test_what_a_declaration_changed_is_told(asyncpg_pool):
    class Unit:
        def __init__(self, connection):
            self.sources = SourceRows(connection)

    await declare(
        asyncpg_pool,
        Declared({"a": Source(), "b": Source()}, {BTC: {"sources": 1}}, {BTC: {"volatile_ratio": 5.0}}),
    )
    async with asyncpg_pool.acquire() as connection, connection.transaction():
        found = await declare_sources(
            Unit(connection), Declared({"b": Source(2.0), "c": Source()}, kinds={TickKind.STRESS: Standard()})
        )
    assert (found.added, found.changed) == (["kind stress", "source c"], ["source b"])
    assert found.removed == [f"instrument {BTC}", "source a"]


async def test_the_oracle_follows_the_registry_while_it_runs(engine, redis_url, database_url, asyncpg_pool):
    """A key is registered, and a quorum: unsigned ticks are refused then, and one source is too few."""
    async with oracle(engine, redis_url, database_url, clock="replay") as publisher:
        first = await publisher.frame_of(flat_fields(good(1)))
        assert first.changes[0].quality is Quality.VALID
        await declare(asyncpg_pool, Declared({"venue": Source(public_key=PUBLIC)}, {BTC: {"sources": 2}}))
        sequences = iter(range(2, 10_000))

        async def refused():
            await publisher.send(flat_fields(good(next(sequences))))
            return await publisher.refusals()

        assert (await eventually(refused, what="a refusal"))[0][1] is Rejection.UNSIGNED
        tick = good(10_000)
        forged = Ed25519PrivateKey.from_private_bytes(bytes(32)).sign(signed_bytes([tick]))
        entry = await publisher.send([*flat_fields(tick), "signature", forged])
        frame = await publisher.frame_of([*flat_fields(tick), "signature", KEY.sign(signed_bytes([tick]))])
        assert frame.changes[0].quality is Quality.INSUFFICIENT_SOURCES
        assert (entry, Rejection.BAD_SIGNATURE) in await publisher.refusals()


async def test_f14_signed_entries_that_are_sent_again_are_refused_by_their_sequence(
    engine, redis_url, database_url, asyncpg_pool
):
    """Flat or packed: the signature is over what was said."""
    await declare(asyncpg_pool, Declared({"venue": Source(public_key=PUBLIC)}))
    async with oracle(engine, redis_url, database_url, clock="replay") as publisher:
        ticks = [good(1), good(2, time_ns=START_NS + 1)]
        signature = KEY.sign(signed_bytes(ticks))
        packed = publisher.packed(ticks)
        await publisher.frame_of([*packed, "signature", signature])
        await publisher.send([*packed, "signature", signature])
        frame = await publisher.frame_of(
            [*flat_fields(good(3)), "signature", KEY.sign(signed_bytes([good(3)]))]
        )
        assert frame.sequence == 2
        assert [reason for _, reason in await publisher.refusals()] == [Rejection.OLD_SEQUENCE] * 2
