"""The executor against a real PostgreSQL: order of work, one transaction, every way that it can end."""

import asyncio
from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

import msgspec
import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from app.adapters.redis_streams.announcer import RedisAnnouncer
from app.adapters.redis_streams.client import connect
from app.adapters.redis_streams.events import EventStream
from app.adapters.redis_streams.keys import HINTS, STATE
from app.adapters.redis_streams.market_clock import RedisMarketClock
from app.adapters.redis_streams.queue_wakeups import QueueWakeups
from app.adapters.redis_streams.wire import Wire
from app.adapters.venues.paper import PaperVenue
from app.domain.adjustments import AdjustmentState, LendingAction, LendingLeg, TradeLeg, TransferLeg
from app.domain.events import EventType, NewEvent
from app.domain.identifiers import AccountId, Asset, InstrumentId, PortfolioId, derived_id
from app.domain.instruments import Instrument
from app.domain.portfolios import MarginMode
from app.engine.fills import apply_legs_as_if_done
from app.entrypoints import executor as executor_role
from app.services.execute_adjustment import ExecuteAdjustments, Lost, Settled
from tests import factories
from tests.execution import (
    DECIDED_NS,
    SECOND_NS,
    Desk,
    Exchange,
    ending,
    events_of,
    portfolio_now,
    queue,
    sell,
)
from tests.waiting import eventually

S = AdjustmentState
INSTRUMENTS = {i.instrument_id: i for i in factories.INSTRUMENTS}


@pytest.fixture
async def tenant(engine):
    await factories.create_market(engine)
    return await factories.create_tenant(engine)


@pytest.fixture
async def portfolio(engine, tenant):
    return await factories.create_portfolio(engine, tenant)


def top_up(portfolio, amount="1000"):
    return TransferLeg(portfolio.accounts[0].id, Asset("USDT"), Decimal(amount))


async def test_an_adjustment_is_filled_in_one_step_exactly_as_foreseen(asyncpg_pool, portfolio):
    legs = [top_up(portfolio), sell(portfolio)]
    adjustment_id = await queue(asyncpg_pool, portfolio, legs, fill_time_ns=DECIDED_NS + 5)
    before = await portfolio_now(asyncpg_pool, portfolio.id)
    desk = Desk(asyncpg_pool)

    assert await desk.drain() == [Settled(S.EXECUTED)]

    after = await portfolio_now(asyncpg_pool, portfolio.id)
    foreseen = apply_legs_as_if_done(before, legs, INSTRUMENTS)
    assert (after.accounts, after.reserves) == (foreseen.accounts, foreseen.reserves)
    assert after.revision == before.revision + 1
    assert after.in_flight == ()
    # 0.5 sold 2 bps under 50,000: a loss of 0.5 x 10,010, and 5 bps of 24,995 as the fee
    assert after.accounts[0].balances[0].amount == 20_000 + 1_000 - 5_005 - Decimal("12.4975")
    assert await ending(asyncpg_pool, adjustment_id) == ("executed", "")
    assert await events_of(asyncpg_pool, portfolio.id) == [
        (1, "adjustment.executing"),
        (2, "adjustment.executed"),
    ]
    assert [e.sequence for e in desk.heard.events] == [1, 2]
    assert desk.heard.changed == [portfolio.id]
    fills = await asyncpg_pool.fetch("SELECT * FROM fills ORDER BY leg")
    assert [f["id"] for f in fills] == [derived_id("fill", adjustment_id, n) for n in range(2)]
    assert [(f["kind"], f["quantity"], f["price"]) for f in fills] == [
        ("transfer", 1_000, 0),
        ("trade", Decimal("-0.5"), 49_990),
    ]
    assert {f["time_ns"] for f in fills} == {DECIDED_NS + 5}
    told = desk.heard.events[1].data
    assert (told["state"], told["outcome"], len(told["fills"])) == ("executed", "", 2)


async def test_what_reduces_risk_comes_first_then_priority_then_age(engine, asyncpg_pool, tenant):
    wanted = [(True, 0, 9), (True, 5, 1), (True, 5, 2), (False, 0, 0), (False, 1, 0)]
    queued = {}
    for risk_reducing, priority, age in reversed(wanted):
        portfolio = await factories.create_portfolio(engine, tenant)
        queued[risk_reducing, priority, age] = await queue(
            asyncpg_pool,
            portfolio,
            risk_reducing=risk_reducing,
            priority=priority,
            decided_at_ns=DECIDED_NS + age,
        )
    claims = await Desk(asyncpg_pool, limit=4).executor.claim()
    assert [w.adjustment.id for w in claims.work] == [queued[key] for key in wanted[:4]]
    assert claims.more
    rest = await Desk(asyncpg_pool, owner="executor-2").executor.claim()
    assert [w.adjustment.id for w in rest.work] == [queued[wanted[4]]]


async def test_several_of_one_portfolio_follow_each_other(asyncpg_pool, portfolio):
    for quantity in ("0.5", "0.3"):
        await queue(asyncpg_pool, portfolio, [sell(portfolio, quantity)])
    assert await Desk(asyncpg_pool).drain() == [Settled(S.EXECUTED)] * 2
    after = await portfolio_now(asyncpg_pool, portfolio.id)
    assert after.accounts[0].positions[0].quantity == Decimal("0.2")
    assert [sequence for sequence, _ in await events_of(asyncpg_pool, portfolio.id)] == [1, 2, 3, 4]


async def test_two_executors_share_the_queue_without_doing_anything_twice(engine, asyncpg_pool, tenant):
    portfolios = [await factories.create_portfolio(engine, tenant) for _ in range(12)]
    for portfolio in portfolios * 2:
        await queue(asyncpg_pool, portfolio, [sell(portfolio, "0.25")])
    venue = Exchange()
    desks = [Desk(asyncpg_pool, venue=venue, owner=f"executor-{n}", limit=3) for n in range(2)]

    async def nothing_open():
        await asyncio.gather(*(desk.drain() for desk in desks))
        return not await asyncpg_pool.fetchval("SELECT count(*) FROM adjustments WHERE state <> 'executed'")

    await eventually(nothing_open)
    assert set(venue.trades.values()) == {1}
    assert len(venue.trades) == 24
    left = await asyncpg_pool.fetch("SELECT quantity FROM positions")
    assert {row["quantity"] for row in left} == {Decimal("0.5")}


async def test_a_venue_that_fills_some_legs_leaves_the_others(asyncpg_pool, portfolio):
    legs = [top_up(portfolio), sell(portfolio)]
    adjustment_id = await queue(asyncpg_pool, portfolio, legs)
    desk = Desk(asyncpg_pool, venue=Exchange(refuses=frozenset({"trade"})))
    assert await desk.drain() == [Settled(S.PARTIALLY_EXECUTED)]
    assert await ending(asyncpg_pool, adjustment_id) == ("partially_executed", "leg 1: not today")
    remaining = await asyncpg_pool.fetchval("SELECT remaining FROM adjustments")
    assert [leg["type"] for leg in msgspec.json.decode(remaining)] == ["trade"]
    after = await portfolio_now(asyncpg_pool, portfolio.id)
    assert after.accounts[0].balances[0].amount == 21_000
    assert after.accounts[0].positions == portfolio.accounts[0].positions


async def test_nothing_filled_is_a_failure_that_releases_the_legs(asyncpg_pool, portfolio):
    adjustment_id = await queue(asyncpg_pool, portfolio, [top_up(portfolio, "5000.01")])
    before = await portfolio_now(asyncpg_pool, portfolio.id)
    desk = Desk(asyncpg_pool)
    assert await desk.drain() == [Settled(S.FAILED)]
    state, outcome = await ending(asyncpg_pool, adjustment_id)
    assert state == "failed"
    assert outcome == "leg 0: the reserve has 5000.000000000000000000 USDT to give, not 5000.01"
    assert desk.heard.events[-1].data["outcome"] == outcome
    after = await portfolio_now(asyncpg_pool, portfolio.id)
    assert after == replace(before, revision=before.revision + 1, in_flight=())


async def test_a_reducing_leg_fills_what_is_held_and_no_more(asyncpg_pool, portfolio):
    adjustment_id = await queue(asyncpg_pool, portfolio, [sell(portfolio, "1.5")])
    assert await Desk(asyncpg_pool).drain() == [Settled(S.PARTIALLY_EXECUTED)]
    after = await portfolio_now(asyncpg_pool, portfolio.id)
    assert after.accounts[0].positions == ()
    _, outcome = await ending(asyncpg_pool, adjustment_id)
    assert outcome.startswith("leg 0: filled -1.0")


@pytest.mark.parametrize("state", ["halted", "reduce_only"])
async def test_f26_a_halt_stops_what_adds_risk_and_not_the_way_out(asyncpg_pool, portfolio, state):
    hedge = await queue(asyncpg_pool, portfolio, risk_reducing=False)
    way_out = await queue(asyncpg_pool, portfolio)
    await asyncpg_pool.execute("UPDATE portfolios SET state = $1", state)
    assert await Desk(asyncpg_pool).drain() == [Settled(S.EXECUTED)]
    assert (await ending(asyncpg_pool, way_out))[0] == "executed"
    assert await ending(asyncpg_pool, hedge) == (
        "rejected",
        f"its portfolio is {state}, and it does not reduce risk",
    )


async def test_a_halt_after_the_claim_stops_what_adds_risk(asyncpg_pool, portfolio):
    hedge = await queue(asyncpg_pool, portfolio, risk_reducing=False)
    desk = Desk(asyncpg_pool)
    claims = await desk.executor.claim()
    await asyncpg_pool.execute("UPDATE portfolios SET state = 'halted', revision = revision + 1")
    outcome = await desk.executor.execute(claims.work[0], clock_ns=claims.clock_ns)
    assert outcome == Settled(S.FAILED)
    assert (await ending(asyncpg_pool, hedge))[1].endswith(
        "its portfolio is halted, and it does not reduce risk"
    )


async def test_what_was_too_late_expires_by_the_market_clock(asyncpg_pool, portfolio):
    adjustment_id = await queue(asyncpg_pool, portfolio, expires_at_ns=DECIDED_NS + SECOND_NS)
    revision = (await portfolio_now(asyncpg_pool, portfolio.id)).revision
    desk = Desk(asyncpg_pool)
    desk.clock.time_ns = DECIDED_NS + SECOND_NS
    assert await desk.drain() == []
    assert (await ending(asyncpg_pool, adjustment_id))[0] == "expired"
    after = await portfolio_now(asyncpg_pool, portfolio.id)
    assert (after.revision, after.accounts) == (revision + 1, portfolio.accounts)
    assert [e.type for e in desk.heard.events] == [EventType.ADJUSTMENT_EXPIRED]
    assert desk.heard.changed == [portfolio.id]


async def test_a_change_between_reading_and_settling_is_seen(asyncpg_pool, portfolio):
    """FAULTS 21 for the executor: a fill computed on an older state does not land."""
    await queue(asyncpg_pool, portfolio, [sell(portfolio, "1")])
    desk = Desk(asyncpg_pool)
    claims = await desk.executor.claim()
    async with asyncpg_pool.acquire() as connection, connection.transaction():
        await connection.execute("UPDATE portfolios SET revision = revision + 1")
        await connection.execute("UPDATE positions SET quantity = 0.25")
    outcome = await desk.executor.execute(claims.work[0], clock_ns=claims.clock_ns)
    assert outcome == Settled(S.PARTIALLY_EXECUTED)
    assert await asyncpg_pool.fetchval("SELECT sum(quantity) FROM fills") == Decimal("-0.25")
    assert (await portfolio_now(asyncpg_pool, portfolio.id)).accounts[0].positions == ()


async def test_whoever_lost_its_lease_settles_nothing(asyncpg_pool, portfolio):
    await queue(asyncpg_pool, portfolio)
    slow = Desk(asyncpg_pool, owner="slow", lease=timedelta(0))
    claims = await slow.executor.claim()
    quick = Desk(asyncpg_pool, owner="quick")
    stolen = await quick.executor.claim()
    assert [w.resumed for w in stolen.work] == [True]
    assert await slow.executor.execute(claims.work[0], clock_ns=claims.clock_ns) == Lost()
    assert await asyncpg_pool.fetchval("SELECT count(*) FROM fills") == 0
    outcome = await quick.executor.execute(stolen.work[0], clock_ns=stolen.clock_ns)
    assert outcome == Settled(S.EXECUTED)
    assert [s for s, _ in await events_of(asyncpg_pool, portfolio.id)] == [1, 2]


async def test_work_of_a_deleted_portfolio_ends(asyncpg_pool, portfolio):
    adjustment_id = await queue(asyncpg_pool, portfolio)
    await asyncpg_pool.execute("UPDATE portfolios SET deleted_at = now()")
    assert await Desk(asyncpg_pool).drain() == []
    assert await ending(asyncpg_pool, adjustment_id) == ("rejected", "its portfolio was deleted")


async def test_a_venue_without_connection_is_a_failure_in_words(asyncpg_pool, portfolio):
    adjustment_id = await queue(asyncpg_pool, portfolio)
    await asyncpg_pool.execute("UPDATE accounts SET venue = 'elsewhere'")
    assert await Desk(asyncpg_pool).drain() == [Settled(S.FAILED)]
    assert (await ending(asyncpg_pool, adjustment_id))[1] == (
        "leg 0: there is no connection to the venue elsewhere"
    )


async def test_a_locked_portfolio_is_passed_over_not_waited_for(engine, asyncpg_pool, tenant):
    first, second = [await factories.create_portfolio(engine, tenant) for _ in range(2)]
    await queue(asyncpg_pool, first, priority=0)
    await queue(asyncpg_pool, second, priority=1)
    desk = Desk(asyncpg_pool)
    async with asyncpg_pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT 1 FROM portfolios WHERE id = $1 FOR UPDATE", first.id)
        claims = await desk.executor.claim()
        assert [w.adjustment.portfolio_id for w in claims.work] == [second.id]
    claims = await desk.executor.claim()
    assert [w.adjustment.portfolio_id for w in claims.work] == [first.id]


@pytest.fixture
async def streams(redis_url):
    """Redis as the service connects to it, with a market clock that shows the decisions' time."""
    client = connect(redis_url)
    await client.hset(STATE, mapping={"generation": 1, "sequence": 1, "time_ns": DECIDED_NS})
    yield client
    await client.aclose()


@pytest.fixture
async def wires(redis_url):
    """One for what is said, one for whoever waits."""
    async with Wire(redis_url) as talking, Wire(redis_url) as waiting:
        yield talking, waiting


async def start_role(pool, streams, wires, venue, stop):
    desk = Desk(pool)
    executor = ExecuteAdjustments(
        store=desk.store,
        venues={"paper": venue},
        announcer=RedisAnnouncer(wires[0]),
        clock=RedisMarketClock(streams),
    )
    wakeups = QueueWakeups(wires[1])
    return asyncio.create_task(executor_role.run(executor=executor, wakeups=wakeups, stop=stop))


async def test_the_role_wakes_publishes_hints_and_stops(asyncpg_pool, portfolio, streams, wires):
    stop = asyncio.Event()
    role = await start_role(asyncpg_pool, streams, wires, PaperVenue(), stop)
    adjustment_id = await queue(asyncpg_pool, portfolio)
    await RedisAnnouncer(wires[0]).announce([_queued_event(portfolio)], [])

    async def executed():
        return (await ending(asyncpg_pool, adjustment_id))[0] == "executed"

    await eventually(executed)

    async def announced():
        entries = await EventStream(reading=wires[0], writing=wires[0]).read("0", block_ms=None)
        hints = await streams.xlen(HINTS)
        types = [(e.type, e.sequence) for _, e in entries]
        assert types[1:] == [("adjustment.executing", 1), ("adjustment.executed", 2)]
        return hints == 1

    await eventually(announced)
    stop.set()
    await asyncio.wait_for(role, 5)


async def test_before_the_first_frame_the_role_waits_and_says_so_once(
    asyncpg_pool, portfolio, streams, wires
):
    await streams.delete(STATE)
    adjustment_id = await queue(asyncpg_pool, portfolio)
    stop = asyncio.Event()

    async def looks_at_the_clock():
        return (await streams.info("commandstats")).get("cmdstat_hmget", {}).get("calls", 0)

    before = await looks_at_the_clock()
    with capture_logs() as said:
        role = await start_role(asyncpg_pool, streams, wires, PaperVenue(), stop)

        async def looked_three_times():
            return await looks_at_the_clock() >= before + 3

        await eventually(looked_three_times)
        await streams.hset(STATE, mapping={"generation": 1, "sequence": 1, "time_ns": DECIDED_NS})

        async def executed():
            return (await ending(asyncpg_pool, adjustment_id))[0] == "executed"

        await eventually(executed)
        stop.set()
        await asyncio.wait_for(role, 5)
    assert [line["event"] for line in said if line["log_level"] != "debug"] == [
        "executor_started",
        "executor_waits",
        "executor_stopped",
    ]


def _queued_event(portfolio):
    from app.adapters.postgres.event_rows import numbered_event

    new = NewEvent(EventType.ADJUSTMENT_QUEUED, portfolio.tenant_id, portfolio.id, DECIDED_NS, {})
    return numbered_event(new, 0)


class Poisoned(PaperVenue):
    """Breaks on one account's orders."""

    def __init__(self, account_id: AccountId) -> None:
        self.account_id = account_id

    async def execute(self, order):
        if order.leg.account_id == self.account_id:
            raise RuntimeError("bug")
        return await super().execute(order)


async def test_work_that_always_breaks_ends_and_holds_nobody_up(engine, asyncpg_pool, tenant, streams, wires):
    bad, good = [await factories.create_portfolio(engine, tenant) for _ in range(2)]
    poison = await queue(asyncpg_pool, bad, priority=0)
    fine = await queue(asyncpg_pool, good, priority=1)
    stop = asyncio.Event()
    role = await start_role(asyncpg_pool, streams, wires, Poisoned(bad.accounts[0].id), stop)

    async def both_ended():
        assert await ending(asyncpg_pool, fine) == ("executed", "")
        assert await ending(asyncpg_pool, poison) == ("failed", "could not be executed: RuntimeError")
        return True

    await eventually(both_ended, timeout=20)
    stop.set()
    await asyncio.wait_for(role, 5)
    assert (await portfolio_now(asyncpg_pool, bad.id)).accounts == bad.accounts


POOLS = [
    Instrument(id="AAVE-BTC", kind="lending", underlying="BTC", quote="USDT", liquidation_threshold="0.78"),
    Instrument(id="AAVE-USDT", kind="lending", underlying="USDT", quote="USDT"),
]


async def test_a_loan_is_deleveraged_in_one_settlement(engine, asyncpg_pool, tenant):
    """Withdrawn, sold and repaid in that order: the wallet is empty before and after."""
    await factories.create_instruments(engine, POOLS)
    loan = await factories.create_portfolio(
        engine,
        tenant,
        positions={"AAVE-BTC": ("2", "0"), "AAVE-USDT": ("-60000", "0")},
        margin_mode=MarginMode.LENDING,
    )
    account = loan.accounts[0].id
    half, repaid = Decimal("0.5"), Decimal("24982.5025")  # at 49,990, less 5 bps
    legs = [
        LendingLeg(account, InstrumentId("AAVE-BTC"), LendingAction.WITHDRAW, half, reduces=True),
        TradeLeg(account, InstrumentId("BTC-USDT"), -half, Decimal(50_000), reduces=True),
        LendingLeg(account, InstrumentId("AAVE-USDT"), LendingAction.REPAY, repaid, reduces=True),
    ]
    await queue(asyncpg_pool, loan, legs)
    before = await portfolio_now(asyncpg_pool, loan.id)
    desk = Desk(asyncpg_pool)

    assert await desk.drain() == [Settled(S.EXECUTED)]

    after = await portfolio_now(asyncpg_pool, loan.id)
    listed = INSTRUMENTS | {i.instrument_id: i for i in POOLS}
    assert after.accounts == apply_legs_as_if_done(before, legs, listed).accounts
    assert [p.quantity for p in after.accounts[0].positions] == [Decimal("1.5"), repaid - 60_000]
    assert {b.amount for b in after.accounts[0].balances} == {0}
    fills = await asyncpg_pool.fetch("SELECT kind, instrument_id, asset, quantity FROM fills ORDER BY leg")
    assert [tuple(fill) for fill in fills] == [
        ("lending", "AAVE-BTC", "BTC", -half),
        ("trade", "BTC-USDT", "USDT", -half),
        ("lending", "AAVE-USDT", "USDT", repaid),
    ]
    assert [fill["kind"] for fill in desk.heard.events[1].data["fills"]] == ["lending", "trade", "lending"]


async def test_a_loan_is_levered_up_in_one_settlement(engine, asyncpg_pool, tenant):
    """Borrowed with a tick to spare, bought and supplied in that order: what is left of the tick stays."""
    await factories.create_instruments(engine, POOLS)
    loan = await factories.create_portfolio(
        engine,
        tenant,
        positions={"AAVE-BTC": ("2", "0"), "AAVE-USDT": ("-20000", "0")},
        margin_mode=MarginMode.LENDING,
    )
    account = loan.accounts[0].id
    half, borrowed = Decimal("0.5"), Decimal("25017.6")  # 25,017.5025 at 50,010 and 5 bps
    legs = [
        LendingLeg(account, InstrumentId("AAVE-USDT"), LendingAction.BORROW, borrowed, reduces=False),
        TradeLeg(account, InstrumentId("BTC-USDT"), half, Decimal(50_000), reduces=False),
        LendingLeg(account, InstrumentId("AAVE-BTC"), LendingAction.SUPPLY, half, reduces=False),
    ]
    await queue(asyncpg_pool, loan, legs)
    before = await portfolio_now(asyncpg_pool, loan.id)

    assert await Desk(asyncpg_pool).drain() == [Settled(S.EXECUTED)]

    after = await portfolio_now(asyncpg_pool, loan.id)
    listed = INSTRUMENTS | {i.instrument_id: i for i in POOLS}
    assert after.accounts == apply_legs_as_if_done(before, legs, listed).accounts
    assert [p.quantity for p in after.accounts[0].positions] == [Decimal("2.5"), -20_000 - borrowed]
    assert {b.asset: b.amount for b in after.accounts[0].balances if b.amount} == {"USDT": Decimal("0.0975")}


async def test_collateral_moves_between_accounts_and_back_to_the_reserve(asyncpg_pool, engine, portfolio):
    """What a venue keeps of a withdrawal does not arrive; an account that is short gives nothing."""
    (main,) = portfolio.accounts
    other = replace(main, id=AccountId(uuid4()), name="other", positions=(), balances=())
    two = replace(portfolio, id=PortfolioId(uuid4()), name="two", accounts=(replace(main, id=uuid4()), other))
    await factories.store_portfolio(engine, two)
    usdt, first = Asset("USDT"), two.accounts[0].id
    legs = [
        TransferLeg(other.id, usdt, Decimal(700), first, Decimal(2)),
        TransferLeg(None, usdt, Decimal(600), other.id),
        TransferLeg(None, usdt, Decimal(600), other.id),
    ]
    adjustment_id = await queue(asyncpg_pool, two, legs)

    assert await Desk(asyncpg_pool).drain() == [Settled(S.PARTIALLY_EXECUTED)]

    after = await portfolio_now(asyncpg_pool, two.id)
    assert [account.balance(usdt) for account in after.accounts] == [19_300, 98]
    assert after.reserve(usdt).amount == 5_600
    _, why = await ending(asyncpg_pool, adjustment_id)
    assert why == "leg 2: other has 98.000000000000000000 USDT to give, not 600"
    rows = await asyncpg_pool.fetch("SELECT account_id, source_account_id, fee FROM fills ORDER BY leg")
    assert [tuple(row) for row in rows] == [(other.id, first, 2), (None, other.id, 0)]
