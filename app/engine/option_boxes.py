"""What options may do over a box of prices, volatilities and time.

An option is its delta, and half its gamma times the square of the move, where gamma is no more and no less
than anywhere in the box; volatility and time move it by no more than the largest vega times the move of the
total deviation v = volatility x sqrt(years). In d1 = ln(F / K) / v + v / 2 all of these are the normal
density at d1, times or over F and v, and the density is largest at that d1 of the box which is nearest to 0.
"""

from math import exp, pi, sqrt
from typing import NamedTuple

import numpy as np

from app.engine.boxes import Box
from app.engine.sketches import (
    DELTA,
    DOLLAR_GAMMA,
    EQUITY,
    EXPOSED,
    GAMMA,
    GROSS,
    MAINTENANCE,
    NOTIONAL,
    VEGA,
    Asked,
    HeldOptions,
    Lines,
    Shapes,
)
from app.quant.compiled import inlined_in_place

_PEAK = 1.0 / sqrt(2.0 * pi)
_PERCENT = 0.01


class _Bounds(NamedTuple):
    """Of one unit in the box: the lowest price and the farthest move of it, how far volatility and time move
    its value and its delta, and between what its gamma, gamma times price (`sharp`) and density are.
    """

    low: float
    moves: float
    shifts: float
    turns: float
    gamma_low: float
    gamma_high: float
    sharp_low: float
    sharp_high: float
    density_low: float
    density_high: float


@inlined_in_place
def stray(box: Box, asked: Asked, lines: Lines, shapes: Shapes, held: HeldOptions) -> None:
    """Adds to what figures rise, fall and drift over a box."""
    for at in range(held.used[0]):
        bounds = _bounds_of(at, box, held, shapes)
        equity = asked.line[held.account[at] + EQUITY]
        if equity >= 0:
            worth = held.worth[at]
            bend = 0.5 * bounds.gamma_high * bounds.moves**2
            sways = shapes.sways[held.paid[at]]
            crossed = abs(worth) * sways * (abs(held.delta[at]) * bounds.moves + bend)
            lines.rises[equity] += max(worth, 0.0) * bend + crossed
            lines.falls[equity] += max(-worth, 0.0) * bend + crossed
            lines.drifts[equity] += abs(worth) * (1.0 + sways) * bounds.shifts
        maintenance = asked.line[held.account[at] + MAINTENANCE]
        if maintenance >= 0 and held.climbs[at]:
            falls = held.price[at] - bounds.low
            if not held.value[at] + falls + bounds.shifts < bounds.low:
                lines.drifts[maintenance] = np.inf
        if held.exposure[at] >= 0:
            _expose(at, bounds, held, shapes, asked, lines)
            _stray_greeks(at, bounds, box, held, shapes, asked, lines)


@inlined_in_place
def _expose(at: int, bounds: _Bounds, held: HeldOptions, shapes: Shapes, asked: Asked, lines: Lines) -> None:
    size, gamma, moves = abs(held.units[at]), held.gamma[at], bounds.moves
    off = max(bounds.gamma_high - gamma, gamma - bounds.gamma_low) * moves
    exposure, price, sways = held.exposure[at], held.price_worth[at], shapes.sways[held.underlying[at]]
    strays = size * price * (off + sways * bounds.gamma_high * moves)
    for figure in (held.account[at] + GROSS, exposure + EXPOSED, exposure + NOTIONAL):
        line = asked.line[figure]
        if line >= 0:
            lines.rises[line] += strays
            lines.falls[line] += strays
            lines.drifts[line] += size * price * (1.0 + sways) * bounds.turns
    line = asked.line[exposure + DELTA]
    if line >= 0:
        lines.rises[line] += size * off
        lines.falls[line] += size * off
        lines.drifts[line] += size * bounds.turns


@inlined_in_place
def _stray_greeks(
    at: int, bounds: _Bounds, box: Box, held: HeldOptions, shapes: Shapes, asked: Asked, lines: Lines
) -> None:
    exposure, size, gamma, price = (
        held.exposure[at],
        abs(held.units[at]),
        held.gamma[at],
        held.price_worth[at],
    )
    low = price * (1.0 - shapes.sways[held.underlying[at]])
    high = price * (1.0 + shapes.sways[held.underlying[at]])
    line = asked.line[exposure + GAMMA]
    if line >= 0:
        lines.drifts[line] += size * max(bounds.gamma_high - gamma, gamma - bounds.gamma_low)
    line = asked.line[exposure + DOLLAR_GAMMA]
    if line >= 0:
        value, least, most = gamma * held.price[at] * price, bounds.sharp_low * low, bounds.sharp_high * high
        lines.drifts[line] += size * _PERCENT * max(most - value, value - least)
    line = asked.line[exposure + VEGA]
    if line >= 0:
        years = held.years[at]
        value = gamma * held.price[at] * held.volatility[at] * years * price
        least = bounds.density_low * sqrt(max(years - box.years, 0.0)) * low
        most = bounds.density_high * sqrt(years) * high
        lines.drifts[line] += size * max(most - value, value - least)


@inlined_in_place
def _bounds_of(at: int, box: Box, held: HeldOptions, shapes: Shapes) -> _Bounds:
    mark, price, years = held.mark[at], held.price[at], held.years[at]
    low, high = price * shapes.low[mark], price * shapes.high[mark]
    width = held.volatility[at] * sqrt(years)
    least = held.volatility[at] * (1.0 - box.spread) * sqrt(years - box.years)
    most = width * (1.0 + box.spread)
    to_low, to_high = held.moneyness[at] + shapes.log_low[mark], held.moneyness[at] + shapes.log_high[mark]
    nearest = to_low / (least if to_low < 0.0 else most) + 0.5 * least
    farthest = to_high / (most if to_high < 0.0 else least) + 0.5 * most
    outer, inner = max(abs(nearest), abs(farthest)), min(abs(nearest), abs(farthest))
    density_low = exp(-0.5 * outer * outer) * _PEAK
    density_high = _PEAK if nearest < 0.0 < farthest else exp(-0.5 * inner * inner) * _PEAK
    gap = max(most - width, width - least)
    return _Bounds(
        low=low,
        moves=price * shapes.sways[mark],
        shifts=high * density_high * gap,
        turns=density_high * (outer + most) / least * gap,
        gamma_low=density_low / (high * most),
        gamma_high=density_high / (low * least),
        sharp_low=density_low / most,
        sharp_high=density_high / least,
        density_low=density_low,
        density_high=density_high,
    )
