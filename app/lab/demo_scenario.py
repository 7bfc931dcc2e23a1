"""What the demo trades on the simulated market: a scenario, as the API takes it."""

from datetime import UTC, date, datetime
from typing import Any

MAKERS, ADVISED, LEVERAGED = 8, 3, 3
STRIKES = (98_000, 100_000, 102_000)


def demo_scenario(today: date) -> dict[str, Any]:
    """Options expire at 08:00 UTC on the first of the month after next."""
    month = today.month + 2
    expiry = datetime(today.year + (month - 1) // 12, (month - 1) % 12 + 1, 1, 8, tzinfo=UTC)
    options = [_option(strike, kind, expiry) for strike in STRIKES for kind in ("call", "put")]
    portfolios = [_maker(number, options) for number in range(MAKERS)]
    portfolios += [_advised(number, options) for number in range(ADVISED)]
    portfolios += [_leveraged(number) for number in range(LEVERAGED)]
    return {"instruments": [*_listings(), *options], "portfolios": portfolios}


def option_feeds(scenario: dict[str, Any]) -> list[tuple[str, str]]:
    """(instrument, underlying) of everything that needs an implied volatility."""
    return [(i["id"], i["underlying"]) for i in scenario["instruments"] if i["kind"] == "option"]


def _listings() -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = [{"id": "USDT-USD", "kind": "spot", "underlying": "USDT", "quote": "USD"}]
    for coin, lot in (("BTC", "0.001"), ("ETH", "0.01"), ("SOL", "0.1")):
        listed += [
            {"id": f"{coin}-USDT", "kind": "spot", "underlying": coin, "quote": "USDT", "lot_size": lot},
            {
                "id": f"{coin}-USDT-PERP",
                "kind": "perpetual",
                "underlying": coin,
                "quote": "USDT",
                "lot_size": lot,
                "maintenance_margin_rate": "0.01",
            },
            {
                "id": f"{coin}-USD-PERP",
                "kind": "perpetual",
                "settlement": "inverse",
                "underlying": coin,
                "quote": "USD",
                "multiplier": "100",
                "lot_size": "1",
            },
        ]
    return listed


def _option(strike: int, kind: str, expiry: datetime) -> dict[str, Any]:
    return {
        "id": f"BTC-{expiry:%d%b%y}-{strike}-{kind[0]}".upper(),
        "kind": "option",
        "underlying": "BTC",
        "quote": "USDT",
        "lot_size": "0.1",
        "strike": str(strike),
        "expiry": expiry.isoformat(),
        "option_type": kind,
        "marked_by": "BTC-USDT-PERP",
    }


def _maker(number: int, options: list[dict[str, Any]]) -> dict[str, Any]:
    """Short a straddle and hedged by itself: gamma keeps it busy."""
    pair = options[2 * (number % len(STRIKES)) :][:2]
    return _portfolio(
        f"options-desk-{number + 1}",
        collateral=1_000_000,
        positions=[(option["id"], -(6 + number), "2500") for option in pair],
        policies=[_delta("auto", band="0.15", cooldown=2, expiry=30)],
    )


def _advised(number: int, options: list[dict[str, Any]]) -> dict[str, Any]:
    """The same, but its owner is only told; recommendations expire and come again while they hold."""
    return _portfolio(
        f"advised-{number + 1}",
        collateral=500_000,
        positions=[(options[2 * number]["id"], -4, "2500")],
        policies=[_delta("recommend", band="0.5", cooldown=3, expiry=4)],
    )


def _leveraged(number: int) -> dict[str, Any]:
    guard = {
        "kind": "liquidation_guard",
        "name": "stay alive",
        "mode": "auto",
        "trigger": "0.20",
        "restore": "0.12",
        "guards": {"cooldown_seconds": 1, "expiry_seconds": 30},
    }
    coin, entry, quantity = (("BTC", "100000", 2), ("ETH", "3500", 60), ("SOL", "180", 1000))[number]
    return _portfolio(
        f"leveraged-{coin.lower()}",
        collateral=int(float(entry) * quantity / 15),
        positions=[(f"{coin}-USDT-PERP", quantity, entry)],
        policies=[guard],
        reserve=int(float(entry) * quantity / 50),
    )


def _delta(mode: str, *, band: str, cooldown: int, expiry: int) -> dict[str, Any]:
    return {
        "kind": "delta_neutral",
        "name": "BTC flat",
        "mode": mode,
        "underlying": "BTC",
        "band": band,
        "hedge_instruments": ["BTC-USDT-PERP"],
        "guards": {"cooldown_seconds": cooldown, "expiry_seconds": expiry, "minimum_notional": "100"},
    }


def _portfolio(
    name: str,
    *,
    collateral: int,
    positions: list[tuple[str, int, str]],
    policies: list[dict[str, Any]],
    reserve: int = 0,
) -> dict[str, Any]:
    return {
        "name": name,
        "valuation_currency": "USDT",
        "accounts": [
            {
                "name": "main",
                "venue": "paper",
                "margin_mode": "cross",
                "balances": [{"asset": "USDT", "amount": str(collateral)}],
                "positions": [
                    {"instrument": instrument, "quantity": str(quantity), "entry_price": entry}
                    for instrument, quantity, entry in positions
                ],
            }
        ],
        "reserves": [{"asset": "USDT", "amount": str(reserve)}] if reserve else [],
        "policies": policies,
    }
