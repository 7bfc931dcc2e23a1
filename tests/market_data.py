"""Where the recorded data of some tests lives. It is no part of the project: without it they skip."""

import csv
import gzip
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[1]


def _market_path() -> Path:
    return Path(os.environ.get("BALLAST_MARKET_DIR") or _ROOT.parent / "shared" / "market").resolve()


def _existing(path: Path) -> Path:
    if not path.is_dir():
        pytest.skip(
            f"no recorded data at {path}; set BALLAST_MARKET_DIR to the folder that holds the market files"
        )
    return path


def market_dir() -> Path:
    """Recorded bars and ticks: BALLAST_MARKET_DIR, else ../shared/market beside the project."""
    return _existing(_market_path())


def reference_dir() -> Path:
    """Published values and exchanges' own figures: the folder `reference` beside the market data."""
    return _existing(_market_path().parent / "reference")


def read_csv(path: Path) -> Iterator[dict[str, str]]:
    """The rows of a CSV file, gzip or plain, by column name."""
    open_text = gzip.open if path.suffix == ".gz" else open
    with open_text(path, "rt", newline="") as lines:
        yield from csv.DictReader(lines)
