"""The errors that `app.quant.normal` states, against forty digits, and the same bits wherever one stands."""

import math

import mpmath
import numpy as np
import pytest

from app.quant.compiled import compiled
from app.quant.normal import density, distribution, exponential, logarithm, mills_ratios

mpmath.mp.dps = 40
DRAW = np.random.default_rng(1968)


def _mills(z):
    z = mpmath.mpf(z)
    return mpmath.sqrt(mpmath.pi / 2) * mpmath.exp(z * z / 2) * mpmath.erfc(z / mpmath.sqrt(2))


def _distribution(x):
    return mpmath.erfc(-mpmath.mpf(x) / mpmath.sqrt(2)) / 2


@compiled
def _exponentials(arguments, results):
    for i in range(arguments.size):
        results[i] = exponential(arguments[i])


@compiled
def _logarithms(arguments, results):
    for i in range(arguments.size):
        results[i] = logarithm(arguments[i])


@compiled
def _densities(arguments, results):
    for i in range(arguments.size):
        results[i] = density(arguments[i])


@compiled
def _distributions(arguments, results):
    for i in range(arguments.size):
        results[i] = distribution(arguments[i])


@compiled
def _mills_ratios(arguments, results):
    for i in range(arguments.size):
        results[i] = mills_ratios(arguments[i], 0.0)[0]


CASES = {
    "exponential": (_exponentials, mpmath.exp, [(-708.0, 709.0), (-1.0, 1.0)], 1.5e-16),
    "density": (_densities, mpmath.npdf, [(-37.5, 37.5)], 5e-16),
    "distribution": (_distributions, _distribution, [(-37.5, -5.0), (-5.0, 1.0), (1.0, 9.0)], 1e-15),
    "mills ratio": (_mills_ratios, _mills, [(-0.5, 3.0), (3.0, 75.0)], 1e-15),
}


def _worst(results, exact, arguments):
    return max(
        float(abs(result / exact(mpmath.mpf(x)) - 1)) for x, result in zip(arguments, results, strict=True)
    )


@pytest.mark.parametrize("name", CASES)
def test_stated_error(name):
    loop, exact, intervals, stated = CASES[name]
    arguments = np.concatenate([DRAW.uniform(low, high, 2_000) for low, high in intervals])
    results = np.empty_like(arguments)
    loop(arguments, results)
    assert _worst(results, exact, arguments.tolist()) < stated


def test_stated_error_of_the_logarithm():
    near_one, wide = 1.0 + DRAW.uniform(-1e-3, 1e-3, 1_000), np.exp(DRAW.uniform(-708.0, 709.0, 2_000))
    arguments = np.concatenate([near_one, DRAW.uniform(0.5, 2.0, 2_000), wide])
    results = np.empty_like(arguments)
    _logarithms(arguments, results)
    assert _worst(results, mpmath.log, arguments.tolist()) < 1.5e-16
    assert logarithm(1.0) == 0.0


def test_stated_error_of_the_divided_difference():
    """Relative, whatever the gap: the difference of two computed ratios would lose everything below 1e-16."""
    lower, gaps = DRAW.uniform(-0.5, 40.0, 1_500), 10.0 ** DRAW.uniform(-12.0, 1.5, 1_500)
    for z, gap in zip(lower.tolist(), gaps.tolist(), strict=True):
        near, far, slope = mills_ratios(z, gap)
        with mpmath.workdps(60):
            there = mpmath.mpf(z) + mpmath.mpf(gap)
            exact = (_mills(z) - _mills(there)) / gap
            assert abs(slope / exact - 1) < 1e-14, (z, gap)
            assert abs(near / _mills(z) - 1) < 1e-15, z
            assert abs(far / _mills(there) - 1) < 1e-15, there
    z = float(lower[0])
    assert abs(mills_ratios(z, 0.0)[2] / (1 - z * _mills(z)) - 1) < 1e-14  # the derivative


def test_ends_of_the_range():
    assert [exponential(x) for x in (-709.0, -1e300, -math.inf)] == [0.0, 0.0, 0.0]
    assert [exponential(x) for x in (710.0, math.inf)] == [math.inf, math.inf]
    assert exponential(0.0) == 1.0
    assert math.isnan(exponential(math.nan))
    assert [distribution(x) for x in (-40.0, 10.0, math.inf, -math.inf)] == [0.0, 1.0, 1.0, 0.0]
    assert density(70.0) == 0.0


@pytest.mark.parametrize("name", CASES)
def test_the_same_bits_wherever_the_argument_stands(name):
    """Every length and offset leaves other elements to a loop's scalar remainder."""
    loop, _, [(low, high), *_], _ = CASES[name]
    arguments = DRAW.uniform(low, high, 61)
    whole = np.empty_like(arguments)
    loop(arguments, whole)
    for start in range(20):
        part = np.empty(arguments.size - 2 * start)
        loop(arguments[start : arguments.size - start], part)
        assert part.tobytes() == whole[start : arguments.size - start].tobytes()
