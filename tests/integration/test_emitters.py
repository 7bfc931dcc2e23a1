"""The registry of events says which roles emit what: here each role is brought to do all of it.

That what they say is as documented is checked of every test's database, in `tests/conftest.py`.
"""

import asyncio
from contextlib import AsyncExitStack
from decimal import Decimal

import pytest

from app.bootstrap import stack
from app.domain.adjustments import TransferLeg
from app.domain.conditions import Comparison
from app.domain.events import EVENTS, Emitter
from app.domain.families.rule import Notify, SetState
from app.domain.identifiers import Asset
from app.domain.instruments import Instrument
from app.domain.market import Tick, TickKind
from app.domain.policies import Guards, LiquidationGuard, Mode, Rule
from app.domain.portfolios import MarginMode
from app.settings import Settings
from tests import factories
from tests.event_documents import emitted
from tests.execution import DECIDED_NS, Desk, Exchange, queue, sell
from tests.waiting import eventually

BEGIN_NS = 1_709_251_200_000_000_000
SECOND_NS = 1_000_000_000
FUTURE = Instrument.model_validate(
    {
        "id": "BTC-USDT-1MAR24",
        "kind": "future",
        "underlying": "BTC",
        "quote": "USDT",
        "expiry": "2024-03-01T08:00:00Z",
    }
)

POOL = Instrument(
    id="AAVE-BTC", kind="lending", underlying="BTC", quote="USDT", supply_rate_annual=Decimal("0.01")
)


def registered(emitter):
    return {spec.type for spec in EVENTS.values() if emitter in spec.emitters}


FALLEN = Rule(
    name="fallen",
    mode=Mode.AUTO,
    condition=Comparison(metric="price.BTC-USDT-PERP", op="below", value=50_000),
    actions=(Notify(message="BTC is below 50,000"), SetState(state="reduce_only")),
)


def guard(mode, **guards):
    guards = Guards(**({"expiry_seconds": 1} | guards))
    return LiquidationGuard(
        name="guard", mode=mode, trigger=Decimal("0.05"), restore=Decimal("0.03"), guards=guards
    )


@pytest.fixture
async def tenant(engine):
    await factories.create_market(engine)
    return await factories.create_tenant(engine)


async def test_the_evaluator_emits_what_the_registry_says(
    engine, tenant, asyncpg_pool, database_url, redis_url
):
    for mode in (Mode.RECOMMEND, Mode.AUTO):
        await factories.create_portfolio(engine, tenant, policies=[guard(mode)])
    await factories.create_portfolio(engine, tenant, policies=[FALLEN])
    held = {"positions": {"BTC-USDT-PERP": ("1", "60000")}}
    patient = guard(Mode.RECOMMEND, expiry_seconds=86_400, cooldown_seconds=0)
    await factories.create_portfolio(engine, tenant, **held, balances={"USDT": "20000"}, policies=[patient])
    await factories.create_portfolio(engine, tenant, **held, balances={"USDT": "15000"})
    await factories.create_portfolio(engine, tenant, **held, balances={"USDT": "16225"})
    await factories.create_instruments(engine, [FUTURE, POOL])
    await factories.create_portfolio(
        engine, tenant, positions={POOL.id: ("1", "0")}, margin_mode=MarginMode.LENDING
    )
    await factories.create_portfolio(
        engine,
        tenant,
        positions={"BTC-USDT-PERP": ("1", "44000"), FUTURE.id: ("1", "44000")},
        balances={"USDT": "90000"},
    )
    settings = Settings(database_url=database_url, redis_url=redis_url, clock="replay", instance="test")
    stop = asyncio.Event()
    async with AsyncExitStack() as resources:
        connected = await resources.enter_async_context(stack(settings))
        oracle = await connected.oracle()
        lane = (await connected.lanes())(await (await connected.shard_leases()).claim([]))
        ticks = await connected.ticks()
        tasks = [asyncio.create_task(oracle.run(stop)), asyncio.create_task(lane.run(stop))]
        rate = Tick(TickKind.FUNDING_RATE, "test", "BTC-USDT-PERP", 1, BEGIN_NS, 0.0001)
        await ticks.publish([rate])
        # Nobody speaks for a while; in the end funding is due, and the future expires.
        seconds = (0, 1, 2, 3, 20, 40, 41, 55, 8 * 3_600)
        prices = (60_000.0, *[44_000.0] * 3, None, None, 44_000.0, 44_000.0, 42_000.0)
        for sequence, (second, price) in enumerate(zip(seconds, prices, strict=True), 1):
            time_ns = BEGIN_NS + second * SECOND_NS
            named = ("BTC-USDT-PERP", "BTC-USDT", FUTURE.id)
            spoken = [
                Tick(TickKind.PRICE, "test", name, sequence, time_ns, price, 1.0) for name in named if price
            ]
            await ticks.publish(spoken or [Tick(TickKind.HEARTBEAT, "clock", "", sequence, time_ns, 0.0)])
        caught_up = "SELECT bool_and(sequence >= $1) FROM shards"
        await eventually(lambda: asyncpg_pool.fetchval(caught_up, 1 + len(seconds)), timeout=30)
        stop.set()
        await asyncio.gather(*tasks)
    assert await emitted(database_url) == registered(Emitter.EVALUATOR)


async def test_the_executor_emits_what_the_registry_says(engine, tenant, asyncpg_pool, database_url):
    def top_up(portfolio):
        return TransferLeg(portfolio.accounts[0].id, Asset("USDT"), Decimal(100))

    executed, partly, failed, expired, rejected = [
        await factories.create_portfolio(engine, tenant) for _ in range(5)
    ]
    await queue(asyncpg_pool, executed)
    await queue(asyncpg_pool, partly, [top_up(partly), sell(partly)])
    await queue(asyncpg_pool, failed, [top_up(failed)])
    await queue(asyncpg_pool, expired, expires_at_ns=DECIDED_NS)
    await queue(asyncpg_pool, rejected)
    await asyncpg_pool.execute("UPDATE portfolios SET deleted_at = now() WHERE id = $1", rejected.id)
    await Desk(asyncpg_pool, venue=Exchange(refuses=frozenset({"transfer"}))).drain()
    assert await emitted(database_url) == registered(Emitter.EXECUTOR)
