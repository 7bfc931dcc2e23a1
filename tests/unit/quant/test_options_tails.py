"""Far out of the money, and at any width: every figure against fifty digits, to 1e-12 relative.

Where the logarithm of the moneyness and the carry are large beside the width, their own rounding shows: then
the bound is what one rounding of each does to the tail, d / width times that, if it is more.

The reference is the textbook formula of the value alone, with mpmath's normal distribution; its greeks are
mpmath's numerical derivatives, so that no formula of a greek is trusted.
"""

import math

import mpmath
import numpy as np
import pytest

from app.quant.bachelier import bachelier, bachelier_higher
from app.quant.black_scholes import black_scholes_merton, black_scholes_merton_higher

RELATIVE = 1e-12
DIGITS = 50
EPSILON = 2.0**-52
FEW_AND_MANY = [6, pytest.param(60, marks=pytest.mark.long)]


def _distribution(x):
    return mpmath.erfc(-x / mpmath.sqrt(2)) / 2


def _black_scholes_merton(sign, spot, strike, years, volatility, rate, dividend_yield):
    width = volatility * mpmath.sqrt(years)
    d1 = (mpmath.log(spot / strike) + (rate - dividend_yield) * years) / width + width / 2
    asset = spot * mpmath.exp(-dividend_yield * years) * _distribution(sign * d1)
    return sign * (asset - strike * mpmath.exp(-rate * years) * _distribution(sign * (d1 - width)))


def _bachelier(sign, forward, strike, years, volatility, rate):
    width = volatility * mpmath.sqrt(years)
    d = (forward - strike) / width
    bracket = sign * (forward - strike) * _distribution(sign * d) + width * mpmath.npdf(d)
    return mpmath.exp(-rate * years) * bracket


# Order of differentiation in spot, years and volatility, and the sign of the convention.
GREEKS = {
    "values": ((0, 0, 0), 1), "deltas": ((1, 0, 0), 1), "gammas": ((2, 0, 0), 1), "vegas": ((0, 0, 1), 1),
    "thetas": ((0, 1, 0), -1), "vannas": ((1, 0, 1), 1), "volgas": ((0, 0, 2), 1), "charms": ((1, 1, 0), -1),
    "speeds": ((3, 0, 0), 1), "zommas": ((2, 0, 1), 1), "colours": ((2, 1, 0), -1),
}  # fmt: skip


def _exact(value, option, name):
    """Derivatives by mpmath, with steps far below the scale on which the tail changes."""
    sign, spot, strike, years, volatility, *carry = (mpmath.mpf(each) for each in option)
    orders, convention = GREEKS[name]

    def at(moved_spot, moved_years, moved_volatility):
        return value(sign, moved_spot, strike, moved_years, moved_volatility, *carry)

    with mpmath.workdps(2 * DIGITS):
        point = (spot, years, volatility)
        return convention * (mpmath.diff(at, point, orders) if any(orders) else at(*point))


def _far_options(seed, count, least, most):
    """The nearer of |d1| and |d2| from `least` to `most`; total volatility from 1e-4 to 1."""
    draw = np.random.default_rng(seed)
    options = []
    for distance in np.linspace(least, most, count):
        years, width = draw.uniform(0.01, 2.0), 10.0 ** draw.uniform(-4.0, 0.0)
        spot, rate, dividend_yield = 10.0 ** draw.uniform(-2.0, 5.0), *draw.uniform(-0.1, 0.2, 2)
        sign = float(draw.choice([-1.0, 1.0]))
        moneyness = sign * (distance + width / 2) * width + (rate - dividend_yield) * years
        strike = spot * math.exp(moneyness)
        options.append((sign, spot, strike, years, width / math.sqrt(years), rate, dividend_yield))
    return options


def _rounding(sign, spot, strike, years, volatility, rate, dividend_yield):
    width = volatility * math.sqrt(years)
    terms = abs(math.log(spot / strike)) + (abs(rate) + abs(dividend_yield)) * years
    distance = abs(math.log(spot / strike) + (rate - dividend_yield) * years) / width
    return EPSILON * terms * distance / width


def _check(ours, higher, value, options, bounds):
    with mpmath.workdps(DIGITS):
        for index, (option, bound) in enumerate(zip(options, bounds, strict=True)):
            for name in GREEKS:
                figures = higher if hasattr(higher, name) else ours
                figure = getattr(figures, name)[index]
                exact = _exact(value, option, name)
                assert abs(figure / exact - 1) < max(RELATIVE, bound), (name, option, figure / exact - 1)


def _arguments(options, names):
    columns = dict(zip(("signs", *names), np.array(options).T, strict=True))
    return {"is_call": columns.pop("signs") > 0.0, **columns}


@pytest.mark.parametrize("count", FEW_AND_MANY)
@pytest.mark.parametrize(("least", "most"), [(4.0, 12.0), (12.0, 36.0)])
def test_black_scholes_merton(count, least, most):
    options = _far_options(1973, count, least, most)
    names = ("spots", "strikes", "years_to_expiry", "volatilities", "rates", "dividend_yields")
    arguments = _arguments(options, names)
    ours, higher = black_scholes_merton(**arguments), black_scholes_merton_higher(**arguments)
    assert not ours.statuses.any()
    _check(ours, higher, _black_scholes_merton, options, [_rounding(*option) for option in options])


@pytest.mark.parametrize("count", FEW_AND_MANY)
def test_bachelier(count):
    draw = np.random.default_rng(1900)
    options = []
    for distance in np.linspace(4.0, 36.0, count):
        years, volatility = draw.uniform(0.01, 2.0), 10.0 ** draw.uniform(-2.0, 4.0)
        strike, sign = draw.uniform(-2.0, 2.0) * volatility, float(draw.choice([-1.0, 1.0]))
        forward = strike - sign * distance * volatility * math.sqrt(years)
        options.append((sign, forward, strike, years, volatility, draw.uniform(-0.1, 0.2)))
    names = ("forwards", "strikes", "years_to_expiry", "absolute_volatilities", "rates")
    arguments = _arguments(options, names)
    _check(bachelier(**arguments), bachelier_higher(**arguments), _bachelier, options, [0.0] * count)


def test_values_near_the_money_keep_their_digits_at_any_width():
    """The textbook's difference of two legs would leave 1e-16 / width."""
    options = []
    draw = np.random.default_rng(2015)
    for width in 10.0 ** np.linspace(-6.0, 1.0, 200):
        sign, d = float(draw.choice([-1.0, 1.0])), draw.uniform(0.0, 4.0)
        options.append((sign, 100.0, 100.0 * math.exp(sign * d * width), 1.0, width, 0.0, 0.0))
    names = ("spots", "strikes", "years_to_expiry", "volatilities", "rates", "dividend_yields")
    values = black_scholes_merton(**_arguments(options, names)).values
    with mpmath.workdps(DIGITS):
        for value, option in zip(values, options, strict=True):
            exact = _black_scholes_merton(*(mpmath.mpf(each) for each in option))
            assert abs(value / exact - 1) < 5e-15, option
