"""Bar estimators: the textbook's formulas, streaming against batch to the bit, windows, gaps, statuses."""

import json
import math
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.quant.estimators import bar_volatilities, bars
from app.quant.estimators.accumulation import BarState, Observation
from app.quant.estimators.bars import Bars
from app.quant.estimators.estimates import EstimateStatus
from app.quant.estimators.windows import Window

HOUR_NS = 3_600_000_000_000
HOURS_PER_YEAR = 365 * 24
ESTIMATORS = (
    bar_volatilities.close_to_close,
    bar_volatilities.ewma,
    bar_volatilities.parkinson,
    bar_volatilities.garman_klass,
    bar_volatilities.rogers_satchell,
    bar_volatilities.yang_zhang,
    bar_volatilities.bipower,
)
WINDOWS = (
    Window.everything(),
    Window.decaying(timedelta(hours=7)),
    Window.rolling(timedelta(hours=12), buckets=4),
    Window.rolling(timedelta(hours=12), buckets=4, half_life=timedelta(hours=7)),
)
windows = pytest.mark.parametrize("window", WINDOWS, ids=["everything", "decaying", "rolling", "both"])
estimators = pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda each: each.__name__)


def hourly(count: int, *, seed: int = 1, start: int = 0) -> Bars:
    """Bars of one hour, with jumps at the open and a drift."""
    random = np.random.default_rng(seed)
    closes = 100.0 * np.exp(np.cumsum(random.normal(1e-3, 1e-2, count)))
    opens = np.concatenate(([100.0], closes[:-1])) * np.exp(random.normal(0.0, 3e-3, count))
    highs = np.maximum(opens, closes) * np.exp(random.exponential(4e-3, count))
    lows = np.minimum(opens, closes) * np.exp(-random.exponential(4e-3, count))
    opened = (start + np.arange(count)) * HOUR_NS
    return Bars(opened, opened + HOUR_NS, opens, highs, lows, closes)


def part(of: Bars, chosen) -> Bars:
    return Bars(*(np.asarray(column)[chosen] for column in of))


def as_bytes(state: BarState) -> list[bytes]:
    return [column.tobytes() for column in state[1:]]


def readings(state: BarState) -> list[bytes]:
    return [column.tobytes() for estimator in ESTIMATORS for column in estimator(state)]


def restored_from_bytes(state: BarState) -> BarState:
    saved = [(column.tobytes(), column.dtype, column.shape) for column in state[1:]]
    columns = (np.frombuffer(data, dtype=kind).reshape(shape) for data, kind, shape in saved)
    return BarState(Window(*state.window), *columns)


def restored_from_json(state: BarState) -> BarState:
    """JSON's shortest decimals give back each float64; a half-life without end is JavaScript's Infinity."""
    saved = json.loads(json.dumps([state.window, *(column.tolist() for column in state[1:])]))
    empty = bars.start(instruments=len(state.closes), window=Window(*saved[0]))
    columns = (np.array(column, dtype=like.dtype) for column, like in zip(saved[1:], empty[1:], strict=True))
    return BarState(empty.window, *columns)


def textbook(of: Bars) -> dict[str, float]:
    """The published formulas for n bars of one length after a first one that only closes, per year."""
    opens, highs, lows, closes = (np.log(column) for column in of[2:])
    returns = np.diff(closes)
    jumps, moves = opens[1:] - closes[:-1], (closes - opens)[1:]
    ups, downs = (highs - opens)[1:], (lows - opens)[1:]
    n = len(returns)
    satchell = np.mean(ups * (ups - moves) + downs * (downs - moves))
    k = 0.34 / (1.34 + (n + 1) / (n - 1))
    variances = {
        "close_to_close": np.var(returns, ddof=1),
        "ewma": np.mean(returns**2),
        "parkinson": np.mean((ups - downs) ** 2) / (4 * math.log(2)),
        "garman_klass": np.mean(0.5 * (ups - downs) ** 2 - (2 * math.log(2) - 1) * moves**2),
        "rogers_satchell": satchell,
        "yang_zhang": np.var(jumps, ddof=1) + k * np.var(moves, ddof=1) + (1 - k) * satchell,
        "bipower": math.pi / 2 * np.sum(np.abs(returns[1:] * returns[:-1])) / (n - 1),
    }
    return {name: math.sqrt(variance * HOURS_PER_YEAR) for name, variance in variances.items()}


@estimators
@pytest.mark.parametrize("count", [3, 4, 100])
def test_batch_is_the_textbook(estimator, count):
    series = hourly(count)
    state, statuses = bars.measure(series)
    np.testing.assert_array_equal(statuses, [Observation.FIRST] + [Observation.VALID] * (count - 1))
    answer = estimator(state)
    np.testing.assert_array_equal(answer.statuses, EstimateStatus.VALID)
    np.testing.assert_array_equal(answer.effective_observations, count - 1)
    np.testing.assert_allclose(answer.volatilities, textbook(series)[estimator.__name__], rtol=1e-11)


@windows
def test_one_bar_at_a_time_is_the_batch_to_the_bit(window):
    series = hourly(60)
    batch, _ = bars.measure(series, window=window)
    state = bars.start(instruments=1, window=window)
    for index in range(60):
        state, statuses = bars.update(state, part(series, slice(index, index + 1)))
        assert statuses.shape == (1,)
    assert as_bytes(state) == as_bytes(batch)
    assert readings(state) == readings(batch)


@windows
@given(st.lists(st.integers(0, 40), min_size=1, max_size=4), st.integers(0, 9))
def test_cut_saved_and_restored_anywhere_changes_nothing(window, cuts, seed):
    series = hourly(40, seed=seed)
    whole, _ = bars.measure(series, window=window)
    state, done = bars.start(instruments=1, window=window), 0
    for cut in [*sorted(cuts), 40]:
        state, _ = bars.update(state, part(series, slice(done, cut)), rows=np.zeros(cut - done, dtype=int))
        done = cut
        state = restored_from_json(restored_from_bytes(state))
    assert as_bytes(state) == as_bytes(whole)
    assert readings(state) == readings(whole)


@windows
def test_an_instrument_does_not_depend_on_its_neighbours(window):
    """Alone, on an axis, end to end with offsets, and interleaved in order of arrival: the same bits."""
    series = [hourly(30, seed=seed, start=seed) for seed in range(3)]
    alone = [bars.measure(each, window=window)[0] for each in series]
    stacked, _ = bars.measure(Bars(*map(np.stack, zip(*series, strict=True))), window=window)
    joined = Bars(*map(np.concatenate, zip(*series, strict=True)))
    ragged, _ = bars.measure(joined, offsets=[0, 30, 60, 90], window=window)
    order = np.argsort(joined.closed_ns, kind="stable")
    empty = bars.start(instruments=3, window=window)
    arriving, _ = bars.update(empty, part(joined, order), rows=np.repeat([0, 1, 2], 30)[order])
    for row, expected in enumerate(alone):
        for state in (stacked, ragged, arriving):
            single = BarState(window, *(column[row : row + 1] for column in state[1:]))
            assert as_bytes(single) == as_bytes(expected)
            assert readings(single) == readings(expected)


def test_a_state_given_is_left_as_it_was():
    state, _ = bars.measure(hourly(5))
    before = as_bytes(state)
    bars.update(state, part(hourly(6), [5]))
    assert as_bytes(state) == before


def test_decaying_weights_are_powers_of_a_half():
    """The last of the formulas by hand; the average is RiskMetrics' recursion once the start is forgotten."""
    half_life, count = 5.0, 400
    series = hourly(count)
    state, _ = bars.measure(series, window=Window.decaying(timedelta(hours=half_life)))
    weights = 0.5 ** (np.arange(count - 1)[::-1] / half_life)
    ranges = np.log(np.divide(series.highs, series.lows))[1:] ** 2
    expected = np.sum(weights * ranges) / np.sum(weights) / (4 * math.log(2)) * HOURS_PER_YEAR
    assert bar_volatilities.parkinson(state).volatilities[0] ** 2 == pytest.approx(expected, rel=1e-11)
    forgetting, average = 0.5 ** (1 / half_life), 0.0
    for change in np.diff(np.log(series.closes)):
        average = forgetting * average + (1 - forgetting) * change**2
    ewma = bar_volatilities.ewma(state)
    assert ewma.volatilities[0] ** 2 == pytest.approx(average * HOURS_PER_YEAR, rel=1e-11)
    kish = np.sum(weights) ** 2 / np.sum(weights**2)
    assert ewma.effective_observations[0] == pytest.approx(kish, rel=1e-12)
    returns = np.diff(np.log(series.closes))
    mean = np.average(returns, weights=weights)
    spread = np.sum(weights * (returns - mean) ** 2) / (weights.sum() - np.sum(weights**2) / weights.sum())
    centred = bar_volatilities.close_to_close(state).volatilities[0]
    assert centred**2 == pytest.approx(spread * HOURS_PER_YEAR, rel=1e-11)


@estimators
@pytest.mark.parametrize("count", [40, 47, 48])
def test_a_rolling_window_holds_its_last_buckets(estimator, count):
    """Four buckets of three hours: the one being filled and the three before it."""
    window = Window.rolling(timedelta(hours=12), buckets=4)
    series = hourly(count)
    rolling, _ = bars.measure(series, window=window)
    held = 9 + ((count - 1) % 3) + 1
    recent, _ = bars.measure(part(series, slice(count - held - 1, count)))
    answer, expected = estimator(rolling), estimator(recent)
    np.testing.assert_array_equal(answer.effective_observations, held)
    if estimator is bar_volatilities.bipower:  # its first return in the window has a neighbour before it
        returns = np.abs(np.diff(np.log(series.closes))[-held - 1 :])
        variance = math.pi / 2 * np.mean(returns[1:] * returns[:-1]) * HOURS_PER_YEAR
        assert answer.volatilities[0] ** 2 == pytest.approx(variance, rel=1e-11)
    else:
        np.testing.assert_allclose(answer.volatilities, expected.volatilities, rtol=1e-11)


def test_weights_decay_within_a_rolling_window():
    """At hour 40 it holds the bars since hour 30; older ones are not faint but gone."""
    half_life = timedelta(hours=5)
    window = Window.rolling(timedelta(hours=12), buckets=4, half_life=half_life)
    series = hourly(40)
    state, _ = bars.measure(series, window=window)
    recent, _ = bars.measure(part(series, slice(29, 40)), window=Window.decaying(half_life))
    answer, expected = bar_volatilities.ewma(state), bar_volatilities.ewma(recent)
    np.testing.assert_allclose(answer.volatilities, expected.volatilities, rtol=1e-12)
    np.testing.assert_allclose(answer.effective_observations, expected.effective_observations, rtol=1e-12)


@estimators
@pytest.mark.parametrize("half_life", [None, timedelta(hours=5)], ids=["equal", "decaying"])
def test_once_a_rolling_window_is_full_it_does_not_matter_since_when_it_is_kept(estimator, half_life):
    window = Window.rolling(timedelta(hours=12), buckets=4, half_life=half_life)
    early, _ = bars.measure(hourly(60), window=window)
    late, _ = bars.measure(part(hourly(60), slice(44, 60)), window=window)
    assert estimator(early).volatilities.tobytes() == estimator(late).volatilities.tobytes()


@pytest.mark.parametrize(("silence", "left"), [(10, 2), (11, 0), (12, 0), (1_000_000, 0)])
def test_a_silence_as_long_as_the_window_empties_it(silence, left):
    """The last bar closes at hour 20, in the bucket of the hours 19 to 21."""
    window = Window.rolling(timedelta(hours=12), buckets=4)
    state, _ = bars.measure(hourly(20), window=window)
    late = Bars(*(np.asarray(column) for column in hourly(1, start=19 + silence)))
    state, statuses = bars.update(state, late)
    assert statuses[0] == Observation.VALID
    answer = bar_volatilities.ewma(state)
    assert answer.effective_observations[0] == left + 1


@estimators
@given(st.floats(1e-6, 1e6), st.integers(1, 1_000))
def test_scaling_prices_changes_nothing_and_scaling_time_scales_by_its_root(estimator, scale, slower):
    series = hourly(30)
    base = estimator(bars.measure(series)[0]).volatilities[0]
    dearer = Bars(*series[:2], *(np.asarray(column) * scale for column in series[2:]))
    assert estimator(bars.measure(dearer)[0]).volatilities[0] == pytest.approx(base, rel=1e-11)
    longer = Bars(*(np.asarray(column) * slower for column in series[:2]), *series[2:])
    answer = estimator(bars.measure(longer)[0]).volatilities[0]
    assert answer * math.sqrt(slower) == pytest.approx(base, rel=1e-12)


def test_missing_bars_leave_their_return_and_their_time():
    """Every third hour is missing: returns span the gap, ranges know nothing of it, jumps are its moves."""
    series = hourly(61)
    seen = np.arange(61) % 3 != 1
    gappy = part(series, seen)
    state, statuses = bars.measure(gappy)
    assert np.all(statuses[1:] == Observation.VALID)
    returns = np.diff(np.log(gappy.closes))
    years = (gappy.closed_ns[-1] - gappy.closed_ns[0]) / HOUR_NS / HOURS_PER_YEAR
    ewma = bar_volatilities.ewma(state).volatilities[0]
    assert ewma**2 == pytest.approx(np.sum(returns**2) / years, rel=1e-11)
    ranges = np.log(gappy.highs / gappy.lows)[1:] ** 2 / (4 * math.log(2))
    parkinson = bar_volatilities.parkinson(state).volatilities[0]
    assert parkinson**2 == pytest.approx(ranges.mean() * HOURS_PER_YEAR, rel=1e-11)
    jumps = np.log(gappy.opens[1:] / gappy.closes[:-1])
    n = len(jumps)
    moves, k = np.log(gappy.closes / gappy.opens)[1:], 0.34 / (1.34 + (n + 1) / (n - 1))
    ups, downs = np.log(gappy.highs / gappy.opens)[1:], np.log(gappy.lows / gappy.opens)[1:]
    satchell = np.sum(ups * (ups - moves) + downs * (downs - moves))
    total = n * (np.var(jumps, ddof=1) + k * np.var(moves, ddof=1)) + (1 - k) * satchell
    yang_zhang = bar_volatilities.yang_zhang(state).volatilities[0]
    assert yang_zhang**2 == pytest.approx(total / years, rel=1e-11)
    hours = np.diff(gappy.closed_ns) / HOUR_NS
    products = np.abs(returns[1:] * returns[:-1]).sum() / np.sqrt(hours[1:] * hours[:-1]).sum()
    bipower = bar_volatilities.bipower(state).volatilities[0]
    assert bipower**2 == pytest.approx(math.pi / 2 * products * HOURS_PER_YEAR, rel=1e-11)


def test_a_steady_drift_is_no_volatility():
    """A straight line in logarithms: what claims to be free of drift says 0, the rest does not."""
    closes = 100.0 * np.exp(0.01 * np.arange(50))
    opens = closes * np.exp(-0.01)
    opened = np.arange(50) * HOUR_NS
    state, _ = bars.measure(Bars(opened, opened + HOUR_NS, opens, closes, opens, closes))
    spurious = 0.01 * math.sqrt(HOURS_PER_YEAR)
    for estimator in (
        bar_volatilities.close_to_close,
        bar_volatilities.rogers_satchell,
        bar_volatilities.yang_zhang,
    ):
        assert estimator(state).volatilities[0] < 1e-6 * spurious
    assert bar_volatilities.ewma(state).volatilities[0] == pytest.approx(spurious, rel=1e-12)


@estimators
def test_a_market_that_stands_still_has_no_volatility(estimator):
    opened = np.arange(10) * HOUR_NS
    flat = np.full(10, 7.0)
    answer = estimator(bars.measure(Bars(opened, opened + HOUR_NS, flat, flat, flat, flat))[0])
    assert (answer.volatilities[0], answer.statuses[0]) == (0.0, EstimateStatus.VALID)


@pytest.mark.parametrize(
    ("count", "short"),
    [
        (0, {each.__name__ for each in ESTIMATORS}),
        (1, {each.__name__ for each in ESTIMATORS}),
        (2, {"close_to_close", "yang_zhang", "bipower"}),
        (3, set()),
    ],
)
def test_what_cannot_be_said_yet_is_not_said(count, short):
    state, _ = bars.measure(hourly(count))
    for estimator in ESTIMATORS:
        answer = estimator(state)
        is_short = answer.statuses[0] == EstimateStatus.NOT_ENOUGH_DATA
        assert is_short == (estimator.__name__ in short)
        assert is_short == (answer.volatilities[0] == 0.0)
        assert answer.usable[0] == (not is_short)


GOOD = (20 * HOUR_NS, 21 * HOUR_NS, 100.0, 102.0, 99.0, 101.0)


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        ({"closes": math.nan}, Observation.NOT_FINITE),
        ({"highs": math.inf}, Observation.NOT_FINITE),
        ({"lows": 0.0}, Observation.NOT_POSITIVE),
        ({"opens": -1.0}, Observation.NOT_POSITIVE),
        ({"highs": 98.0, "lows": 103.0}, Observation.INCONSISTENT),
        ({"highs": 100.5}, Observation.INCONSISTENT),
        ({"lows": 100.5}, Observation.INCONSISTENT),
        ({"closed_ns": 20 * HOUR_NS}, Observation.NO_DURATION),
        ({"opened_ns": 22 * HOUR_NS}, Observation.NO_DURATION),
        ({"opened_ns": 20 * HOUR_NS - 1}, Observation.OUT_OF_ORDER),
        ({"opened_ns": 18 * HOUR_NS, "closed_ns": 19 * HOUR_NS}, Observation.OUT_OF_ORDER),
        ({"closed_ns": 2**63 - 1}, Observation.OUT_OF_RANGE),
        ({"opened_ns": -(2**63)}, Observation.OUT_OF_RANGE),
        ({"highs": 1e200}, Observation.OUT_OF_RANGE),
        ({"lows": 1e-200}, Observation.OUT_OF_RANGE),
        ({}, Observation.VALID),
    ],
)
def test_a_bad_bar_is_named_and_changes_nothing(fault, status):
    state, _ = bars.measure(hourly(20))
    bad = Bars(*([value] for value in Bars(*GOOD)._replace(**fault)))
    after, statuses = bars.update(state, bad)
    assert statuses[0] == status
    assert (as_bytes(after) == as_bytes(state)) == (status != Observation.VALID)


@given(
    st.lists(
        st.tuples(
            st.integers(-(2**63), 2**63 - 1),
            st.integers(-(2**63), 2**63 - 1),
            *[st.floats(allow_nan=True, allow_infinity=True)] * 4,
        ),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from(WINDOWS),
)
def test_no_input_yields_a_nan_or_a_warning(drawn, window):
    """Wild bars, each of them also made consistent so that some are taken."""
    columns = [np.array(column) for column in zip(*drawn, strict=True)]
    prices = np.abs(np.stack(columns[2:]))
    sound = [prices[0], prices.max(axis=0), prices.min(axis=0), prices[3]]
    state, _ = bars.measure(Bars(*columns), window=window)
    state, _ = bars.update(state, Bars(*columns[:2], *sound), rows=np.zeros(len(drawn), dtype=int))
    for estimator in ESTIMATORS:
        answer = estimator(state)
        assert np.all(np.isfinite(answer.volatilities))
        assert np.all(np.isfinite(answer.effective_observations))


def test_misuse_is_refused():
    state = bars.start(instruments=2, window=Window.everything())
    one = part(hourly(1), [0])
    with pytest.raises(ValueError, match="one value of each"):
        bars.update(state, one)
    with pytest.raises(ValueError, match="rows from 2 to 2 of 2"):
        bars.update(state, one, rows=[2])
    with pytest.raises(ValueError, match="int64 nanoseconds"):
        bars.update(state, one._replace(opened_ns=[0.0]), rows=[0])
    with pytest.raises(ValueError, match="offsets lead from 0 to 5"):
        bars.measure(hourly(5), offsets=[0, 4])
    with pytest.raises(ValueError, match="half-life"):
        Window.decaying(timedelta(0))
    with pytest.raises(ValueError, match="buckets"):
        Window.rolling(timedelta(hours=1), buckets=0)
