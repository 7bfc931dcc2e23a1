"""What other tests stand on: databases of their own, an empty Redis, rows to begin with."""

import pytest
from sqlalchemy import text

from app.domain.policies import DeltaNeutral, LiquidationGuard
from tests import factories
from tests.waiting import eventually


@pytest.mark.parametrize("turn", [1, 2])
async def test_each_test_has_a_database_and_a_redis_of_its_own(engine, redis, turn):
    await factories.create_tenant(engine, name="only once: the name is unique")
    assert await redis.dbsize() == 0
    await redis.xadd("oracle:ticks", {"turn": turn})


async def test_rows_to_begin_with(engine, asyncpg_pool):
    await factories.create_market(engine, shards=4)
    tenant = await factories.create_tenant(engine)
    key = await factories.create_key(engine, tenant)
    guard = LiquidationGuard(name="stay alive", trigger="0.5", restore="0.3")
    portfolio = await factories.create_portfolio(engine, tenant, policies=[guard])
    neutral = DeltaNeutral(name="flat", underlying="BTC", band="0.25", hedge_instruments=("BTC-USDT-PERP",))
    await factories.add_policy(engine, portfolio, neutral)

    assert key.startswith("blst_")
    rows = await asyncpg_pool.fetch("SELECT kind, ordinal FROM policies ORDER BY ordinal")
    assert [tuple(row) for row in rows] == [("liquidation_guard", 0), ("delta_neutral", 1)]
    stored = await asyncpg_pool.fetchrow("SELECT revision, shard FROM portfolios")
    assert stored["revision"] == 2
    assert stored["shard"] in range(4)
    assert await asyncpg_pool.fetchval("SELECT sum(quantity) FROM positions") == 1


async def test_servers_are_as_new_as_the_service_needs(engine, redis):
    async with engine.connect() as connection:
        assert int(await connection.scalar(text("SHOW server_version_num"))) >= 160_000
    version = (await redis.info("server"))["redis_version"]
    assert tuple(map(int, version.split(".")[:2])) >= (6, 2)


async def test_eventually_waits_for_async_conditions_and_assertions(redis):
    tries = []

    async def counted():
        tries.append(1)
        assert await redis.incr("tries") >= 3
        return "there"

    assert await eventually(counted) == "there"
    assert len(tries) == 3


async def test_eventually_says_what_it_last_saw():
    with pytest.raises(AssertionError, match=r"the queue drains did not come true within 0.05 s; last: 0"):
        await eventually(lambda: 0, timeout=0.05, what="the queue drains")
