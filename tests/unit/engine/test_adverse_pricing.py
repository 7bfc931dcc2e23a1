"""Guards that take every price against the account, by so many of its confidences."""

from decimal import Decimal
from math import nextafter

import numpy as np
import pytest
from msgspec.structs import replace
from pydantic import ValidationError

from app.domain.adjustments import Reason
from app.domain.market import Change, Frame, Quality, TickKind
from app.domain.policies import Cure, Guards, LiquidationGuard, Mode, StoredPolicy
from app.domain.portfolios import Balance
from app.engine.book import Book
from app.engine.decide import affected, decide
from app.engine.fills import apply_legs_as_if_done
from app.engine.market_view import MarketView
from app.engine.metrics import observe
from app.engine.records import rows_of
from app.engine.risk import portfolio_risk
from app.engine.tables import PairColumns
from tests.unit.engine import test_loan_plans as loans
from tests.unit.engine.test_turns import CALL, INVERSE, PERP, SPOT, START_NS, UNIVERSE, portfolio

RATE = float(PERP.maintenance_margin_rate)
FREE = Guards(cooldown_seconds=0, maximum_price_confidence_bps=None)


def guard(multiple, **fields):
    known = {"trigger": "0.9", "restore": "0.1", "cures": (Cure.REDUCE,), "mode": Mode.AUTO, "guards": FREE}
    return LiquidationGuard(name="alive", confidence_multiple=multiple, **(known | fields))


def frame_of(quotes, *, sequence=1, volatilities=None):
    """`quotes`: a price and its confidence, by instrument."""
    told = [(TickKind.PRICE, i.id, *quote) for i, quote in quotes.items()]
    told += [(TickKind.IMPLIED_VOL, i.id, v, 0.0) for i, v in (volatilities or {}).items()]
    time_ns = START_NS + sequence * 1_000_000_000
    changes = tuple(Change(kind, i, v, c, 1, Quality.VALID, time_ns) for kind, i, v, c in told)
    return Frame(1, sequence, time_ns, "", 0, changes)


def looked_at(holdings, frame, universe=UNIVERSE):
    """The one row of its one guard, and the figures."""
    book, market = Book(universe), MarketView(universe)
    book.put(holdings)
    block = market.advance([frame])
    number = book.numbers(0)[0]
    figures = observe(book, block, PairColumns(np.array([number]), np.array([0])))
    (row,) = rows_of(book, figures, view=number, pair=0)[0]
    return row, figures


@pytest.mark.parametrize("quantity", ["1", "-1"])
def test_what_is_long_is_taken_below_the_consensus_and_what_is_short_above(quantity):
    """At 50,000 +- 100, twice: 200 off what 20,000 of equity there are."""
    one = portfolio(positions=[(PERP, quantity, "50000")], balance="20000", policies=[guard(2)])
    quotes = {PERP: (50_000.0, 100.0), SPOT: (50_000.0, 100.0)}
    row, _ = looked_at(one, frame_of(quotes))
    assert row.value == pytest.approx(RATE * 50_200 / 19_800, rel=1e-12)


def test_each_price_is_against_the_account_by_itself():
    """A hedge leaves nothing of the price itself, and takes nothing away from what is not known of it."""
    hedged = portfolio(positions=[(PERP, "-1", "50000")], balance="20000", policies=[guard(1)])
    account = hedged.accounts[0]
    coins = (*account.balances, Balance("BTC", Decimal(1)))
    hedged = hedged.with_account(replace(account, balances=coins))
    row, _ = looked_at(hedged, frame_of({PERP: (50_000.0, 100.0), SPOT: (50_000.0, 30.0)}))
    assert row.value == pytest.approx(RATE * 50_100 / (70_000 - 100 - 30), rel=1e-12)


@pytest.mark.parametrize(
    "held", [(PERP, "2"), (PERP, "-2"), (INVERSE, "300"), (INVERSE, "-300"), (CALL, "-2")]
)
def test_a_small_confidence_takes_what_the_price_moved_against_the_account_takes(held):
    instrument, quantity = held
    one = portfolio(positions=[(instrument, quantity, "50000")], balance="90000", policies=[guard(1)])
    price, confidence = 51_000.0, 0.01

    def at(price, confidence=0.0):
        quotes = dict.fromkeys((PERP, INVERSE), (price, confidence))
        return frame_of(quotes | {SPOT: (51_000.0, 0.0)}, volatilities={CALL: 200.0})

    _, figures = looked_at(one, at(price, confidence))
    account = figures.accounts
    equities = [looked_at(one, at(price + move))[1].accounts.equity[0] for move in (-confidence, confidence)]
    taken = account.equity[0] - min(equities)
    assert account.position_spread[0] == pytest.approx(taken, rel=1e-3)
    assert taken > 0.0
    assert account.collateral_spread[0] == 0.0


def test_of_a_loan_collateral_counts_below_and_debt_above():
    """10 ETH at 2,000 +- 20, twice, carry 16,170 of 13,200 USDC."""
    holdings = loans.loan(guard(2, metric="health_factor", trigger="1.2", restore="1.5"), owed="13200")
    frame = frame_of({loans.ETH: (2_000.0, 20.0)})
    row, _ = looked_at(holdings, frame, loans.UNIVERSE)
    assert 1.0 / row.value == pytest.approx(10 * 1_960 * 0.825 / 13_200, rel=1e-12)


def decided(holdings, frames, universe=UNIVERSE):
    book, market = Book(universe), MarketView(universe)
    book.put(holdings)
    found, memories = [], {}
    for frame in frames:
        block = market.advance([frame])
        for verdict in decide(book, memories, block, affected(book, block)).values():
            memories |= verdict.memories
            found.append(verdict)
    return found, market


THIN = {"positions": [(PERP, "1", "50000")], "balance": "3000"}
"""A margin ratio of 250 / 3,000 at 50,000, and of 252 / 2,600 at 50,000 +- 400."""
WIDE = {PERP: (50_000.0, 400.0), SPOT: (50_000.0, 400.0)}
LEVELS = {"trigger": "0.09", "restore": "0.05"}


def test_it_acts_where_the_consensus_alone_is_safe_and_says_by_what():
    assert decided(portfolio(policies=[guard(0, **LEVELS)], **THIN), [frame_of(WIDE)])[0] == []
    adverse = portfolio(policies=[guard(1, **LEVELS)], **THIN)
    (verdict,), market = decided(adverse, [frame_of(WIDE)])
    (decision,), (adjustment,) = verdict.decisions, verdict.adjustments
    assert decision.reason is Reason.TARGET_REACHED
    assert decision.conditions["confidence_multiple"] == "1"
    assert float(decision.conditions["adverse_margin_ratio.main"]) == pytest.approx(252 / 2_600, rel=1e-6)
    assert float(adjustment.metrics_before["margin_ratio"]) == pytest.approx(250 / 3_000, rel=1e-6)
    done = replace(apply_legs_as_if_done(adverse, adjustment.legs, UNIVERSE.instruments), in_flight=())
    row, _ = looked_at(done, frame_of(WIDE))
    assert 0.049 < row.value <= 0.05 * (1 + 1e-6)
    assert portfolio_risk(done, market).accounts[0].margin_ratio < row.value


@pytest.mark.parametrize(("multiple", "repaid"), [(0, None), (1, 2_310.0), (2, 2_420.0)])
def test_the_example_of_the_page(multiple, repaid):
    """docs/policies.md, "Guards at adverse prices"."""
    policy = guard(multiple, metric="health_factor", trigger="1.24", restore="1.5", cures=(Cure.TOP_UP,))
    holdings = loans.loan(policy, reserves=[("USDC", "9000")])
    found, _ = decided(holdings, [frame_of({loans.ETH: (2_000.0, 20.0)})], loans.UNIVERSE)
    legs = [leg for verdict in found for adjustment in verdict.adjustments for leg in adjustment.legs]
    assert [float(leg.amount) for leg in legs[-1:]] == ([] if repaid is None else [pytest.approx(repaid)])


@pytest.mark.parametrize("reserve", ["USDC", "ETH"])
def test_a_loan_is_restored_at_prices_against_it(reserve):
    policy = guard(2, metric="health_factor", trigger="1.3", restore="1.5", cures=(Cure.TOP_UP,))
    holdings = loans.loan(policy, reserves=[(reserve, "9000" if reserve == "USDC" else "9")])
    frame = frame_of({loans.ETH: (2_000.0, 20.0)})
    ((verdict,), _) = decided(holdings, [frame], loans.UNIVERSE)
    (adjustment,) = verdict.adjustments
    assert adjustment.reaches_target
    done = apply_legs_as_if_done(holdings, adjustment.legs, loans.UNIVERSE.instruments)
    row, _ = looked_at(replace(done, in_flight=()), frame, loans.UNIVERSE)
    assert 1.0 / row.value == pytest.approx(1.5, rel=1e-6)


def test_a_confidence_alone_wakes_who_looks_at_it():
    """The price stands still."""
    frames = [
        frame_of({PERP: (50_000.0, spread), SPOT: (50_000.0, 0.0)}, sequence=n)
        for n, spread in enumerate((0.0, 1.0, 2.0, 400.0), start=1)
    ]
    found, _ = decided(portfolio(policies=[guard(1, **LEVELS)], **THIN), frames)
    assert [d.position.sequence for verdict in found for d in verdict.decisions] == [4]


def test_an_emergency_is_judged_at_the_same_prices():
    """It lifts the cap on cost that holds the guard back where the consensus counts."""
    terms = {"trigger": "0.08", "restore": "0.05", "emergency": {"trigger": "0.09"}}
    guards = FREE.model_copy(update={"maximum_cost_bps": Decimal("0.0001")})
    said = {}
    for multiple in (0, 1):
        one = portfolio(policies=[guard(multiple, guards=guards, **terms)], **THIN)
        ((verdict,), _) = decided(one, [frame_of(WIDE)])
        said[multiple] = [(d.reason, len(verdict.adjustments)) for d in verdict.decisions]
    assert said == {0: [(Reason.COST_CAP, 0)], 1: [(Reason.TARGET_REACHED, 1)]}


def test_without_a_multiple_nothing_is_asked_of_confidences():
    one = portfolio(positions=[(PERP, "1", "50000")], balance="20000", policies=[guard(0)])
    row, figures = looked_at(one, frame_of({PERP: (50_000.0, 100.0), SPOT: (50_000.0, 100.0)}))
    assert row.value == figures.accounts.margin_ratio[0]
    assert np.isnan(figures.accounts.position_spread).all()
    assert row.high == nextafter(0.9, 0.0)


def test_a_distance_has_no_confidence_and_too_many_are_refused():
    with pytest.raises(ValidationError, match="found from the consensus"):
        guard(1, metric="liquidation_distance", trigger="0.1", restore="0.2")
    for multiple in ("-1", "11"):
        with pytest.raises(ValidationError, match="confidence_multiple"):
            guard(multiple)
    stored = StoredPolicy(START_NS, 1, guard("2.12"))
    assert stored.policy.confidence_multiple == Decimal("2.12")
