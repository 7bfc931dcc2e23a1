"""FAULTS 24: an executor killed with SIGKILL, wherever it stood: whoever is next finishes its work once."""

import asyncio
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from tests import factories
from tests.execution import Desk, ending, events_of, portfolio_now, queue, sell
from tests.faults.doomed_executor import POINTS
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]


async def killed_at(point: str, database_url: str) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.faults.doomed_executor", database_url, point,
        cwd=ROOT, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        line = await asyncio.wait_for(process.stderr.readline(), 30)
    finally:
        process.kill()
        await process.wait()
    assert line == b"here\n"


@pytest.mark.parametrize("successor", ["executor-1", "executor-2"])
@pytest.mark.parametrize("point", POINTS)
async def test_f24_killed_and_finished_once(engine, asyncpg_pool, database_url, point, successor):
    """A successor of the same name takes it back at once, another one when the lease has run out."""
    await factories.create_market(engine)
    portfolio = await factories.create_portfolio(engine, await factories.create_tenant(engine))
    adjustment_id = await queue(asyncpg_pool, portfolio, [sell(portfolio, "0.5")])
    before = await portfolio_now(asyncpg_pool, portfolio.id)

    await killed_at(point, database_url)

    nxt = Desk(asyncpg_pool, owner=successor)
    if successor == "executor-1":
        await nxt.executor.take_back()
    else:
        await asyncpg_pool.execute("UPDATE adjustments SET claimed_until = now() - interval '1 second'")

    async def executed():
        await nxt.drain()  # the dead one's locks go when the server notices
        return (await ending(asyncpg_pool, adjustment_id))[0] == "executed"

    await eventually(executed)
    await nxt.drain()
    after = await portfolio_now(asyncpg_pool, portfolio.id)
    assert after.accounts[0].positions[0].quantity == Decimal("0.5")
    assert after.accounts[0].balances[0].amount == 20_000 - 5_005 - Decimal("12.4975")
    assert after.revision == before.revision + 1
    assert await asyncpg_pool.fetchval("SELECT count(*) FROM fills") == 1
    assert await events_of(asyncpg_pool, portfolio.id) == [
        (1, "adjustment.executing"),
        (2, "adjustment.executed"),
    ]
