"""What holds a fired policy back, each by its reason; and what does not hold a guard back."""

from decimal import Decimal

import msgspec
import pytest
from msgspec.structs import replace

from app.domain.adjustments import MissReason, Outcome, Reason
from app.domain.families.liquidation_guard import Emergency
from app.domain.market import Change, Quality, TickKind
from app.domain.metrics import MetricName
from app.domain.policies import (
    Cure,
    DeltaNeutral,
    Guards,
    LeverageBand,
    LiquidationGuard,
    Mode,
    StressResponse,
)
from app.domain.portfolios import Balance, MarginMode, PortfolioState
from app.engine.book import Book
from app.engine.decide import affected, decide
from app.engine.fills import apply_legs_as_if_done
from app.engine.market_view import MarketView
from app.engine.memory import NOTHING, PolicyMemory, Traded, reversals, unpacked
from app.engine.risk import portfolio_risk
from app.engine.tiers import tier_of
from tests.unit.engine.test_turns import INVERSE, PERP, SPOT, UNIVERSE, decided, frame, portfolio

FREE = {"cooldown_seconds": 0, "maximum_trades_per_hour": None, "maximum_reversals_per_hour": None}


def flat(**guards):
    return DeltaNeutral(
        name="flat", underlying="BTC", band="0.1", hedge_instruments=(PERP.id,), mode=Mode.AUTO,
        guards=Guards(**(FREE | guards)),
    )  # fmt: skip


def alive(*, emergency=None, act_when_halted=True, **guards):
    return LiquidationGuard(
        name="alive", trigger="0.2", restore="0.1", mode=Mode.AUTO, cures=(Cure.REDUCE,), emergency=emergency,
        act_when_halted=act_when_halted, guards=Guards(**(FREE | guards)),
    )  # fmt: skip


def prices(price):
    return {PERP: price, SPOT: price}


class Life:
    """One portfolio whose adjustments are filled at once."""

    def __init__(self, holdings):
        self.holdings, self.memories = holdings, {}
        self.book, self.market, self.records = Book(UNIVERSE), MarketView(UNIVERSE), []
        self.book.put(holdings)

    def see(self, frame):
        block = self.market.advance([frame])
        verdict = decide(self.book, self.memories, block, affected(self.book, block)).get(self.holdings.id)
        if verdict is None:
            return []
        self.memories |= verdict.memories
        self.records += verdict.decisions
        self.holdings = replace(self.holdings, state=verdict.after.state)
        for adjustment in verdict.adjustments:
            self.holdings = apply_legs_as_if_done(self.holdings, adjustment.legs, UNIVERSE.instruments)
            self.holdings = replace(self.holdings, in_flight=())
            self.book.put(self.holdings)
        return verdict.decisions

    def buys(self, quantity):
        """From outside: the position becomes so large."""
        account = self.holdings.accounts[0]
        held = replace(
            account.position(PERP.instrument_id), quantity=Decimal(quantity), entry_price=Decimal(50_000)
        )
        self.holdings = self.holdings.with_account(account.with_position(held))
        self.book.put(self.holdings)


def long(policy, *, quantity="1", balance="1000000", **changes):
    holdings = portfolio(positions=[(PERP, quantity, "50000")], balance=balance, policies=[policy])
    return Life(replace(holdings, **changes))


def reasons(life, frames):
    return [decision.reason for each in frames for decision in life.see(each)]


def test_an_oscillation_is_broken_within_the_hour_and_a_cap_on_trades_holds():
    """Somebody else turns the position round on every frame, and the hedge would follow for ever."""
    for guards, last in (
        ({"maximum_reversals_per_hour": 4}, Reason.OSCILLATION),
        ({"maximum_trades_per_hour": 7}, Reason.TRADES_PER_HOUR),
    ):
        life = long(flat(**guards))
        for k in range(40):
            life.buys("1" if k % 2 == 0 else "-1")
            life.see(frame(k, prices(50_000.0 + k)))
        acted = [d for d in life.records if d.outcome is Outcome.ACTED]
        assert len(acted) == (5 if "maximum_reversals_per_hour" in guards else 7)
        assert life.records[-1].reason is last


def test_what_is_left_of_the_turnover_bounds_the_trade_and_then_holds_back():
    life = long(flat(maximum_turnover_per_day="30000"))
    assert reasons(life, [frame(0, prices(50_000.0)), frame(1, prices(50_001.0))]) == [
        Reason.TARGET_MISSED, Reason.TURNOVER_PER_DAY,
    ]  # fmt: skip
    assert float(life.holdings.accounts[0].position(PERP.instrument_id).quantity) == pytest.approx(
        0.4, abs=2e-3
    )


BOTH = (PERP.id, INVERSE.id)


def plan_of(*policies, positions=((PERP, "1", "50000"),), balance="1000000"):
    """The adjustment, and the value of what it trades of each instrument."""
    holdings = portfolio(positions=positions, balance=balance, policies=policies)
    seen = frame(0, prices(50_000.0) | {INVERSE: 50_000.0})
    (verdict,) = decided([holdings], [[seen]])[holdings.id]
    (adjustment,) = verdict.adjustments
    units = {PERP.id: 50_000.0, INVERSE.id: 100.0}
    return adjustment, {
        leg.instrument: abs(float(leg.quantity)) * units[leg.instrument] for leg in adjustment.legs
    }


def test_what_is_left_of_the_turnover_is_one_for_all_instruments():
    """Each of two may be traded for 20,000, and both for 30,000: two fifths of the delta stay."""
    guards = {"maximum_trade_notional": "20000", "maximum_turnover_per_day": "30000"}
    adjustment, traded = plan_of(flat(**guards).model_copy(update={"hedge_instruments": BOTH}))
    assert max(traded.values()) == pytest.approx(20_000, abs=50)
    assert sum(traded.values()) == pytest.approx(30_000, abs=50)
    assert sum(traded.values()) <= 30_000 * (1 + 1e-9)
    assert [miss.why for miss in adjustment.misses] == [MissReason.TRADE_LIMIT]


def test_positions_that_shrink_alike_share_a_turnover():
    band = LeverageBand(
        name="low", minimum="0.1", target="0.2", maximum="0.5", mode=Mode.AUTO,
        guards=Guards(**FREE, maximum_turnover_per_day="30000"),
    )  # fmt: skip
    held = ((PERP, "1", "50000"), (INVERSE, "500", "50000"))
    adjustment, traded = plan_of(band, positions=held, balance="100000")
    assert traded[PERP.id] == pytest.approx(15_000, abs=100)
    assert sum(traded.values()) == pytest.approx(30_000, abs=200)
    assert [miss.why for miss in adjustment.misses] == [MissReason.TRADE_LIMIT]


@pytest.mark.parametrize("scarce", [0, 1])
def test_the_turnover_of_one_policy_does_not_bind_another(scarce):
    """Whoever comes first: what one may not trade any more, the other may."""
    policies = [flat(), flat()]
    policies[scarce] = flat(maximum_turnover_per_day="10000")
    adjustment, traded = plan_of(*policies)
    assert adjustment.reaches_target
    assert sum(traded.values()) == pytest.approx(50_000, abs=100)


def test_small_trades_of_a_large_turnover_do_not_yield_to_large_trades_of_a_small_one():
    """5,000 of each of two instruments by the one policy, and 6,000 by the other."""
    small = flat(maximum_trade_notional="5000", maximum_turnover_per_day="15000")
    large = flat(maximum_turnover_per_day="6000")
    policies = [policy.model_copy(update={"hedge_instruments": BOTH}) for policy in (small, large)]
    _, traded = plan_of(*policies)
    assert sum(traded.values()) == pytest.approx(16_000, abs=200)


def test_the_trigger_has_to_hold_for_the_dwell_without_a_break():
    life = long(flat(dwell_seconds=3))
    assert reasons(life, [frame(k, prices(50_000.0 + k)) for k in range(2)]) == [Reason.NOT_YET]
    life.buys("0.05")
    assert reasons(life, [frame(2, prices(50_002.0))]) == []
    life.buys("1")
    found = reasons(life, [frame(k, prices(50_000.0 + k)) for k in range(3, 8)])
    assert found == [Reason.NOT_YET, Reason.TARGET_REACHED]
    assert life.records[-1].position.sequence == 7


def test_a_cooldown_holds_back():
    life = long(flat(cooldown_seconds=60))
    assert reasons(life, [frame(0, prices(50_000.0))]) == [Reason.TARGET_REACHED]
    life.buys("1")
    assert reasons(life, [frame(k, prices(50_000.0 + k)) for k in (1, 59, 60)]) == [
        Reason.COOLDOWN, Reason.TARGET_REACHED,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("guards", "reason"),
    [
        ({"maximum_cost": "1"}, Reason.COST_CAP),
        ({"maximum_cost_bps": "0.1"}, Reason.COST_CAP),
        ({"maximum_slippage_bps": "1"}, Reason.SLIPPAGE),
        ({"maximum_trade_notional": "5"}, Reason.MAXIMUM_TRADE),
        ({"minimum_notional": "60000"}, Reason.DUST),
    ],
)
def test_what_costs_too_much_or_is_too_little_is_not_done(guards, reason):
    life = long(flat(**guards))
    assert reasons(life, [frame(k, prices(50_000.0 + k)) for k in range(3)]) == [reason]


@pytest.mark.parametrize("quality", list(Quality)[1:])
def test_doubtful_prices_hold_a_hedge_and_let_a_guard_reduce(quality):
    poor = frame(0, prices(50_000.0))
    poor = replace(poor, changes=tuple(replace(c, quality=quality) for c in poor.changes))
    assert reasons(long(flat()), [poor]) == [Reason.PRICE_QUALITY]
    assert reasons(long(alive(), balance="1000"), [poor]) == [Reason.TARGET_REACHED]
    assert reasons(long(flat(on_poor_price="reduce_only")), [poor]) == [Reason.TARGET_REACHED]


def test_few_sources_and_a_wide_consensus_are_poor_by_the_policys_own_measure():
    alone = [frame(0, prices(50_000.0))]
    assert reasons(long(flat(minimum_price_sources=2)), alone) == [Reason.PRICE_QUALITY]
    wide = replace(alone[0], changes=tuple(replace(c, confidence=600.0) for c in alone[0].changes))
    assert reasons(long(flat(maximum_price_confidence_bps="100")), [wide]) == [Reason.PRICE_QUALITY]
    assert reasons(long(flat(maximum_price_confidence_bps="200")), [wide]) == [Reason.TARGET_REACHED]


def test_f26_a_halt_holds_all_but_the_guard_unless_it_was_told_so():
    halted, fallen = {"state": PortfolioState.HALTED}, [frame(0, prices(50_000.0))]
    assert reasons(long(flat(), **halted), fallen) == [Reason.PORTFOLIO_HALTED]
    assert reasons(long(alive(), balance="1000", **halted), fallen) == [Reason.TARGET_REACHED]
    obedient = alive(act_when_halted=False)
    assert reasons(long(obedient, balance="1000", **halted), fallen) == [Reason.PORTFOLIO_HALTED]


def test_f27_a_cost_cap_does_not_disarm_the_emergency_unless_it_was_told_so():
    fallen = [frame(0, prices(50_000.0))]
    for emergency, reason in (
        (None, Reason.COST_CAP),
        (Emergency(), Reason.COST_CAP),  # from 0.6 on
        (Emergency(trigger="0.22"), Reason.TARGET_REACHED),
        (Emergency(trigger="0.22", obey_cost_caps=True), Reason.COST_CAP),
        (Emergency(trigger="0.22", maximum_cost_bps="0.1"), Reason.COST_CAP),
    ):
        assert reasons(long(alive(emergency=emergency, maximum_cost="1"), balance="1000"), fallen) == [reason]


@pytest.mark.parametrize(
    ("metric", "levels", "emergency"),
    [
        ("margin_ratio", ("0.2", "0.1"), "0.6"),
        ("health_factor", ("1.5", "2"), "1.25"),
        ("liquidation_distance", ("0.1", "0.2"), "0.05"),
    ],
)
def test_f27_an_emergency_begins_half_way_to_liquidation_where_nothing_else_is_said(
    metric, levels, emergency
):
    guard = LiquidationGuard(name="alive", metric=metric, trigger=levels[0], restore=levels[1])
    assert guard.emergency_trigger == Decimal(emergency)
    assert guard.model_copy(update={"emergency": None}).emergency_trigger is None


def test_memory_of_before_reads_as_nothing_more():
    whole = PolicyMemory(
        cooldown_until_ns=7,
        traded=(Traded(5, (("main BTC", 1),), 2.0),),
        registers=(1.0,),
        bases=(("a", "b", 1.0),),
    )
    assert unpacked(whole.packed()) == whole
    assert unpacked(b"\x93\x07\xc0\x03") == PolicyMemory(cooldown_until_ns=7, suppressed_since=3)


def test_trades_of_before_count_toward_turnover_and_turn_nothing_round():
    """They said one direction for all places: here bought, for two."""
    whole = msgspec.msgpack.encode([7, None, 3, 5, 0, 0.0, [[5, 1, 2.0]]])
    (before,) = unpacked(whole).traded
    assert (before.time_ns, before.notional) == (5, 2.0)
    after = [Traded(6 + k, (("main BTC", (-1) ** k),), 1.0) for k in range(3)]
    assert reversals([before, *after], []) == 2


RISING = (("above", "recover_below"), ("0.5", "0.4"), ("0.8", "0.7"), (0.2, 0.9, 0.6, 0.1))
FALLING = (("below", "recover_above"), ("500", "600"), ("200", "300"), (800.0, 100.0, 400.0, 900.0))


@pytest.mark.parametrize(("names", "orange", "red", "values"), [RISING, FALLING])
def test_the_way_back_from_a_tier_that_only_reduces_builds_up_again(names, orange, red, values):
    """Two tiers down at once, and up one at a time; the state that the policy set does not hold it back."""
    tiers = [
        {"name": "orange", "exposure_multiplier": "0.5", **dict(zip(names, orange, strict=True))},
        {"name": "red", "exposure_multiplier": "0.1", "reduce_only": True,
         **dict(zip(names, red, strict=True))},
    ]  # fmt: skip
    policy = StressResponse(
        name="step back", mode=Mode.AUTO, tiers=tiers, recovery_dwell_seconds=0, guards=Guards(**FREE)
    )
    life = long(policy)
    sizes, states = [], []
    for k, stress in enumerate(values):
        seen = frame(k, prices(50_000.0 + k))
        index = Change(TickKind.STRESS, "MARKET", stress, 0.0, 1, Quality.VALID, seen.time_ns)
        life.see(replace(seen, changes=(*seen.changes, index)))
        sizes.append(float(life.holdings.accounts[0].position(PERP.instrument_id).quantity))
        states.append(life.holdings.state)
    active, reducing = PortfolioState.ACTIVE, PortfolioState.REDUCE_ONLY
    assert states == [active, reducing, active, active]
    assert sizes == pytest.approx([1.0, 0.1, 0.5, 1.0])


def test_a_tier_that_is_only_recommended_is_entered_and_left_once():
    """Nobody takes the recommendation up until it expires: the portfolio stays as it is, the tier changes."""
    tier = {"name": "red", "above": "0.5", "recover_below": "0.4", "exposure_multiplier": "0.5"}
    policy = StressResponse(
        name="step back", mode=Mode.RECOMMEND, tiers=[tier], recovery_dwell_seconds=0, guards=Guards(**FREE)
    )
    life = long(policy)
    (stored,) = life.holdings.policies
    tiers, outcomes = [], []
    for k, stress in enumerate((0.2, 0.9, 0.9, 0.1, 0.1, 0.1, 0.6, 0.3)):
        seen = frame(400 * k, prices(50_000.0 + k))
        index = Change(TickKind.STRESS, "MARKET", stress, 0.0, 1, Quality.VALID, seen.time_ns)
        block = life.market.advance([replace(seen, changes=(*seen.changes, index))])
        verdicts = decide(life.book, life.memories, block, affected(life.book, block))
        for verdict in verdicts.values():
            life.memories |= verdict.memories
            outcomes += [(k, decision.outcome) for decision in verdict.decisions]
        tiers.append(tier_of(life.memories.get(stored.id, NOTHING)))
    assert tiers == [0, 1, 1, 0, 0, 0, 1, 0]
    assert [k for k, outcome in outcomes if outcome is Outcome.ACTED] == [1, 3, 6, 7]


def test_what_a_plan_pushes_out_and_is_too_dear_for_it_leaves_and_does_not_come_back():
    """The hedge doubles the leverage, and the band would cut it for more than that may cost."""
    banded = LeverageBand(
        name="banded", minimum="0.5", target="1", maximum="1.5", mode=Mode.AUTO, trade_instruments=(SPOT.id,),
        guards=Guards(**(FREE | {"maximum_cost": "0.01"})),
    )  # fmt: skip
    holdings = portfolio(positions=[], balance="1000", policies=[flat(), banded])
    (account,) = holdings.accounts
    coin = replace(account, balances=(*account.balances, Balance("BTC", Decimal(1))))
    life = Life(holdings.with_account(coin))
    looks = reasons(life, [frame(0, prices(50_000.0))])
    assert looks == [Reason.COST_CAP, Reason.TARGET_REACHED]
    assert float(life.holdings.accounts[0].position(PERP.instrument_id).quantity) == pytest.approx(
        -1, abs=2e-3
    )
    assert reasons(life, [frame(1, prices(50_001.0))]) == [Reason.DUST]


def test_the_distance_to_liquidation_is_restored_under_portfolio_margin():
    guard = alive().model_copy(
        update={
            "metric": MetricName.LIQUIDATION_DISTANCE,
            "trigger": Decimal("0.2"),
            "restore": Decimal("0.3"),
        }
    )
    life = long(guard, quantity="4", balance="40000")
    scenarios = replace(life.holdings.accounts[0], margin_mode=MarginMode.PORTFOLIO)
    life = Life(life.holdings.with_account(scenarios))
    assert reasons(life, [frame(0, prices(50_000.0))]) == [Reason.TARGET_REACHED]
    assert portfolio_risk(life.holdings, life.market).liquidation_distance == pytest.approx(0.3, abs=2e-3)


def test_collateral_that_counts_with_a_haircut_is_sold_by_a_guard_that_may():
    """7,500 back one contract; ten thousand do once a tenth of a bitcoin counts whole."""
    guard = LiquidationGuard(
        name="alive", trigger="0.03", restore="0.025", mode=Mode.AUTO, cures=(Cure.HEDGE,),
        hedge_instruments=(SPOT.id,), guards=Guards(**FREE),
    )  # fmt: skip
    holdings = portfolio(positions=[(PERP, "1", "50000")], balance="0", policies=[guard])
    coins = Balance("BTC", Decimal("0.3"), haircut=Decimal("0.5"))
    account = replace(holdings.accounts[0], balances=(Balance("USDT", Decimal(0)), coins))
    life = Life(holdings.with_account(account))
    assert reasons(life, [frame(0, prices(50_000.0))]) == [Reason.TARGET_REACHED]
    assert float(life.holdings.accounts[0].balance("BTC")) == pytest.approx(0.2, abs=2e-3)


@pytest.mark.parametrize(
    ("mode", "reason"), [(Mode.AUTO, Reason.OSCILLATION), (Mode.RECOMMEND, Reason.TARGET_REACHED)]
)
def test_what_another_policy_only_recommends_does_not_hold_a_guard_back(mode, reason):
    guard = alive(maximum_reversals_per_hour=6)
    hedge = flat().model_copy(update={"mode": mode})
    life = Life(portfolio(positions=[(PERP, "1", "50000")], balance="1000", policies=[guard, hedge]))
    first = frame(0, prices(50_000.0)).time_ns
    place = f"{life.holdings.accounts[0].id} BTC"
    for stored, way, since in zip(life.holdings.policies, (-1, 1), (80, 75), strict=True):
        done = tuple(
            Traded(first - (since - 10 * k) * 1_000_000_000, ((place, way),), 1_000.0) for k in range(7)
        )
        life.memories[stored.id] = PolicyMemory(traded=done)
    assert reasons(life, [frame(0, prices(50_000.0))])[0] == reason
