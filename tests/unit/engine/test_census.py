"""What a book says of itself, against a count by hand."""

import pytest
from msgspec.structs import replace

from app.domain.policies import POLICY
from app.domain.portfolios import MarginMode
from app.engine.book import Book
from app.engine.census import census_of
from app.engine.decide import affected, decide
from app.engine.market_view import MarketView
from tests.unit.engine import test_turns as turns
from tests.unit.engine.test_sleeping import Side, World

BAND = {"kind": "leverage_band", "minimum": "0.3", "target": "1", "maximum": "8"}
GUARD = {"kind": "liquidation_guard", "trigger": "0.3", "restore": "0.2"}
FLAT = {"kind": "delta_neutral", "underlying": "BTC", "hedge_instruments": [turns.PERP.id]}
STRESS = {
    "kind": "stress_response",
    "tiers": [{"name": "red", "above": "900000", "recover_below": "1", "exposure_multiplier": "0.5"}],
}
RULE = {
    "kind": "rule",
    "condition": {"kind": "comparison", "metric": "leverage", "op": "above", "value": "9"},
    "actions": [{"kind": "notify", "message": "high"}],
}
FALL = {
    "kind": "rate_of_change", "metric": f"price.{turns.PERP.id}", "window_seconds": 60, "op": "below",
    "value": "-9",
}  # fmt: skip


def asleep(book, slot):
    own = book.watches_of(book.numbers(slot)[0])
    entries = book.watches.entries.arrays
    return bool((entries.low[own.entry] <= entries.high[own.entry]).any())


@pytest.mark.parametrize("seed", range(3))
def test_it_counts_what_is_held_and_who_is_awake(seed):
    world = World(seed, portfolios=40)
    side = Side(world, sleeps=True)
    for frames in [[world.frame], *(world.frames() for _ in range(8))]:
        side.take(frames)
    gone, *held = world.portfolios
    side.book.remove(gone.id)
    book, found = side.book, census_of(side.book)
    held = [book.deciding(book.slot(one.id)) for one in held]
    sleepers = [view.portfolio for view in held if asleep(book, book.slot(view.portfolio.id))]
    assert found.portfolios == len(held) == 39
    assert found.awake_portfolios == 39 - len(sleepers)
    assert found.policies == sum(len(view.portfolio.policies) for view in held)
    assert found.awake_policies == found.policies - sum(len(one.policies) for one in sleepers)
    assert found.positions == sum(len(a.positions) for view in held for a in view.holdings.accounts)
    assert 0 < len(sleepers) < 39


@pytest.mark.parametrize(
    ("policy", "boundless"),
    [
        (BAND, False),
        (GUARD, False),
        (GUARD | {"metric": "liquidation_distance", "trigger": "0.01", "restore": "0.02"}, True),
        (RULE, False),
        (RULE | {"condition": FALL}, True),
        (STRESS, False),
        (STRESS | {"metric": f"price.{turns.PERP.id}"}, False),
        (STRESS | {"metric": "liquidation_distance"}, True),
        (FLAT | {"band": "5"}, False),
        (FLAT | {"band": {"kind": "zakamouline", "risk_aversion": "0.1", "floor": "5", "cap": "6"}}, False),
    ],
)
def test_a_policy_is_called_boundless_if_it_keeps_its_portfolio_awake(policy, boundless):
    book = looked_at(turns.portfolio(positions=[(turns.PERP, "1", "50000")], balance="60000", policies=[
        POLICY.validate_python(policy | {"name": "one"})
    ]))  # fmt: skip
    found = census_of(book)
    assert (found.policies, found.boundless_policies, found.awake_portfolios) == (1, boundless, boundless)


def test_under_portfolio_margin_every_policy_is_boundless():
    policies = [POLICY.validate_python(policy | {"name": "one"}) for policy in (BAND, GUARD)]
    held = turns.portfolio(positions=[(turns.PERP, "1", "50000")], balance="60000", policies=policies)
    (account,) = held.accounts
    margined = replace(held, accounts=(replace(account, margin_mode=MarginMode.PORTFOLIO),))
    assert census_of(looked_at(margined)).boundless_policies == 2


def test_bytes_are_those_of_the_arrays():
    book = Book(turns.UNIVERSE)
    for number in range(1, 101):
        held = turns.portfolio(positions=[(turns.PERP, "1", "50000")], balance="60000", name=number)
        book.put(held)
    found = census_of(book)
    positions = found.tables["positions"]
    assert positions.allocated == sum(column.nbytes for column in book.positions.arrays)
    assert positions.used == 100 * sum(column.itemsize for column in book.positions.arrays)
    assert found.bytes_per_position == found.used_bytes / 100 < found.allocated_bytes / 100
    assert found.bytes_per_policy == 0.0


def looked_at(portfolio):
    """On a frame on which nothing fires."""
    book, market = Book(turns.UNIVERSE), MarketView(turns.UNIVERSE)
    book.put(portfolio)
    block = market.advance([turns.frame(0, {turns.PERP: 50_000.0})])
    decide(book, {}, block, affected(book, block))
    return book
