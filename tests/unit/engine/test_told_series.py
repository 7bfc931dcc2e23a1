"""What is told of indices, chains and depths: for how long it is known, and who looks when it is not."""

from math import isnan

import numpy as np
import pytest

from app.domain.conditions import AnyOf, Comparison
from app.domain.families.rule import Notify
from app.domain.market import Change, Frame, Quality, TickKind
from app.domain.policies import Guards, Mode, Rule, StressResponse
from app.engine.book import Book
from app.engine.decide import affected
from app.engine.market_view import MarketView
from app.engine.series import Told
from app.engine.universe import Universe
from app.oracle.kinds import STANDARDS
from tests.unit.engine.test_guards import FREE, frame, long, prices
from tests.unit.engine.test_series import LISTED, PERP, SECOND, START_NS, cut, holder

INDEX = Told(TickKind.SENTIMENT, "FEAR-GREED")
GAS = Told(TickKind.GAS_PRICE, "ethereum")
BOOK_DEPTH = Told(TickKind.BOOK_DEPTH, "binance/BTC-USDT/50bps")
POOL_DEPTH = Told(TickKind.POOL_DEPTH, "ethereum/WETH-USDC-5/50bps")
SPECS = [INDEX, GAS, BOOK_DEPTH, POOL_DEPTH, Told(TickKind.STRESS, "MARKET")]


def told(spec, value, time_ns, quality=Quality.VALID):
    return Change(spec.kind, spec.name, value, 0.0, 1, quality, time_ns)


def at(second, *changes, sequence=None):
    return Frame(1, sequence or second + 1, START_NS + second * SECOND, "", 0, changes)


def age_seconds(spec):
    return STANDARDS[spec.kind].ladder.stale_for_margin_ns // SECOND


class Followed:
    """One series, and what a market says of it."""

    def __init__(self, spec):
        universe = Universe(LISTED)
        self.spec, self.column, self.view = spec, universe.series(spec), MarketView(universe)

    def see(self, second, *changes):
        block = self.view.advance([at(second, *changes)])
        self.news = self.column in block.changed_rows.tolist()
        return block.price(0, self.column)


@pytest.mark.parametrize("spec", SPECS)
def test_a_value_is_known_until_it_is_older_than_its_kind_may_be(spec):
    market, age = Followed(spec), age_seconds(spec)
    assert isnan(market.see(0))
    assert market.see(1, told(spec, 7.0, START_NS)) == 7.0
    assert market.see(age) == 7.0
    assert not market.news
    assert isnan(market.see(age + 1))
    assert market.news
    assert isnan(market.see(age + 2))
    assert not market.news
    assert market.see(age + 3, told(spec, 8.0, START_NS + age * SECOND)) == 8.0
    assert market.news


@pytest.mark.parametrize(
    ("quality", "known"), [(quality, quality < Quality.TOO_UNCERTAIN) for quality in Quality]
)
def test_what_is_too_uncertain_is_not_known(quality, known):
    """A quorum that is lost says when the value was last agreed on: that ages."""
    market = Followed(GAS)
    assert market.see(0, told(GAS, 7.0, START_NS)) == 7.0
    assert (market.see(1, told(GAS, 8.0, START_NS, quality)) == 8.0) == known
    assert market.news
    assert market.see(2, told(GAS, 9.0, START_NS)) == 9.0


def test_what_is_too_old_when_somebody_first_asks_is_not_known():
    universe = Universe(LISTED)
    view = MarketView(universe)
    view.advance([at(0, told(GAS, 7.0, START_NS), told(INDEX, 30.0, START_NS))])
    view.advance([at(age_seconds(GAS) + 1)])
    gas, index = universe.series(GAS), universe.series(INDEX)
    block = view.block()
    assert isnan(block.price(0, gas))
    assert block.price(0, index) == 30.0


def random_frames(seed):
    """Every series with silences longer than it may be old, and now and then one that is uncertain."""
    random = np.random.default_rng(seed)
    second, frames = 0, []
    for sequence in range(1, 400):
        second += int(random.choice([1, 20, 200, 4_000, 60_000], p=[0.6, 0.2, 0.1, 0.07, 0.03]))
        changes = [
            told(spec, float(random.integers(1, 9)), START_NS + second * SECOND, quality)
            for spec in SPECS
            if random.random() < 0.2
            for quality in [Quality.TOO_UNCERTAIN if random.random() < 0.2 else Quality.VALID]
        ]
        frames.append(at(second, *changes, sequence=sequence))
    return frames


def rows_of(universe, block):
    columns = [universe.series(spec) for spec in SPECS]
    news = [set(block.changed_rows[block.changed_frames == k].tolist()) for k in range(len(block.frames))]
    values = block.records.value[block.standing[:, columns]]
    return [(row.tobytes(), frame) for row, frame in zip(values, news, strict=True)]


def by_hand(frames):
    """After each frame, every series by its last word."""
    last = {}
    for each in frames:
        last |= {(change.kind, change.instrument): change for change in each.changes}
        row = []
        for spec in SPECS:
            change = last.get((spec.kind, spec.name))
            known = change is not None and change.quality < Quality.TOO_UNCERTAIN
            fresh = known and each.time_ns - change.time_ns <= age_seconds(spec) * SECOND
            row.append(change.value if fresh else np.nan)
        yield np.array(row).tobytes()


@pytest.mark.parametrize("seed", range(4))
def test_the_same_is_known_and_is_news_in_any_blocks_and_after_any_restart(seed):
    frames = random_frames(seed)
    universe = Universe(LISTED)
    for spec in SPECS:
        universe.series(spec)
    view = MarketView(universe)
    whole = [row for each in frames for row in rows_of(universe, view.advance([each]))]
    assert [values for values, _ in whole] == list(by_hand(frames))
    view, rows = MarketView(universe), []
    for block in cut(frames, seed):
        rows += rows_of(universe, view.advance(block))
        packed = view.snapshot(range(universe.width))
        successor = MarketView(universe)
        successor.restore(packed, position=view.position, time_ns=view.time_ns)
        view = successor
    assert rows == whole


def test_who_reads_a_series_looks_when_it_ceases_to_be_known_and_nobody_else_does():
    universe = Universe(LISTED)
    book, view = Book(universe), MarketView(universe)
    readers = [
        holder(
            Rule(
                name="dear", condition=Comparison(metric=f"{spec.kind}.{spec.name}", op="above", value="1e6"),
                actions=[Notify(message="dear")],
            )
        )
        for spec in (GAS, BOOK_DEPTH)
    ]  # fmt: skip
    for reader in readers:
        book.put(reader)
    priced = Change(TickKind.PRICE, PERP.id, 50_000.0, 0.0, 1, Quality.VALID, START_NS)
    view.advance([at(0, priced, told(GAS, 7.0, START_NS), told(BOOK_DEPTH, 7.0, START_NS))])
    looks = {}
    for second in (30, age_seconds(BOOK_DEPTH) + 1, age_seconds(GAS) + 1):
        todo = affected(book, view.advance([at(second)]))
        looks[second] = len(todo.frames)
    assert list(looks.values()) == [0, 1, 1]


@pytest.mark.parametrize("spec", SPECS)
def test_exposure_is_cut_by_any_of_them_and_not_built_up_again_because_it_fell_silent(spec):
    """The way back takes a dwell, and by its end the last word is too old."""
    policy = StressResponse(
        name="step back", mode=Mode.AUTO, guards=Guards(**FREE), metric=f"{spec.kind}.{spec.name}",
        tiers=[{"name": "red", "above": "50", "recover_below": "40", "exposure_multiplier": "0.5"}],
        recovery_dwell_seconds=age_seconds(spec) + 10,
    )  # fmt: skip
    life = long(policy)

    def size_after(second, *values):
        seen = frame(second, prices(50_000.0))
        changes = (*seen.changes, *(told(spec, value, seen.time_ns) for value in values))
        life.see(Frame(1, life.market.position.sequence + 1, seen.time_ns, "", 0, changes))
        return float(life.holdings.accounts[0].position(PERP.instrument_id).quantity)

    assert size_after(0, 60.0) == pytest.approx(0.5)
    assert size_after(1, 10.0) == pytest.approx(0.5)
    assert size_after(age_seconds(spec) + 12) == pytest.approx(0.5)
    back = age_seconds(spec) + 13
    assert size_after(back, 10.0) == pytest.approx(0.5)
    assert size_after(back + age_seconds(spec) // 2, 10.0) == pytest.approx(0.5)
    assert size_after(back + age_seconds(spec) + 10, 10.0) == pytest.approx(1.0)


def test_exposure_is_cut_where_a_depth_is_thin_and_on_the_very_level():
    tiers = [{"name": "thin", "below": "100", "recover_above": "200", "exposure_multiplier": "0.5"}]
    policy = StressResponse(
        name="thin", mode=Mode.AUTO, guards=Guards(**FREE), tiers=tiers, recovery_dwell_seconds=0,
        metric=f"book_depth.{BOOK_DEPTH.name}",
    )  # fmt: skip
    life, sizes = long(policy), []
    for k, depth in enumerate((100.5, 100.0, 200.0, 200.5)):
        seen = frame(k, prices(50_000.0))
        changes = (*seen.changes, told(BOOK_DEPTH, depth, seen.time_ns))
        life.see(Frame(1, k + 1, seen.time_ns, "", 0, changes))
        sizes.append(float(life.holdings.accounts[0].position(PERP.instrument_id).quantity))
    assert sizes == pytest.approx([1.0, 0.5, 0.5, 1.0])


@pytest.mark.parametrize(
    ("tiers", "words"),
    [
        ([{"above": "1"}], "a tier needs above and recover_below, or below and recover_above"),
        ([{"below": "1", "recover_below": "2"}], "a tier needs above and recover_below, or below"),
        ([{"above": "1", "recover_below": "1"}], "recover_below < above is needed"),
        ([{"below": "1", "recover_above": "1"}], "recover_above > below is needed"),
        (
            [{"above": "1", "recover_below": "0.5"}, {"below": "2", "recover_above": "3"}],
            "all of them go by above, or all by below",
        ),
        (
            [{"below": "1", "recover_above": "5"}, {"below": "2", "recover_above": "3"}],
            "below must fall and recover_above not rise",
        ),
        (
            [{"above": "2", "recover_below": "1"}, {"above": "1", "recover_below": "0.5"}],
            "above must rise and recover_below not fall",
        ),
    ],
)
def test_tiers_have_one_direction_and_worsen(tiers, words):
    document = [
        {"name": f"tier {at}", "exposure_multiplier": str(0.5 - 0.1 * at), **tier}
        for at, tier in enumerate(tiers)
    ]
    with pytest.raises(ValueError, match=words):
        StressResponse(name="x", tiers=document)


def test_what_is_known_decides_where_the_rest_of_a_tree_is_not():
    """Greed or dear gas: gas has fallen silent, and sentiment alone says so."""
    policy = Rule(
        name="calm down", mode=Mode.AUTO, guards=Guards(**FREE), actions=[Notify(message="greed")],
        condition=AnyOf(
            conditions=[
                Comparison(metric="gas_price.ethereum", op="above", value="5"),
                Comparison(metric="sentiment.FEAR-GREED", op="at_least", value="90"),
            ]
        ),
    )  # fmt: skip
    for sentiment, fires in ((89.0, False), (90.0, True)):
        life = long(policy)
        first = frame(0, prices(50_000.0))
        life.see(Frame(1, 1, first.time_ns - 1, "", 0, (told(GAS, 1.0, first.time_ns - 200 * SECOND),)))
        words = (told(INDEX, sentiment, first.time_ns),)
        decisions = life.see(Frame(1, 2, first.time_ns, "", 0, (*first.changes, *words)))
        assert bool(decisions) is fires


def test_a_name_is_of_a_kind():
    universe = Universe(LISTED)
    assert universe.series(Told(TickKind.STRESS, "X")) != universe.series(Told(TickKind.SENTIMENT, "X"))
    market = Followed(Told(TickKind.STRESS, "X"))
    assert isnan(market.see(0, told(Told(TickKind.SENTIMENT, "X"), 3.0, START_NS)))
    assert not market.news
