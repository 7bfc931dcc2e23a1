"""Recorded option chains as surfaces are calibrated from them: Deribit's tickers of 2021 and snapshots of
2026.

The tickers carry bid and ask volatilities. The snapshots carry bid and ask prices in coin, which are inverted
here by bisection of Black-76 at each row's own forward; a price at or below the intrinsic value has no
volatility and counts as a missing side.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from scipy.special import ndtr

from app.quant.surface import Calibration, VolatilitySurface, calibrate_surface
from tests.market_data import read_csv, reference_dir

_SECONDS_PER_YEAR = 365 * 86_400
_HALVINGS = 48


@dataclass(frozen=True)
class Chain:
    """Quotes of one underlying at about one time; arrays of one per quote but for the first three."""

    expiries: list[datetime]
    years_to_expiry: np.ndarray  # per expiry, at the median of its quotes' times
    forwards: np.ndarray  # per expiry, the median of its quotes' own
    expiry_indices: np.ndarray
    strikes: np.ndarray
    quote_forwards: np.ndarray
    bid_volatilities: np.ndarray
    ask_volatilities: np.ndarray
    mark_volatilities: np.ndarray

    def calibrated(self, last_surface: VolatilitySurface | None = None) -> Calibration:
        return calibrate_surface(
            years_to_expiry=self.years_to_expiry,
            forwards=self.forwards,
            expiry_indices=self.expiry_indices,
            strikes=self.strikes,
            bid_volatilities=self.bid_volatilities,
            ask_volatilities=self.ask_volatilities,
            quote_forwards=self.quote_forwards,
            last_surface=last_surface,
        )

    @property
    def two_sided(self) -> np.ndarray:
        return (self.bid_volatilities > 0.0) & (self.ask_volatilities > 0.0)


def tickers_2021() -> Chain:
    rows = []
    for row in read_csv(reference_dir() / "deribit_btc_tickers_20210211.csv.gz"):
        _, day, strike, _ = row["instrument_name"].split("-")
        expiry = datetime.strptime(f"{day}08", "%d%b%y%H").replace(tzinfo=UTC)
        seconds = expiry.timestamp() - int(row["timestamp"]) / 1e3
        volatilities = [float(row[name]) / 100 for name in ("bid_iv", "ask_iv", "mark_iv")]
        rows.append((expiry, seconds, float(strike), float(row["underlying_price"]), *volatilities))
    return _chain(rows)


def snapshot_paths() -> list[Path]:
    return sorted((reference_dir() / "deribit_snapshots").glob("*.csv.gz"))


def snapshot(path: Path, currency: str = "BTC") -> Chain:
    rows = []
    for row in read_csv(path):
        expiry, taken = (datetime.fromisoformat(row[name]) for name in ("expiry_datetime", "timestamp"))
        if row["currency"] == currency and expiry > taken:
            prices = [float(row[name] or 0) for name in ("bid_price", "ask_price")]
            is_call = row["option_type"] == "call"
            given = (float(row["strike"]), float(row["underlying"]), *prices, is_call)
            rows.append(
                (expiry, (expiry - taken).total_seconds(), given, float(row["implied_volatility"] or 0))
            )
    strikes, forwards, bids, asks, calls = np.array([row[2] for row in rows], dtype=float).T
    years = np.array([row[1] for row in rows]) / _SECONDS_PER_YEAR
    bid_volatilities, ask_volatilities = (
        _implied(prices, strikes / forwards, years, calls > 0.0) for prices in (bids, asks)
    )
    marks = [row[3] for row in rows]
    plain = zip(strikes, forwards, bid_volatilities, ask_volatilities, marks, strict=True)
    return _chain([(*row[:2], *figures) for row, figures in zip(rows, plain, strict=True)])


def _chain(rows: Iterable[tuple]) -> Chain:
    expiries, seconds, *columns = zip(*rows, strict=True)
    distinct = sorted(set(expiries))
    indices = np.searchsorted(
        np.array([each.timestamp() for each in distinct]), [e.timestamp() for e in expiries]
    )
    strikes, forwards, bids, asks, marks = np.array(columns, dtype=float)

    def medians(values: np.ndarray) -> np.ndarray:
        return np.array([np.median(values[indices == index]) for index in range(len(distinct))])

    years = np.array(seconds) / _SECONDS_PER_YEAR
    return Chain(distinct, medians(years), medians(forwards), indices, strikes, forwards, bids, asks, marks)


def _implied(prices: np.ndarray, strikes: np.ndarray, years: np.ndarray, is_call: np.ndarray) -> np.ndarray:
    """Volatilities from prices and strikes in units of the forward; 0 where there is none."""
    signs = np.where(is_call, 1.0, -1.0)
    low, high = np.full(len(prices), 1e-4), np.full(len(prices), 20.0)
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        totals = middle * np.sqrt(years)
        d1 = -np.log(strikes) / totals + 0.5 * totals
        values = signs * (ndtr(signs * d1) - strikes * ndtr(signs * (d1 - totals)))
        high, low = np.where(values > prices, middle, high), np.where(values > prices, low, middle)
    intrinsic = np.maximum(signs * (1.0 - strikes), 0.0)
    return np.where(prices > intrinsic + 1e-9, 0.5 * (low + high), 0.0)
