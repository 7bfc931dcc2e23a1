"""What a lever says that it does is what the book finds once it is done."""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from itertools import product

import numpy as np
import pytest
from msgspec.structs import replace

from app.domain.adjustments import TradeLeg
from app.domain.identifiers import Asset
from app.domain.instruments import InstrumentKind
from app.domain.portfolios import Balance, Portfolio
from app.engine.book import Book
from app.engine.fills import apply_legs_as_if_done
from app.engine.legs import deals_of, legs_of
from app.engine.levers import Lever, Levers
from app.engine.metrics import observe
from app.engine.state import State, vector
from app.engine.tables import PairColumns
from app.engine.valuation import Market
from tests.unit.engine.random_portfolios import Chance

ACCURACY = 1e-6
"""Of what is traded: the coins, or the value."""


@dataclass
class Bench:
    """A random portfolio priced exactly, and levers to try on it."""

    holdings: Portfolio
    book: Book
    market: Market
    state: State
    underlyings: tuple[Asset, ...]

    @classmethod
    def of(cls, chance: Chance, holdings: Portfolio) -> "Bench":
        block = chance.market(chance.frame()).block()
        book = Book(chance.universe)
        book.put(holdings)
        view = book.deciding(book.slot(holdings.id))
        figures = observe(book, block, _one(0))
        return cls(holdings, book, Market(block, 0, Asset("USDT")), State(figures, 0), view.underlyings)

    def levers(self) -> Levers:
        return Levers(self.state, self.market, self.holdings, self.underlyings)

    def priced(self, holdings: Portfolio) -> np.ndarray:
        with self.book.imagined(holdings, self.underlyings) as number:
            figures = observe(self.book, self.market.block, _one(number))
            return vector(figures, 0, exposures=len(self.underlyings))

    def found(self, *moved: tuple[Lever, float]) -> tuple[np.ndarray, np.ndarray, float]:
        """What really moved, what should have, and the value that was traded or transferred."""
        levers, sizes = [lever for lever, _ in moved], np.array([size for _, size in moved])
        deals = deals_of(levers, sizes, self.market, self.holdings, least=0.0)
        chosen = [(deal, deal.choices[0]) for deal in deals]
        legs = legs_of(levers, sizes, chosen, self.market, self.holdings)
        before = self.priced(self.holdings)
        after = self.priced(apply_legs_as_if_done(self.holdings, legs, self.book.universe.instruments))
        expected = np.zeros(before.size)
        for lever, size in moved:
            for at, effect in lever.effects.items():
                if at < before.size:
                    expected[at] += effect * size
        return after - before, expected, sum(self.worth(leg) for leg in legs)

    def worth(self, leg) -> float:
        if not isinstance(leg, TradeLeg):
            return float(leg.amount) * self.market.value_of(leg.asset)
        instrument = self.market.instrument(leg.instrument)
        coins = abs(float(leg.quantity)) * float(instrument.multiplier)
        if instrument.kind is InstrumentKind.OPTION:
            return coins * self.market.value_of(Asset(instrument.underlying))
        return self.market.notional(instrument, leg.quantity)


def _one(number: int) -> PairColumns:
    return PairColumns(np.array([number]), np.array([0]))


def assert_moves_as_stated(bench: Bench, lever: Lever, *before: tuple[Lever, float]) -> None:
    """After the others have been moved so far."""
    size = min(lever.upper, 1.0) / 64  # small enough that no balance goes through zero
    moved, expected, traded = bench.found(*before, (lever, size))
    assert traded > 0.0
    scales = np.full(moved.size, traded)
    for exposure, price in enumerate(bench.state.prices.tolist()):
        scales[exposure] = traded / price  # deltas are in coins
    off = np.abs(moved - expected) / scales
    assert off.max() <= ACCURACY, (lever.moves, off.argmax(), moved, expected)


def random_bench(seed: int, *, flat: bool = False) -> Bench:
    """Two accounts that hold something of everything, or nothing, with haircuts, and a debt in one."""
    chance = Chance(seed, fine=True)
    held = [] if flat else chance.derivatives()
    one, two = (chance.account(name, held, size=100_000, cash=80_000) for name in ("one", "two"))
    in_debt = (Balance("USDT", -chance.decimal(1, 5_000)), *two.balances[1:])
    reserves = [("USDT", Decimal(9_000), Decimal(100)), ("BTC", Decimal(1), Decimal(0))]
    accounts = (one, replace(two, balances=in_debt))
    return Bench.of(chance, chance.portfolio(accounts, reserves=reserves))


def levers_of(bench: Bench) -> Iterator[tuple[Lever, ...]]:
    """Closing of what is held, and opening in the same direction or from nothing in both.

    A premium is paid on credit by a second lever, once the balance that the first one pays it from is gone.
    """
    instruments = bench.market.block.universe.instruments
    for account, instrument in product((0, 1), instruments.values()):
        levers, held = bench.levers(), bench.holdings.accounts[account].position(instrument.instrument_id)
        levers.reduce(account, instrument)
        for sign in (1, -1):
            if held.quantity * sign >= 0:
                levers.increase(account, instrument, sign)
        found = levers.all
        while found:
            lever, *found = found
            on_credit = [other for other in found if _is_same(lever, other)]
            found = [other for other in found if other not in on_credit]
            yield lever, *on_credit


def _is_same(lever: Lever, other: Lever) -> bool:
    """Trades the same on the same side, and opens it."""
    return (lever.trade.contracts, lever.trade.closes) == (other.trade.contracts, other.trade.closes)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("flat", [False, True])
def test_a_trade_moves_every_figure_as_stated(seed, flat):
    """Closing and opening, long and short, of everything; of options and inverse contracts at the frame."""
    bench = random_bench(seed, flat=flat)
    levers = list(levers_of(bench))
    assert len(levers) > 60
    on_credit = 0
    for lever, *others in levers:
        assert_moves_as_stated(bench, lever)
        for other in others:
            assert_moves_as_stated(bench, other, (lever, lever.upper))
            on_credit += 1
    assert on_credit > 0


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("sign", [1, -1])
def test_scaling_moves_every_figure_as_stated(seed, sign):
    bench = random_bench(seed)
    levers = bench.levers()
    instruments = bench.market.block.universe.instruments
    held = [(at, instruments[p.instrument]) for at in (0, 1) for p in bench.holdings.accounts[at].positions]
    levers.scale(held, sign)
    (lever,) = levers.all
    assert_moves_as_stated(bench, lever)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("asset", ["USDT", "BTC"])
@pytest.mark.parametrize("account", [0, 1])
def test_a_top_up_moves_every_figure_as_stated(seed, asset, account):
    """Into credit and into debt: a haircut counts in what is above zero alone."""
    bench = random_bench(seed)
    levers = bench.levers()
    levers.transfer(None, account, Asset(asset))
    (lever,) = levers.all
    assert_moves_as_stated(bench, lever)
