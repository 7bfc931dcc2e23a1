"""Two recorded stretches of Bitcoin's market as frames: the month of a crash, and minutes of three venues.

Recorded are prices of Bitcoin alone. Simulated, always the same: volatilities of options, which begin at what
was realised over the last hours and have noise of their own, told anew every minute; the perpetual's and the
inverse contract's basis in the month, whose file is of one market; ether, which follows Bitcoin; a dollar
coin; an index of stress.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import islice

import numpy as np

from app.domain.instruments import Instrument
from app.domain.market import Change, Frame, Quality, TickKind
from app.engine.universe import Universe
from app.lab.history import read_ticks
from tests.market_data import market_dir

SECOND = 1_000_000_000
MONTH, MINUTES = "2021-04-30..05-30", "2024-08-08"
_FILES = {
    MONTH: "btc-usdt_spot_5m_2021-04-30_2021-05-30.csv.gz",
    MINUTES: "btc_three-venues_ticks_2024-08-08.csv.gz",
}
SPOT, PERP, INVERSE, DOLLAR, ETHER = "BTC-USDT", "BTC-USDT-PERP", "BTC-USD-PERP", "USDC-USDT", "ETH-USDT-PERP"
COINS, CASH = "BTC-POOL", "USDT-POOL"
STRESS = "MARKET"
OPTIONS = {
    "BTC-PUT-75": (0.75, "put", 45), "BTC-PUT-90": (0.9, "put", 45), "BTC-CALL-100": (1.0, "call", 90),
    "BTC-CALL-110": (1.1, "call", 45), "BTC-CALL-130": (1.3, "call", 45),
}  # fmt: skip
"""Strike, as a share of the first price, and days from then on."""
_BASIS = {SPOT: 1.0, PERP: 0.9995, INVERSE: 1.0005}
_BASIS_NOISE, _DOLLAR_NOISE, _ETHER_NOISE = 1e-4, 1e-4, 5e-4
_THINNED_NS = SECOND // 10
_STEP_HOURS, _HALF_LIFE_HOURS, _YEAR_HOURS = 1.0 / 12.0, 24.0, 365.0 * 24.0
_FIRST_VOLATILITY = {MONTH: 0.8, MINUTES: 0.6}
"""An assumption, until prices say more."""

Key = tuple[TickKind, str]


class History:
    """`noise`: of each option's volatility, told every minute, as a share of it."""

    def __init__(self, name: str, *, noise: float = 0.002, most: int | None = None) -> None:
        self.name = name
        self._random = np.random.default_rng(20210519)
        known: dict[Key, float] = {}
        self.frames: list[Frame] = []
        self.known: list[dict[Key, float]] = []
        told = self._told(name, noise)
        for k, (time_ns, news) in enumerate(islice(told, most)):
            fresh = {key: value for key, value in news.items() if known.get(key) != value}
            known |= fresh
            self.frames.append(frame(k + 1, time_ns, fresh))
            self.known.append(dict(known))
        self.universes = universes(self.known[0][TickKind.PRICE, SPOT], self.frames[0].time_ns)

    def _told(self, name: str, noise: float) -> Iterator[tuple[int, dict[Key, float]]]:
        """Times, and what is published then."""
        level = _Level(_FIRST_VOLATILITY[name])
        minute, wanders = -1, {INVERSE: 0.0, PERP: 0.0, DOLLAR: 0.0, ETHER: 0.0}
        for time_ns, prices in _recorded(name):
            news = {(TickKind.PRICE, at): value for at, value in prices.items()}
            price = prices.get(SPOT)
            for at, wander in wanders.items():
                wanders[at] = 0.9 * wander + self._random.normal()
            if name == MONTH and price is not None:
                for at in (PERP, INVERSE):
                    news[TickKind.PRICE, at] = price * _BASIS[at] * (1.0 + _BASIS_NOISE * wanders[at])
            if price is not None:
                news[TickKind.PRICE, ETHER] = price / 16.0 * (1.0 + _ETHER_NOISE * wanders[ETHER])
                level.take(time_ns, price)
            if time_ns // (60 * SECOND) != minute:
                minute = time_ns // (60 * SECOND)
                news[TickKind.PRICE, DOLLAR] = 1.0 + _DOLLAR_NOISE * wanders[DOLLAR]
                news[TickKind.STRESS, STRESS] = level.value / 4.0
                for option in OPTIONS:
                    news[TickKind.IMPLIED_VOL, option] = level.value * (1.0 + noise * self._random.normal())
            yield time_ns, news


class _Level:
    """Realised volatility per year, with a half-life, from prices five minutes apart: the lows and highs of
    bars between them would count twice.
    """

    def __init__(self, first: float) -> None:
        self.value, self._last = first, (0, 0.0)

    def take(self, time_ns: int, price: float) -> None:
        before_ns, before = self._last
        hours = (time_ns - before_ns) / (3_600.0 * SECOND)
        if not before:
            self._last = (time_ns, price)
        elif hours >= _STEP_HOURS:
            self._last = (time_ns, price)
            kept = 0.5 ** (hours / _HALF_LIFE_HOURS)
            moved = np.log(price / before) ** 2 / hours * _YEAR_HOURS
            self.value = float(np.sqrt(kept * self.value**2 + (1.0 - kept) * moved))


def _recorded(name: str) -> Iterator[tuple[int, dict[str, float]]]:
    """Prices by instrument: all of the month, and of the minutes the last in every tenth of a second."""
    gathered: dict[str, float] = {}
    last_ns = 0
    for (tick,) in read_ticks(market_dir() / _FILES[name]):
        if name == MONTH:
            yield tick.time_ns, {SPOT: tick.value}
        elif gathered and tick.time_ns // _THINNED_NS != last_ns // _THINNED_NS:
            yield last_ns, gathered
            gathered = {tick.instrument: tick.value}
        else:
            gathered[tick.instrument] = tick.value
        last_ns = tick.time_ns


def frame(sequence: int, time_ns: int, known: dict[Key, float]) -> Frame:
    changes = tuple(
        Change(kind, name, value, 0.0, 1, Quality.VALID, time_ns) for (kind, name), value in known.items()
    )
    return Frame(1, sequence, time_ns, f"1-{sequence}", 0, changes)


def universes(price: float, time_ns: int) -> dict[str, Universe]:
    """What is listed: `coins` and `contracts` know one price of Bitcoin each, `venues` several."""
    day = datetime.fromtimestamp(time_ns / 1e9, UTC).replace(hour=8, minute=0, second=0, microsecond=0)
    cash = {"underlying": "BTC", "quote": "USDT"}
    spot = {"id": SPOT, "kind": "spot", "taker_fee_rate": "0.001", "slippage_bps": 1, **cash}
    perp = {"kind": "perpetual", "maintenance_margin_rate": "0.02", "lot_size": "0.0001", "slippage_bps": 2}
    options = [
        {"id": name, "kind": "option", "option_type": side, "strike": Decimal(round(price * share, -2)),
         "expiry": day + timedelta(days=days), "marked_by": PERP, "lot_size": "0.01",
         "taker_fee_rate": "0.0003", "slippage_bps": 50, **cash}
        for name, (share, side, days) in OPTIONS.items()
    ]  # fmt: skip
    pools = [
        {"id": name, "kind": "lending", "underlying": asset, "quote": "USDT",
         "liquidation_threshold": "0.8", "loan_to_value": "0.7", "liquidation_bonus": "0.05"}
        for name, asset in ((COINS, "BTC"), (CASH, "USDT"))
    ]  # fmt: skip
    contract = {"id": PERP, **perp, **cash}
    listed = {
        "coins": [spot, *pools],
        "contracts": [contract, *options],
        "venues": [
            spot,
            contract,
            {"id": INVERSE, **perp, "underlying": "BTC", "quote": "USD", "settlement": "inverse",
             "multiplier": 100, "lot_size": 1},
            {"id": ETHER, **perp, "underlying": "ETH", "quote": "USDT"},
            {"id": DOLLAR, "kind": "spot", "underlying": "USDC", "quote": "USDT"},
            {"id": "BTC-USDC-PERP", **perp, "underlying": "BTC", "quote": "USDC"},  # or USDC were no cash
            *options,
        ],
    }  # fmt: skip
    return {
        name: Universe([Instrument.model_validate({"venue": "exchange"} | terms) for terms in each])
        for name, each in listed.items()
    }
