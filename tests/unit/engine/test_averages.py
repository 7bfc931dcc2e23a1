"""Averages of prices over time: what they come to, when they are known, and whom they wake."""

from math import isnan
from uuid import uuid4

import numpy as np
import pytest

from app.domain.conditions import Comparison
from app.domain.families.rule import Notify
from app.domain.instruments import Instrument
from app.domain.market import Change, Frame, Quality, TickKind
from app.domain.metrics import MetricRef
from app.domain.policies import Rule, StoredPolicy
from app.domain.portfolios import Portfolio, PortfolioState
from app.engine.averages import STEPS, STEPS_PER_HALF_LIFE
from app.engine.book import Book
from app.engine.decide import affected, decide
from app.engine.market_view import MarketView
from app.engine.operands import Operands
from app.engine.series import Average, Weighting
from app.engine.universe import Universe

SECOND = 1_000_000_000
START_NS = 1_767_225_600 * SECOND
PERP = Instrument(id="BTC-USDT-PERP", kind="perpetual", underlying="BTC", quote="USDT")
TIME, EXPONENTIAL = Weighting.TIME, Weighting.EXPONENTIAL
SPECS = [
    Average(PERP.id, weighting, 64, of_confidence)
    for weighting in Weighting
    for of_confidence in (False, True)
]


def frame(sequence, time_ns, price=None, confidence=0.0):
    told = Change(TickKind.PRICE, PERP.id, price, confidence, 1, Quality.VALID, time_ns) if price else None
    return Frame(1, sequence, time_ns, "", 0, (told,) if told else ())


def random_frames(seed, count=1_500):
    """Prices with their confidences, half a second apart on average, with silences longer than a step."""
    random = np.random.default_rng(seed)
    price, time_ns, frames = 50_000.0, START_NS, []
    for sequence in range(1, count + 1):
        time_ns += int(random.integers(1, SECOND)) * (20 if random.random() < 0.01 else 1)
        price *= float(np.exp(random.normal(0.0, 1e-3)))
        told = random.random() < 0.7
        frames.append(frame(sequence, time_ns, price if told else None, float(random.uniform(1.0, 90.0))))
    return frames


def by_hand(frames, spec, step_ns, until_ns):
    """The mean of each whole step that has ended by then, from what stood in it."""
    told = [
        (f.time_ns, f.changes[0].confidence if spec.of_confidence else f.changes[0].value)
        for f in frames
        if f.changes and f.time_ns <= until_ns
    ]
    means, begin = [], -(-(told[0][0] + 1) // step_ns) * step_ns
    for start in range(begin, until_ns // step_ns * step_ns, step_ns):
        stop, total = start + step_ns, 0.0
        ends = [time_ns for time_ns, _ in told[1:]] + [stop]
        for (since_ns, value), end_ns in zip(told, ends, strict=True):
            total += value * max(0, min(end_ns, stop) - max(since_ns, start))
        means.append(total / step_ns)
    return means


@pytest.mark.parametrize("spec", SPECS)
def test_an_average_is_the_weighted_mean_of_what_stood(spec):
    frames = random_frames(1, 400)
    universe = Universe([PERP])
    column = universe.series(spec)
    block = MarketView(universe).advance(frames)
    per = STEPS if spec.weighting is TIME else STEPS_PER_HALF_LIFE
    step_ns, known = spec.seconds * SECOND // per, 0
    for k in range(5, len(frames), 7):
        means = by_hand(frames, spec, step_ns, frames[k].time_ns)
        if len(means) < per:
            assert isnan(block.price(k, column))
            continue
        known += 1
        latest = means[: -STEPS - 1 : -1]
        half_lives = np.arange(len(latest)) / (
            STEPS_PER_HALF_LIFE if spec.weighting is EXPONENTIAL else np.inf
        )
        expected = np.average(latest, weights=0.5**half_lives)
        assert block.price(k, column) == pytest.approx(expected, rel=1e-12)
        assert block.records.time_ns[block.standing[k, column]] == frames[k].time_ns // step_ns * step_ns
    assert known > 10


def test_a_price_counts_as_long_as_it_stands_and_not_as_often_as_it_is_told():
    """100 for three quarters of a minute, 200 for a quarter of it, told ten times."""
    universe = Universe([PERP])
    column = universe.series(Average(PERP.id, TIME, 60))
    frames = [frame(1, START_NS - 1, 100.0)]
    frames += [frame(2 + n, START_NS + (45 * SECOND) + n, 200.0) for n in range(10)]
    block = MarketView(universe).advance([*frames, frame(12, START_NS + 60 * SECOND)])
    assert isnan(block.price(10, column))
    assert block.price(11, column) == pytest.approx(125.0, rel=1e-12)


def test_half_of_the_weight_is_of_the_last_half_life():
    universe = Universe([PERP])
    column = universe.series(Average(PERP.id, EXPONENTIAL, 8))
    old, new = frame(1, START_NS - 1, 100.0), frame(2, START_NS + 64 * SECOND, 200.0)
    block = MarketView(universe).advance([old, new, frame(3, START_NS + 72 * SECOND)])
    left_out = 2.0**-8
    assert block.price(2, column) == pytest.approx(100.0 + 50.0 / (1.0 - left_out), rel=1e-12)


def test_what_never_moved_is_its_own_average_to_the_bit():
    universe = Universe([PERP])
    columns = [universe.series(spec) for spec in SPECS]
    frames = [frame(n + 1, START_NS + n * 777_777_777, 50_000.1, 0.3) for n in range(200)]
    block = MarketView(universe).advance(frames)
    assert block.values(199, np.array(columns)).tolist() == [50_000.1, 0.3, 50_000.1, 0.3]


@pytest.mark.parametrize("after", [1, 300, 500])
def test_once_all_steps_are_there_it_does_not_matter_since_when_one_is_followed(after):
    frames = random_frames(3)
    early, late = (MarketView(Universe([PERP])) for _ in range(2))
    for spec in SPECS:
        early.universe.series(spec)
    early.advance(frames)
    late.advance(frames[:after])
    for spec in SPECS:
        late.universe.series(spec)
    late.advance(frames[after:])
    columns = np.array([early.universe.series(spec) for spec in SPECS])
    values = early.block().values(0, columns)
    assert not np.isnan(values).any()
    assert late.block().values(0, columns).tobytes() == values.tobytes()


def test_the_time_stands_in_the_name_of_the_metric():
    universe = Universe([PERP])
    holdings = Portfolio(uuid4(), uuid4(), "none", "USDT", PortfolioState.ACTIVE, 1, (), ())
    for text, spec in (
        (f"twap.{PERP.id}/90s", Average(PERP.id, TIME, 90)),
        (f"twap_confidence.{PERP.id}/90s", Average(PERP.id, TIME, 90, of_confidence=True)),
        (f"ewma_price.{PERP.id}/3600s", Average(PERP.id, EXPONENTIAL, 3_600)),
        (f"ewma_confidence.{PERP.id}/3600s", Average(PERP.id, EXPONENTIAL, 3_600, of_confidence=True)),
    ):
        (operand,) = Operands(universe, holdings).resolve(MetricRef.parse(text))
        assert operand.subject == universe.series(spec)
    nothing = Operands(universe, holdings).resolve(MetricRef.parse("twap.NOBODY-LISTS/90s"))
    assert nothing == Operands(universe, holdings).resolve(MetricRef.parse("price.NOBODY-LISTS"))
    assert len(universe.series_columns) == 4


def watcher(*conditions):
    policies = tuple(
        StoredPolicy(uuid4(), 1, Rule(name=str(n), condition=condition, actions=[Notify(message="look")]))
        for n, condition in enumerate(conditions)
    )
    return Portfolio(uuid4(), uuid4(), "tested", "USDT", PortfolioState.ACTIVE, 1, (), (), policies)


def concluded(portfolio, frames, *, sleeps):
    universe = Universe([PERP])
    view, book, memories, found, looks = MarketView(universe), Book(universe, sleeps=sleeps), {}, [], 0
    book.put(portfolio)
    for each in frames:
        block = view.advance([each])
        todo = affected(book, block)
        looks += len(todo.frames)
        for verdict in decide(book, memories, block, todo).values():
            memories |= verdict.memories
            found += [*verdict.decisions, *verdict.events]
    return found, memories, looks


def test_a_rule_sleeps_between_the_steps_of_its_average_and_misses_nothing():
    below = Comparison(metric=f"twap.{PERP.id}/64s", op="below", value="48900")
    crossed = Comparison(metric=f"price.{PERP.id}", op="above", other=f"ewma_price.{PERP.id}/30s")
    wide = Comparison(metric=f"ewma_confidence.{PERP.id}/8s", op="above", value="60")
    frames = random_frames(5, 600)
    portfolio = watcher(below, crossed, wide)
    asleep, awake = (concluded(portfolio, frames, sleeps=sleeps) for sleeps in (True, False))
    assert asleep[0]
    assert asleep[:2] == awake[:2]
    quiet = watcher(below)
    asleep, awake = (concluded(quiet, frames, sleeps=sleeps) for sleeps in (True, False))
    assert asleep[:2] == awake[:2]
    assert asleep[2] < len(frames)
