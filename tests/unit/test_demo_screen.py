"""The picture of the demo's terminal, as it is kept: it says what it shows, and keeps the key to itself."""

import re
from xml.etree import ElementTree as ET

from app.domain.market import StreamPosition
from app.engine.risk import RiskReport, UnderlyingRisk
from app.entrypoints.cli.demo_screen import Screen, save_picture

KEY = "blst_" + "k" * 43
RISK = RiskReport(
    position=StreamPosition(1, 1),
    time_ns=0,
    equity=1_234_567.0,
    leverage=3.0,
    margin_ratio=0.2,
    health_factor=5.0,
    liquidation_distance=0.3,
    oldest_price_age_ns=0,
    accounts=(),
    underlyings=(UnderlyingRisk("BTC", 64_000.0, 0.25, 16_000.0, 0.0, 0.0, 0.0),),
)


def test_the_picture_is_a_simulated_market_without_key_or_foreign_fonts(tmp_path):
    shown = Screen(
        address="http://127.0.0.1:8000",
        key=KEY,
        prices={"BTC-USDT": 64_000.0},
        risks={"desk": RISK},
        adjustments=[{"time": "08:00:00.000", "portfolio": "a", "state": "executed", "what": "sell 1 BTC"}],
        counts={"decisions": 3, "adjustments": 2, "events": 1},
        ticks=1_000,
        webhooks=1,
        verified=1,
    )
    save_picture(shown, tmp_path / "demo.svg")
    drawn = (tmp_path / "demo.svg").read_text(encoding="utf-8")
    text = "".join(ET.fromstring(drawn).itertext()).replace("\xa0", " ")  # noqa: S314 - drawn just above
    assert KEY not in drawn
    assert "@font-face" not in drawn
    for said in ("simulated market", "BTC-USDT 64,000.00", "1,234,567", "20.0%", "+0.250 BTC", "sell 1 BTC"):
        assert said in text
    assert set(re.findall(r"https?://[^/\s<\"]+", text)) == {"http://127.0.0.1:8000"}
