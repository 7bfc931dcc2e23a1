import gzip
import itertools
import time
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import BallastError
from app.domain.market import Tick, TickKind
from app.lab.history import (
    BAR_CONFIDENCE_FRACTION,
    HEARTBEATS_PER_GAP,
    count_entries,
    first_prices,
    read_ticks,
    survey,
    with_heartbeats,
)
from app.lab.recording import Form, HistoryError

BARS = "time,open,high,low,close,volume\n"
TICKS = "time_ns,source,instrument,sequence,price,confidence\n"
MINUTE_NS = 60_000_000_000
START = datetime(2021, 5, 19, tzinfo=UTC)
START_NS = int(START.timestamp()) * 1_000_000_000


def bar_line(minute, opening, high, low, close):
    return f"{START + timedelta(minutes=minute):%Y-%m-%dT%H:%M:%SZ},{opening},{high},{low},{close},1.5\n"


def written(folder, text, name="btc-usdt_spot_1m.csv"):
    path = folder / name
    path.write_text(text)
    return path


def ticks_of(path, **options):
    entries = list(read_ticks(path, **options))
    assert all(len(entry) == 1 for entry in entries)
    return [entry[0] for entry in entries]


def test_a_bar_that_closes_up_or_unchanged_visits_its_low_first_and_one_that_closes_down_its_high(tmp_path):
    up, down, flat = (0, 10, 14, 9, 13), (1, 13, 15, 8, 9), (2, 9, 11, 7, 9)
    path = written(tmp_path, BARS + "".join(bar_line(*bar) for bar in (up, down, flat)))
    ticks = ticks_of(path)
    assert [tick.value for tick in ticks] == [10, 9, 14, 13, 13, 15, 8, 9, 9, 7, 11, 9]
    eighth = MINUTE_NS // 8
    assert [tick.time_ns - START_NS for tick in ticks[:4]] == [eighth, 3 * eighth, 5 * eighth, 7 * eighth]
    assert ticks[4].time_ns - START_NS == MINUTE_NS + eighth
    assert ticks[0] == Tick(
        TickKind.PRICE, "file", "BTC-USDT", 1, START_NS + eighth, 10.0, 10.0 * BAR_CONFIDENCE_FRACTION
    )
    assert [tick.sequence for tick in ticks] == list(range(1, 13))


prices = st.floats(0.01, 1e6)


@st.composite
def bar_files(draw):
    minutes = draw(st.lists(st.integers(0, 2_000), min_size=2, max_size=30, unique=True).map(sorted))
    bars = []
    for minute in minutes:
        low, first, second, high = sorted(draw(st.tuples(prices, prices, prices, prices)))
        opening, close = draw(st.permutations([first, second]))
        bars.append((minute, opening, high, low, close))
    return bars


@given(bars=bar_files())
def test_every_bar_gives_its_four_prices_strictly_inside_its_time(bars, tmp_path_factory):
    path = written(tmp_path_factory.mktemp("bars"), BARS + "".join(bar_line(*bar) for bar in bars))
    length_ns = survey(path).bar_ns
    ticks = ticks_of(path)
    times = [tick.time_ns for tick in ticks]
    assert times == sorted(set(times))
    assert len(ticks) == 4 * len(bars) == count_entries(path)
    for nth, (minute, opening, high, low, close) in enumerate(bars):
        four = ticks[4 * nth : 4 * nth + 4]
        opens_ns = START_NS + minute * MINUTE_NS
        assert all(opens_ns < tick.time_ns < opens_ns + length_ns for tick in four)
        assert [tick.value for tick in four] == [
            opening,
            *((high, low) if close < opening else (low, high)),
            close,
        ]


def test_the_most_common_step_is_the_length_and_gaps_stay_gaps(tmp_path):
    path = written(tmp_path, BARS + "".join(bar_line(m, 1, 1, 1, 1) for m in (0, 1, 2, 40, 41)))
    assert survey(path).bar_ns == MINUTE_NS
    ticks = ticks_of(path)
    assert ticks[11].time_ns < START_NS + 3 * MINUTE_NS
    assert ticks[12].time_ns > START_NS + 40 * MINUTE_NS


def test_a_bar_published_twice_counts_once(tmp_path):
    same = bar_line(0, 5, 6, 4, 5)
    path = written(tmp_path, BARS + same + same + bar_line(1, 5, 6, 4, 5))
    assert len(ticks_of(path)) == count_entries(path) == 8


def test_a_window_keeps_the_numbers_and_the_prices_of_the_whole(tmp_path):
    path = written(tmp_path, BARS + "".join(bar_line(m, 5 + m, 9 + m, 4, 6) for m in range(5)))
    start, end = START + timedelta(minutes=1, seconds=30), START + timedelta(minutes=3)
    whole = ticks_of(path)
    part = ticks_of(path, start=start, end=end)
    assert part == whole[6:12]
    assert count_entries(path, start=start, end=end) == 6
    assert ticks_of(path, end=start) + ticks_of(path, start=start) == whole


@pytest.mark.parametrize(
    ("name", "instrument"),
    [
        ("btc-usdt_spot_5m_2021.csv", "BTC-USDT"),
        ("btc-usdt_perp_1m.csv", "BTC-USDT-PERP"),
        ("ETH-USD.csv", "ETH-USD"),
        ("btc-usd_perpetual_1m.csv", "BTC-USD"),
    ],
)
def test_the_file_name_tells_the_instrument(tmp_path, name, instrument):
    path = written(tmp_path, BARS + bar_line(0, 1, 1, 1, 1) + bar_line(1, 1, 1, 1, 1), name)
    assert survey(path).instruments == (instrument,)
    named = ticks_of(path, instrument="X-Y", source="here")
    assert {(tick.instrument, tick.source) for tick in named} == {("X-Y", "here")}


def test_a_nameless_file_of_bars_wants_an_instrument(tmp_path):
    path = written(tmp_path, BARS + bar_line(0, 1, 1, 1, 1) + bar_line(1, 1, 1, 1, 1), "prices.csv")
    with pytest.raises(HistoryError, match=r"prices\.csv.*name the instrument"):
        read_ticks(path)
    assert len(ticks_of(path, instrument="BTC-USDT")) == 8


def test_ticks_are_handed_on_as_recorded_and_selected_by_name(tmp_path):
    path = written(tmp_path, TICKS + "5,a,X,9,1.5,0\n5,b,X,4,1.25,0.5\n6,a,Y,2,7,0\n6,a,X,9,1.5,0\n")
    assert ticks_of(path) == [
        Tick(TickKind.PRICE, "a", "X", 9, 5, 1.5, 0.0),
        Tick(TickKind.PRICE, "b", "X", 4, 5, 1.25, 0.5),
        Tick(TickKind.PRICE, "a", "Y", 2, 6, 7.0, 0.0),
        Tick(TickKind.PRICE, "a", "X", 9, 6, 1.5, 0.0),  # a repeat is for the oracle to judge
    ]
    assert [tick.time_ns for tick in ticks_of(path, instrument="X", source="a")] == [5, 6]
    assert count_entries(path, instrument="X") == 3
    with pytest.raises(HistoryError, match="holds no Z; it holds X from a, Y from a, X from b"):
        read_ticks(path, instrument="Z")


def test_first_prices_are_those_of_the_window(tmp_path):
    path = written(tmp_path, TICKS + "5,a,X,9,1.5,0\n5,b,X,4,1.25,0.5\n6,a,Y,2,7,0\n")
    assert first_prices(path) == {"X": 1.5, "Y": 7.0}
    assert first_prices(path, instrument="X") == {"X": 1.5}
    bars = written(tmp_path, BARS + bar_line(0, 5, 6, 4, 5.5) + bar_line(1, 7, 7, 7, 7))
    assert first_prices(bars) == {"BTC-USDT": 5.0}
    later = START + timedelta(minutes=1)
    assert first_prices(bars, start=later) == {"BTC-USDT": 7.0}
    assert first_prices(bars, end=START) == {}


def test_funding_may_be_negative(tmp_path):
    text = "time,funding_rate\n2021-05-19T00:00:00Z,0.0001\n2021-05-19T08:00:00Z,-0.0003\n"
    ticks = ticks_of(written(tmp_path, text, "btc-usdt_perp_funding_8h.csv"))
    assert [(tick.kind, tick.instrument, tick.value) for tick in ticks] == [
        (TickKind.FUNDING_RATE, "BTC-USDT-PERP", 0.0001),
        (TickKind.FUNDING_RATE, "BTC-USDT-PERP", -0.0003),
    ]


GOOD = bar_line(0, 5, 6, 4, 5)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "line 1: the header '' is none of bars"),
        ("time,open,close\n", "line 1: the header 'time,open,close' is none of bars"),
        (BARS, "holds a header and no rows"),
        (BARS + GOOD, "a single bar"),
        (BARS + GOOD + bar_line(1, "five", 6, 4, 5), "line 3: 'five' is not a number"),
        (BARS + GOOD + bar_line(1, "nan", 6, 4, 5), "line 3: 'nan' is not a finite number"),
        (BARS + GOOD + bar_line(1, "1e400", 6, 4, 5), "line 3: '1e400' is not a finite number"),
        (BARS + GOOD + bar_line(1, 0, 6, 0, 5), "line 3: a price of 0"),
        (BARS + GOOD + bar_line(1, -1, 6, -1, 5), "line 3: a price of -1"),
        (BARS + GOOD + bar_line(1, 5, 4, 6, 5), "line 3: open .* do not lie between low 6.0 and high 4.0"),
        (BARS + bar_line(1, 5, 6, 4, 5) + GOOD, "line 3: its time is before"),
        (BARS + GOOD + bar_line(0, 5, 7, 4, 5), "line 3: it has the time of the row above"),
        (BARS + GOOD + "2021-05-19T00:01:00Z,5,6\n", "line 3: 3 fields where 6 belong"),
        (BARS + "2021-05-19 00:00,5,6,4,5,1\n", "line 2: '2021-05-19 00:00' has no time zone"),
        (BARS + "yesterday,5,6,4,5,1\n", "line 2: 'yesterday' is not an RFC 3339 time"),
        (TICKS + "5,a,X,1,1,0\n4,a,X,2,1,0\n", "line 3: its time is before"),
        (TICKS + "5.5,a,X,1,1,0\n", "line 2: '5.5' is not a whole number"),
        (TICKS + "99999999999999999999,a,X,1,1,0\n", "line 2: .* does not fit 63 bits"),
        (TICKS + "5,,X,1,1,0\n", "line 2: source and instrument must be named"),
        (TICKS + "5,a,X,1,1,-1\n", "line 2: confidence -1 is negative"),
        ("time,funding_rate\n2021-05-19T00:00:00Z,inf\n", "line 2: 'inf' is not a finite number"),
    ],
)
def test_a_bad_row_is_named_before_anything_is_handed_out(tmp_path, text, complaint):
    with pytest.raises(HistoryError, match=complaint) as caught:
        read_ticks(written(tmp_path, text))
    assert isinstance(caught.value, BallastError)
    assert "btc-usdt_spot_1m.csv" in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        b"\x1f\x8b\x08\x00 no gzip",
        gzip.compress(b"time,open\n" * 500, mtime=0)[:40],
        b"PAR1 no parquet",
        b"\xff\xfe\x00",
    ],
)
def test_a_damaged_file_is_an_error_that_names_it(tmp_path, content):
    path = tmp_path / "btc-usdt.csv"
    path.write_bytes(content)
    with pytest.raises(HistoryError, match=r"btc-usdt\.csv"):
        read_ticks(path)


def test_what_is_not_there_and_what_is_no_file(tmp_path):
    with pytest.raises(HistoryError, match=r"missing\.csv cannot be read: No such file"):
        read_ticks(tmp_path / "missing.csv")
    with pytest.raises(HistoryError, match="cannot be read"):
        read_ticks(tmp_path)


def test_a_window_without_a_zone_is_refused(tmp_path):
    path = written(tmp_path, BARS + GOOD + bar_line(1, 5, 6, 4, 5))
    with pytest.raises(HistoryError, match="no time zone"):
        read_ticks(path, start=datetime(2021, 5, 19))  # noqa: DTZ001 - what is being refused


@pytest.mark.parametrize("unit", ["s", "us", "ns"])
@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", None])
def test_parquet_reads_as_csv_does_whatever_its_timestamps(tmp_path, unit, zone):
    csv_path = written(tmp_path, BARS + GOOD + bar_line(1, 5.25, 6, 4, 5) + bar_line(2, 6, 7, 5, 5.5))
    table = pyarrow.csv.read_csv(csv_path)
    times = table["time"].cast(pa.timestamp(unit, tz="UTC")).cast(pa.timestamp(unit, tz=zone))
    turned = table.drop_columns("time").append_column("time", times)  # and in another order
    path = tmp_path / "btc-usdt.parquet"
    pyarrow.parquet.write_table(turned, path, row_group_size=2)
    assert ticks_of(path) == ticks_of(csv_path)


def test_parquet_rows_are_held_to_the_same_rules(tmp_path):
    path = tmp_path / "btc-usdt.parquet"
    columns = {name: [1.0, None] for name in Form.BARS.value[1:]}
    times = pa.array([START, START + timedelta(minutes=1)], pa.timestamp("us", "UTC"))
    pyarrow.parquet.write_table(pa.table({"time": times, **columns}), path)
    with pytest.raises(HistoryError, match=r"btc-usdt\.parquet, row 2: None is not a number"):
        read_ticks(path)
    pyarrow.parquet.write_table(pa.table({"time": [1, 2], **columns}), path)
    with pytest.raises(HistoryError, match="integers of an unknown unit"):
        read_ticks(path)


def test_gzip_and_a_byte_order_mark_change_nothing(tmp_path):
    text = BARS + GOOD + bar_line(1, 5, 6, 4, 5)
    packed = tmp_path / "btc-usdt.csv.gz"
    packed.write_bytes(gzip.compress(("\ufeff" + text + "\n").encode()))
    assert ticks_of(packed) == ticks_of(written(tmp_path, text))


def heartbeats_between(times, every):
    entries = [[Tick(TickKind.PRICE, "a", "X", nth, at, 1.0)] for nth, at in enumerate(times)]
    return list(with_heartbeats(iter(entries), every=every))


@given(st.lists(st.integers(0, 10**13), min_size=1, max_size=20).map(sorted), st.integers(10**3, 10**12))
def test_heartbeats_leave_no_long_silence_and_change_no_entry(times, every_us_in_ns):
    every = timedelta(microseconds=every_us_in_ns // 1_000)
    every_ns = every // timedelta(microseconds=1) * 1_000
    entries = heartbeats_between(times, every)
    carried = [entry[0] for entry in entries]
    beats = [tick for tick in carried if tick.kind is TickKind.HEARTBEAT]
    assert [tick.time_ns for tick in carried if tick.kind is TickKind.PRICE] == times
    assert [tick.sequence for tick in beats] == list(range(1, len(beats) + 1))
    assert {(tick.source, tick.instrument, tick.value) for tick in beats} <= {("clock", "", 0.0)}
    for before, after in itertools.pairwise(times):
        inside = sum(before < tick.time_ns < after for tick in beats)
        assert inside <= HEARTBEATS_PER_GAP
        if after - before <= every_ns * HEARTBEATS_PER_GAP:
            assert inside == max(0, -(-(after - before) // every_ns) - 1)
    for one, next_one in itertools.pairwise(carried):
        assert 0 <= next_one.time_ns - one.time_ns <= max(every_ns, (times[-1] - times[0]) // 1_001 + 1)


def test_a_year_of_silence_is_a_thousand_heartbeats():
    entries = heartbeats_between([0, 365 * 86_400 * 10**9], timedelta(seconds=1))
    assert len(entries) == HEARTBEATS_PER_GAP + 2
    assert entries[1][0].time_ns == pytest.approx(365 * 86_400 * 10**9 / 1_001)


def test_the_interval_of_heartbeats_must_be_positive():
    with pytest.raises(HistoryError, match="positive"):
        heartbeats_between([1], timedelta(0))


# --- the real recordings


@pytest.mark.parametrize(
    ("name", "instrument", "rows", "minutes"),
    [
        ("btc-usdt_spot_1h_2017-08_2024-04.csv.gz", "BTC-USDT", 58_419, 60),
        ("btc-usdt_spot_5m_2020-02-01_2020-03-12.csv.gz", "BTC-USDT", 11_668, 5),  # one bar is there twice
        ("btc-usdt_spot_5m_2021-04-30_2021-05-30.csv.gz", "BTC-USDT", 8_768, 5),
        ("btc-usd_perp_1m_2021-12-31_2022-02-01.csv.gz", "BTC-USD-PERP", 45_031, 1),
        ("btc-usdc_kraken_1m_2023-03-01_2023-03-21.csv.gz", "BTC-USDC", 15_719, 1),
    ],
)
def test_real_bars_are_read_whole(market_file, name, instrument, rows, minutes):
    path = market_file(name)
    recording = survey(path)
    assert (recording.form, recording.instruments) == (Form.BARS, (instrument,))
    assert (recording.entries, recording.bar_ns) == (4 * rows, minutes * MINUTE_NS)
    last_ns, count = 0, 0
    for (tick,) in read_ticks(path):
        assert last_ns < tick.time_ns
        last_ns = tick.time_ns
        count += 1
    assert count == 4 * rows
    assert recording.last_ns < last_ns < recording.last_ns + recording.bar_ns


def test_the_crash_of_may_2021_is_in_its_file_and_quickly_read(market_file):
    path = market_file("btc-usdt_spot_5m_2021-04-30_2021-05-30.csv.gz")
    started = time.process_time()
    values = [tick.value for (tick,) in read_ticks(path)]
    assert time.process_time() - started < 1.0  # what it takes is about a seventh of that
    assert len(values) == 35_072
    # The lowest print of Binance's BTC-USDT on 2021-05-19 was 30,000.00.
    assert min(values) == 30_000.0
    day = read_ticks(path, start=datetime(2021, 5, 19, tzinfo=UTC), end=datetime(2021, 5, 20, tzinfo=UTC))
    assert min(tick.value for (tick,) in day) == 30_000.0


def test_real_ticks_of_three_venues_keep_their_names_and_order(market_file):
    path = market_file("btc_three-venues_ticks_2024-08-08.csv.gz")
    recording = survey(path)
    assert recording.entries == 113_265
    assert recording.instruments == ("BTC-USD-PERP", "BTC-USDT", "BTC-USDT-PERP")
    spot = list(read_ticks(path, instrument="BTC-USDT"))
    assert len(spot) == 28_040
    assert spot[0] == [
        Tick(TickKind.PRICE, "binance-spot", "BTC-USDT", 50093239212, 1723161254087891268, 61837.635, 0.005)
    ]


@pytest.mark.parametrize(
    "name",
    [
        "btc-usdt_spot_5m_2022-11-01_2022-11-30.csv.gz",
        "btc-usdt_perp_funding_8h_2023-01_2024-05.csv.gz",
        "btc_three-venues_ticks_2024-08-08.csv.gz",
    ],
)
def test_real_files_read_the_same_from_parquet(market_file, tmp_path, name):
    source = market_file(name)
    path = tmp_path / name.replace(".csv.gz", ".parquet")
    pyarrow.parquet.write_table(pyarrow.csv.read_csv(source), path)
    assert all(one == other for one, other in zip(read_ticks(source), read_ticks(path), strict=True))


def test_heartbeats_carry_time_through_the_gaps_of_a_real_file(market_file):
    path = market_file("btc-usdt_spot_5m_2020-02-01_2020-03-12.csv.gz")
    every = timedelta(minutes=1)
    times = [entry[0].time_ns for entry in with_heartbeats(read_ticks(path), every=every)]
    assert max(after - before for before, after in itertools.pairwise(times)) == MINUTE_NS
