"""What the market clock does to paper accounts: funding once per boundary, and settlement at expiry."""

from decimal import Decimal
from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.adjustments import AdjustmentState, InFlight, TradeLeg
from app.domain.events import EventType
from app.domain.instruments import Instrument
from app.domain.market import Change, Frame, Quality, TickKind
from app.domain.portfolios import Account, Balance, MarginMode, Portfolio, PortfolioState, Position
from app.domain.times import NS_PER_HOUR, NS_PER_SECOND, rfc3339
from app.engine.accrual import boundaries, settlement_price
from app.engine.book import Book
from app.engine.decide import affected, decide, whole_block
from app.engine.fills import apply_trade
from app.engine.market_view import MarketView
from app.engine.universe import Universe

INTERVAL_NS = 8 * NS_PER_HOUR
BOUNDARY_NS = 1_767_225_600_000_000_000  # 2026-01-01T00:00:00Z, a multiple of eight hours
START_NS = BOUNDARY_NS - 60 * NS_PER_SECOND
ACCOUNT = UUID(int=3)
EXPIRY = "2026-01-01T00:00:00Z"
PERP = Instrument(id="BTC-USDT-PERP", kind="perpetual", underlying="BTC", quote="USDT")
HOURLY = PERP.model_copy(update={"id": "BTC-USDT-HOURLY", "funding_interval_hours": 1})
INVERSE = Instrument(
    id="BTC-USD-PERP", kind="perpetual", settlement="inverse", underlying="BTC", quote="USD", multiplier=100
)
SPOT = Instrument(id="BTC-USDT", kind="spot", underlying="BTC", quote="USDT")
FUTURE = Instrument.model_validate(
    {"id": "BTC-FUT", "kind": "future", "underlying": "BTC", "quote": "USDT", "expiry": EXPIRY}
)


def option(name, option_type, **terms):
    return Instrument.model_validate(
        {
            "id": name, "kind": "option", "underlying": "BTC", "quote": "USDT", "strike": 50_000,
            "expiry": EXPIRY, "option_type": option_type, "marked_by": PERP.id, **terms,
        }
    )  # fmt: skip


CALL, PUT = option("BTC-CALL", "call"), option("BTC-PUT", "put")
COIN_CALL = option("BTC-COIN-CALL", "call", settlement="inverse", quote="USD")
INSTRUMENTS = [PERP, HOURLY, INVERSE, SPOT, FUTURE, CALL, PUT, COIN_CALL]
UNIVERSE = Universe(INSTRUMENTS)


def portfolio(*positions, balances=(("USDT", "100000"),), venue="paper", opened_ns=0, name=1, in_flight=()):
    held = tuple(Position(i.instrument_id, Decimal(q), Decimal(e), opened_ns) for i, q, e in positions)
    cash = tuple(Balance(asset, Decimal(amount)) for asset, amount in balances)
    account = Account(ACCOUNT, "main", venue, MarginMode.CROSS, held, cash)
    return Portfolio(
        UUID(int=name), UUID(int=2), "one", "USDT", PortfolioState.ACTIVE, 1, (account,), in_flight=in_flight
    )


def frame(sequence, time_ns, prices=None, rates=None, volatilities=None, generation=1):
    known = [(TickKind.PRICE, i, v) for i, v in (prices or {}).items()]
    known += [(TickKind.FUNDING_RATE, i, v) for i, v in (rates or {}).items()]
    known += [(TickKind.IMPLIED_VOL, i, v) for i, v in (volatilities or {}).items()]
    changes = tuple(Change(kind, i.id, v, 0.0, 1, Quality.VALID, time_ns) for kind, i, v in known)
    return Frame(generation, sequence, time_ns, "", 0, changes)


class Running:
    """A book that goes on from what was decided, as the evaluator's does."""

    def __init__(self, *portfolios):
        self.book, self.market = Book(UNIVERSE), MarketView(UNIVERSE)
        for one in portfolios:
            self.book.put(one)

    def take(self, *frames):
        """The verdicts of a block of frames, by portfolio."""
        block = self.market.advance(frames)
        return decide(self.book, {}, block, affected(self.book, block))

    def settle(self, one):
        """As the evaluator does with a portfolio that was changed by others: on the last frame."""
        self.book.put(one)
        block = self.market.block()
        return decide(self.book, {}, block, whole_block(self.book, block, [one.id]))

    def account(self, name=1):
        return self.book.portfolio(UUID(int=name)).accounts[0]


def paid(verdicts, name=1):
    """(boundary, amount) of every funding payment."""
    events = verdicts[UUID(int=name)].events if UUID(int=name) in verdicts else []
    assert all(event.type is EventType.FUNDING_ACCRUED for event in events)
    return [(p["boundary"], Decimal(p["paid"])) for event in events for p in event.data["payments"]]


CALM, RATE = {PERP: 50_000.0, INVERSE: 40_000.0}, {PERP: 0.0001, INVERSE: -0.0002}
AT = rfc3339(BOUNDARY_NS)


def test_a_long_pays_what_a_short_receives_and_it_is_in_the_books():
    running = Running(portfolio((PERP, "2", "45000")), portfolio((PERP, "-2", "45000"), name=2))
    assert running.take(frame(1, START_NS, CALM, RATE)) == {}
    verdicts = running.take(frame(2, BOUNDARY_NS))
    assert paid(verdicts) == [(AT, Decimal(10))]
    assert paid(verdicts, 2) == [(AT, Decimal(-10))]
    verdict = verdicts[UUID(int=1)]
    (fill,) = verdict.fills
    assert (fill.kind, fill.instrument, fill.asset) == ("funding", PERP.id, "USDT")
    assert (fill.quantity, fill.price, fill.fee, fill.time_ns) == (2, 50_000, 10, BOUNDARY_NS)
    assert (verdict.before.revision, verdict.after.revision) == (1, 2)
    account = verdict.after.accounts[0]
    assert account.balance("USDT") == 99_990
    assert account.positions == (Position(PERP.id, Decimal(2), Decimal(45_000), BOUNDARY_NS),)
    assert running.account() == account
    assert running.account(2).balance("USDT") == 100_010


def test_an_inverse_contract_pays_in_coin():
    running = Running(portfolio((INVERSE, "1000", "45000"), balances=[("BTC", "3")]))
    running.take(frame(1, START_NS, CALM, RATE))
    # 1,000 contracts of 100 USD are 2.5 coins at 40,000; the negative rate is received by the long
    assert paid(running.take(frame(2, BOUNDARY_NS))) == [(AT, Decimal("-0.0005"))]
    assert running.account().balance("BTC") == Decimal("3.0005")


def test_real_venues_do_it_themselves():
    running = Running(portfolio((PERP, "2", "45000"), (FUTURE, "1", "45000"), venue="elsewhere"))
    running.take(frame(1, START_NS, CALM | {FUTURE: 50_000.0}, RATE))
    assert running.take(frame(2, BOUNDARY_NS)) == {}


def test_without_a_rate_nothing_accrues_and_nothing_is_invented():
    running = Running(portfolio((PERP, "2", "45000")))
    running.take(frame(1, START_NS, CALM))
    assert running.take(frame(2, BOUNDARY_NS), frame(3, BOUNDARY_NS + INTERVAL_NS)) == {}
    assert running.account().positions[0].accrued_ns == 0


def test_a_boundary_waits_for_its_rate_until_the_next_one():
    """And of those gone by without a rate none is charged afterwards."""
    opened = START_NS - 5 * INTERVAL_NS
    running = Running(portfolio((PERP, "2", "45000"), opened_ns=opened))
    running.take(frame(1, START_NS, CALM))
    running.take(frame(2, BOUNDARY_NS))
    late = frame(3, BOUNDARY_NS + NS_PER_HOUR, rates=RATE)
    assert paid(running.take(late)) == [(AT, Decimal(10))]
    assert running.take(frame(4, BOUNDARY_NS + 2 * NS_PER_HOUR, CALM, RATE)) == {}


def test_nobody_pays_for_a_time_in_which_he_held_nothing():
    """Opened after the boundary, though the evaluator comes to the boundary only now."""
    running = Running(
        portfolio((PERP, "2", "45000"), opened_ns=BOUNDARY_NS),
        portfolio((PERP, "2", "45000"), opened_ns=BOUNDARY_NS - 1, name=2),
    )
    running.take(frame(1, START_NS, CALM, RATE))
    verdicts = running.take(frame(2, BOUNDARY_NS + NS_PER_SECOND))
    assert paid(verdicts) == []
    assert paid(verdicts, 2) == [(AT, Decimal(10))]


def test_the_market_begins_with_a_boundary_and_nobody_held_anything_before():
    running = Running(portfolio((PERP, "2", "45000")))
    assert running.take(frame(1, BOUNDARY_NS, CALM, RATE)) == {}


def test_boundaries_of_a_gap_are_paid_one_by_one_at_what_stands_after_it():
    """The clock stood still for a day: three boundaries, each with a fill of its own."""
    running = Running(portfolio((PERP, "2", "45000")))
    running.take(frame(1, START_NS, CALM, RATE))
    after = BOUNDARY_NS + 2 * INTERVAL_NS + NS_PER_SECOND
    verdicts = running.take(frame(2, after, {PERP: 60_000.0}, {PERP: 0.001}))
    passed = [rfc3339(BOUNDARY_NS + n * INTERVAL_NS) for n in range(3)]
    assert paid(verdicts) == [(boundary, Decimal(120)) for boundary in passed]
    assert len({fill.id for fill in verdicts[UUID(int=1)].fills}) == 3


def test_a_rate_of_nothing_is_a_rate():
    """That boundary is paid; the next rate is not charged for it."""
    running = Running(portfolio((PERP, "2", "45000")))
    running.take(frame(1, START_NS, CALM, {PERP: 0.0}))
    assert paid(running.take(frame(2, BOUNDARY_NS))) == [(AT, Decimal(0))]
    assert running.take(frame(3, BOUNDARY_NS + 1, rates=RATE)) == {}


def test_a_portfolio_decided_again_on_the_same_frame_pays_once():
    """What was committed is paid for good; what was left out of the commit is still owed."""
    before = portfolio((PERP, "2", "45000"), opened_ns=START_NS - 1)
    running = Running(before)
    running.take(frame(1, START_NS, CALM, RATE))
    verdict = running.take(frame(2, BOUNDARY_NS, {SPOT: 1.0}))[before.id]
    assert running.settle(verdict.after) == {}
    assert paid(running.settle(before)) == [(AT, Decimal(10))]


def test_what_is_only_on_its_way_pays_nothing():
    leg = TradeLeg(ACCOUNT, PERP.instrument_id, Decimal(3), Decimal(50_000), reduces=False)
    work = InFlight(UUID(int=7), UUID(int=8), AdjustmentState.QUEUED, BOUNDARY_NS + INTERVAL_NS, (leg,))
    running = Running(portfolio((PERP, "2", "45000"), in_flight=(work,)))
    running.take(frame(1, START_NS, CALM, RATE))
    assert paid(running.take(frame(2, BOUNDARY_NS))) == [(AT, Decimal(10))]
    assert running.book.portfolio(UUID(int=1)).in_flight == (work,)


def test_every_perpetual_has_its_own_interval():
    running = Running(portfolio((PERP, "1", "45000"), (HOURLY, "1", "45000")))
    running.take(frame(1, START_NS, {PERP: 50_000.0, HOURLY: 50_000.0}, {PERP: 0.0001, HOURLY: 0.0001}))
    running.take(frame(2, BOUNDARY_NS))
    hours = BOUNDARY_NS + 3 * NS_PER_HOUR
    assert paid(running.take(frame(3, hours))) == [
        (rfc3339(BOUNDARY_NS + n * NS_PER_HOUR), Decimal(5)) for n in (1, 2, 3)
    ]


def test_what_could_not_be_stored_stays_as_it_is_and_keeps_nobody_else_waiting():
    huge = portfolio((PERP, "9e19", "45000"), balances=[("USDT", "99999999999999999999")], name=1)
    running = Running(huge, portfolio((PERP, "2", "45000"), name=2))
    running.take(frame(1, START_NS, {PERP: 1e15}, RATE))
    verdicts = running.take(frame(2, BOUNDARY_NS, {PERP: 50_000.0}), frame(3, BOUNDARY_NS + 1, CALM))
    assert paid(verdicts, 2) == [(AT, Decimal(10))]


steps = st.lists(st.integers(1, 30 * 3600), min_size=1, max_size=40)


@settings(deadline=None)
@given(steps=steps, cuts=st.sets(st.integers(1, 39)), opened_hours=st.integers(-30, 20))
def test_any_cut_into_frames_and_blocks_accrues_the_same(steps, cuts, opened_hours):
    """With one rate and one mark throughout, what counts is which boundaries lie between open and now."""
    one = portfolio(
        (PERP, "2", "45000"), (HOURLY, "-1", "45000"), opened_ns=START_NS + opened_hours * NS_PER_HOUR
    )
    known = {PERP: 50_000.0, HOURLY: 50_000.0}, {PERP: 0.0001, HOURLY: 0.0003}
    times = [START_NS]
    for step in steps:
        times.append(times[-1] + step * NS_PER_SECOND)
    frames = [frame(n, time_ns, *(known if n == 1 else ())) for n, time_ns in enumerate(times, start=1)]
    edges = [0, *sorted(cut for cut in cuts if cut < len(frames)), len(frames)]
    running = Running(one)
    fills = []
    for begin, end in pairwise(edges):
        verdicts = running.take(*frames[begin:end])
        fills += [fill for verdict in verdicts.values() for fill in verdict.fills]
    expected = {}
    for instrument, interval_ns in ((PERP, INTERVAL_NS), (HOURLY, NS_PER_HOUR)):
        held = one.accounts[0].position(instrument.instrument_id).accrued_ns
        # those before the market began are gone, but for the last: it waited for its rate
        after_ns = max(held, START_NS // interval_ns * interval_ns - 1)
        expected[instrument.id] = max(0, times[-1] // interval_ns - after_ns // interval_ns)
    counted = {name: sum(fill.instrument == name for fill in fills) for name in expected}
    assert counted == expected
    assert len({fill.id for fill in fills}) == len(fills)
    net = 10 * expected[PERP.id] - 15 * expected[HOURLY.id]
    assert running.account().balance("USDT") == 100_000 - net


@given(
    accrued_ns=st.integers(0, 10**6),
    before_ns=st.integers(0, 10**6),
    step_ns=st.integers(0, 10**6),
    interval_ns=st.integers(10**3, 10**5),
)
def test_boundaries_lie_after_what_was_paid_and_not_after_now(accrued_ns, before_ns, step_ns, interval_ns):
    now_ns = before_ns + step_ns
    found = boundaries(accrued_ns=accrued_ns, before_ns=before_ns, now_ns=now_ns, interval_ns=interval_ns)
    last_ns = now_ns // interval_ns * interval_ns
    for boundary_ns in found:
        assert boundary_ns % interval_ns == 0
        assert accrued_ns < boundary_ns <= now_ns
        assert boundary_ns > (before_ns or now_ns) or boundary_ns == last_ns
    if 0 < before_ns < last_ns and accrued_ns < last_ns:
        assert last_ns in found


def test_a_future_is_settled_at_its_mark_without_a_fee():
    running = Running(portfolio((FUTURE, "-2", "45000")))
    running.take(frame(1, START_NS, {FUTURE: 44_000.0}))
    (verdict,) = running.take(frame(2, BOUNDARY_NS)).values()
    (fill,) = verdict.fills
    assert (fill.kind, fill.quantity, fill.price, fill.fee) == ("expiry", 2, 44_000, 0)
    assert running.account().positions == ()
    assert running.account().balance("USDT") == 102_000
    (event,) = verdict.events
    assert event.type is EventType.POSITION_SETTLED
    assert event.data["settlements"] == [
        {
            "instrument": "BTC-FUT", "quantity": "-2", "mark": "44000", "price": "44000", "gained": "2000",
            "asset": "USDT",
        }
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("instrument", "quantity", "price", "asset", "gained"),
    [
        (CALL, "-1", 53_000.0, "USDT", "-3000"),
        (CALL, "-1", 47_000.0, "USDT", "0"),
        (CALL, "2", 53_000.0, "USDT", "6000"),
        (PUT, "-1", 47_000.0, "USDT", "-3000"),
        (PUT, "-1", 53_000.0, "USDT", "0"),
        (COIN_CALL, "-1", 62_500.0, "BTC", "-0.2"),
    ],
)
def test_an_option_is_settled_at_what_exercising_is_worth(instrument, quantity, price, asset, gained):
    """No volatility is needed for that."""
    running = Running(portfolio((instrument, quantity, "100"), balances=[("USDT", "100000"), ("BTC", "1")]))
    running.take(frame(1, START_NS, {PERP: 50_000.0, SPOT: 50_000.0}))
    running.take(frame(2, BOUNDARY_NS + 1, {PERP: price, SPOT: price}))
    account = running.account()
    assert account.positions == ()
    had = {"USDT": 100_000, "BTC": 1}[asset]
    assert account.balance(asset) == had + Decimal(gained)


@given(mark=st.decimals("0.01", "1000000", places=2))
def test_settlement_of_call_less_put_is_the_forward(mark):
    assert settlement_price(CALL, mark) - settlement_price(PUT, mark) == mark - CALL.strike
    coin = settlement_price(COIN_CALL, mark) * mark
    assert abs(coin - settlement_price(CALL, mark)) <= mark * Decimal("1e-18")


def test_an_expiry_waits_until_its_price_is_known():
    running = Running(portfolio((FUTURE, "1", "45000")))
    assert running.take(frame(1, START_NS, {SPOT: 50_000.0})) == {}
    assert running.take(frame(2, BOUNDARY_NS + INTERVAL_NS, {SPOT: 50_000.0})) == {}
    assert len(running.take(frame(3, BOUNDARY_NS + 9 * INTERVAL_NS, {FUTURE: 46_000.0}))) == 1
    assert running.account().balance("USDT") == 101_000


def test_what_is_booked_after_its_expiry_is_settled_again():
    """Each time with another fill."""
    one = portfolio((FUTURE, "1", "45000"))
    running = Running(one)
    running.take(frame(1, START_NS, {FUTURE: 46_000.0}))
    (first,) = running.take(frame(2, BOUNDARY_NS))[one.id].fills
    running.take(frame(3, BOUNDARY_NS + 1, {FUTURE: 46_000.0}))
    (second,) = running.settle(one)[one.id].fills
    assert first.id != second.id
    assert running.account().positions == ()


def test_an_account_is_liquidated_on_what_the_clock_left_of_it():
    """On the same frame: the short call cost more than there was, and the rest goes as any account's does."""
    one = portfolio((CALL, "-1", "100"), (PERP, "0.1", "50000"), balances=[("USDT", "5000")])
    running = Running(one)
    running.take(frame(1, START_NS, {PERP: 50_000.0, SPOT: 50_000.0}, volatilities={CALL: 0.2}))
    (verdict,) = running.take(frame(2, BOUNDARY_NS, {PERP: 56_000.0})).values()
    assert [event.type for event in verdict.events] == [
        EventType.POSITION_SETTLED,
        EventType.ACCOUNT_LIQUIDATED,
    ]
    assert [fill.kind for fill in verdict.fills] == ["expiry", "liquidation"]
    assert verdict.after.revision == 3
    assert running.account().balance("USDT") == 0


def test_the_clock_is_seen_though_nothing_else_happens_and_in_the_right_frame():
    """A heartbeat carries it; in a block, the frame after it is decided on the new figures."""
    one = portfolio((PERP, "2", "45000"))
    running = Running(one)
    heartbeats = [frame(n + 2, BOUNDARY_NS + (n - 2) * NS_PER_SECOND) for n in range(5)]
    verdict = running.take(frame(1, START_NS, CALM, RATE), *heartbeats)[one.id]
    assert [fill.time_ns for fill in verdict.fills] == [BOUNDARY_NS]


def test_rates_outlive_a_snapshot_and_new_listings():
    market = MarketView(UNIVERSE)
    market.advance([frame(1, START_NS, CALM, RATE)])
    restored = MarketView(UNIVERSE)
    restored.restore(market.snapshot(), position=market.position, time_ns=market.time_ns)
    more = Universe([*INSTRUMENTS, PERP.model_copy(update={"id": "AAA-PERP"})])
    seen = [market.block(), restored.block(), market.on(more).block(), market.block().on(more)]
    for block in seen:
        row = block.universe.index[INVERSE.id]
        assert block.funding_rate(0, row) == RATE[INVERSE]
    assert str(seen[2].funding_rate(0, more.index["AAA-PERP"])) == "nan"


def test_a_new_generation_knows_no_rates():
    one = portfolio((PERP, "2", "45000"), opened_ns=START_NS - 1)
    running = Running(one)
    running.take(frame(1, START_NS, CALM, RATE))
    assert running.take(frame(1, BOUNDARY_NS + 1, CALM, generation=2)) == {}
    assert paid(running.take(frame(2, BOUNDARY_NS + 2, rates=RATE, generation=2))) == [(AT, Decimal(10))]


def test_terms_of_funding_belong_to_perpetuals():
    assert PERP.accrual_interval_ns == INTERVAL_NS
    assert FUTURE.accrual_interval_ns == 0
    with pytest.raises(ValueError, match="funding belongs to perpetuals"):
        Instrument.model_validate(SPOT.model_dump() | {"funding_interval_hours": 8})


def test_a_position_that_grows_keeps_its_time_and_one_that_turns_begins_anew():
    one = portfolio((PERP, "2", "45000"), opened_ns=5)
    bought = {"instrument": PERP, "account_id": ACCOUNT, "price": Decimal(50_000), "fee": Decimal(0)}
    after = [
        apply_trade(one, quantity=Decimal(q), time_ns=9, **bought).accounts[0].position(PERP.instrument_id)
        for q in ("1", "-1", "-3")
    ]
    assert [(held.quantity, held.accrued_ns) for held in after] == [(3, 5), (1, 5), (-1, 9)]
    assert after[0].entry_price == Decimal("46666.666666666666666667")


def pool(asset, supply, borrow):
    return Instrument(
        id=f"POOL-{asset}", kind="lending", underlying=asset, quote="USDT", liquidation_threshold="0.8",
        supply_rate_annual=supply, borrow_rate_annual=borrow,
    )  # fmt: skip


COIN_POOL, CASH_POOL = pool("BTC", "0", "0.02"), pool("USDT", "0.03", "0.0876")
LENDING_UNIVERSE = Universe([SPOT, COIN_POOL, CASH_POOL])
HOUR_NS = NS_PER_HOUR


class Lending(Running):
    """1 BTC supplied at no rate, 40,000 USDT owed at 8.76 % a year: 0.00001 an hour."""

    def __init__(self, opened_ns, *, venue="paper", quantities=("1", "-40000")):
        self.book, self.market = Book(LENDING_UNIVERSE), MarketView(LENDING_UNIVERSE)
        held = tuple(
            Position(instrument.id, Decimal(quantity), ZERO, opened_ns)
            for instrument, quantity in zip((COIN_POOL, CASH_POOL), quantities, strict=True)
        )
        account = Account(ACCOUNT, "loan", venue, MarginMode.LENDING, held)
        self.loan = Portfolio(
            UUID(int=1), UUID(int=2), "one", "USDT", PortfolioState.ACTIVE, 1, (account,)
        )  # fmt: skip
        self.book.put(self.loan)

    @property
    def owed(self):
        return -self.account().position(CASH_POOL.id).quantity


ZERO = Decimal(0)


def test_what_is_owed_bears_interest_at_whole_hours_and_what_has_no_rate_is_left_alone():
    running = Lending(BOUNDARY_NS - HOUR_NS // 4)
    assert running.take(frame(1, START_NS, {SPOT: 60_000.0})) == {}
    (verdict,) = running.take(frame(2, BOUNDARY_NS + 1)).values()
    (fill,) = verdict.fills
    assert (fill.kind, fill.instrument, fill.asset) == ("interest", CASH_POOL.id, "USDT")
    assert (fill.quantity, fill.price, fill.fee) == (Decimal("-0.1"), 0, 0)  # since a quarter to the hour
    (event,) = verdict.events
    assert event.type is EventType.INTEREST_ACCRUED
    assert event.data["interest"] == [
        {
            "instrument": CASH_POOL.id, "boundary": AT, "rate_annual": "0.0876", "quantity": "-40000",
            "added": "-0.1", "asset": "USDT",
        }
    ]  # fmt: skip
    assert (verdict.before.revision, verdict.after.revision) == (1, 2)
    held = verdict.after.accounts[0].positions
    assert [(p.quantity, p.accrued_ns) for p in held] == [
        (Decimal(1), BOUNDARY_NS - HOUR_NS // 4), (Decimal("-40000.1"), BOUNDARY_NS),
    ]  # fmt: skip
    assert running.take(frame(3, BOUNDARY_NS + 2)) == {}
    running.take(frame(4, BOUNDARY_NS + HOUR_NS))
    assert running.owed == Decimal("40000.1") * Decimal("1.00001")  # it compounds


@settings(deadline=None)
@given(st.sets(st.integers(1, 50), max_size=8), st.integers(1, 50 * 60))
def test_interest_is_the_same_however_time_is_cut_into_frames(cuts, opened_minutes_ago):
    """An hour that nobody looked at is added when somebody does."""
    times = [BOUNDARY_NS + hours * HOUR_NS for hours in sorted(cuts | {51})]
    running = Lending(BOUNDARY_NS - opened_minutes_ago * 60 * NS_PER_SECOND)
    running.take(frame(1, BOUNDARY_NS - 1, {SPOT: 60_000.0}))
    fills = [f for k, t in enumerate(times) for v in running.take(frame(k + 2, t)).values() for f in v.fills]
    assert len({fill.id for fill in fills}) == len(fills) == 52
    other = Lending(BOUNDARY_NS - opened_minutes_ago * 60 * NS_PER_SECOND)
    other.take(frame(1, BOUNDARY_NS - 1, {SPOT: 60_000.0}))
    other.take(*(frame(2 + hour, BOUNDARY_NS + hour * HOUR_NS) for hour in range(52)))
    assert running.owed == other.owed


def test_interest_is_the_venues_business_where_it_is_real_and_is_never_lost_in_rounding():
    real = Lending(START_NS, venue="aave")
    assert real.take(frame(1, START_NS, {SPOT: 60_000.0}), frame(2, BOUNDARY_NS)) == {}
    dust = Lending(0, quantities=("1", "-0.000000000000000001"))
    dust.take(frame(1, START_NS, {SPOT: 60_000.0}), frame(2, BOUNDARY_NS))
    assert dust.owed == Decimal("0.000000000000000002")
    assert dust.take(frame(3, BOUNDARY_NS + 1)) == {}
