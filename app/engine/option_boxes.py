"""What options may do over a box of prices, volatilities and time.

An option is its delta, and half its gamma times the square of the move, where gamma is no more and no less
than anywhere in the box; volatility and time move it by no more than the largest vega times the move of the
total deviation v = volatility x sqrt(years). In d1 = ln(F / K) / v + v / 2 all of these are the normal
density at d1, times or over F and v, and the density is largest at that d1 of the box which is nearest to 0.
Gamma and vega are straight lines, too, and as far off as their second derivatives are large anywhere.
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
    """Of one unit in the box: the lowest price, how far it moves, of that how far where main prices stand
    still, and off its straight line; how far volatility and time move its value, its delta, its gamma, the
    density, and by what share the width; between what its gamma is, the largest density, and how much both
    bend with the square of the share that the price moves by.
    """

    low: float
    moves: float
    swerves: float
    bends: float
    stirs: float
    shifts: float
    turns: float
    widens: float
    gamma_low: float
    gamma_high: float
    gamma_bends: float
    gamma_turns: float
    density_high: float
    density_bends: float
    density_turns: float


@inlined_in_place
def stray(box: Box, asked: Asked, lines: Lines, shapes: Shapes, held: HeldOptions) -> None:
    """Adds to what figures rise, fall and drift over a box. All of it is convex in the width of the box: what
    is there where main prices stand still drifts, the rest goes up in proportion at most.
    """
    for at in range(held.used[0]):
        bounds = _bounds_of(at, box, held, shapes)
        equity = asked.line[held.account[at] + EQUITY]
        if equity >= 0:
            _stray_value(at, equity, bounds, held, shapes, lines)
        maintenance = asked.line[held.account[at] + MAINTENANCE]
        if maintenance >= 0 and held.climbs[at]:
            falls = held.price[at] - bounds.low
            if not held.value[at] + falls + bounds.shifts < bounds.low:
                lines.drifts[maintenance] = np.inf
        if held.exposure[at] >= 0:
            _expose(at, bounds, held, shapes, asked, lines)
            _stray_greeks(at, bounds, box, held, shapes, asked, lines)


@inlined_in_place
def _stray_value(
    at: int, equity: int, bounds: _Bounds, held: HeldOptions, shapes: Shapes, lines: Lines
) -> None:
    """It lies above its tangent by no more than half the largest gamma times the square of the move."""
    worth, slope, paid = held.worth[at], abs(held.delta[at]), held.paid[at]
    sways, swerves = shapes.sways[paid], shapes.swerves[paid]
    above, stirred = 0.5 * bounds.gamma_high * bounds.moves**2, 0.5 * bounds.gamma_high * bounds.swerves**2
    stays = swerves * (slope * bounds.swerves + stirred)
    crossed = sways * (slope * bounds.moves + above) - stays + slope * bounds.bends
    drifts = stays + stirred + slope * bounds.stirs + (1.0 + sways) * bounds.shifts
    lines.rises[equity] += max(worth, 0.0) * (above - stirred) + abs(worth) * crossed
    lines.falls[equity] += max(-worth, 0.0) * (above - stirred) + abs(worth) * crossed
    lines.drifts[equity] += abs(worth) * drifts


@inlined_in_place
def _expose(at: int, bounds: _Bounds, held: HeldOptions, shapes: Shapes, asked: Asked, lines: Lines) -> None:
    size, gamma, price = abs(held.units[at]), held.gamma[at], held.price_worth[at]
    sways, swerves = shapes.sways[held.underlying[at]], shapes.swerves[held.underlying[at]]
    off = max(bounds.gamma_high - gamma, gamma - bounds.gamma_low)
    bends = off * (bounds.moves - bounds.swerves) + gamma * bounds.bends
    stirs = off * bounds.swerves + gamma * bounds.stirs + bounds.turns
    exposure, stays = held.exposure[at], swerves * bounds.gamma_high * bounds.swerves
    crossed = sways * bounds.gamma_high * bounds.moves - stays
    for figure in (held.account[at] + GROSS, exposure + EXPOSED, exposure + NOTIONAL):
        line = asked.line[figure]
        if line >= 0:
            lines.rises[line] += size * price * (bends + crossed)
            lines.falls[line] += size * price * (bends + crossed)
            lines.drifts[line] += size * price * (stirs + stays + sways * bounds.turns)
    line = asked.line[exposure + DELTA]
    if line >= 0:
        lines.rises[line] += size * bends
        lines.falls[line] += size * bends
        lines.drifts[line] += size * stirs


@inlined_in_place
def _stray_greeks(
    at: int, bounds: _Bounds, box: Box, held: HeldOptions, shapes: Shapes, asked: Asked, lines: Lines
) -> None:
    """Gamma goes with the density over price and width, vega with the density and the root of time."""
    exposure, size, mark = held.exposure[at], abs(held.units[at]), held.mark[at]
    line, width = asked.line[exposure + GAMMA], held.volatility[at] * sqrt(held.years[at])
    steep = abs(held.moneyness[at] / width / width + 0.5)
    if line >= 0:
        slope = held.gamma[at] * (1.0 + steep)
        stirred = 0.5 * bounds.gamma_bends * shapes.swerves[mark] ** 2
        bends = 0.5 * bounds.gamma_bends * shapes.sways[mark] ** 2 - stirred + slope * shapes.bends[mark]
        lines.rises[line] += size * bends
        lines.falls[line] += size * bends
        lines.drifts[line] += size * (stirred + slope * shapes.stirs[mark] + bounds.gamma_turns)
    for figure in (exposure + DOLLAR_GAMMA, exposure + VEGA):
        line = asked.line[figure]
        if line >= 0:
            bends, stirs = _density_strays(at, steep, bounds, held, shapes)
            moves, scale = bounds.density_turns, sqrt(held.years[at])
            if figure == exposure + DOLLAR_GAMMA:
                scale = _PERCENT / width
                moves = (moves + bounds.density_high * bounds.widens) * (1.0 + bounds.widens)
            else:
                moves += bounds.density_high * (1.0 - sqrt(max(1.0 - box.years / held.years[at], 0.0)))
            scale *= size * held.price_worth[at]
            lines.rises[line] += scale * bends
            lines.falls[line] += scale * bends
            lines.drifts[line] += scale * (stirs + (1.0 + shapes.sways[held.underlying[at]]) * moves)


@inlined_in_place
def _density_strays(
    at: int, steep: float, bounds: _Bounds, held: HeldOptions, shapes: Shapes
) -> tuple[float, float]:
    """Of the density times the price of the underlying, over that price: as main prices move, and where they
    stand still.
    """
    mark, underlying = held.mark[at], held.underlying[at]
    density = held.gamma[at] * held.price[at] * held.volatility[at] * sqrt(held.years[at])
    slope, moves, swerves = density * steep, shapes.sways[mark], shapes.swerves[mark]
    above, stirred = 0.5 * bounds.density_bends * moves**2, 0.5 * bounds.density_bends * swerves**2
    crossed = shapes.sways[underlying] * (slope * moves + above)
    stays = shapes.swerves[underlying] * (slope * swerves + stirred)
    bends = (
        above - stirred + crossed - stays + slope * shapes.bends[mark] + density * shapes.bends[underlying]
    )
    stirs = stirred + stays + slope * shapes.stirs[mark] + density * shapes.stirs[underlying]
    return bends, stirs


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
    gamma_high, farther = density_high / (low * least), 1.0 + outer / least
    # in d1, with F moved by a share: d2n/dF2 = n (d1^2 + d1 v - 1) / v^2, and with u = 1 + d1 / v
    # d2(gamma)/dF2 = gamma (u^2 + u - 1 / v^2); with v moved: dn/dv = n d1 d2 / v
    curves = max(outer * outer + outer * most - 1.0, 1.0 + 0.25 * most * most) / least**2
    gamma_curves = max(farther * farther + farther - 1.0 / most**2, 0.25 + 1.0 / least**2)
    turns = (outer + most) / least * gap
    return _Bounds(
        low=low,
        moves=price * shapes.sways[mark],
        swerves=price * shapes.swerves[mark],
        bends=price * shapes.bends[mark],
        stirs=price * shapes.stirs[mark],
        shifts=high * density_high * gap,
        turns=density_high * turns,
        widens=gap / least,
        gamma_low=density_low / (high * most),
        gamma_high=gamma_high,
        gamma_bends=gamma_high * gamma_curves * (price / low) ** 2,
        gamma_turns=gamma_high * (outer * turns + gap / least),
        density_high=density_high,
        density_bends=density_high * curves * (price / low) ** 2,
        density_turns=density_high * outer * turns,
    )
