"""The demo's terminal: prices, portfolios, adjustments as they come, deliveries."""

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from app.engine.risk import RiskReport

_PICTURE_COLUMNS = 130
WORRYING_RATIO, CRITICAL_RATIO = 0.15, 0.5
_SHOWN_PRICES = ("BTC-USDT", "ETH-USDT", "SOL-USDT", "BTC-USDT-PERP", "BTC-USD-PERP", "USDT-USD")


@dataclass(frozen=True, slots=True)
class Screen:
    address: str
    key: str
    prices: Mapping[str, float]
    risks: Mapping[str, RiskReport]
    adjustments: Sequence[Mapping[str, Any]]
    counts: Mapping[str, int]
    ticks: int
    webhooks: int
    verified: int


def screen(shown: Screen) -> RenderableType:
    head = Text(f"Ballast  {shown.address}   docs {shown.address}/docs   key {shown.key}")
    prices = "   ".join(
        f"{name} {shown.prices[name]:,.4g}"
        if shown.prices[name] < 10
        else f"{name} {shown.prices[name]:,.2f}"
        for name in _SHOWN_PRICES
        if name in shown.prices
    )
    foot = Text(
        f"{shown.ticks:,} ticks   {shown.counts['decisions']:,} decisions   "
        f"{shown.counts['adjustments']:,} adjustments   {shown.counts['events']:,} events   "
        f"{shown.webhooks:,} webhooks received, {shown.verified:,} verified"
    )
    return Group(
        head,
        Panel(prices or "waiting for the first frame", title="simulated market"),
        _portfolios(shown.risks),
        _adjustments(shown.adjustments),
        foot,
    )


def save_picture(shown: Screen, path: Path) -> None:
    """The screen as an SVG: without the key, which opens the API, and without fonts from the network."""
    console = Console(record=True, width=_PICTURE_COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(screen(replace(shown, key="blst_…")))
    drawn = console.export_svg(title="ballast demo: a simulated market")
    path.write_text(re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL), encoding="utf-8")


def _portfolios(risks: Mapping[str, RiskReport]) -> Table:
    table = Table(title="portfolios", expand=True)
    for name in ("portfolio", "equity USDT", "leverage", "margin ratio", "net delta"):
        table.add_column(name, justify="left" if name == "portfolio" else "right")
    for name, risk in risks.items():
        critical, worrying = risk.margin_ratio >= CRITICAL_RATIO, risk.margin_ratio >= WORRYING_RATIO
        style = "bold red" if critical else "yellow" if worrying else ""
        deltas = ", ".join(f"{each.net_delta:+.3f} {each.underlying}" for each in risk.underlyings)
        table.add_row(
            name,
            f"{risk.equity:,.0f}",
            f"{risk.leverage:.2f}x",
            Text(f"{risk.margin_ratio:.1%}", style=style),
            deltas,
        )
    return table


def _adjustments(adjustments: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(title="adjustments", expand=True)
    for name in ("market time", "portfolio", "state", "what"):
        table.add_column(name)
    for one in adjustments:
        table.add_row(one["time"], one["portfolio"], one["state"], one["what"])
    return table
