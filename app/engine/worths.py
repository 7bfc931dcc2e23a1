"""Prices and what a unit of something is worth on a frame, as the loops over views read them."""

import numpy as np

from app.engine.tables import Market, Worths
from app.quant.compiled import inlined_in_place


@inlined_in_place
def price_on(market: Market, k: int, row: int) -> float:
    price: float = market.value[market.standing[k, row]]
    return price


@inlined_in_place
def worth_on(market: Market, k: int, conversion: int, worths: Worths) -> float:
    """Of one unit in the valuation currency: reckoned once where a frame asks for it again and again."""
    if worths.frame[conversion] != k:
        worths.frame[conversion], worths.value[conversion] = k, _converted(market, k, conversion)
    value: float = worths.value[conversion]
    return value


@inlined_in_place
def _converted(market: Market, k: int, conversion: int) -> float:
    """By the first path whose prices are known."""
    paths = market.paths
    for path in range(market.conversions.start[conversion], market.conversions.stop[conversion]):
        first = price_on(market, k, paths.first[path])
        second = price_on(market, k, paths.second[path])
        if not (np.isnan(first) or np.isnan(second)):
            if paths.first_power[path] < 0:
                first = 1.0 / first
            if paths.second_power[path] < 0:
                second = 1.0 / second
            return first * second
    return np.nan
