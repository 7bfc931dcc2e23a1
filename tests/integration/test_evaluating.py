"""FAULTS 21: what is changed while the market moves is decided on as it is, never as it was.

Oracle and lane run in this process, on real Redis and PostgreSQL, wired as bootstrap wires the roles.
"""

import asyncio
import json
from contextlib import AsyncExitStack
from decimal import Decimal
from uuid import uuid4

import msgspec
import pytest
from msgspec.structs import replace
from prometheus_client import generate_latest

from app.adapters.postgres import evaluation_store
from app.adapters.postgres.evaluation_store import PostgresEvaluationStore
from app.adapters.postgres.leases import PostgresShardLeases
from app.adapters.redis_streams.evaluator_figures import read_figures
from app.adapters.redis_streams.hints import hint
from app.adapters.redis_streams.market_feed import RedisMarketFeed
from app.adapters.redis_streams.market_log import RedisMarketLog
from app.adapters.redis_streams.wire import Wire
from app.adapters.wall_clock import SystemClock
from app.bootstrap import stack
from app.domain.adjustments import MissReason
from app.domain.errors import OperatorsOwn
from app.domain.identifiers import OperatorPolicyId, PortfolioId, shard_of
from app.domain.instruments import Instrument
from app.domain.market import (
    LENGTH_BYTES,
    Change,
    Frame,
    PackedFrames,
    Quality,
    StreamPosition,
    Tick,
    TickKind,
)
from app.domain.policies import Cure, Guards, LiquidationGuard, Mode
from app.domain.portfolio_events import state_event
from app.domain.portfolios import MarginMode, PortfolioState
from app.engine.memory import PolicyMemory
from app.engine.turn import Turn
from app.engine.verdicts import Verdict
from app.entrypoints.api.evaluator_metrics import EvaluatorMetrics
from app.entrypoints.cli import status
from app.oracle.memory import Memory
from app.ports.evaluation import Commit
from app.services.cut_blocks import FRAMES_PER_BLOCK
from app.services.documents import OperatorPolicyDocument, PositionDocument, SnapshotDocument
from app.services.evaluate_market import Lane
from app.services.manage_instruments import put_instrument
from app.services.manage_operator_policies import create_operator_policy
from app.services.manage_policies import delete_policy, replace_policy, set_policy_enabled
from app.services.manage_portfolios import change_portfolio_state, delete_portfolio
from app.services.replace_positions import replace_positions
from app.services.set_aside import RETRY_NS
from app.settings import Settings
from tests import factories
from tests.factories import BTC_INVERSE, BTC_PERP, BTC_SPOT
from tests.waiting import eventually

BEGIN_NS = 1_709_251_200_000_000_000
BOUNDARY_NS = BEGIN_NS + 8 * 3_600 * 1_000_000_000
CALM, CRASH = 60_000.0, 44_000.0
GUARD = LiquidationGuard(name="stay alive", trigger=Decimal("0.05"), restore=Decimal("0.03"))
COMMITS_THAT_WAIT = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%WITH held AS MATERIALIZED%'
"""
SEEN = "SELECT NOT unevaluated FROM portfolios WHERE id = $1"
DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
DECISIONS = """
SELECT portfolio_revision, policy_version, generation, sequence, outcome
FROM decisions WHERE portfolio_id = $1 ORDER BY sequence, portfolio_revision
"""


class Running:
    """One portfolio: long 1 BTC from 60,000 on 20,000 USDT, guarded at a margin ratio of 0.05."""

    def __init__(self, *, settings, ticks, units, pool, portfolio):
        self.settings = settings
        self.units = units
        self.pool = pool
        self.portfolio = portfolio
        self.tenant = portfolio.tenant_id
        self.policy = portfolio.policies[0].id
        self._ticks = ticks
        self._sequence = 0

    async def price(self, value: float, *names: str, confidence: float = 1.0) -> None:
        """Published, of bitcoin when nothing is named; nobody is waited for."""
        self._sequence += 1
        time_ns = BEGIN_NS + self._sequence * 1_000_000_000
        ticks = [
            Tick(TickKind.PRICE, "test", name, self._sequence, time_ns, value, confidence)
            for name in names or (BTC_PERP.id, BTC_SPOT.id)
        ]
        await self._ticks.publish(ticks)

    async def fund(self, rate: float) -> None:
        await self._ticks.publish(
            [Tick(TickKind.FUNDING_RATE, "test", BTC_PERP.id, 1, BEGIN_NS + 2_000_000_000, rate)]
        )

    async def heartbeat(self, time_ns: int) -> None:
        await self._ticks.publish([Tick(TickKind.HEARTBEAT, "clock", "", time_ns, time_ns, 0.0)])

    async def hold(self, unit, quantity: str):
        """What the owner says the account holds now."""
        position = PositionDocument(instrument=BTC_PERP.id, quantity=quantity, entry_price="60000")
        document = SnapshotDocument(account="main", positions=(position,))
        await replace_positions(unit, self.tenant, self.portfolio.id, document, time_ns=0)

    async def decisions(self, portfolio=None):
        return await self.pool.fetch(DECISIONS, (portfolio or self.portfolio).id)

    async def stored(self, unit):
        return await unit.portfolios.get(self.tenant, self.portfolio.id)

    async def adjustments(self, least: int = 1):
        """Newest first; nothing while there are fewer."""
        async with self.units() as unit:
            page = await unit.adjustments.page(
                self.tenant, portfolio_id=self.portfolio.id, policy_id=None, state=None, after=None, limit=9
            )
        found = [record.adjustment for record in page.items]
        return found if len(found) >= least else []

    async def revision_evaluated(self, portfolio=None) -> int | None:
        """None while the present one has not been."""
        query = "SELECT CASE WHEN NOT unevaluated THEN revision END FROM portfolios WHERE id = $1"
        return await self.pool.fetchval(query, (portfolio or self.portfolio).id)

    async def come_to(self, sequence: int) -> None:
        """The shard has committed this frame."""
        query = "SELECT s.sequence >= $2 FROM shards s JOIN portfolios p USING (shard) WHERE p.id = $1"
        await eventually(lambda: self.pool.fetchval(query, self.portfolio.id, sequence))


@pytest.fixture
async def running(engine, asyncpg_pool, database_url, redis_url):
    await factories.create_market(engine)
    tenant = await factories.create_tenant(engine)
    portfolio = await factories.create_portfolio(engine, tenant, policies=[GUARD])
    settings = Settings(database_url=database_url, redis_url=redis_url, clock="replay", instance="test")
    stop = asyncio.Event()
    async with AsyncExitStack() as resources:
        connected = await resources.enter_async_context(stack(settings))
        oracle = await connected.oracle()
        lane = (await connected.lanes())(await (await connected.shard_leases()).claim([]))
        ticks, units = await connected.ticks(), await connected.units()
        tasks = [asyncio.create_task(oracle.run(stop)), asyncio.create_task(lane.run(stop))]
        try:
            yield Running(settings=settings, ticks=ticks, units=units, pool=asyncpg_pool, portfolio=portfolio)
        finally:
            stop.set()
            await asyncio.gather(*tasks)


async def test_f21_changed_between_two_ticks_it_is_decided_on_at_once(running):
    """No further tick is needed: the last frame is decided again for the new revision."""
    await running.price(CALM)
    await running.come_to(1)
    assert await running.decisions() == []
    async with running.units() as unit:
        await running.hold(unit, "10")  # 3,000 of margin on 20,000: beyond the trigger
    (decision,) = await eventually(running.decisions)
    assert (decision["portfolio_revision"], decision["generation"], decision["sequence"]) == (2, 1, 1)
    assert decision["outcome"] == "acted"


async def test_f21_a_decision_on_holdings_that_changed_meanwhile_does_not_land(running):
    await running.price(CALM)
    await running.come_to(1)
    async with running.units() as unit:
        await unit.portfolios.lock(running.tenant, running.portfolio.id)
        await running.price(CRASH)
        await eventually(lambda: running.pool.fetchval(COMMITS_THAT_WAIT), what="a commit that waits")
        await running.hold(unit, "1.1")
    (decision,) = await eventually(running.decisions)
    assert (decision["portfolio_revision"], decision["sequence"]) == (2, 2)
    assert decision["outcome"] == "acted"
    await running.come_to(2)
    assert len(await running.decisions()) == 1


FUNDING = """
SELECT f.time_ns, f.price, f.fee, f.quantity, p.accrued_ns, b.amount
FROM fills f JOIN positions p USING (account_id, instrument_id) JOIN balances b USING (account_id, asset)
WHERE f.kind = 'funding'
"""


async def test_f21_funding_is_paid_once_and_on_what_is_held_by_then(running):
    """The commit that pays it finds the position changed: nothing is paid twice, and nothing forgotten."""
    await running.price(CALM)
    await running.fund(0.0001)
    await running.come_to(2)
    async with running.units() as unit:
        await unit.portfolios.lock(running.tenant, running.portfolio.id)
        await running.heartbeat(BOUNDARY_NS)
        await eventually(lambda: running.pool.fetchval(COMMITS_THAT_WAIT), what="a commit that waits")
        await running.hold(unit, "0.5")
    await running.come_to(3)
    await running.heartbeat(BOUNDARY_NS + 1)
    await running.come_to(4)
    (paid,) = await running.pool.fetch(FUNDING)
    assert tuple(paid) == (BOUNDARY_NS, 60_000, 3, Decimal("0.5"), BOUNDARY_NS, 19_997)
    assert await eventually(running.revision_evaluated) == 3
    (event,) = await running.pool.fetch("SELECT type, time_ns FROM events")
    assert tuple(event) == ("funding.accrued", BOUNDARY_NS)


ETH_PERP = Instrument(id="ETH-USDT-PERP", kind="perpetual", underlying="ETH", quote="USDT")


@pytest.fixture
async def beside(engine, running):
    """Another portfolio of the same shards: long 20 ETH from 3,000 on 20,000 USDT, guarded alike."""
    await factories.create_instruments(engine, [ETH_PERP])
    return await factories.create_portfolio(
        engine,
        running.tenant,
        positions={ETH_PERP.id: ("20", "3000")},
        balances={"USDT": "20000"},
        policies=[GUARD],
    )


async def test_f21_the_next_frame_is_decided_while_a_commit_waits(running, beside):
    """Who is in that commit waits for it and is decided on both frames in turn, as it stands by then."""
    await running.price(CALM)
    await running.price(3_000.0, ETH_PERP.id)
    await running.come_to(2)
    async with running.units() as unit:
        await unit.portfolios.lock(running.tenant, running.portfolio.id)
        await running.price(CRASH)  # frame 3: the commit waits
        await eventually(lambda: running.pool.fetchval(COMMITS_THAT_WAIT), what="a commit that waits")
        await running.price(2_100.0, ETH_PERP.id)  # frame 4: decided meanwhile, for the other one
        await running.price(CRASH - 1)  # frame 5: has to wait
        await running.hold(unit, "1.1")
    await running.come_to(5)
    (decided,) = await running.decisions()
    assert (decided["portfolio_revision"], decided["sequence"]) == (2, 3)
    (other,) = await running.decisions(beside)
    assert (other["portfolio_revision"], other["sequence"], other["outcome"]) == (1, 4, "acted")


@pytest.fixture
async def short_of_reserve(engine, running):
    """Its guard tops up by all that there is and goes on firing."""
    guard = GUARD.model_copy(update={"mode": Mode.AUTO, "cures": (Cure.TOP_UP,)})
    portfolio = await factories.create_portfolio(
        engine,
        running.tenant,
        positions={BTC_PERP.id: ("1", "60000")},
        balances={"USDT": "20000"},
        reserves={"USDT": "10"},
        policies=[guard],
    )
    await eventually(lambda: running.pool.fetchval(SEEN, portfolio.id), what="the lane to know of it")
    return portfolio


async def test_what_a_plan_serves_and_misses_is_committed_with_it(running, short_of_reserve):
    await running.price(CALM)
    await running.price(CRASH)
    await running.come_to(2)
    async with running.units() as unit:
        page = await unit.adjustments.page(
            running.tenant, portfolio_id=short_of_reserve.id, policy_id=None, state=None, after=None, limit=9
        )
    (adjustment,) = (record.adjustment for record in page.items)
    (miss,) = adjustment.misses
    policy = short_of_reserve.policies[0]
    assert adjustment.policies == (policy.id,)
    assert (miss.policy_id, miss.why) == (policy.id, MissReason.RESERVE_EXHAUSTED)
    loaded = await PostgresEvaluationStore(running.pool).load([short_of_reserve.id], range(4))
    assert [work.policies for work in loaded.portfolios[0].in_flight] == [(policy.id,)]


async def test_a_guard_at_adverse_prices_acts_on_a_confidence_alone(running, engine):
    """60,000 +- 1,000: ten times that leaves 10,000 of 20,000, and the price itself stands still."""
    levels = {"trigger": Decimal("0.03"), "restore": Decimal("0.02"), "confidence_multiple": Decimal(10)}
    portfolio = await factories.create_portfolio(
        engine, running.tenant, policies=[GUARD.model_copy(update=levels)]
    )
    await eventually(lambda: running.pool.fetchval(SEEN, portfolio.id), what="the lane to know of it")
    await running.price(CALM)
    await running.price(CALM, confidence=1_000.0)
    (decision,) = await eventually(lambda: running.decisions(portfolio))
    assert (decision["sequence"], decision["outcome"]) == (2, "acted")
    conditions = await running.pool.fetchval(
        "SELECT conditions FROM decisions WHERE portfolio_id = $1", portfolio.id
    )
    assert json.loads(conditions) == {
        "trigger": "0.03", "confidence_multiple": "10", "adverse_margin_ratio.main": "0.035",
    }  # fmt: skip
    await running.come_to(2)
    assert await running.decisions() == []


async def test_the_operators_policy_acts_first_and_though_the_trader_halts(running):
    """It leads the one plan for both; a halt silences the trader's own policies alone."""
    rule = GUARD.model_copy(update={"priority": 1000, "guards": Guards(cooldown_seconds=0)})
    document = OperatorPolicyDocument(policy=rule, portfolios=(running.portfolio.id,))
    async with running.units() as unit:
        await create_operator_policy(unit, OperatorPolicyId(uuid4()), document, time_ns=0)
        stored = {s.operator: s.id for s in (await running.stored(unit)).policies}
    with pytest.raises(OperatorsOwn):
        async with running.units() as unit:
            await set_policy_enabled(
                unit, running.tenant, stored[True], enabled=False, expected_version=None, time_ns=0
            )
    await running.price(CALM)
    await running.price(CRASH)
    (adjustment,) = await eventually(running.adjustments)
    assert (adjustment.policies, adjustment.priority) == ((stored[True], stored[False]), -1)

    async with running.units() as unit:
        await replace_policy(
            unit,
            running.tenant,
            stored[False],
            GUARD.model_copy(update={"act_when_halted": False}),
            expected_version=None,
            time_ns=0,
        )
        await change_portfolio_state(
            unit, running.tenant, running.portfolio.id, PortfolioState.HALTED, time_ns=0
        )
        await running.hold(unit, "1.1")  # which supersedes what is only recommended
    again, _ = await eventually(lambda: running.adjustments(least=2))
    assert again.policies == (stored[True],)


async def test_a_hint_of_what_is_evaluated_already_decides_nothing(running, short_of_reserve, redis_url):
    """Sweeps and commits find a change before its hint comes: the frame was decided then."""
    await running.price(CALM)
    await eventually(lambda: running.revision_evaluated(short_of_reserve))
    await running.price(CRASH)
    await running.come_to(2)
    assert len(await running.decisions(short_of_reserve)) == 1
    async with Wire(redis_url) as wire:
        await hint(wire, [short_of_reserve.id])
    await running.price(CALM, BTC_INVERSE.id)  # which nobody holds
    await running.come_to(3)
    assert len(await running.decisions(short_of_reserve)) == 1


async def test_new_terms_of_an_instrument_are_what_is_decided_on(running):
    await running.price(CALM)
    await running.come_to(1)
    dearer = BTC_PERP.model_copy(update={"maintenance_margin_rate": Decimal("0.05")})
    async with running.units() as unit:
        await put_instrument(unit, dearer)  # 3,000 of margin on 20,000: beyond the trigger
    (decision,) = await eventually(running.decisions)
    assert (decision["portfolio_revision"], decision["sequence"], decision["outcome"]) == (2, 1, "acted")


async def test_whoever_evaluates_says_who_is_awake_and_what_the_book_takes(running, redis, capsys):
    """Out of the lane, by the metrics and by the command."""
    await running.price(CALM)
    await running.come_to(1)

    async def settled():
        said = await read_figures(redis)
        return [each for each in said if each.frames and not each.book.awake_portfolios]

    (figures,) = await eventually(settled)
    assert figures.shards == (0, 1, 2, 3)
    book = figures.book
    assert (book.portfolios, book.policies, book.boundless_policies, book.positions) == (1, 1, 0, 1)
    assert (figures.frames, figures.woken, figures.looks, figures.idle_looks) == (1, 1, 2, 2)
    text = generate_latest(EvaluatorMetrics([figures])).decode()
    assert 'ballast_evaluator_idle_looks_total{shard="0"} 2.0' in text
    assert 'ballast_evaluator_awake_portfolios{shard="0"} 0.0' in text
    size = book.tables["positions"].used
    assert f'ballast_evaluator_used_bytes{{shard="0",table="positions"}} {float(size)}' in text
    await status.show(running.settings)
    assert "0, 1, 2, 3" in capsys.readouterr().out


async def edit(unit, running):
    edited = GUARD.model_copy(update={"restore": Decimal("0.02")})
    named = {"expected_version": 1, "time_ns": 0}
    await replace_policy(unit, running.tenant, running.policy, edited, **named)


async def pause(unit, running):
    named = {"enabled": False, "expected_version": 1, "time_ns": 0}
    await set_policy_enabled(unit, running.tenant, running.policy, **named)


async def delete(unit, running):
    await delete_policy(unit, running.tenant, running.policy, expected_version=1, time_ns=0)


@pytest.mark.parametrize(("change", "versions"), [(edit, [2]), (pause, []), (delete, [])])
async def test_f21_a_policy_changed_while_its_tick_is_in_flight(running, change, versions):
    """Edited, its next version decides on that very frame; paused or deleted, none does."""
    await running.price(CALM)
    await running.come_to(1)
    async with running.units() as unit:
        await unit.portfolios.lock(running.tenant, running.portfolio.id)
        await running.price(CRASH)
        await eventually(lambda: running.pool.fetchval(COMMITS_THAT_WAIT), what="a commit that waits")
        await change(unit, running)
    assert await eventually(running.revision_evaluated) == 2
    await running.come_to(2)
    decisions = await running.decisions()
    assert [d["policy_version"] for d in decisions] == versions
    assert all((d["portfolio_revision"], d["sequence"]) == (2, 2) for d in decisions)


@pytest.fixture
async def patient(asyncpg_pool):
    """Sessions from here on look for a deadlock once they have waited so long."""
    name = await asyncpg_pool.fetchval("SELECT quote_ident(current_database())")
    await asyncpg_pool.execute(f"ALTER DATABASE {name} SET deadlock_timeout TO '3s'")


async def test_a_commit_that_a_deadlock_undid_is_made_again(patient, running):
    """It holds its shards and waits for the portfolio, whose holder then wants the shards.

    Whoever looks first is undone: the holder never looks, and the commit only when there is something to see.
    """
    await running.price(CALM)
    await running.come_to(1)
    async with running.pool.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL deadlock_timeout TO '60s'")
        await connection.execute("SELECT FROM portfolios FOR UPDATE")
        await running.price(CRASH)
        await eventually(lambda: running.pool.fetchval(COMMITS_THAT_WAIT), what="a commit that waits")
        await connection.execute("SELECT FROM shards FOR UPDATE")
    await running.come_to(2)
    (decision,) = await running.decisions()
    assert (decision["sequence"], decision["outcome"]) == (2, "acted")
    await eventually(lambda: running.pool.fetchval(DEADLOCKS), what="a deadlock that was counted")


@pytest.fixture
async def isolated(asyncpg_pool):
    """Sessions from here on see one state per transaction, as an operator may have set it."""
    name = await asyncpg_pool.fetchval("SELECT quote_ident(current_database())")
    await asyncpg_pool.execute(
        f"ALTER DATABASE {name} SET default_transaction_isolation TO 'repeatable read'"
    )


async def test_a_commit_that_could_not_be_serialized_is_made_again(isolated, running):
    await running.price(CALM)
    await running.come_to(1)
    async with running.units() as unit:
        await unit.portfolios.lock(running.tenant, running.portfolio.id)
        await running.price(CRASH)
        await eventually(lambda: running.pool.fetchval(COMMITS_THAT_WAIT), what="a commit that waits")
        await running.hold(unit, "1.1")
    (decision,) = await eventually(running.decisions)
    assert (decision["portfolio_revision"], decision["sequence"]) == (2, 2)


async def test_a_sweep_finds_a_deleted_portfolio_only_for_a_while(running):
    store, shards = PostgresEvaluationStore(running.pool), range(4)
    await eventually(running.revision_evaluated)
    async with running.units() as unit:
        await delete_portfolio(unit, running.tenant, running.portfolio.id, time_ns=0)
    assert await store.changed(shards) == [running.portfolio.id]
    await running.pool.execute("UPDATE portfolios SET deleted_at = deleted_at - interval '1 hour'")
    assert await store.changed(shards) == []


class Recorded(PostgresEvaluationStore):
    """Remembers what it was given to commit."""

    def __init__(self, pool):
        super().__init__(pool)
        self.commits = []

    async def commit(self, commit):
        self.commits.append(commit)
        return await super().commit(commit)


def id_in_shard(shard):
    return next(key for key in iter(uuid4, None) if shard_of(PortfolioId(key), 2) == shard)


def frames_of(prices):
    """A change each, one after the other."""
    packed = b""
    for sequence, (name, value) in enumerate(prices, start=1):
        time_ns = BEGIN_NS + sequence
        change = Change(TickKind.PRICE, name, value, 0.0, 1, Quality.VALID, time_ns)
        frame = msgspec.msgpack.encode(Frame(1, sequence, time_ns, "", 0, (change,)))
        packed += len(frame).to_bytes(LENGTH_BYTES, "big") + frame
    return PackedFrames(packed, len(prices), StreamPosition(1, len(prices)), BEGIN_NS + len(prices))


async def test_who_cannot_be_decided_keeps_nobody_waiting_and_is_tried_again(
    running, engine, redis, monkeypatch, capsys
):
    """A defect is put into the decision of one portfolio, beside another that has the same to decide."""
    defective = await factories.create_portfolio(engine, running.tenant, policies=[GUARD])
    broken = True
    take = Turn.take

    def take_or_fail(turn, sighting):
        if broken and turn.portfolio.id == defective.id:
            raise ZeroDivisionError("a defect of ours")
        return take(turn, sighting)

    monkeypatch.setattr(Turn, "take", take_or_fail)
    await running.price(CALM)
    await running.price(CRASH)
    await eventually(running.adjustments)
    assert await running.decisions(defective) == []

    async def is_told():
        return [each.set_aside for each in await read_figures(redis) if each.set_aside]

    assert await eventually(is_told) == [1]
    await status.show(running.settings)
    assert "set aside: 1" in capsys.readouterr().out
    broken = False
    await running.heartbeat(BEGIN_NS + 2_000_000_000 + RETRY_NS)
    await running.price(CRASH - 1.0)
    await eventually(lambda: running.decisions(defective))
    assert await running.revision_evaluated(defective) is not None


async def test_a_commit_saves_no_memory_of_later_frames(engine, asyncpg_pool, database_url, redis_url):
    """Several blocks of one read: the first portfolio acts in the second, the other one is at peace by the
    third. A restart from the second has to find it as it was then."""
    await factories.create_market(engine)
    await factories.create_instruments(engine, [ETH_PERP])
    tenant = await factories.create_tenant(engine)
    held = [{BTC_PERP.id: ("1", "60000")}, {ETH_PERP.id: ("20", "3000")}]
    for positions in held:
        await factories.create_portfolio(
            engine, tenant, positions=positions, balances={"USDT": "20000"}, policies=[GUARD]
        )
    calm = [(BTC_INVERSE.id, CALM)] * FRAMES_PER_BLOCK
    prices = [(BTC_PERP.id, CALM), (ETH_PERP.id, 2_100.0), *calm[2:]]
    prices += [(BTC_PERP.id, CRASH), *calm[1:], (ETH_PERP.id, 3_000.0), *calm[1:]]
    store, stop = Recorded(asyncpg_pool), asyncio.Event()
    grants = await PostgresShardLeases(asyncpg_pool, owner="test").claim([])
    async with Wire(redis_url) as reading, Wire(redis_url) as writing:
        log = RedisMarketLog(writing, writing)
        await log.start_generation(epoch=1, generation=1)
        await log.append(
            epoch=1, previous=StreamPosition(1, 0), cursor="0-0", frames=frames_of(prices),
            consensus=b"", memory=Memory(), whole=False,
        )  # fmt: skip
        feed = RedisMarketFeed(reading=reading, writing=writing)
        lane = Lane(store=store, feed=feed, clock=SystemClock(), grants=grants)
        running = asyncio.create_task(lane.run(stop))
        query = "SELECT bool_and(sequence = $1) FROM shards"
        await eventually(lambda: asyncpg_pool.fetchval(query, len(prices)))
        stop.set()
        await running
    saved = [(c.position.sequence, len(c.memories)) for c in store.commits if c.verdicts or c.memories]
    assert saved[-3:] == [
        (FRAMES_PER_BLOCK, 0),
        (2 * FRAMES_PER_BLOCK, 0),
        (3 * FRAMES_PER_BLOCK, 1),
    ]


async def test_a_commit_of_very_many_portfolios_is_one_all_the_same(engine, asyncpg_pool, monkeypatch):
    """In parts, of which none is there without the others; who moved is left out, memories are saved once."""
    monkeypatch.setattr(evaluation_store, "_PORTFOLIOS_PER_STATEMENT", 2)
    await factories.create_market(engine, shards=2)
    tenant = await factories.create_tenant(engine)
    portfolios = [await factories.create_portfolio(engine, tenant, policies=[GUARD]) for _ in range(7)]
    moved, quiet, *decided = portfolios
    await asyncpg_pool.execute("UPDATE portfolios SET revision = 2 WHERE id = $1", moved.id)
    verdicts = [Verdict.of_nothing(portfolio) for portfolio in (moved, *decided)]
    for verdict in verdicts:
        state = PortfolioState.REDUCE_ONLY
        verdict.events.append(state_event(verdict.before, state, BEGIN_NS))
        verdict.after = replace(verdict.before, state=state, revision=2)
    store = PostgresEvaluationStore(asyncpg_pool)
    grants = await PostgresShardLeases(asyncpg_pool, owner="test").claim([])
    commit = Commit(
        epochs={grant.shard: grant.epoch for grant in grants},
        position=StreamPosition(1, 9),
        time_ns=BEGIN_NS,
        verdicts=verdicts,
        memories=[(quiet.id, quiet.policies[0].id, PolicyMemory(BEGIN_NS).packed())],
        snapshot=b"as it stood",
    )
    committed = await store.commit(commit)
    assert committed.shards == {0, 1}
    assert committed.portfolios == {portfolio.id for portfolio in decided}
    assert {(e.portfolio_id, e.sequence) for e in committed.events} == {(p.id, 1) for p in decided}
    changed = await asyncpg_pool.fetch(
        "SELECT id FROM portfolios WHERE state = 'reduce_only' AND revision = 2"
    )
    assert {row["id"] for row in changed} == committed.portfolios
    assert await asyncpg_pool.fetchval("SELECT count(*) FROM events") == len(decided)
    shards = await asyncpg_pool.fetch("SELECT DISTINCT sequence, snapshot_sequence, snapshot FROM shards")
    assert [tuple(row) for row in shards] == [(9, 9, b"as it stood")]
    (memory,) = await asyncpg_pool.fetch("SELECT portfolio_id FROM policy_memory")
    assert memory["portfolio_id"] == quiet.id


async def test_a_shard_that_was_lost_takes_no_memory_of_its_former_holder(engine, asyncpg_pool):
    """Though another shard of the same commit is still held."""
    await factories.create_market(engine, shards=2)
    tenant = await factories.create_tenant(engine)
    lost, held = [
        await factories.create_portfolio(engine, tenant, portfolio_id=id_in_shard(shard), policies=[GUARD])
        for shard in range(2)
    ]
    store = PostgresEvaluationStore(asyncpg_pool)
    grants = await PostgresShardLeases(asyncpg_pool, owner="test").claim([])
    await asyncpg_pool.execute("UPDATE shards SET epoch = epoch + 1 WHERE shard = 0")
    commit = Commit(
        epochs={grant.shard: grant.epoch for grant in grants},
        position=StreamPosition(1, 1),
        time_ns=BEGIN_NS,
        memories=[(p.id, p.policies[0].id, PolicyMemory(BEGIN_NS).packed()) for p in (lost, held)],
    )
    assert (await store.commit(commit)).shards == {1}
    rows = await asyncpg_pool.fetch("SELECT portfolio_id FROM policy_memory")
    assert [row["portfolio_id"] for row in rows] == [held.id]


async def test_a_loan_that_is_not_sound_is_liquidated_once_in_the_evaluators_commit(running, engine):
    """1 BTC at a threshold of 78 % against 40,000 USDT: health 1.17 at 60,000, and 0.858 at 44,000."""
    pools = [
        Instrument(
            id="AAVE-BTC", kind="lending", underlying="BTC", quote="USDT", liquidation_threshold="0.78",
            liquidation_bonus="0.05",
        ),
        Instrument(id="AAVE-USDT", kind="lending", underlying="USDT", quote="USDT"),
    ]  # fmt: skip
    await factories.create_instruments(engine, pools)
    loan = await factories.create_portfolio(
        engine,
        running.tenant,
        positions={"AAVE-BTC": ("1", "0"), "AAVE-USDT": ("-40000", "0")},
        balances={"USDT": "10"},
        margin_mode=MarginMode.LENDING,
    )
    await running.price(CALM)
    await eventually(lambda: running.revision_evaluated(loan))
    await running.price(CRASH)
    await running.price(CRASH + 1)
    await running.come_to(3)
    fills = "SELECT instrument_id, quantity, price, fee FROM fills WHERE portfolio_id = $1 ORDER BY leg"
    rows = await eventually(lambda: running.pool.fetch(fills, loan.id))
    seized = Decimal(40_000) * Decimal("1.05") / 44_000
    assert [tuple(row) for row in rows] == [
        ("AAVE-USDT", 40_000, 1, 0),
        ("AAVE-BTC", -round(seized, 18), 44_000, 0),
    ]
    held = "SELECT instrument_id, quantity FROM positions WHERE account_id = $1"
    assert [tuple(row) for row in await running.pool.fetch(held, loan.accounts[0].id)] == [
        ("AAVE-BTC", 1 - round(seized, 18))
    ]
    events = "SELECT data FROM events WHERE portfolio_id = $1 AND type = 'account.liquidated'"
    (told,) = await running.pool.fetch(events, loan.id)
    assert '"equity_before": "4010"' in told["data"]
