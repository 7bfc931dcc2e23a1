"""The benchmark's own rules: floors stand alone, one row replaces one row, ratios say which way is better."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from app.quant.black_scholes import black_scholes_merton
from bench.drivers.option_columns import option_columns
from bench.floors import greeks as greeks_floor
from bench.floors.c_library import compiler
from bench.floors.records import message, portfolio_of
from bench.harness import result_of, run
from bench.measurement import Measurement, Row, Sample, Unavailable
from bench.registry import choose, measurements
from bench.results import merge

ROOT = Path(__file__).resolve().parents[3]
FLOORS = sorted((ROOT / "bench" / "floors").glob("*.py"))


@pytest.mark.parametrize("path", FLOORS, ids=lambda path: path.stem)
def test_a_floor_imports_nothing_of_the_project_but_floors(path: Path) -> None:
    imported: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            imported.add(node.module or "")
    own = {name for name in imported if name.split(".")[0] in {"app", "tests", "migrations", "bench"}}
    assert all(name.startswith("bench.floors") for name in own)


def test_no_floor_loads_app_behind_its_back() -> None:
    modules = [f"bench.floors.{path.stem}" for path in FLOORS if path.stem != "__init__"]
    program = (
        f"import sys, importlib\nfor name in {modules!r}: importlib.import_module(name)\n"
        "print([name for name in sys.modules if name == 'app' or name.startswith('app.')])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == "[]"


def test_every_row_of_the_issue_is_there_once() -> None:
    names = [row.name for measurement in measurements() for row in measurement.rows]
    assert len(names) == len(set(names))
    assert set(names) >= {
        "pipeline-idle-p50", "pipeline-idle-p99", "pipeline-1000-p50", "pipeline-1000-p99", "ingest",
        "greeks",
    }  # fmt: skip


def test_choosing_one_row_runs_its_measurement_and_reports_that_row() -> None:
    [(measurement, reported)] = choose(["pipeline-idle-p99"])
    assert reported == {"pipeline-idle-p99"}
    assert "pipeline-idle-p50" in {row.name for row in measurement.rows}
    with pytest.raises(LookupError, match="no row nonsense"):
        choose(["nonsense"])


def samples(**values: dict[str, float]) -> dict[str, list[Sample]]:
    return {side: [Sample(given, peak_memory_mib=10.0)] for side, given in values.items()}


def test_ratio_is_ours_over_floor_for_times_and_the_inverse_for_rates() -> None:
    time, rate = Row("t", "ms", ""), Row("r", "ticks/s", "", is_rate=True)
    taken = samples(ours={"t": 3.0, "r": 50.0}, floor={"t": 2.0, "r": 100.0}, other={"t": 6.0, "r": 25.0})
    assert (result_of(time, taken).ratio, result_of(rate, taken).ratio) == (1.5, 2.0)
    assert result_of(time, taken).peers == {"other": 2.0}
    assert result_of(rate, taken).peers == {"other": 2.0}


def test_a_row_that_is_the_worst_of_others_shows_that_one() -> None:
    one, two = Row("one", "ticks/s", "", is_rate=True), Row("two", "ticks/s", "", is_rate=True)
    worst = Row("worst", "ticks/s", "", is_rate=True, worst_of=(one, two))
    taken = samples(ours={"one": 50.0, "two": 10.0}, floor={"one": 100.0, "two": 90.0})
    result = result_of(worst, taken)
    assert (result.row.name, result.ratio, result.ours.median) == ("worst", 9.0, 10.0)


def test_a_side_that_cannot_run_is_skipped_with_its_reason(tmp_path: Path) -> None:
    def absent(_directory: Path, _quick: bool) -> Sample:
        raise Unavailable("no compiler")

    row = Row("row", "ns", "")
    measurement = Measurement(
        (row,), ours=lambda *_: Sample({"row": 2.0}, 10.0), floor=absent, peers={"other": absent}
    )
    said: list[str] = []
    taken = run(
        measurement, directory=tmp_path, runs=2, quick=True, only=None, progress=str, announce=said.append
    )
    assert said == ["floor is skipped: no compiler", "other is skipped: no compiler"]
    result = result_of(row, taken)
    assert (result.ours.median, result.floor, result.ratio, result.peers) == (2.0, None, None, {})
    merge([result], tmp_path / "results.json")
    assert json.loads((tmp_path / "results.json").read_text())["rows"]["row"]["ratio"] is None


@pytest.mark.skipif(compiler() is None, reason="there is no gcc here")
def test_the_floor_of_the_greeks_prices_the_same_options(tmp_path: Path) -> None:
    book = option_columns(1_000)
    figures = np.zeros((greeks_floor.FIGURES, 1_000))
    greeks_floor.greeks(tmp_path)((*book[:6], np.where(book.is_call, 1.0, -1.0)), figures)
    ours = black_scholes_merton(
        spots=book.spots,
        strikes=book.strikes,
        years_to_expiry=book.years,
        volatilities=book.volatilities,
        rates=book.rates,
        dividend_yields=book.yields,
        is_call=book.is_call,
    )
    names = ("values", "deltas", "gammas", "vegas", "thetas", "vannas", "volgas")
    for name, theirs in zip(names, figures, strict=True):
        expected = getattr(ours, name)
        np.testing.assert_allclose(theirs, expected, rtol=1e-9, atol=1e-12 * np.abs(expected).max())
    smallest = np.nextafter(0.0, 1.0) * np.ones(1)
    assert smallest[0] * 2.0 > 0.0  # subnormal numbers are still numbers in this process


def test_one_row_replaces_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    row, other = Row("row", "ms", ""), Row("other", "ms", "")
    taken = samples(ours={"row": 3.0, "other": 1.0}, floor={"row": 2.0, "other": 1.0})
    merge([result_of(row, taken), result_of(other, taken)], path)
    merge([result_of(row, samples(ours={"row": 2.0}, floor={"row": 2.0}))], path)
    document = json.loads(path.read_text(encoding="utf-8"))
    assert set(document) == {"machine", "rows"}
    assert document["rows"]["row"] == {
        "unit": "ms", "ours": 2.0, "floor": 2.0, "ratio": 1.0, "peers": {}, "peak_memory_mib": 10.0,
    }  # fmt: skip
    assert document["rows"]["other"]["ratio"] == 1.0


def test_the_floor_sends_a_recommendation_of_the_portfolio_that_the_tick_is_for() -> None:
    portfolio = portfolio_of("BENCH-00000042")
    sent = json.loads(message(portfolio=portfolio, sequence=3))
    assert sent["event"]["portfolio_id"] == str(portfolio) == "00000042-0000-8000-8000-000000000042"
    assert sent["event"]["type"] == "adjustment.recommended"


def test_a_row_that_does_not_exist_is_one_clear_line() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "bench", "nonsense"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 2
    assert "Traceback" not in ran.stderr
    assert "nonsense" in ran.stderr
