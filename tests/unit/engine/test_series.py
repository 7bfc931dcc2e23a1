"""Series of the market: the same however the frames are cut into blocks, and after a restart."""

from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from math import isnan, nan
from uuid import uuid4

import numpy as np
import pytest

from app.domain.conditions import Comparison
from app.domain.families.rule import Hedge, Notify
from app.domain.families.volatility_target import Estimator, RealizedVolatility
from app.domain.instruments import Instrument
from app.domain.market import Change, Frame, Quality, TickKind
from app.domain.policies import Guards, Mode, Rule, StoredPolicy, VolatilityTarget
from app.domain.portfolios import Account, Balance, MarginMode, Portfolio, PortfolioState, Position
from app.engine.book import Book
from app.engine.decide import affected, decide
from app.engine.market_view import MarketView
from app.engine.series import (
    MINIMUM_BARS,
    STANDARD,
    Average,
    Forecast,
    Measure,
    Realized,
    Told,
    Weighting,
)
from app.engine.universe import Universe
from app.quant.estimators import bar_volatilities, bars
from app.quant.estimators.bars import Bars
from app.quant.estimators.windows import Window

SECOND = 1_000_000_000
START_NS = 1_767_225_600 * SECOND
PERP = Instrument(id="BTC-USDT-PERP", kind="perpetual", underlying="BTC", quote="USDT")
ETH = Instrument(id="ETH-USDT", kind="spot", underlying="ETH", quote="USDT")
LISTED = [PERP, ETH]
BAR_SECONDS = 10


def measure(estimator=Estimator.EWMA, window_bars=48):
    return Measure(estimator, BAR_SECONDS, window_bars, 6 if estimator is Estimator.EWMA else 0)


SPECS = [
    *(Realized(PERP.id, measure(estimator)) for estimator in Estimator),
    Realized(ETH.id, measure()),
    Realized(PERP.id, measure(Estimator.PARKINSON, window_bars=13)),
    Average(PERP.id, Weighting.TIME, 64),
    Average(PERP.id, Weighting.EXPONENTIAL, 40),
    Average(PERP.id, Weighting.EXPONENTIAL, 40, of_confidence=True),
    Average(ETH.id, Weighting.TIME, 300),
    Told(TickKind.STRESS, "MARKET"),
]


def change(name, value, time_ns, kind=TickKind.PRICE):
    return Change(kind, name, value, value / 1_000.0, 1, Quality.VALID, time_ns)


def random_frames(seed, count=400, generation=1):
    """Frames of a second or two with silences of half a minute; some carry time alone."""
    random = np.random.default_rng(seed)
    price, time_ns, frames = 50_000.0, START_NS, []
    for sequence in range(1, count + 1):
        leap = 30 if random.random() < 0.01 else 1
        time_ns += int(random.integers(1, 2 * SECOND)) * leap
        price *= float(np.exp(random.normal(0.0, 1e-3)))
        changes = []
        if random.random() < 0.8:
            changes += [change(PERP.id, price, time_ns), change(PERP.id, price * 1.0001, time_ns)]
        if random.random() < 0.3:
            changes.append(change(ETH.id, price / 20.0, time_ns))
        if random.random() < 0.05:
            changes.append(change("MARKET", float(random.uniform()), time_ns, TickKind.STRESS))
        if random.random() < 0.02:
            rate = float(random.normal(0.0, 1e-4))
            changes.append(change(PERP.id, rate, time_ns, TickKind.FUNDING_RATE))
        frames.append(Frame(generation, sequence, time_ns, f"{sequence}-0", 0, tuple(changes)))
    return frames


def cut(frames, seed):
    random = np.random.default_rng(seed)
    at = np.flatnonzero(random.random(len(frames)) < 0.1).tolist()
    bounds = sorted({0, *at, len(frames)})
    return [frames[first:stop] for first, stop in pairwise(bounds)]


class Seen:
    """What stands in every series after each frame, with its time and the frame that brought it."""

    def __init__(self, universe):
        self.universe = universe
        self.rows = []
        self.news = []

    def take(self, block):
        columns = [self.universe.series(spec) for spec in SPECS]
        for k, frame in enumerate(block.frames):
            numbers = block.standing[k, columns]
            of = block.records
            stand = [of.value[numbers], of.time_ns[numbers], of.frame[numbers]]
            self.rows.append(b"".join(column.tobytes() for column in stand))
            mine = block.changed_rows[block.changed_frames == k].tolist()
            self.news.append({frame.sequence: {SPECS[columns.index(c)] for c in mine if c in columns}})
        return self


def undisturbed(frames):
    universe = Universe(LISTED)
    view, seen = MarketView(universe), Seen(universe)
    for spec in SPECS:
        universe.series(spec)
    for frame in frames:
        seen.take(view.advance([frame]))
    return seen


def bars_by_hand(frames, name, until_ns):
    """Of the prices up to a time, those bars that have ended by then."""
    length, found = BAR_SECONDS * SECOND, {}
    for frame in frames:
        if frame.time_ns <= until_ns:
            prices = [c.value for c in frame.changes if (c.kind, c.instrument) == (TickKind.PRICE, name)]
            found.setdefault(frame.time_ns // length, []).extend(prices)
    held = [(n, prices) for n, prices in found.items() if prices and (n + 1) * length <= until_ns]
    return Bars(
        np.array([n * length for n, _ in held], dtype=np.int64),
        np.array([(n + 1) * length for n, _ in held], dtype=np.int64),
        *([pick(prices) for _, prices in held] for pick in (lambda p: p[0], max, min, lambda p: p[-1])),
    )


@pytest.mark.parametrize("estimator", list(Estimator))
def test_a_volatility_is_the_estimate_of_the_bars_that_have_ended(estimator):
    frames = random_frames(1)
    universe = Universe(LISTED)
    column = universe.series(Realized(PERP.id, measure(estimator)))
    block = MarketView(universe).advance(frames)
    half_life = timedelta(seconds=6 * BAR_SECONDS) if estimator is Estimator.EWMA else None
    window = Window.rolling(timedelta(seconds=48 * BAR_SECONDS), buckets=24, half_life=half_life)
    known = 0
    for k in range(0, len(frames), 3):
        found = bars_by_hand(frames, PERP.id, frames[k].time_ns)
        if np.size(found.closes) == 0:
            assert isnan(block.price(k, column))
            continue
        state, _ = bars.measure(found, window=window)
        answer = getattr(bar_volatilities, estimator.value)(state)
        least = min(MINIMUM_BARS, 6 if half_life else MINIMUM_BARS)
        enough = answer.usable[0] and answer.effective_observations[0] >= least
        expected = float(answer.volatilities[0]) if enough else nan
        assert block.price(k, column) == expected or (isnan(block.price(k, column)) and not enough)
        if enough:
            known += 1
            assert block.records.time_ns[block.standing[k, column]] == found.closed_ns[-1]
    assert known > 90


def test_a_bar_is_closed_by_time_alone_and_by_nothing_before_its_end():
    universe = Universe(LISTED)
    view = MarketView(universe)
    column = universe.series(Realized(PERP.id, Measure(Estimator.EWMA, BAR_SECONDS, 2, 1)))
    at = [START_NS + second * SECOND for second in (0, 9, 10, 19, 20)]
    prices = [100.0, 101.0, None, 102.0, None]
    frames = [
        Frame(1, n, time_ns, "", 0, (change(PERP.id, price, time_ns),) if price else ())
        for n, (time_ns, price) in enumerate(zip(at, prices, strict=True), start=1)
    ]
    block = view.advance([*frames[:4], Frame(1, 5, at[4] - 1, "", 0), Frame(1, 6, at[4], "", 0)])
    assert np.isnan(block.values(4, np.array([column]))).all()
    year_seconds = 365 * 86_400
    assert block.price(5, column) == pytest.approx(
        abs(np.log(102 / 101)) * (year_seconds / BAR_SECONDS) ** 0.5, rel=1e-12
    )
    assert block.frame_of(5, column) == 6
    assert block.changed_rows[block.changed_frames == 5].tolist() == [column]


@pytest.mark.parametrize("seed", range(4))
def test_any_cut_of_the_frames_into_blocks_shows_the_same_series(seed):
    frames = random_frames(seed)
    expected = undisturbed(frames)
    for blocks in ([frames], cut(frames, seed)):
        universe = Universe(LISTED)
        view, seen = MarketView(universe), Seen(universe)
        for spec in SPECS:
            universe.series(spec)
        for each in blocks:
            seen.take(view.advance(each))
        assert seen.rows == expected.rows
        assert seen.news == expected.news


@pytest.mark.parametrize("at", [1, 100, 250, 399])
def test_a_market_that_goes_on_from_a_snapshot_shows_the_same_series(at):
    frames = random_frames(9)
    expected = undisturbed(frames)
    first = MarketView(Universe(LISTED))
    columns = [first.universe.series(spec) for spec in SPECS]
    first.advance(frames[:at])
    packed = first.snapshot(columns)
    assert not first.begun
    universe = Universe(LISTED)
    view, seen = MarketView(universe), Seen(universe)
    view.restore(packed, position=first.position, time_ns=first.time_ns)
    assert not view.begun
    seen.take(view.block())
    for frame in frames[at:]:
        seen.take(view.advance([frame]))
    assert seen.rows == expected.rows[at - 1 :]
    assert seen.news[1:] == expected.news[at:]


def test_what_nobody_reads_any_more_is_in_no_snapshot():
    view = MarketView(Universe(LISTED))
    kept, left = (view.universe.series(spec) for spec in SPECS[:2])
    view.advance(random_frames(9))
    successor = MarketView(Universe(LISTED))
    successor.restore(view.snapshot({kept}), position=view.position, time_ns=view.time_ns)
    assert list(successor.universe.series_columns) == [SPECS[0]]
    assert left != kept


def test_a_new_generation_forgets_and_measures_anew():
    earlier, later = random_frames(2), random_frames(3, generation=2)
    universe = Universe(LISTED)
    view, seen = MarketView(universe), Seen(universe)
    for spec in SPECS:
        universe.series(spec)
    view.advance(earlier)
    for frame in later:
        seen.take(view.advance([frame]))
    assert seen.rows == undisturbed(later).rows


def test_a_series_begins_when_it_is_asked_for_and_a_snapshot_is_due_then():
    """A quoted one stands at once: it is known whether or not anybody reads it."""
    frames = random_frames(5)
    view = MarketView(Universe(LISTED))
    before = view.advance(frames[:200])
    stress, volatility = (view.universe.series(SPECS[n]) for n in (-1, 0))
    assert not view.begun
    assert before.lacks(view.universe)
    widened = before.on(view.universe)
    assert isnan(widened.price(0, stress))
    assert widened.changed_rows.tolist() == before.changed_rows.tolist()
    assert view.block().price(0, stress) == next(
        c.value for f in reversed(frames[:200]) for c in f.changes if c.kind is TickKind.STRESS
    )
    assert isnan(view.block().price(0, volatility))
    assert view.begun
    assert not view.block().lacks(view.universe)


@pytest.mark.parametrize("since", [0, 37])
def test_once_its_window_is_full_a_volatility_does_not_depend_on_since_when_it_is_followed(since):
    frames = random_frames(6, count=900)
    late = MarketView(Universe(LISTED))
    late.advance(frames[: 300 + since])
    columns = [late.universe.series(spec) for spec in SPECS]
    block = late.advance(frames[300 + since :])
    expected = undisturbed(frames)
    seen = Seen(late.universe).take(block)
    assert len(columns) == len(SPECS)
    assert seen.rows[-1] == expected.rows[-1]


def test_of_two_snapshots_the_series_that_was_begun_first_counts():
    frames = random_frames(7)
    spec = SPECS[0]
    early, late = MarketView(Universe(LISTED)), MarketView(Universe(LISTED))
    columns = {early.universe.series(spec)}
    early.advance(frames[:200])
    late.advance(frames[:190])
    late.universe.series(spec)
    late.universe.series(SPECS[1])
    late.advance(frames[190:200])
    snapshots = [early.snapshot(columns), late.snapshot(range(99))]
    expected = early.block().price(0, next(iter(columns)))
    assert not isnan(expected)
    for both in (snapshots, snapshots[::-1]):
        view = MarketView(Universe(LISTED))
        for packed in both:
            view.restore(packed, position=early.position, time_ns=early.time_ns)
        assert view.block().price(0, view.universe.series(spec)) == expected
        assert SPECS[1] in view.universe.series_columns


def test_with_other_listings_the_series_go_on():
    frames = random_frames(8)
    expected = undisturbed(frames)
    view = MarketView(Universe([PERP]))
    for spec in SPECS:
        view.universe.series(spec)
    view.advance(frames[:150])
    block = view.advance(frames[150:151])
    universe = Universe([Instrument(id="AAA", kind="spot", underlying="AAA", quote="USDT"), PERP])
    view = view.on(universe)
    assert view.begun
    assert block.lacks(universe)
    moved = block.on(universe)
    of_perpetual = [spec for spec in SPECS if isinstance(spec, Told) or spec.instrument == PERP.id]
    columns = [universe.series(spec) for spec in of_perpetual]
    was = [block.universe.series(spec) for spec in of_perpetual]
    np.testing.assert_array_equal(moved.values(0, np.array(columns)), block.values(0, np.array(was)))
    assert len(moved.changed_rows) == len(block.changed_rows)
    ended = view.advance(frames[151:])
    last = np.frombuffer(expected.rows[-1], count=len(SPECS))
    by_spec = dict(zip(SPECS, last, strict=True))
    values = [by_spec[spec] for spec in of_perpetual]
    np.testing.assert_array_equal(ended.values(len(ended.frames) - 1, np.array(columns)), values)


def test_a_forecast_is_the_standard_measure_under_its_own_name():
    universe = Universe(LISTED)
    forecast, standard = Forecast(PERP.id), Realized(PERP.id, STANDARD)
    assert universe.series(forecast) != universe.series(standard)
    assert forecast.measure == standard.measure
    source = RealizedVolatility(instrument=PERP.id)
    assert Realized.of(source) == standard
    parkinson = RealizedVolatility(instrument=PERP.id, estimator="parkinson", half_life_bars=9)
    assert Realized.of(parkinson).measure.half_life_bars == 0


def test_what_is_not_listed_is_never_known():
    universe = Universe(LISTED)
    column = universe.series(Forecast("NOBODY-LISTS"))
    block = MarketView(universe).advance(random_frames(1))
    assert np.isnan(block.records.value[block.standing[:, column]]).all()


GUARDS = Guards(cooldown_seconds=30, maximum_price_age_seconds=3_600)
VOLATILITY = {"kind": "realized", "instrument": PERP.id, "bar_seconds": BAR_SECONDS, "window_bars": 48}
TARGET = VolatilityTarget(
    name="steady", underlying="BTC", mode=Mode.AUTO, target_volatility_annual="0.4", band="0.05",
    volatility=VOLATILITY | {"half_life_bars": 6}, trade_instruments=(PERP.id,), guards=GUARDS,
)  # fmt: skip
CALMER = Rule(
    name="step back", mode=Mode.AUTO, guards=GUARDS,
    condition=Comparison(metric="stress.MARKET", op="above", value="0.9"),
    actions=[Hedge(underlying="BTC", target_delta="0.5", hedge_instruments=(PERP.id,))],
)  # fmt: skip


def holder(*policies):
    account = Account(
        uuid4(), "main", "paper", MarginMode.CROSS,
        (Position(PERP.id, Decimal(2), Decimal(50_000)),), (Balance("USDT", Decimal(100_000)),),
    )  # fmt: skip
    return Portfolio(
        uuid4(), uuid4(), "tested", "USDT", PortfolioState.ACTIVE, 1, (account,), (),
        tuple(StoredPolicy(uuid4(), 1, policy) for policy in policies),
    )  # fmt: skip


def decided(portfolio, blocks):
    """What was concluded, and what is remembered in the end."""
    universe = Universe(LISTED)
    view, book, memories, concluded = MarketView(universe), Book(universe), {}, ([], [], [])
    book.put(portfolio)
    for frames in blocks:
        block = view.advance(frames)
        overdue = [(work.expires_at_ns, portfolio.id) for work in book.portfolio(portfolio.id).in_flight]
        for verdict in decide(book, memories, block, affected(book, block, overdue)).values():
            memories |= verdict.memories
            found = (verdict.decisions, verdict.adjustments, verdict.events)
            for kept, new in zip(concluded, found, strict=True):
                kept.extend(new)
    return concluded, memories, book.portfolio(portfolio.id)


def test_policies_on_series_decide_the_same_in_any_blocks():
    frames, portfolio = random_frames(11, count=600), holder(TARGET, CALMER)
    one_by_one = decided(portfolio, [[frame] for frame in frames])
    served = {policy for adjustment in one_by_one[0][1] for policy in adjustment.policies}
    assert served == {stored.id for stored in portfolio.policies}
    assert decided(portfolio, [frames]) == one_by_one
    assert decided(portfolio, cut(frames, 11)) == one_by_one


def test_a_portfolio_looks_at_the_frames_where_its_series_changed_and_at_no_others():
    universe = Universe(LISTED)
    rule = CALMER.model_copy(update={"actions": (Notify(message="stressed"),)})
    spectator = holder(rule)
    book, view = Book(universe), MarketView(universe)
    book.put(spectator)
    frames = random_frames(12)
    block = view.advance(frames)
    todo = affected(book, block)
    expected = [
        k
        for k, frame in enumerate(frames)
        if any(c.instrument == PERP.id or c.kind is TickKind.STRESS for c in frame.changes)
    ]
    assert todo.frames.tolist() == expected
    assert book.series_read == {universe.series(Told(TickKind.STRESS, "MARKET")): 1}
    book.remove(spectator.id)
    assert not book.series_read
    assert not affected(book, block)
