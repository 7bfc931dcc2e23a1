"""The estimators on recorded markets: they agree while it is quiet, and all of them rise in a crash."""

from datetime import timedelta

import numpy as np
import pytest

from app.quant.estimators import bar_volatilities, bars, ticks
from app.quant.estimators.accumulation import BarState, Observation
from app.quant.estimators.bars import Bars
from app.quant.estimators.ticks import Ticks
from app.quant.estimators.windows import Window
from tests.market_data import market_dir, read_csv

MINUTE_NS = 60_000_000_000
DAY_NS = 1_440 * MINUTE_NS
ESTIMATORS = {
    "close_to_close": bar_volatilities.close_to_close,
    "ewma": bar_volatilities.ewma,
    "parkinson": bar_volatilities.parkinson,
    "garman_klass": bar_volatilities.garman_klass,
    "rogers_satchell": bar_volatilities.rogers_satchell,
    "yang_zhang": bar_volatilities.yang_zhang,
    "bipower": bar_volatilities.bipower,
}


def recorded(name: str, *, minutes: int) -> Bars:
    rows = list(read_csv(market_dir() / name))
    opened = np.array([row["time"].removesuffix("Z") for row in rows], dtype="datetime64[ns]").astype(
        np.int64
    )
    prices = [np.array([float(row[each]) for row in rows]) for each in ("open", "high", "low", "close")]
    return Bars(opened, opened + minutes * MINUTE_NS, *prices)


def merged(of: Bars, count: int) -> Bars:
    """Bars without gaps made `count` times as long."""
    opened, closed, opens, highs, lows, closes = (
        column[: len(column) // count * count].reshape(-1, count) for column in of
    )
    return Bars(opened[:, 0], closed[:, -1], opens[:, 0], highs.max(axis=1), lows.min(axis=1), closes[:, -1])


def by_day(of: Bars) -> tuple[np.ndarray, BarState]:
    days = of.opened_ns // DAY_NS
    starts = np.flatnonzero(np.diff(days, prepend=days[0] - 1))
    state, statuses = bars.measure(of, offsets=[*starts, len(days)])
    assert np.all(statuses <= Observation.FIRST)
    return days[starts].astype("datetime64[D]"), state


@pytest.fixture(scope="module")
def quiet() -> Bars:
    return recorded("btc-usdt_perp_1m_2025-05-04_2025-06-03.csv.gz", minutes=1)


@pytest.fixture(scope="module")
def crash() -> Bars:
    return recorded("btc-usdt_spot_5m_2021-04-30_2021-05-30.csv.gz", minutes=5)


@pytest.mark.parametrize(
    ("minutes", "lowest", "highest"),
    [
        (1, 0.80, 1.01),  # a quiet minute holds few trades, so that its range is seen too small
        (5, 0.90, 1.01),
        (60, 0.94, 1.08),
    ],
)
def test_estimators_agree_in_a_quiet_month(quiet, minutes, lowest, highest):
    """Over the month against close-to-close, which reads 0.37 to 0.38 at each length."""
    state, _ = bars.measure(merged(quiet, minutes))
    found = {name: estimator(state).volatilities[0] for name, estimator in ESTIMATORS.items()}
    assert 0.36 < found["close_to_close"] < 0.39
    for name, volatility in found.items():
        assert lowest <= volatility / found["close_to_close"] <= highest, name


def test_estimators_agree_within_each_quiet_day(quiet):
    """Five-minute bars: the median of the daily ratios within 10 %, each of them within 30 %."""
    _, state = by_day(merged(quiet, 5))
    closes = bar_volatilities.close_to_close(state).volatilities
    for name, estimator in ESTIMATORS.items():
        ratios = estimator(state).volatilities / closes
        assert 0.9 <= np.median(ratios) <= 1.1, name
        assert np.all((ratios > 0.7) & (ratios < 1.3)), name


@pytest.mark.parametrize("name", ESTIMATORS)
def test_every_estimator_rises_in_the_crash(crash, name):
    """19 May 2021 is the wildest day of the month, at three times its median or more."""
    days, state = by_day(crash)
    volatilities = ESTIMATORS[name](state).volatilities
    assert days[np.argmax(volatilities)] == np.datetime64("2021-05-19")
    assert volatilities.max() > 3.0 * np.median(volatilities)
    assert 4.0 < volatilities.max() < 6.0
    ordinary = days != np.datetime64("2021-05-19")
    closes = bar_volatilities.close_to_close(state).volatilities
    ratios = (volatilities / closes)[ordinary]
    assert np.all((ratios > 0.85) & (ratios < 1.3))


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize(
    "window",
    [Window.decaying(timedelta(hours=6)), Window.rolling(timedelta(days=1), buckets=24)],
    ids=["decaying", "rolling"],
)
def test_a_stream_follows_the_crash_up_and_down_again(crash, window, name):
    """An hour of bars at a time: it doubles on the day of the crash and has nearly halved two days later."""
    state, readings = bars.start(instruments=1, window=window), []
    for start in range(0, len(crash.opens) // 12 * 12, 12):
        hour = Bars(*(column[start : start + 12] for column in crash))
        state, _ = bars.update(state, hour, rows=np.zeros(12, dtype=int))
        readings.append((state.closed_ns[0], ESTIMATORS[name](state).volatilities[0]))
    times, volatilities = (np.array(column) for column in zip(*readings, strict=True))

    def at(instant: str) -> float:
        return volatilities[np.searchsorted(times, np.datetime64(instant, "ns").astype(np.int64))]

    assert at("2021-05-19T18:00") > 2.0 * at("2021-05-19T00:00")
    assert at("2021-05-21T12:00") < 0.6 * volatilities.max()


def test_two_scales_bring_three_venues_together():
    """Six minutes of mid prices of one coin. From tick to tick the venues differ by a factor of two, because
    each moves its quotes by another habit; with 300 ticks (2 to 6 seconds) as the slow scale they agree.
    """
    rows = list(read_csv(market_dir() / "btc_three-venues_ticks_2024-08-08.csv.gz"))
    naive, two_scale = [], []
    for source in ("binance-spot", "binance-usdm", "binance-coinm"):
        own = [row for row in rows if row["source"] == source]
        series = Ticks([int(row["time_ns"]) for row in own], [float(row["price"]) for row in own])
        state, statuses = ticks.measure(series, slow_ticks=300)
        assert np.all(statuses <= Observation.FIRST)
        naive.append(ticks.realized(state).volatilities[0])
        two_scale.append(ticks.two_scale(state).volatilities[0])
    assert max(naive) / min(naive) > 1.8
    assert max(two_scale) / min(two_scale) < 1.2
