"""The two-scale estimator: its formula by brute force, streaming against batch to the bit, statuses."""

import math
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.quant.estimators import ticks
from app.quant.estimators.accumulation import Observation, TickState
from app.quant.estimators.estimates import EstimateStatus
from app.quant.estimators.ticks import Ticks
from app.quant.estimators.windows import Window

SECOND_NS = 1_000_000_000
YEAR_NS = 365 * 86_400 * SECOND_NS
WINDOWS = (
    Window.everything(),
    Window.decaying(timedelta(seconds=20)),
    Window.rolling(timedelta(seconds=30), buckets=3),
)
windows = pytest.mark.parametrize("window", WINDOWS, ids=["everything", "decaying", "rolling"])


def irregular(count: int, *, seed: int = 1) -> Ticks:
    """Ticks at random instants, some of them the same, with noise."""
    random = np.random.default_rng(seed)
    times = np.cumsum(random.integers(0, 2 * SECOND_NS, count) * random.integers(0, 2, count))
    return Ticks(
        times, 100.0 * np.exp(np.cumsum(random.normal(0, 1e-4, count)) + random.normal(0, 5e-4, count))
    )


def part(of: Ticks, chosen) -> Ticks:
    return Ticks(of.times_ns[chosen], of.prices[chosen])


def as_bytes(state: TickState) -> list[bytes]:
    return [column.tobytes() for column in state[1:]]


def readings(state: TickState) -> list[bytes]:
    estimates = [*ticks.two_scale(state), *ticks.realized(state), ticks.noise(state)]
    return [column.tobytes() for column in estimates]


@windows
@pytest.mark.parametrize("slow", [2, 7])
def test_both_scales_by_brute_force(window, slow):
    series = irregular(90)
    state, statuses = ticks.measure(series, slow_ticks=slow, window=window)
    np.testing.assert_array_equal(statuses, [Observation.FIRST] + [Observation.VALID] * 89)
    logs, times = np.log(series.prices), series.times_ns
    taken = np.arange(slow, 90)
    ages = (times[-1] - times[taken]) / YEAR_NS
    weights = 0.5 ** (ages / window.half_life_years)
    if window.bucket_ns:
        buckets = (times[taken] - 1) // window.bucket_ns
        weights = (buckets > buckets[-1] - window.buckets).astype(float)
    slow_squares = np.sum(weights * (logs[taken] - logs[taken - slow]) ** 2)
    fast_squares = np.sum(weights * (logs[taken] - logs[taken - 1]) ** 2)
    slow_years = np.sum(weights * (times[taken] - times[taken - slow])) / YEAR_NS
    fast_years = np.sum(weights * (times[taken] - times[taken - 1])) / YEAR_NS
    naive = ticks.realized(state).volatilities[0]
    assert naive**2 == pytest.approx(fast_squares / fast_years, rel=1e-9)
    answer = ticks.two_scale(state)
    variance = (slow_squares - fast_squares) / (slow_years - fast_years)
    assert answer.volatilities[0] ** 2 == pytest.approx(max(variance, 0.0), rel=1e-8)
    hidden = EstimateStatus.NOISE_PREVAILS if variance < 0 else EstimateStatus.VALID
    assert answer.statuses[0] == hidden
    assert answer.effective_observations[0] == pytest.approx(weights.sum() ** 2 / np.sum(weights**2))
    noise = (fast_squares - max(variance, 0.0) * fast_years) / (2 * weights.sum())
    assert ticks.noise(state)[0] ** 2 == pytest.approx(noise, rel=1e-8)


@windows
@given(st.lists(st.integers(0, 40), min_size=1, max_size=4), st.integers(0, 9))
def test_cut_saved_and_restored_anywhere_changes_nothing(window, cuts, seed):
    series = irregular(40, seed=seed)
    whole, _ = ticks.measure(series, slow_ticks=5, window=window)
    state, done = ticks.start(instruments=1, slow_ticks=5, window=window), 0
    for cut in [*sorted(cuts), 40]:
        rows = np.zeros(cut - done, dtype=int)
        state, _ = ticks.update(state, part(series, slice(done, cut)), rows=rows)
        done = cut
        saved = [(column.tobytes(), column.dtype, column.shape) for column in state[1:]]
        columns = (np.frombuffer(data, dtype=kind).reshape(shape) for data, kind, shape in saved)
        state = TickState(Window(*state.window), *columns)
    assert as_bytes(state) == as_bytes(whole)
    assert readings(state) == readings(whole)


@windows
def test_an_instrument_does_not_depend_on_its_neighbours(window):
    series = [irregular(50, seed=seed) for seed in range(3)]
    joined = Ticks(*map(np.concatenate, zip(*series, strict=True)))
    ragged, _ = ticks.measure(joined, slow_ticks=4, offsets=[0, 50, 100, 150], window=window)
    order = np.argsort(joined.times_ns, kind="stable")
    empty = ticks.start(instruments=3, slow_ticks=4, window=window)
    arriving, _ = ticks.update(empty, part(joined, order), rows=np.repeat([0, 1, 2], 50)[order])
    for row, each in enumerate(series):
        alone, _ = ticks.measure(each, slow_ticks=4, window=window)
        for state in (ragged, arriving):
            assert as_bytes(TickState(window, *(column[row : row + 1] for column in state[1:]))) == as_bytes(
                alone
            )


def test_noise_alone_is_no_volatility():
    """A price that only bounces between bid and ask: both scales see the same, and no more."""
    times = np.arange(1, 101) * SECOND_NS
    bouncing = np.where(np.arange(100) % 2, 100.0, 100.1)
    odd, _ = ticks.measure(Ticks(times, bouncing), slow_ticks=5)
    spread = math.log(100.1 / 100.0)
    answer = ticks.two_scale(odd)
    assert answer.usable[0]
    assert answer.volatilities[0] < 1e-6 * ticks.realized(odd).volatilities[0]
    assert ticks.noise(odd)[0] == pytest.approx(spread / math.sqrt(2), rel=1e-9)
    # Over an even number of ticks it comes back, and the slow scale sees less than the fast one.
    even, _ = ticks.measure(Ticks(times, bouncing), slow_ticks=6)
    hidden = ticks.two_scale(even)
    assert (hidden.statuses[0], hidden.volatilities[0]) == (EstimateStatus.NOISE_PREVAILS, 0.0)
    assert not hidden.usable[0]


def test_what_cannot_be_said_yet_is_not_said():
    for count in range(7):
        state, _ = ticks.measure(part(irregular(40), slice(20, 20 + count)), slow_ticks=5)
        expected = EstimateStatus.NOT_ENOUGH_DATA if count <= 5 else EstimateStatus.VALID
        assert (ticks.two_scale(state).statuses[0] == expected) or count > 5
        assert (ticks.realized(state).statuses[0] == EstimateStatus.VALID) == (count > 5)
    at_once = Ticks(np.full(20, SECOND_NS), np.linspace(100.0, 101.0, 20))
    state, _ = ticks.measure(at_once, slow_ticks=5)
    assert ticks.two_scale(state).statuses[0] == EstimateStatus.NOT_ENOUGH_DATA


@pytest.mark.parametrize(
    ("time_ns", "price", "status"),
    [
        (100 * SECOND_NS, math.nan, Observation.NOT_FINITE),
        (100 * SECOND_NS, -math.inf, Observation.NOT_FINITE),
        (100 * SECOND_NS, 0.0, Observation.NOT_POSITIVE),
        (100 * SECOND_NS, 1e-200, Observation.OUT_OF_RANGE),
        (2**63 - 1, 100.0, Observation.OUT_OF_RANGE),
        (-(2**63), 100.0, Observation.OUT_OF_RANGE),
        (0, 100.0, Observation.OUT_OF_ORDER),
        (100 * SECOND_NS, 100.0, Observation.VALID),
    ],
)
def test_a_bad_tick_is_named_and_changes_nothing(time_ns, price, status):
    state, _ = ticks.measure(irregular(20), slow_ticks=3)
    after, statuses = ticks.update(state, Ticks([time_ns], [price]))
    assert statuses[0] == status
    assert (as_bytes(after) == as_bytes(state)) == (status != Observation.VALID)


@given(
    st.lists(
        st.tuples(st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=True, allow_infinity=True)),
        min_size=1,
        max_size=12,
    ),
    st.sampled_from(WINDOWS),
)
def test_no_input_yields_a_nan_or_a_warning(drawn, window):
    times, prices = (np.array(column) for column in zip(*drawn, strict=True))
    state, _ = ticks.measure(Ticks(times, prices), slow_ticks=2, window=window)
    state, _ = ticks.update(
        state, Ticks(np.sort(times), np.abs(prices)), rows=np.zeros(len(drawn), dtype=int)
    )
    for answer in (*ticks.two_scale(state)[:2], ticks.realized(state).volatilities, ticks.noise(state)):
        assert np.all(np.isfinite(answer))


def test_misuse_is_refused():
    with pytest.raises(ValueError, match="2 ticks at least"):
        ticks.start(instruments=1, slow_ticks=1, window=Window.everything())
    with pytest.raises(ValueError, match="one value of each"):
        ticks.update(ticks.start(instruments=2, slow_ticks=2, window=Window.everything()), irregular(1))
