"""`python -m bench.drivers.greeks SIDE COUNT DIRECTORY`: one side of the row `greeks`, as a process."""

import math
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench.drivers.option_columns import OptionColumns, option_columns, report
from bench.floors import greeks as floor


def _ours(book: OptionColumns) -> Callable[[], object]:
    from app.quant.black_scholes import black_scholes_merton

    return lambda: black_scholes_merton(
        spots=book.spots,
        strikes=book.strikes,
        years_to_expiry=book.years,
        volatilities=book.volatilities,
        rates=book.rates,
        dividend_yields=book.yields,
        is_call=book.is_call,
    )


def _floor(book: OptionColumns) -> Callable[[], object]:
    fill = floor.greeks(Path(sys.argv[3]))
    columns = (*book[:6], np.where(book.is_call, 1.0, -1.0))
    figures = np.zeros((floor.FIGURES, book.spots.size))
    return lambda: fill(columns, figures)


def _numpy(book: OptionColumns) -> Callable[[], object]:
    from scipy.special import ndtr

    spots, strikes, years, volatilities, rates, yields, _ = book
    sides = np.where(book.is_call, 1.0, -1.0)

    def price() -> tuple[np.ndarray, ...]:
        roots = np.sqrt(years)
        widths = volatilities * roots
        d1 = (np.log(spots / strikes) + (rates - yields) * years) / widths + 0.5 * widths
        d2 = d1 - widths
        carried = np.exp(-yields * years)
        densities = carried * np.exp(-0.5 * d1 * d1) / math.sqrt(2.0 * math.pi)
        deltas = sides * carried * ndtr(sides * d1)
        strike_legs = sides * strikes * np.exp(-rates * years) * ndtr(sides * d2)
        vegas = spots * densities * roots
        thetas = yields * spots * deltas - rates * strike_legs - 0.5 * vegas * volatilities / years
        vannas, volgas = -densities * d2 / volatilities, vegas * d1 * d2 / volatilities
        values, gammas = spots * deltas - strike_legs, densities / (spots * widths)
        return values, deltas, gammas, vegas, thetas, vannas, volgas

    return price


def _quantlib(book: OptionColumns) -> Callable[[], object]:
    import QuantLib

    rows = list(zip(*(column.tolist() for column in book), strict=True))

    def price() -> None:
        for spot, strike, years, volatility, rate, dividend_yield, is_call in rows:
            side = QuantLib.Option.Call if is_call else QuantLib.Option.Put
            option = QuantLib.BlackCalculator(
                QuantLib.PlainVanillaPayoff(side, strike),
                spot * math.exp((rate - dividend_yield) * years),
                volatility * math.sqrt(years),
                math.exp(-rate * years),
            )
            option.value(), option.delta(spot), option.gamma(spot), option.vega(years)
            option.theta(spot, years), option.vanna(spot, years), option.volga(years)

    return price


SIDES = {"ours": _ours, "floor": _floor, "numpy": _numpy, "quantlib": _quantlib}

if __name__ == "__main__":
    count = int(sys.argv[2])
    report(SIDES[sys.argv[1]](option_columns(count)), count)
