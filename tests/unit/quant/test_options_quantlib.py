"""QuantLib's calculators on ten thousand random options: every price and greek they have, to 1e-10 relative.

|d1| and |d2| are at most 4, because QuantLib's own normal distribution loses digits beyond. What can be 0
inside that range (theta, vanna, volga) is held relative to the size of its terms.

Two of QuantLib 1.44's figures are scaled otherwise than their names say, which the finite differences of
`test_options_tails` decide: its volga is per total volatility, so a factor √years is missing, and Bachelier's
vanna is not discounted.
"""

import math

import numpy as np
import pytest
import QuantLib

from app.quant.bachelier import bachelier
from app.quant.black_scholes import black_76, black_scholes_merton

COUNT = 10_000
RELATIVE = 1e-10
LARGEST_D = 4.0


def _widths(draw):
    """Total volatility and |d|: d1 uniform within what leaves d2 in range too."""
    years = draw.uniform(0.003, 3.0, COUNT)
    volatilities = draw.uniform(0.05, 2.0, COUNT)
    widths = volatilities * np.sqrt(years)
    return years, volatilities, widths, draw.uniform(widths - LARGEST_D, LARGEST_D)


@pytest.fixture(scope="module")
def options():
    draw = np.random.default_rng(20_071)
    years, volatilities, widths, d1 = _widths(draw)
    rates, yields = draw.uniform(-0.1, 0.2, (2, COUNT))
    spots = np.exp(draw.uniform(math.log(1e-3), math.log(1e6), COUNT))
    strikes = spots * np.exp((rates - yields) * years - (d1 - widths / 2) * widths)
    return {
        "spots": spots, "strikes": strikes, "years_to_expiry": years, "volatilities": volatilities,
        "rates": rates, "dividend_yields": yields, "is_call": draw.integers(0, 2, COUNT).astype(bool),
    }  # fmt: skip


def _payoff(is_call, strike):
    return QuantLib.PlainVanillaPayoff(QuantLib.Option.Call if is_call else QuantLib.Option.Put, strike)


def _rows(figures, arguments):
    rows = [figures(*each) for each in zip(*(column.tolist() for column in arguments.values()), strict=True)]
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def _worst(ours, theirs, scale=None):
    scale = np.abs(theirs) if scale is None else scale
    return float(np.max(np.abs(ours - theirs) / scale))


def test_black_scholes_merton(options):
    def row(spot, strike, years, volatility, rate, dividend_yield, is_call):
        forward = spot * math.exp((rate - dividend_yield) * years)
        calculator = QuantLib.BlackCalculator(
            _payoff(is_call, strike), forward, volatility * math.sqrt(years), math.exp(-rate * years)
        )
        return {
            "values": calculator.value(), "deltas": calculator.delta(spot), "gammas": calculator.gamma(spot),
            "vegas": calculator.vega(years), "thetas": calculator.theta(spot, years),
            "rhos": calculator.rho(years), "vannas": calculator.vanna(spot, years),
            "volgas": calculator.volga(years) * math.sqrt(years),
            "dividend_rhos": calculator.dividendRho(years),
        }  # fmt: skip

    theirs = _rows(row, options)
    ours = black_scholes_merton(**options)
    assert not ours.statuses.any()
    spots, years, volatilities = options["spots"], options["years_to_expiry"], options["volatilities"]
    for name in ("values", "deltas", "gammas", "vegas", "rhos"):
        assert _worst(getattr(ours, name), theirs[name]) < RELATIVE, name
    assert _worst(-years * spots * ours.deltas, theirs["dividend_rhos"]) < RELATIVE
    legs = np.abs(options["dividend_yields"] * spots * ours.deltas) + np.abs(
        options["rates"] * ours.rhos / years
    )
    decay = ours.vegas * volatilities / (2 * years)
    assert _worst(ours.thetas, theirs["thetas"], decay + legs) < RELATIVE
    assert _worst(ours.vannas, theirs["vannas"], ours.vegas / (spots * volatilities)) < RELATIVE
    assert _worst(ours.volgas, theirs["volgas"], ours.vegas / volatilities) < RELATIVE


def test_black_76(options):
    def row(forward, strike, years, volatility, rate, is_call):
        calculator = QuantLib.BlackCalculator(
            _payoff(is_call, strike), forward, volatility * math.sqrt(years), math.exp(-rate * years)
        )
        return {
            "values": calculator.value(), "deltas": calculator.deltaForward(),
            "gammas": calculator.gammaForward(), "vegas": calculator.vega(years),
        }  # fmt: skip

    arguments = {name: options[name] for name in ("strikes", "years_to_expiry", "volatilities", "rates")}
    growth = np.exp((options["rates"] - options["dividend_yields"]) * options["years_to_expiry"])
    arguments = {"forwards": options["spots"] * growth, **arguments, "is_call": options["is_call"]}
    theirs = _rows(row, arguments)
    ours = black_76(**arguments)
    for name, figures in theirs.items():
        assert _worst(getattr(ours, name), figures) < RELATIVE, name


def test_bachelier():
    draw = np.random.default_rng(1900)
    years = draw.uniform(0.003, 3.0, COUNT)
    volatilities = np.exp(draw.uniform(math.log(1e-2), math.log(1e4), COUNT))
    widths = volatilities * np.sqrt(years)
    strikes = draw.uniform(-3.0, 3.0, COUNT) * widths
    arguments = {
        "forwards": strikes + draw.uniform(-LARGEST_D, LARGEST_D, COUNT) * widths, "strikes": strikes,
        "years_to_expiry": years, "absolute_volatilities": volatilities,
        "rates": draw.uniform(-0.1, 0.2, COUNT),
        "is_call": draw.integers(0, 2, COUNT).astype(bool),
    }  # fmt: skip

    def row(forward, strike, years, volatility, rate, is_call):
        calculator = QuantLib.BachelierCalculator(
            _payoff(is_call, strike), forward, volatility * math.sqrt(years), math.exp(-rate * years)
        )
        return {
            "values": calculator.value(), "deltas": calculator.deltaForward(),
            "gammas": calculator.gammaForward(), "vegas": calculator.vega(years),
            "vannas": calculator.vanna(years) * math.exp(-rate * years),
            "volgas": calculator.volga(years) * math.sqrt(years),
        }  # fmt: skip

    theirs = _rows(row, arguments)
    ours = bachelier(**arguments)
    assert not ours.statuses.any()
    for name in ("values", "deltas", "gammas", "vegas"):
        assert _worst(getattr(ours, name), theirs[name]) < RELATIVE, name
    assert _worst(ours.vannas, theirs["vannas"], ours.vegas / widths) < RELATIVE
    assert _worst(ours.volgas, theirs["volgas"], ours.vegas / volatilities) < RELATIVE
