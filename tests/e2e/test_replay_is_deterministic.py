"""A replay is a function of file and book: the same bytes again, and with however many evaluators."""

import asyncio
import json
import os
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.recorded_storm import INSTRUMENT, scenario_text, write_bars

BARS = 40
ROOT = Path(__file__).parents[2]


async def replay(directory: Path, name: str, *, evaluators: int) -> tuple[dict, bytes]:
    """What `ballast replay` printed, and its export, on embedded servers of its own."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("BALLAST_")}
    export = directory / f"{name}.jsonl"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "app.entrypoints.cli", "replay", str(directory / "bars.csv"),
        "--scenario", str(directory / "scenario.yaml"), "--instrument", INSTRUMENT, "--json",
        "--export", str(export), "--data-dir", str(directory / name), "--evaluators", str(evaluators),
        cwd=ROOT, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        printed, errors = await asyncio.wait_for(process.communicate(), 100)
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
    assert process.returncode == 0, errors.decode()
    return json.loads(printed), export.read_bytes()


@pytest.fixture(scope="module")
def replays(tmp_path_factory):
    """Three of the same market and book, side by side: once, again, and shared by three evaluators."""
    directory = tmp_path_factory.mktemp("replays")
    write_bars(directory / "bars.csv", bars=BARS)
    (directory / "scenario.yaml").write_text(scenario_text(), encoding="utf-8")

    async def all_of_them():
        wanted = {"once": 1, "again": 1, "shared": 3}
        done = await asyncio.gather(*(replay(directory, name, evaluators=n) for name, n in wanted.items()))
        return dict(zip(wanted, done, strict=True))

    return asyncio.run(all_of_them())


def test_the_storm_keeps_both_policies_busy(replays):
    """Otherwise equal exports would say little."""
    outcome, export = replays["once"]
    assert outcome["entries"] == 4 * BARS
    kinds = Counter(json.loads(line)["record"] for line in export.splitlines())
    books = outcome["portfolios"].values()
    assert sum(book["executed"] for book in books) == kinds["adjustment"] > 50
    assert sum(book["fills"] for book in books) > 50
    assert all(book["executed"] > 1 for book in books)


def test_replayed_again_it_says_the_same_bytes(replays):
    assert replays["once"] == replays["again"]


def test_three_evaluators_say_what_one_says(replays):
    assert replays["once"] == replays["shared"]
