"""One policy alone: the formula, the closed form and the solver give the same answer."""

from decimal import Decimal
from fractions import Fraction
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.instruments import Instrument
from app.domain.market import Change, Frame, Quality, TickKind
from app.domain.policies import Cure, DeltaNeutral, Guards, LeverageBand, LiquidationGuard, Mode, StoredPolicy
from app.domain.portfolios import Account, Balance, MarginMode, Portfolio, PortfolioState, Position, Reserve
from app.engine.book import Book
from app.engine.closed_form import closed_form
from app.engine.decide import affected, decide
from app.engine.market_view import MarketView
from app.engine.programme import Programme
from app.engine.solver import Solver
from app.engine.universe import Universe

PRICE = 50_000
FEE = Fraction(5, 10_000)
MAINTENANCE = Fraction(1, 100)
_TERMS = {
    "underlying": "BTC", "lot_size": "1e-10", "tick_size": "1e-10", "slippage_bps": 0,
    "taker_fee_rate": "0.0005", "maintenance_margin_rate": "0.01", "initial_margin_rate": "0.02",
}  # fmt: skip
SPOT = Instrument(id="BTC-USDT", kind="spot", quote="USDT", **_TERMS)
LINEAR = Instrument(id="BTC-USDT-PERP", kind="perpetual", quote="USDT", **_TERMS)
INVERSE = Instrument(
    id="BTC-USD-PERP", kind="perpetual", quote="USD", settlement="inverse", multiplier=100, **_TERMS
)
UNIVERSE = Universe([SPOT, LINEAR, INVERSE])
GUARDS = Guards(minimum_notional=0)
ACCURACY = 1e-9


def legs(policy, *, positions=(), balances, reserve=0):
    """What a portfolio of one account would do for the policy; fees cost, slippage is none."""
    account = Account(
        UUID(int=3), "main", "paper", MarginMode.CROSS,
        tuple(Position(i.instrument_id, Decimal(q), Decimal(e)) for i, q, e in positions),
        tuple(Balance(asset, Decimal(amount)) for asset, amount in balances.items()),
    )  # fmt: skip
    holdings = Portfolio(
        UUID(int=1), UUID(int=2), "one", "USDT", PortfolioState.ACTIVE, 1, (account,),
        (Reserve("USDT", Decimal(reserve)),), (StoredPolicy(UUID(int=4), 1, policy),),
    )  # fmt: skip
    changes = [
        Change(TickKind.PRICE, i.id, float(PRICE), 0.0, 1, Quality.VALID, 1) for i in (SPOT, LINEAR, INVERSE)
    ]
    book, market = Book(UNIVERSE), MarketView(UNIVERSE)
    book.put(holdings)
    block = market.advance([Frame(1, 1, 1, "", 0, tuple(changes))])
    (adjustment,) = decide(book, {}, block, affected(book, block))[holdings.id].adjustments
    assert adjustment.reaches_target
    return adjustment.legs


def quantity(leg):
    return float(leg.quantity)


def hedged_by(instrument, **terms):
    return DeltaNeutral(
        name="flat", underlying="BTC", band="0.1", mode=Mode.AUTO, guards=GUARDS,
        hedge_instruments=(instrument.id,), **terms,
    )  # fmt: skip


def hedged_on_its_venue(instrument, delta, **terms):
    """The account's venue is the instrument's, so that it may trade."""
    return legs(hedged_by(instrument, **terms), balances={"BTC": delta, "USDT": "90000"})


def guard(*cures, **terms):
    return LiquidationGuard(
        name="alive", trigger="0.5", restore="0.25", cures=cures, mode=Mode.AUTO, guards=GUARDS, **terms
    )


@st.composite
def programmes(draw):
    """Every lever at a price of its own, for else several answers are the best."""
    n, m = draw(st.integers(1, 6)), draw(st.integers(1, 4))
    whole = st.integers(-4, 4)
    matrix = np.array([[draw(whole) for _ in range(n)] for _ in range(m)], dtype=float)
    edges = [sorted((draw(st.integers(-40, 40)), draw(st.integers(-40, 40)))) for _ in range(m)]
    low, high = np.array(edges, dtype=float).T
    order = draw(st.permutations(range(n)))
    return Programme(
        lower=np.zeros(n),
        upper=np.array([float(draw(st.sampled_from([1, 3, 10, np.inf]))) for _ in range(n)]),
        cost=np.array([1.0 + at / np.pi for at in order]),
        lot=np.zeros(n),
        matrix=matrix,
        low=np.where(draw(st.lists(st.booleans(), min_size=m, max_size=m)), low, -np.inf),
        high=high,
        level=np.arange(m),
        scale=np.ones(m),
    )


@settings(deadline=None, max_examples=400)
@given(programmes())
def test_where_it_answers_the_solver_answers_the_same(programme):
    sizes = closed_form(programme)
    if sizes is None:
        return
    solution = Solver().solve(programme)
    assert solution.solved
    assert programme.cost @ sizes == pytest.approx(programme.cost @ solution.values, rel=1e-7, abs=1e-7)
    assert programme.matrix @ sizes == pytest.approx(programme.matrix @ solution.values, rel=1e-7, abs=1e-7)


def test_it_answers_where_one_goal_is_missing_and_leaves_what_takes_a_solver():
    one = Programme(
        lower=np.zeros(2), upper=np.array([4.0, np.inf]), cost=np.array([1.0, 3.0]), lot=np.zeros(2),
        matrix=np.array([[1.0, 2.0], [0.0, 1.0]]), low=np.array([6.0, -np.inf]), high=np.array([6.0, 1.0]),
        level=np.arange(2), scale=np.ones(2),
    )  # fmt: skip
    assert closed_form(one).tolist() == [4.0, 1.0]
    assert closed_form(one._replace(high=np.array([6.0, 0.5]))) is None  # the other would be pushed out
    assert closed_form(one._replace(lot=np.array([0.0, 1.0]))) is None


@pytest.mark.parametrize("delta", ["2", "0.3", "-1.25"])
@pytest.mark.parametrize(("to", "ratio"), [("target", "1"), ("band_edge", "1"), ("target", "0.5")])
def test_a_linear_hedge_is_the_deviation(delta, to, ratio):
    (leg,) = hedged_on_its_venue(LINEAR, delta, hedge_to=to, hedging_ratio=ratio)
    held = Fraction(delta)
    edge = 0 if to == "target" else Fraction(1, 10) * (1 if held > 0 else -1)
    assert quantity(leg) == pytest.approx(float(Fraction(ratio) * (edge - held)), rel=ACCURACY)


@pytest.mark.parametrize("delta", ["2", "0.3", "-1.25"])
def test_an_inverse_hedge_is_the_deviation_at_the_price_and_its_fee_is_paid_in_coins(delta):
    """-q m / P - |q| m c / P = -delta: a sale's fee takes coins too, a purchase must make up for its own."""
    (leg,) = hedged_on_its_venue(INVERSE, delta)
    held, sign = Fraction(delta), 1 if Fraction(delta) > 0 else -1
    contracts = -held / (Fraction(100, PRICE) * (1 + sign * FEE))
    assert quantity(leg) == pytest.approx(float(contracts), rel=ACCURACY)


# A guard: M maintenance, E equity, r the ratio to come back to, c the cost rate, N the notional.
SIZE = 2
NOTIONAL = SIZE * PRICE
REQUIRED = MAINTENANCE * NOTIONAL
RESTORE = Fraction(1, 4)


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize("equity", [1_001, 1_500, 1_999])
def test_a_top_up_is_what_equity_lacks(side, equity):
    """x = M / r - E."""
    (leg,) = legs(
        guard(Cure.TOP_UP, Cure.REDUCE),
        positions=[(LINEAR, side * SIZE, PRICE)],
        balances={"USDT": equity},
        reserve=90_000,
    )
    assert float(leg.amount) == pytest.approx(float(REQUIRED / RESTORE - equity), rel=ACCURACY)


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize("equity", [1_001, 1_500, 1_999])
@pytest.mark.parametrize("reserve", [0, 10, 700])
def test_a_reduction_is_what_the_reserve_leaves_to_do(side, equity, reserve):
    """f = (M - r (E + x)) / (M - r c N): it costs its own fees."""
    *_, leg = legs(
        guard(Cure.TOP_UP, Cure.REDUCE),
        positions=[(LINEAR, side * SIZE, PRICE)],
        balances={"USDT": equity},
        reserve=reserve,
    )
    share = (REQUIRED - RESTORE * (equity + reserve)) / (REQUIRED - RESTORE * FEE * NOTIONAL)
    assert quantity(leg) == pytest.approx(float(-side * share * SIZE), rel=ACCURACY)


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize("speed", ["1", "0.5", "0.05"])
@pytest.mark.parametrize("equity", [25_000, 30_000, 70_000, 99_000])
def test_leverage_is_recentred(side, speed, equity):
    """(1 - f) G / (E - f c G) = L, or with a plus where it is boosted; L as FLI's strategy has it."""
    band = LeverageBand(
        name="lever", minimum="1.74", target="2", maximum="2.3", recentring_speed=speed, mode=Mode.AUTO,
        guards=GUARDS,
    )  # fmt: skip
    (leg,) = legs(band, positions=[(LINEAR, side * SIZE, PRICE)], balances={"USDT": equity})
    now, pace = Fraction(NOTIONAL, equity), Fraction(speed)
    moved = now * (1 - pace) + 2 * pace
    level = max(Fraction("1.74"), min(Fraction("2.3"), moved))
    sign = 1 if now < level else -1
    share = sign * (level * equity - NOTIONAL) / (NOTIONAL + sign * level * FEE * NOTIONAL)
    assert quantity(leg) == pytest.approx(float(sign * side * share * SIZE), rel=1e-8)
