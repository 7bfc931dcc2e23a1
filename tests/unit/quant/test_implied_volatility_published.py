"""From an exchange's mark prices back to its mark volatilities, over a whole chain."""

from datetime import UTC, datetime

import numpy as np
import pytest

from app.quant.black_scholes import coin_settled
from app.quant.implied_volatility import ImpliedStatus, coin_settled_implied_volatilities
from tests.market_data import read_csv, reference_dir

POINTS = 100.0
MARK_LAG_MS = 1_050.0


@pytest.fixture(scope="module")
def chain() -> list[dict[str, str]]:
    return list(read_csv(reference_dir() / "deribit_btc_tickers_20210211.csv.gz"))


def _column(rows: list[dict[str, str]], name: str) -> np.ndarray:
    return np.array([float(row[name]) for row in rows])


def _contracts(rows: list[dict[str, str]]) -> dict[str, np.ndarray]:
    names = [row["instrument_name"].split("-") for row in rows]
    expiries = [
        datetime.strptime(f"{name[1]}08", "%d%b%y%H").replace(tzinfo=UTC).timestamp() for name in names
    ]
    return {
        "strikes": np.array([float(name[2]) for name in names]),
        "years_to_expiry": (np.array(expiries) - _column(rows, "timestamp") / 1e3) / (365 * 86_400),
        "is_call": np.array([name[3] == "C" for name in names]),
    }


def _earlier_forwards(rows: list[dict[str, str]], lag_ms: float) -> np.ndarray:
    """Each row's underlying price as it was `lag_ms` before, between the other rows of its expiry."""
    forwards, times = _column(rows, "underlying_price"), _column(rows, "timestamp")
    expiries = np.array([row["instrument_name"].split("-")[1] for row in rows])
    earlier = forwards.copy()
    for expiry in set(expiries):
        of_expiry = expiries == expiry
        seen, first = np.unique(times[of_expiry], return_index=True)
        earlier[of_expiry] = np.interp(times[of_expiry] - lag_ms, seen, forwards[of_expiry][first])
    return earlier


def _errors_in_points(rows: list[dict[str, str]], forwards: np.ndarray) -> np.ndarray:
    """Where the exchange's vega is above 5 USD per point."""
    found = coin_settled_implied_volatilities(
        premiums_in_coin=_column(rows, "mark_price"), forwards=forwards, **_contracts(rows)
    )
    counted = _column(rows, "greeks.vega") > 5.0
    assert np.all(found.statuses[counted] == ImpliedStatus.VALID)
    return np.abs(POINTS * found.volatilities - _column(rows, "mark_iv"))[counted]


def test_mark_prices_lead_back_to_the_mark_volatilities(chain):
    """89.2 % within 0.1 points, all within 0.62: a mark price is about a second older than its row's forward.

    The error is what the forward moved in between: with each row's forward taken 1.05 s earlier, between the
    other rows of its expiry (whose rows are 1 to 10 s apart), it is 96 %, and 97.8 % of the rows whose
    forward of that moment is known to a second.
    """
    errors = _errors_in_points(chain, _column(chain, "underlying_price"))
    assert errors.size == 716
    assert np.median(errors) <= 0.013
    assert np.mean(errors <= 0.1) >= 0.89
    assert np.quantile(errors, 0.99) <= 0.41
    aligned = _errors_in_points(chain, _earlier_forwards(chain, MARK_LAG_MS))
    assert np.mean(aligned <= 0.1) >= 0.96
    assert np.quantile(aligned, 0.99) <= 0.25


def test_prices_made_from_the_mark_volatilities_lead_back_to_them(chain):
    """To the eight decimals that the exchange prints: every row within 0.1 points, nearly all within 1e-4."""
    forwards, contracts = _column(chain, "underlying_price"), _contracts(chain)
    prices = coin_settled(forwards=forwards, volatilities=_column(chain, "mark_iv") / POINTS, **contracts)
    found = coin_settled_implied_volatilities(
        premiums_in_coin=np.round(prices.values_in_coin, 8), forwards=forwards, **contracts
    )
    counted = _column(chain, "greeks.vega") > 5.0
    errors = np.abs(POINTS * found.volatilities - _column(chain, "mark_iv"))[counted]
    assert errors.max() <= 1e-4
