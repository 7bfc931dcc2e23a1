"""A short recorded storm and books that it keeps busy: for tests of replays, whole and interrupted.

Each portfolio carries a leveraged account that a liquidation guard cuts, and a second account in which a
delta_neutral policy follows: what the guard does in one is what the hedge answers in the other.
"""

import csv
import math
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

INSTRUMENT = "BTC-USDT"
_BEGINS = datetime(2024, 3, 1, tzinfo=UTC)

_INSTRUMENTS = """
instruments:
  - {id: BTC-USDT, kind: perpetual, underlying: BTC, quote: USDT, lot_size: 0.001, tick_size: 0.01,
     initial_margin_rate: 0.05, maintenance_margin_rate: 0.01, slippage_bps: 5}
portfolios:
"""

_PORTFOLIO = """
  - name: stormy-{number}
    valuation_currency: USDT
    accounts:
      - name: carried
        balances: [{{asset: USDT, amount: {collateral}}}]
        positions: [{{instrument: BTC-USDT, quantity: {quantity}, entry_price: 50000}}]
      - name: hedge
        balances: [{{asset: USDT, amount: 90000}}]
    reserves: [{{asset: USDT, amount: 2000}}]
    policies:
      - kind: liquidation_guard
        name: stay alive
        mode: auto
        trigger: 0.10
        restore: {restore}
        account: carried
        guards: {{cooldown_seconds: 0, minimum_notional: 0, maximum_price_age_seconds: 600}}
      - kind: delta_neutral
        name: flat
        mode: auto
        underlying: BTC
        band: 0.02
        hedge_instruments: [BTC-USDT]
        hedge_account: hedge
        guards: {{cooldown_seconds: 0, minimum_notional: 0, maximum_price_age_seconds: 600}}
"""


def scenario_text(*, portfolios: int = 8, restore: str = "0.08") -> str:
    """Longs and shorts in turn, each pair with more collateral than the one before.

    The closer to its trigger of 0.10 a guard restores, the more often it acts.
    """
    books = (
        _PORTFOLIO.format(
            number=n, collateral=6_000 + 700 * (n // 2), quantity=1 if n % 2 == 0 else -1, restore=restore
        )
        for n in range(portfolios)
    )
    return _INSTRUMENTS + "".join(books)


def write_bars(path: Path, *, bars: int = 100) -> Path:
    """Minutes that move by percents around a wave; always the same ones."""
    noise = random.Random(20240301)
    close = 50_000.0
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["time", "open", "high", "low", "close", "volume"])
        for number in range(bars):
            opening = close
            wave = -0.25 * math.sin(2 * math.pi * (number + 1) / bars)
            close = round(50_000 * math.exp(wave + noise.gauss(0, 0.008)), 2)
            high = round(max(opening, close) * 1.002, 2)
            low = round(min(opening, close) * 0.998, 2)
            time = (_BEGINS + timedelta(minutes=number)).isoformat()
            writer.writerow([time, opening, high, low, close, 1])
    return path
