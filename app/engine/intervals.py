"""Writes what views wait for: the intervals that their radii leave to everything that they watch."""

import numpy as np

from app.engine.marching import LEAST
from app.engine.radii import SHRUNK, Radii
from app.engine.sketches import MINOR_SHARE, RATIO_SHARE
from app.engine.tables import Market, PairColumns, Tables
from app.engine.view_watches import Role, ViewWatchColumns
from app.engine.watch_rows import ITSELF, Intervals, WatchColumns, put_entry
from app.quant.arrays import IntArray
from app.quant.compiled import compiled_in_place, inlined_in_place

_MAIN, _RATIO, _PINNED = int(Role.MAIN), int(Role.RATIO), int(Role.PINNED)
_VOLATILITY, _UNUSED = int(Role.VOLATILITY), int(Role.UNUSED)


@compiled_in_place
def put_intervals(
    chosen: IntArray,
    pairs: PairColumns,
    tables: Tables,
    market: Market,
    radii: Radii,
    watched: ViewWatchColumns,
    watches: WatchColumns,
    intervals: Intervals,
) -> None:
    """Where there is a radius, and where the end of the block is inside of all of them; who has none is woken
    by everything.
    """
    last_frame = len(market.standing) - 1
    for i in range(chosen.size):
        view, frame = pairs.number[chosen[i]], pairs.frame[chosen[i]]
        first, stop = tables.views.watch[view], tables.views.watch_stop[view]
        up, down, others, spread = radii.up[i], radii.down[i], radii.others[i], radii.spread[i]
        sleeps = min(up, down) > LEAST
        for row in range(first, stop):
            value = _value(frame, watched.watch[row], watches, market)
            low, high = _interval(value, watched.role[row], up, down, others, spread)
            last = _value(last_frame, watched.watch[row], watches, market)
            is_inside = low <= last <= high or (np.isnan(last) and low > high)
            sleeps = sleeps and (is_inside or watched.role[row] == _UNUSED)
        for row in range(first, stop):
            value, low, high = _value(frame, watched.watch[row], watches, market), np.inf, -np.inf
            if sleeps:
                low, high = _interval(value, watched.role[row], up, down, others, spread)
            put_entry(watched.entry[row], low, high, intervals)


@inlined_in_place
def _value(frame: int, watch: int, watches: WatchColumns, market: Market) -> float:
    value: float = market.value[market.standing[frame, watches.column[watch]]]
    base = watches.base[watch]
    return value if base == ITSELF else value / market.value[market.standing[frame, base]]


@inlined_in_place
def _interval(
    value: float, role: int, up: float, down: float, others: float, spread: float
) -> tuple[float, float]:
    """What is not known wakes with its first news."""
    if role == _UNUSED:
        return -np.inf, np.inf
    if np.isnan(value):
        return np.inf, -np.inf
    if role == _VOLATILITY:
        return value * (1.0 - spread), value * (1.0 + spread)
    if role == _PINNED:
        return value, value
    if role != _MAIN:
        up = down = others * (RATIO_SHARE if role == _RATIO else MINOR_SHARE)
    return value * (1.0 - down) if down < SHRUNK else -np.inf, value * (1.0 + up)
