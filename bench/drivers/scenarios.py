"""The scenario grid by Ballast, and by numpy and scipy with arrays of positions x cells.

`python -m bench.drivers.scenarios ours|numpy CALLS` prints what each call took, in seconds, and the
peak of its memory in MiB.
"""

import sys
import time
from collections.abc import Callable

import numpy as np
from scipy.special import ndtr

from app.quant.scenarios import scenario_grid
from app.quant.solvency.books import books_of
from bench.floors.option_book import INDEX, MARGIN_RATE, SPOT_SHOCKS, VOLATILITY_SHOCKS, Column, option_book
from bench.floors.scenarios import peak_memory_mib

_FIRST_OPTION_KIND = 3  # calls and puts in quote currency, then the same in coin


def ours() -> Callable[[], object]:
    book = option_book()
    books = books_of(
        position_counts=[book.quantities.size],
        cash=[0.0],
        kinds=_FIRST_OPTION_KIND + book.is_put + 2 * book.is_coin_settled,
        underlyings=0,
        quantities=book.quantities,
        price_ratios=book.ratios,
        strikes=book.strikes,
        years_to_expiry=book.years,
        volatilities=book.volatilities,
    )
    return lambda: scenario_grid(
        books=books, underlying_prices=[INDEX], spot_shocks=SPOT_SHOCKS, volatility_shocks=VOLATILITY_SHOCKS
    )


def broadcast() -> tuple[Column, ...]:
    """Equity, maintenance, delta, gamma and vega of each cell."""
    book = option_book()

    def rows(column: Column) -> Column:
        return column[:, None, None]

    strikes, signs = rows(book.strikes), rows(np.where(book.is_put, -1.0, 1.0))
    units = rows(np.where(book.is_coin_settled, book.quantities / book.ratios, book.quantities))
    index = INDEX * (1.0 + SPOT_SHOCKS)[None, :, None]
    forwards, roots = rows(book.ratios) * index, np.sqrt(rows(book.years))
    widths = rows(book.volatilities) * (1.0 + VOLATILITY_SHOCKS)[None, None, :] * roots
    d1 = np.log(forwards / strikes) / widths + 0.5 * widths
    assets = ndtr(signs * d1)
    values = signs * (forwards * assets - strikes * ndtr(signs * (d1 - widths)))
    densities = units * forwards * 0.3989422804014327 * np.exp(-0.5 * d1 * d1)
    short = rows(np.maximum(-book.quantities, 0.0))
    marks = np.where(rows(book.is_coin_settled), values / rows(book.ratios), values)
    margins = MARGIN_RATE * short * np.maximum(index, np.where(rows(book.is_put), marks, 0.0))
    sums = (units * values, margins, units * signs * assets * forwards, densities / widths, densities * roots)
    return tuple(each.sum(axis=0) for each in sums)


def main() -> None:
    grid = ours() if sys.argv[1] == "ours" else broadcast
    grid()  # compiled, and its memory taken, before anything is measured
    for _ in range(int(sys.argv[2])):
        start = time.perf_counter()
        grid()
        print(time.perf_counter() - start)
    print(peak_memory_mib())


if __name__ == "__main__":
    main()
