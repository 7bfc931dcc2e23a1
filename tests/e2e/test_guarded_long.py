"""The example of the README on the crash of 19 May 2021, through the running service."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.market_data import market_dir

ROOT = Path(__file__).parents[2]
CRASH = "btc-usdt_spot_5m_2021-04-30_2021-05-30.csv.gz"


def replay(file, *options):
    environment = {key: value for key, value in os.environ.items() if not key.startswith("BALLAST_")}
    command = [sys.executable, "-m", "app.entrypoints.cli", "replay", file]
    scenario = ["--scenario", "examples/guarded-long.yaml", "--json"]
    return subprocess.run(
        [*command, *scenario, *options],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def crash():
    """The day before it, from 44,994 to just after its low of 30,000: a third."""
    done = replay(market_dir() / CRASH, "--start", "2021-05-18T12:25", "--end", "2021-05-19T13:20")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_guard_keeps_the_account_that_its_twin_loses(crash):
    guarded, unguarded = crash["portfolios"]["guarded"], crash["portfolios"]["unguarded"]
    assert (guarded["outcome"], guarded["liquidations"]) == ("solvent", 0)
    assert (unguarded["outcome"], unguarded["liquidations"]) == ("liquidated", 1)
    assert guarded["executed"] == guarded["adjustments"] > 0 == unguarded["adjustments"]


def test_the_reserve_is_counted_whether_or_not_it_was_used(crash):
    """A quarter of the collateral: the twin's is untouched, the guard put its own in to the last cent."""
    guarded, unguarded = crash["portfolios"]["guarded"], crash["portfolios"]["unguarded"]
    kept = float(unguarded["equity_with_reserve"]) - float(unguarded["equity"])
    assert kept == pytest.approx(crash_price(crash) / 3 / 4, rel=1e-9)
    assert guarded["equity_with_reserve"] == guarded["equity"]


def crash_price(crash):
    return float(crash["first_prices"]["BTC-USDT"])


def test_a_file_that_does_not_quote_the_instrument_gets_one_line(tmp_path):
    file = tmp_path / "eth-usdt.csv"
    bars = (f"2021-05-19T00:0{minute}:00Z,5,6,4,5,1" for minute in (0, 5))
    file.write_text("\n".join(["time,open,high,low,close,volume", *bars, ""]))
    done = replay(file)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "ballast: /portfolios/0/accounts/0/positions/0/entry_price: it is left out, "
        "and there is no replay that quotes BTC-USDT\n"
    )
