"""The bar: any slice of the book, and any cut of the frames into blocks, gives the same bits as the whole."""

from decimal import Decimal
from itertools import pairwise
from uuid import UUID

import numpy as np
import pytest
from msgspec.structs import replace

from app.domain.conditions import AnyOf, Comparison, Not
from app.domain.families.rule import Notify
from app.domain.instruments import Instrument, InstrumentKind, OptionType, Settlement
from app.domain.market import Change, Frame, Quality, TickKind
from app.domain.policies import DeltaNeutral, Guards, LiquidationGuard, Mode, Rule, StoredPolicy
from app.domain.portfolios import Account, Balance, MarginMode, Portfolio, PortfolioState, Position, Reserve
from app.engine import metrics
from app.engine.book import Book
from app.engine.decide import affected, decide, whole_block
from app.engine.market_view import MarketView
from app.engine.metrics import observe
from app.engine.tables import PairColumns
from app.engine.universe import Universe

START_NS = 1_767_225_600_000_000_000
SECOND = 1_000_000_000
SEEDS = range(6)


def instruments_of(asset: str, strike: int) -> list[Instrument]:
    coin = {"underlying": asset, "quote": "USD", "settlement": Settlement.INVERSE}
    option = {
        "kind": InstrumentKind.OPTION,
        "expiry": "2026-03-27T08:00:00Z",
        "marked_by": f"{asset}-USDT",
        "lot_size": "0.1",
    }
    return [
        Instrument(id=f"{asset}-USDT", kind=InstrumentKind.SPOT, underlying=asset, quote="USDT"),
        Instrument(id=f"{asset}-USDT-PERP", kind=InstrumentKind.PERPETUAL, underlying=asset, quote="USDT"),
        Instrument(id=f"{asset}-USD-PERP", kind=InstrumentKind.PERPETUAL, multiplier=100, lot_size=1, **coin),
        Instrument(id=f"{asset}-CALL", strike=strike, option_type=OptionType.CALL, **option, **coin),
        Instrument(id=f"{asset}-PUT", strike=strike, option_type=OptionType.PUT, **option, **coin),
        pool_of(asset),
    ]


def pool_of(asset: str) -> Instrument:
    return Instrument(
        id=f"POOL-{asset}", kind=InstrumentKind.LENDING, underlying=asset, quote="USDT",
        liquidation_threshold="0.8", loan_to_value="0.75", liquidation_bonus="0.05",
    )  # fmt: skip


START_PRICES = {"BTC": 50_000.0, "ETH": 2_500.0}
UNIVERSE = Universe(
    [
        pool_of("USDT"),
        *(i for asset, price in START_PRICES.items() for i in instruments_of(asset, int(price))),
    ]
)
NOT_MARGINED = (InstrumentKind.SPOT, InstrumentKind.LENDING)


class Chance:
    """Books and markets, each the same for the same seed."""

    def __init__(self, seed):
        self._random = np.random.default_rng(seed)
        self._loans = np.random.default_rng((seed, 1))

    def decimal(self, low, high, places=3):
        return Decimal(f"{self._random.uniform(low, high):.{places}f}")

    def identity(self):
        return UUID(bytes=self._random.bytes(16))

    def position(self, instrument):
        price = START_PRICES[instrument.underlying]
        coins = 3 * START_PRICES["BTC"] / price
        if instrument.kind is InstrumentKind.OPTION:
            return Position(instrument.instrument_id, self.decimal(-coins, coins, 1), Decimal("0.05"))
        if instrument.settlement is Settlement.INVERSE:
            return Position(
                instrument.instrument_id, self.decimal(-1_000, 1_000, 0), self.decimal(price * 0.9, price)
            )
        return Position(
            instrument.instrument_id, self.decimal(-coins, coins), self.decimal(price * 0.9, price * 1.1)
        )

    def account(self, name):
        tradable = [i for i in UNIVERSE.instruments.values() if i.kind not in NOT_MARGINED]
        count = int(self._random.integers(0, len(tradable) + 1))
        held = self._random.permutation(len(tradable))[:count]
        return Account(
            self.identity(),
            name,
            "paper",
            MarginMode.CROSS,
            tuple(p for p in (self.position(tradable[at]) for at in held) if p.quantity),
            (
                Balance("USDT", self.decimal(0, 60_000, 2)),
                Balance("BTC", self.decimal(-0.1, 1), Decimal("0.05")),
                Balance("ETH", self.decimal(0, 10), Decimal("0.1")),
            ),
        )

    def loan(self):
        """Coins against dollars, from comfortable to nearly liquidated; sometimes there is none."""
        coins = self._loans.uniform(0.1, 2, 2)
        lendable = 0.8 * (coins[0] * START_PRICES["BTC"] + 10 * coins[1] * START_PRICES["ETH"])
        owed = lendable * self._loans.uniform(0.5, 0.99)
        amounts = {"BTC": coins[0], "ETH": 10 * coins[1], "USDT": -owed}
        held = tuple(
            Position(f"POOL-{asset}", Decimal(f"{amount:.4f}"), Decimal(0))
            for asset, amount in amounts.items()
        )
        wallet = (Balance("USDT", Decimal(25)), Balance("ETH", Decimal("0.5")))
        account = Account(self.identity(), "loan", "paper", MarginMode.LENDING, held, wallet)
        return (account,) if self._loans.random() < 0.6 else ()

    def policies(self, mode):
        guards = Guards(cooldown_seconds=3, expiry_seconds=4, minimum_notional=10)
        guard = LiquidationGuard(name="alive", trigger="0.2", restore="0.1", mode=mode, guards=guards)
        neutral = [
            DeltaNeutral(
                name=f"{asset} flat", underlying=asset, band=self.decimal(0.2, 1), mode=mode, guards=guards,
                hedge_instruments=(f"{asset}-USDT-PERP",),
            )
            for asset in START_PRICES
        ]  # fmt: skip
        return tuple(StoredPolicy(self.identity(), 1, policy) for policy in (guard, *neutral))

    def portfolio(self, mode):
        accounts = (self.account(f"account {n}") for n in range(int(self._random.integers(1, 4))))
        return Portfolio(
            self.identity(), self.identity(), "random", "USDT", PortfolioState.ACTIVE, 1,
            (*accounts, *self.loan()),
            (Reserve("USDT", self.decimal(0, 20_000, 2), Decimal(100)),), self.policies(mode),
        )  # fmt: skip

    def frames(self, count):
        """A first frame with everything, then a falling, jumping market of single changes."""
        prices = dict(START_PRICES)
        frames = [self._frame(0, [*self._prices("BTC", prices), *self._prices("ETH", prices)])]
        for k in range(1, count):
            asset = "BTC" if self._random.random() < 0.6 else "ETH"
            prices[asset] *= float(np.exp(self._random.normal(-0.01, 0.03)))
            found = self._prices(asset, prices)
            frames.append(self._frame(k, [c for c in found if self._random.random() < 0.7]))
        return frames

    def _prices(self, asset, prices):
        near = [prices[asset] * (1 + float(self._random.normal(0, 1e-4))) for _ in range(3)]
        names = (f"{asset}-USDT", f"{asset}-USDT-PERP", f"{asset}-USD-PERP")
        volatility = float(self._random.uniform(0.3, 0.9))
        return [
            *((TickKind.PRICE, name, value) for name, value in zip(names, near, strict=True)),
            *((TickKind.IMPLIED_VOL, f"{asset}-{kind}", volatility) for kind in ("CALL", "PUT")),
        ]

    def _frame(self, k, found):
        time_ns = START_NS + k * SECOND
        changes = tuple(Change(kind, name, v, 0.0, 1, Quality.VALID, time_ns) for kind, name, v in found)
        return Frame(1, k + 1, time_ns, f"{k + 1}-0", 0, changes)

    def subset(self, found):
        return [one for one in found if self._random.random() < 0.4] or found[:1]

    def shuffled(self, found):
        return [found[at] for at in self._random.permutation(len(found))]

    def blocks(self, frames):
        """The same frames, cut somewhere else."""
        cuts = np.flatnonzero(self._random.random(len(frames)) < 0.3).tolist()
        bounds = sorted({0, *cuts, len(frames)})
        return [frames[a:b] for a, b in pairwise(bounds)]


def book_of(portfolios):
    book = Book(UNIVERSE)
    for portfolio in portfolios:
        book.put(portfolio)
    return book


def figures_of(book, block, portfolios):
    """Every portfolio's figures on every frame, as bytes."""
    wanted = [(p.id, k) for p in portfolios for k in range(len(block.frames))]
    deciding = book.slots.arrays.deciding
    views = [deciding[book.slot(portfolio_id)] for portfolio_id, _ in wanted]
    pairs = PairColumns(np.array(views), np.array([k for _, k in wanted]))
    figures = observe(book, block, pairs)
    return {
        key: tuple(
            column[here].tobytes()
            for columns, here in (
                (figures.accounts, figures.account_slice(pair)),
                (figures.exposures, figures.exposure_slice(pair)),
                (figures.triggers, figures.trigger_slice(pair)),
            )
            for column in columns
        )
        for pair, key in enumerate(wanted)
    }


@pytest.mark.parametrize("seed", SEEDS)
def test_a_slice_of_the_book_computes_the_same_bits_as_the_whole(seed):
    chance = Chance(seed)
    portfolios = [chance.portfolio(Mode.RECOMMEND) for _ in range(25)]
    block = MarketView(UNIVERSE).advance(chance.frames(12))
    whole = figures_of(book_of(portfolios), block, portfolios)
    some = chance.shuffled(chance.subset(portfolios))
    asked_for = figures_of(book_of(portfolios), block, some)  # of the whole book
    alone = figures_of(book_of(some), block, some)  # of a book that holds no others
    expected = {key: whole[key] for key in alone}
    assert asked_for == expected
    assert alone == expected
    for portfolio in some[:3]:
        one = figures_of(book_of([portfolio]), block, [portfolio])
        assert one == {key: whole[key] for key in one}


RULE = Rule(
    name="stretched",
    condition=AnyOf(
        conditions=[
            Comparison(metric="leverage", op="above", value="4"),
            Not(condition=Comparison(metric="margin_ratio", op="below", value="0.9")),
        ]
    ),
    actions=[Notify(message="stretched")],
)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_glance_at_many_finds_what_is_up_and_the_rest_is_completed(seed, monkeypatch):
    chance = Chance(seed)
    portfolios = [
        replace(p, policies=(StoredPolicy(chance.identity(), 1, RULE),))
        for p in (chance.portfolio(Mode.RECOMMEND) for _ in range(20))
    ]
    book, block = book_of(portfolios), MarketView(UNIVERSE).advance(chance.frames(12))
    everything = whole_block(book, block, [p.id for p in portfolios])
    pairs = PairColumns(book.slots.arrays.deciding[everything.slots], everything.frames)
    whole = observe(book, block, pairs)
    monkeypatch.setattr(metrics, "_FEW", 0)
    found = metrics.glance(book, block, pairs)
    assert not found.complete
    columns = zip(found.findings, whole.findings, strict=True)
    assert all(one.tobytes() == other.tobytes() for one, other in columns)
    fired = np.flatnonzero(found.findings.fired)
    assert 0 < fired.size < pairs.number.size
    completed, places = metrics.completed(book, block, found, fired)
    for pair, place in zip(fired.tolist(), places.tolist(), strict=True):
        for name in ("account", "exposure", "trigger", "condition"):
            columns = zip(getattr(completed, f"{name}s"), getattr(whole, f"{name}s"), strict=True)
            there, here = (getattr(each, f"{name}_slice") for each in (completed, whole))
            assert all(a[there(place)].tobytes() == b[here(pair)].tobytes() for a, b in columns)


@pytest.mark.parametrize("seed", SEEDS)
def test_where_a_portfolio_stands_in_the_book_does_not_matter(seed):
    """Changed, replaced and compacted books compute what a fresh one does."""
    chance = Chance(seed)
    portfolios = [chance.portfolio(Mode.RECOMMEND) for _ in range(15)]
    block = MarketView(UNIVERSE).advance(chance.frames(6))
    fresh = figures_of(book_of(portfolios), block, portfolios)
    book = book_of([chance.portfolio(Mode.RECOMMEND), *portfolios])
    for portfolio in chance.shuffled(portfolios):
        book.put(portfolio)
    assert figures_of(book, block, portfolios) == fresh
    book.rebuild(UNIVERSE)
    assert figures_of(book, block, portfolios) == fresh


def decided(portfolios, blocks):
    """All that was concluded, by portfolio, and what is remembered and held in the end."""
    book, market, memories = book_of(portfolios), MarketView(UNIVERSE), {}
    concluded = {p.id: ([], [], [], [], []) for p in portfolios}
    for frames in blocks:
        block = market.advance(frames)
        overdue = [(work.expires_at_ns, p.id) for p in map(book.portfolio, concluded) for work in p.in_flight]
        for portfolio_id, verdict in decide(book, memories, block, affected(book, block, overdue)).items():
            memories |= verdict.memories
            found = (
                verdict.decisions, verdict.adjustments, verdict.events, verdict.fills, verdict.ended
            )  # fmt: skip
            for kept, new in zip(concluded[portfolio_id], found, strict=True):
                kept.extend(new)
    return concluded, memories, {p.id: book.portfolio(p.id) for p in portfolios}


@pytest.mark.parametrize("seed", SEEDS)
def test_the_same_is_decided_where_figures_are_not_kept(seed, monkeypatch):
    chance = Chance(seed)
    portfolios = [chance.portfolio(Mode.AUTO) for _ in range(6)]
    blocks = chance.blocks(chance.frames(24))
    kept = decided(portfolios, blocks)
    monkeypatch.setattr(metrics, "_FEW", 0)
    assert decided(portfolios, blocks) == kept


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("seed", SEEDS)
def test_blocks_of_frames_decide_what_frame_by_frame_does(seed, mode):
    chance = Chance(seed)
    portfolios = [chance.portfolio(mode) for _ in range(6)]
    frames = chance.frames(24)
    by_frame = decided(portfolios, [[frame] for frame in frames])
    assert any(adjustments for _, adjustments, *_ in by_frame[0].values())
    loans = {account.id for p in portfolios for account in p.accounts if account.name == "loan"}
    assert any(fill.account_id in loans for concluded in by_frame[0].values() for fill in concluded[3])
    assert decided(portfolios, [frames]) == by_frame
    assert decided(portfolios, chance.blocks(frames)) == by_frame


def test_a_book_that_becomes_due_for_compaction_while_it_decides_decides_the_same():
    """However often a portfolio was replaced before: nobody is taken for another."""
    chance = Chance(0)
    portfolios = [chance.portfolio(Mode.AUTO) for _ in range(6)]
    block = MarketView(UNIVERSE).advance(chance.frames(8))
    fresh = book_of(portfolios)
    verdicts = decide(fresh, {}, block, affected(fresh, block))
    assert sum(bool(verdict.adjustments) for verdict in verdicts.values()) > 2
    for times in range(1_990, 2_020):
        book = book_of(portfolios)
        for _ in range(times):
            book.put(portfolios[0])
        assert decide(book, {}, block, affected(book, block)) == verdicts


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("seed", SEEDS)
def test_a_slice_of_the_book_decides_what_the_whole_does(seed, mode):
    chance = Chance(seed)
    portfolios = [chance.portfolio(mode) for _ in range(8)]
    blocks = chance.blocks(chance.frames(16))
    concluded, memories, held = decided(portfolios, blocks)
    some = chance.shuffled(chance.subset(portfolios))
    some_concluded, some_memories, some_held = decided(some, blocks)
    assert some_concluded == {p.id: concluded[p.id] for p in some}
    assert some_memories == {key: memories[key] for key in some_memories}
    assert some_held == {p.id: held[p.id] for p in some}
