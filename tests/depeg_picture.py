"""Draws docs/images/usdc-depeg.svg: `.venv/bin/python -m tests.depeg_picture docs/images/usdc-depeg.svg`."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

from app.domain.market import Quality
from tests.market_data import market_dir
from tests.recorded_depeg import COINS, CURRENCIES, DOLLARS, MISDECLARED, Minute, replayed

LEFT, WIDTH = 70, 700
DAY = 1_440
EVERY = 4  # minutes between two points of a line
INK, GREY, BLUE, ORANGE, RED = "#222222", "#8a8a8a", "#0b66c3", "#d9822b", "#c0392b"


class Panel:
    """A plot of the day between two levels."""

    def __init__(self, top: int, height: int, low: float, high: float) -> None:
        self.top, self.height, self.low, self.high = top, height, low, high

    def y(self, value: float) -> float:
        return self.top + self.height * (self.high - value) / (self.high - self.low)

    def line(self, values: Sequence[float], colour: str, width: float = 1.5) -> str:
        points = " ".join(f"{_x(n):.1f},{self.y(values[n]):.1f}" for n in range(0, len(values), EVERY))
        return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{width}"/>'

    def grid(self, levels: Iterable[float], label: str) -> Iterator[str]:
        for level in levels:
            y = self.y(level)
            yield f'<path d="M{LEFT} {y:.1f}h{WIDTH}" stroke="#dddddd"/>'
            yield _text(LEFT - 8, y + 4, label.format(level), GREY, "end")


def _x(minute: float) -> float:
    return LEFT + WIDTH * minute / DAY


def _text(x: float, y: float, text: str, colour: str = INK, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" text-anchor="{anchor}">{text}</text>'


def _legend(y: int, *entries: tuple[str, str]) -> Iterator[str]:
    x = LEFT
    for text, colour in entries:
        yield f'<path d="M{x} {y - 4}h18" stroke="{colour}" stroke-width="3"/>'
        yield _text(x + 24, y, text)
        x += 44 + 7 * len(text)


def _strip(top: int, minutes: Sequence[Minute], name: str) -> Iterator[str]:
    """Red where the worst quality of a minute is not valid."""
    yield _text(LEFT, top - 5, name)
    yield f'<rect x="{LEFT}" y="{top}" width="{WIDTH}" height="12" fill="#d5e8d4"/>'
    for doubtful, run in groupby(minutes, key=lambda minute: minute.worst != Quality.VALID):
        numbers = [minute.number for minute in run]
        if doubtful:
            x, width = _x(numbers[0]), WIDTH * len(numbers) / DAY
            yield f'<rect x="{x:.1f}" y="{top}" width="{width:.1f}" height="12" fill="{RED}"/>'


def picture(told: Sequence[Minute], misled: Sequence[Minute]) -> str:
    price = Panel(40, 230, 19_500.0, 23_500.0)
    coin = Panel(320, 110, 0.86, 1.01)
    parts = [
        *price.grid((20_000, 21_000, 22_000, 23_000), "{:,.0f}"),
        price.line([minute.raw[COINS] for minute in told], GREY, 1.0),
        price.line([minute.bitcoin.value for minute in misled], ORANGE),
        price.line([minute.bitcoin.value for minute in told], BLUE),
        price.line([minute.raw[DOLLARS] for minute in told], INK, 0.7),
        *_legend(
            24,
            ("BTC/USD, Binance US", INK),
            ("BTC/USDC, Binance US", GREY),
            ("consensus, declared", BLUE),
            ("consensus, misdeclared", ORANGE),
        ),
        *coin.grid((0.88, 0.92, 0.96, 1.0), "{:.2f}"),
        coin.line([minute.coin.value for minute in told], BLUE),
        _text(LEFT, 310, "USDC/USD, consensus of the crosses"),
        *_strip(465, told, "quality of BTC/USD, declared: green is valid"),
        *_strip(505, misled, "quality of BTC/USD, both USDC venues misdeclared as USD: red is too uncertain"),
        *(_text(_x(60 * hour), 540, f"{hour:02}:00", GREY, "middle") for hour in range(0, 25, 4)),
    ]
    head = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 800 555" '
        'font-family="sans-serif" font-size="12">'
    )
    return "\n".join([head, '<rect width="800" height="555" fill="white"/>', *parts, "</svg>", ""])


if __name__ == "__main__":
    told, misled = (list(replayed(market_dir(), each)) for each in (CURRENCIES, MISDECLARED))
    Path(sys.argv[1]).write_text(picture(told, misled), encoding="utf-8")
