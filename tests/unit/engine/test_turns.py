"""One portfolio's way through frames where it is easily led astray."""

from decimal import Decimal
from uuid import UUID

import msgspec
import pytest

from app.domain.adjustments import AdjustmentState, InFlight, Reason, TransferLeg
from app.domain.events import EventType
from app.domain.instruments import Instrument
from app.domain.market import Change, Frame, Quality, TickKind
from app.domain.policies import Cure, DeltaNeutral, Guards, LiquidationGuard, Mode, StoredPolicy
from app.domain.portfolios import Account, Balance, MarginMode, Portfolio, PortfolioState, Position, Reserve
from app.engine import observation
from app.engine.book import Book
from app.engine.decide import affected, decide
from app.engine.market_view import MarketView
from app.engine.universe import Universe

START_NS = 1_767_225_600_000_000_000
SECOND = 1_000_000_000
ACCOUNT = UUID(int=3)
PERP = Instrument(id="BTC-USDT-PERP", kind="perpetual", underlying="BTC", quote="USDT")
INVERSE = Instrument(
    id="BTC-USD-PERP", kind="perpetual", settlement="inverse", underlying="BTC", quote="USD", multiplier=100
)
SPOT = Instrument(id="BTC-USDT", kind="spot", underlying="BTC", quote="USDT")
ETH = Instrument(id="ETH-USDT", kind="spot", underlying="ETH", quote="USDT")
CALL = Instrument.model_validate(
    {
        "id": "BTC-CALL", "kind": "option", "underlying": "BTC", "quote": "USDT", "strike": 90_000,
        "expiry": "2026-01-01T00:10:00Z", "option_type": "call", "marked_by": PERP.id,
    }
)  # fmt: skip
UNIVERSE = Universe([PERP, INVERSE, SPOT, ETH, CALL])
TOP_UP = LiquidationGuard(
    name="alive", trigger="0.2", restore="0.1", mode=Mode.AUTO, cures=[Cure.TOP_UP],
    guards=Guards(cooldown_seconds=0),
)  # fmt: skip
REDUCE = TOP_UP.model_copy(update={"cures": (Cure.REDUCE,)})
FLAT = DeltaNeutral(name="flat", underlying="BTC", band="0.1", hedge_instruments=(PERP.id,), mode=Mode.AUTO)


def portfolio(*, positions, balance, policies=(), reserve="0", in_flight=(), name=1):
    account = Account(
        ACCOUNT,
        "main",
        "paper",
        MarginMode.CROSS,
        tuple(Position(i.instrument_id, Decimal(q), Decimal(e)) for i, q, e in positions),
        (Balance("USDT", Decimal(balance)),),
    )
    return Portfolio(
        UUID(int=name), UUID(int=2), "one", "USDT", PortfolioState.ACTIVE, 1, (account,),
        (Reserve("USDT", Decimal(reserve)),),
        tuple(StoredPolicy(UUID(int=100 * name + n), 1, policy) for n, policy in enumerate(policies)),
        tuple(in_flight),
    )  # fmt: skip


def frame(k, prices, volatilities=None):
    time_ns = START_NS + k * SECOND
    known = [(TickKind.PRICE, i, v) for i, v in prices.items()]
    known += [(TickKind.IMPLIED_VOL, i, v) for i, v in (volatilities or {}).items()]
    changes = tuple(Change(kind, i.id, v, 0.0, 1, Quality.VALID, time_ns) for kind, i, v in known)
    return Frame(1, k + 1, time_ns, "", 0, changes)


def decided(portfolios, blocks):
    """Verdicts by portfolio, a list each."""
    book, market, memories = Book(UNIVERSE), MarketView(UNIVERSE), {}
    for one in portfolios:
        book.put(one)
    found = {one.id: [] for one in portfolios}
    for frames in blocks:
        block = market.advance(frames)
        for key, verdict in decide(book, memories, block, affected(book, block)).items():
            memories |= verdict.memories
            found[key].append(verdict)
    return found


def test_what_really_stands_is_liquidated_before_a_policy_looks_at_what_is_in_flight():
    on_its_way = InFlight(
        UUID(int=7), UUID(int=8), AdjustmentState.QUEUED, START_NS + 60 * SECOND,
        (TransferLeg(ACCOUNT, "USDT", Decimal(100_000)),),
    )  # fmt: skip
    one = portfolio(
        positions=[(PERP, "10", "50000")], balance="10000", policies=[FLAT], reserve="100000",
        in_flight=[on_its_way],
    )  # fmt: skip
    (verdict,) = decided([one], [[frame(0, {PERP: 48_000.0, SPOT: 48_000.0})]])[one.id]
    assert [event.type for event in verdict.events] == [EventType.ACCOUNT_LIQUIDATED]
    assert verdict.decisions == []


def test_an_option_that_is_worth_nothing_is_liquidated_for_nothing():
    one = portfolio(positions=[(PERP, "10", "50000"), (CALL, "1", "100")], balance="10000")
    (verdict,) = decided([one], [[frame(0, {PERP: 48_000.0, SPOT: 48_000.0}, {CALL: 0.5})]])[one.id]
    assert [(fill.instrument, fill.price) for fill in verdict.fills] == [(PERP.id, 48_000), (CALL.id, 0)]


def test_without_a_cooldown_no_frame_is_looked_at_only_because_it_shares_a_block():
    """The guard acts, misses its target and goes on firing; the next frame is another asset's."""
    one = portfolio(positions=[(PERP, "10", "50000")], balance="7000", policies=[TOP_UP], reserve="10")
    calm = {PERP: 50_000.0, SPOT: 50_000.0}
    frames = [frame(0, calm), frame(1, {ETH: 2_000.0}), frame(2, {ETH: 2_001.0}), frame(3, calm)]
    looks = [
        [(d.position.sequence, d.reason) for verdict in verdicts[one.id] for d in verdict.decisions]
        for verdicts in (decided([one], [frames]), decided([one], [[each] for each in frames]))
    ]
    assert looks[0] == looks[1] == [(1, Reason.TARGET_MISSED), (4, Reason.OPEN_ADJUSTMENT)]


@pytest.mark.parametrize("price", [1e-19, 1e-300])
def test_a_need_that_no_reserve_can_meet_takes_all_of_it(price):
    """A short of inverse contracts at next to nothing: what it lacks is more than a decimal can say."""
    one = portfolio(positions=[(INVERSE, "1000", "50000")], balance="7000", policies=[TOP_UP], reserve="10")
    live = one.with_account(msgspec.structs.replace(one.accounts[0], venue="elsewhere"))
    (verdict,) = decided([live], [[frame(0, {PERP: 50_000.0, SPOT: 50_000.0, INVERSE: price})]])[one.id]
    assert [leg.amount for a in verdict.adjustments for leg in a.legs] == [10]


@pytest.mark.parametrize("price", [1e-19, 44_000.0, 1e15])
@pytest.mark.parametrize("quantity", ["9e19", "-9e19", "9e12"])
@pytest.mark.parametrize("policy", [TOP_UP, REDUCE, FLAT])
def test_a_portfolio_too_large_to_be_stored_does_not_keep_others_from_being_decided(price, quantity, policy):
    """What is done to it may be more than a column can hold: then it stays as it is, whatever it is."""
    huge = portfolio(positions=[(PERP, quantity, "50000")], balance="7000", policies=[policy], name=1)
    elsewhere = huge.accounts[0], msgspec.structs.replace(huge.accounts[0], id=UUID(int=4), venue="elsewhere")
    huge = msgspec.structs.replace(huge, accounts=elsewhere)
    other = portfolio(positions=[(PERP, "1", "50000")], balance="90000000000", policies=[FLAT], name=2)
    found = decided([huge, other], [[frame(0, {PERP: price, SPOT: 50_000.0})]])
    assert [len(verdict.decisions) for verdict in found[other.id]] == [1]


@pytest.mark.parametrize(("seconds", "moved"), [(60, ["ETH"]), (61, [])])
def test_a_reserve_is_valued_by_prices_that_are_no_older_than_the_guard_allows(seconds, moved):
    """And they are among the inputs of the decision."""
    one = portfolio(positions=[(PERP, "10", "50000")], balance="7000", policies=[TOP_UP])
    one = msgspec.structs.replace(one, reserves=(Reserve("ETH", Decimal(100)),))
    calm = frame(0, {ETH: 2_000.0, PERP: 60_000.0, SPOT: 60_000.0})
    later = frame(seconds, {PERP: 50_000.0, SPOT: 50_000.0})
    (verdict,) = decided([one], [[calm], [later]])[one.id]
    assert [leg.asset for a in verdict.adjustments for leg in a.legs] == moved
    (decision,) = verdict.decisions[:1]
    assert (ETH.id in decision.inputs) is bool(moved)


def test_loops_are_compiled_for_one_kind_of_arrays():
    """Else the first portfolio that is looked at again waits for the compiler."""
    both = [
        portfolio(positions=[(PERP, q, "50000")], balance="90000", policies=[FLAT], name=n)
        for n, q in ((1, "1"), (2, "2"))
    ]
    recommended = [
        msgspec.structs.replace(
            one,
            policies=[
                StoredPolicy(p.id, 1, p.policy.model_copy(update={"mode": Mode.RECOMMEND}))
                for p in one.policies
            ],
        )
        for one in both
    ]
    calm = {PERP: 50_000.0, SPOT: 50_000.0}
    frames = [frame(k, calm) for k in range(4)]
    decided(both, [frames])
    decided(recommended, [frames])
    assert len(observation.observe_pairs.signatures) == 1
