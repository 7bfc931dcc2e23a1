"""The oracle on real Redis and PostgreSQL, when clocks misbehave."""

import time

from app.adapters.redis_streams import wire as wires
from app.adapters.wall_clock import SystemClock
from tests.running_oracle import oracle
from tests.waiting import eventually

HOUR_NS = 3_600_000_000_000
RENEWED = """
SELECT oracle_lease_until > $1::timestamptz + interval '3 seconds' FROM markets
"""


async def test_a_wall_clock_that_was_set_back_is_no_silence_of_redis(
    engine, redis_url, database_url, asyncpg_pool, monkeypatch
):
    """The next heartbeat is an hour away then: it is not waited for in one read."""
    monkeypatch.setattr(wires, "REPLY_SECONDS", 1.5)
    async with oracle(engine, redis_url, database_url, clock="live") as publisher:
        await eventually(publisher.frames)
        monkeypatch.setattr(SystemClock, "now_ns", lambda _: time.time_ns() - HOUR_NS)
        until = await asyncpg_pool.fetchval("SELECT oracle_lease_until FROM markets")
        await eventually(lambda: asyncpg_pool.fetchval(RENEWED, until), what="a lease that is renewed")
