"""The book that the scenario row is measured on, and its grid: 10,000 options, drawn once for all sides."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Column = NDArray[np.float64]

INDEX = 60_000.0
POSITIONS = 10_000
SPOT_SHOCKS = np.linspace(-0.2, 0.2, 9)
VOLATILITY_SHOCKS = np.linspace(-0.5, 0.5, 9)
MARGIN_RATE = 0.075  # of Deribit's standard margin, for short options


class OptionBook(NamedTuple):
    quantities: Column
    strikes: Column
    years: Column
    volatilities: Column
    ratios: Column
    is_put: NDArray[np.bool_]
    is_coin_settled: NDArray[np.bool_]


def option_book(positions: int = POSITIONS) -> OptionBook:
    draw = np.random.default_rng(20240607)
    return OptionBook(
        quantities=draw.normal(size=positions),
        strikes=INDEX * draw.uniform(0.4, 2.5, positions),
        years=draw.uniform(0.005, 1.0, positions),
        volatilities=draw.uniform(0.3, 1.2, positions),
        ratios=draw.uniform(0.99, 1.05, positions),
        is_put=draw.random(positions) < 0.5,
        is_coin_settled=draw.random(positions) < 0.5,
    )
