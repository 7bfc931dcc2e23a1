"""Brownian log prices with known variance, as bars whose extremes are exact, and as ticks with noise.

Within a day the path is drawn at a number of steps. The highest and the lowest point between two neighbours
are those of a Brownian bridge, drawn from its law (for ends a, b and step variance s the maximum is
``(a + b + √((b - a)² + 2 s E)) / 2`` with E exponential), so a coarse grid does not make ranges too small.
"""

from typing import NamedTuple

import numpy as np

from app.quant.estimators.bars import Bars

DAY_NS = 86_400_000_000_000
DAILY_VARIANCE = 0.03**2
ANNUAL_VARIANCE = 365 * DAILY_VARIANCE


class Days(NamedTuple):
    """Logarithms from each day's open, in standard deviations of a trading day."""

    highs: np.ndarray
    lows: np.ndarray
    closes: np.ndarray


def draw_days(random: np.random.Generator, days: int, *, drifts: tuple[float, ...], steps: int = 64):
    """The same days under each drift (per day, in standard deviations of a day)."""
    drawn = [[] for _ in drifts]
    for size in _portions(days, 5_000):
        shocks = random.standard_normal((size, steps)) / np.sqrt(steps)
        tops, bottoms = random.standard_exponential((2, size, steps)) * (2.0 / steps)
        for portions, drift in zip(drawn, drifts, strict=True):
            moves = shocks + drift / steps
            ends = np.cumsum(moves, axis=1)
            middles = 2.0 * ends - moves  # start + end of each step
            highs = 0.5 * (middles + np.sqrt(moves * moves + tops)).max(axis=1)
            lows = 0.5 * (middles - np.sqrt(moves * moves + bottoms)).min(axis=1)
            portions.append((highs, lows, ends[:, -1]))
    return [Days(*(np.concatenate(column) for column in zip(*each, strict=True))) for each in drawn]


def as_windows(days: Days, *, length: int, jumps: np.ndarray | None = None, closed: float = 0.0) -> Bars:
    """Series of `length` daily bars, each led in by the close before it.

    `jumps` (standard normal) happen at the open, after a part `closed` of the day without trading; of the
    variance of a day the jump has that part, and trading the rest.
    """
    series = len(days.closes) // length
    highs, lows, closes, opens = (
        scale * (np.zeros(series * length) if column is None else column[: series * length])
        for column, scale in zip(
            (*days, jumps),
            (*[np.sqrt(DAILY_VARIANCE * (1 - closed))] * 3, np.sqrt(DAILY_VARIANCE * closed)),
            strict=True,
        )
    )
    shape = (series, length)
    ends = np.cumsum((opens + closes).reshape(shape), axis=1)
    starts = ends - closes.reshape(shape)
    prices = [
        np.exp(np.column_stack((np.zeros(series), column)))
        for column in (starts, starts + highs.reshape(shape), starts + lows.reshape(shape), ends)
    ]
    closed_ns = np.broadcast_to(np.arange(length + 1) * DAY_NS, (series, length + 1))
    return Bars(closed_ns - round(DAY_NS * (1 - closed)), closed_ns, *prices)


def as_returns(
    random: np.random.Generator, days: int, *, steps: int, jump_days: int = 0, jump: float = 0.0
) -> Bars:
    """Days as series of bars that hold one return each; every `jump_days`-th has a jump at a random step."""
    moves = random.standard_normal((days, steps)) / np.sqrt(steps)
    if jump_days:
        jumping = np.arange(0, days, jump_days)
        moves[jumping, random.integers(steps, size=len(jumping))] += jump
    ends = np.exp(np.sqrt(DAILY_VARIANCE) * np.cumsum(moves, axis=1))
    closes = np.column_stack((np.ones(days), ends))
    opens = np.column_stack((np.ones(days), closes[:, :-1]))
    closed_ns = np.broadcast_to(np.arange(steps + 1) * (DAY_NS // steps), closes.shape)
    highs, lows = np.maximum(opens, closes), np.minimum(opens, closes)
    return Bars(closed_ns - DAY_NS // steps, closed_ns, opens, highs, lows, closes)


def noisy_ticks(random: np.random.Generator, days: int, *, ticks: int, noise: float):
    """Instants at random and prices with independent errors of relative size `noise`: two columns."""
    times = np.sort(random.integers(DAY_NS, size=(days, ticks)), axis=1)
    years = np.diff(times, axis=1, prepend=times[:, :1]) / (365 * DAY_NS)
    moves = random.standard_normal((days, ticks)) * np.sqrt(ANNUAL_VARIANCE * years)
    return times, np.exp(np.cumsum(moves, axis=1) + noise * random.standard_normal((days, ticks)))


def _portions(total: int, size: int) -> list[int]:
    return [min(size, total - start) for start in range(0, total, size)]
