"""Bachelier's model by its laws: parity, shift and scale, derivatives, limits, statuses, independence."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.quant.bachelier import bachelier, bachelier_higher
from app.quant.black_scholes import OptionStatus, black_76

options = st.fixed_dictionaries(
    {
        "distance": st.floats(-3.0, 3.0),
        "strikes": st.floats(-1e4, 1e4),
        "years_to_expiry": st.floats(1e-3, 3.0),
        "absolute_volatilities": st.floats(1e-1, 1e4),
        "rates": st.floats(-0.1, 0.3),
    }
).map(
    lambda drawn: {
        **{name: value for name, value in drawn.items() if name != "distance"},
        "forwards": drawn["strikes"]
        + drawn["distance"] * drawn["absolute_volatilities"] * math.sqrt(drawn["years_to_expiry"]),
    }
)
sides = st.booleans()


def _width(option):
    return option["absolute_volatilities"] * math.sqrt(option["years_to_expiry"])


@given(options)
def test_put_call_parity(option):
    call, put = bachelier(**option, is_call=True), bachelier(**option, is_call=False)
    discount = math.exp(-option["rates"] * option["years_to_expiry"])
    gap = option["forwards"] - option["strikes"]
    assert call.values - put.values == pytest.approx(discount * gap, abs=1e-14 * (_width(option) + abs(gap)))
    assert call.deltas - put.deltas == pytest.approx(discount, rel=1e-14)
    np.testing.assert_array_equal((call.gammas, call.vegas), (put.gammas, put.vegas))


@given(options, sides, st.sampled_from([0.25, 4.0, 1024.0]))
def test_only_the_difference_counts_and_it_scales(option, is_call, scale):
    """Powers of two scale without rounding, so the figures are the same to the bit."""
    gap = option["forwards"] - option["strikes"]
    moved = {**option, "forwards": gap, "strikes": 0.0}
    one = bachelier(**option, is_call=is_call)
    np.testing.assert_array_equal(bachelier(**moved, is_call=is_call), one)
    scaled = {
        **moved, "forwards": gap * scale, "absolute_volatilities": option["absolute_volatilities"] * scale,
    }  # fmt: skip
    other = bachelier(**scaled, is_call=is_call)
    np.testing.assert_array_equal(
        (other.values, other.deltas, other.gammas), (one.values * scale, one.deltas, one.gammas / scale)
    )


def _slope(function, at, step):
    wide = (function(at + step) - function(at - step)) / (2 * step)
    narrow = (function(at + step / 2) - function(at - step / 2)) / step
    return (4 * narrow - wide) / 3


@given(options, sides)
def test_greeks_are_the_derivatives(option, is_call):
    greeks = bachelier(**option, is_call=is_call)
    higher = bachelier_higher(**option, is_call=is_call)
    years, volatility, width = option["years_to_expiry"], option["absolute_volatilities"], _width(option)
    size = width + abs(option["forwards"] - option["strikes"])

    def check(ours, name, argument, step, scale):
        def figure(at):
            return getattr(bachelier(**{**option, argument: at}, is_call=is_call), name)

        slope = _slope(figure, option[argument], step)
        assert ours == pytest.approx(slope, abs=4e-6 * scale, rel=1e-6)

    check(greeks.deltas, "values", "forwards", 0.01 * width, 1.0)
    check(greeks.gammas, "deltas", "forwards", 0.01 * width, 1.0 / width)
    check(greeks.vegas, "values", "absolute_volatilities", 0.01 * volatility, width / volatility)
    check(-greeks.thetas, "values", "years_to_expiry", 0.01 * years, size / years)
    check(greeks.rhos, "values", "rates", 0.01 / years, size * years)
    check(greeks.vannas, "deltas", "absolute_volatilities", 0.01 * volatility, 1.0 / volatility)
    check(greeks.volgas, "vegas", "absolute_volatilities", 0.01 * volatility, width / volatility**2)
    check(-higher.charms, "deltas", "years_to_expiry", 0.01 * years, 1.0 / years)
    check(higher.speeds, "gammas", "forwards", 0.01 * width, 1.0 / width**2)
    check(higher.zommas, "gammas", "absolute_volatilities", 0.01 * volatility, 1.0 / (width * volatility))
    check(-higher.colours, "gammas", "years_to_expiry", 0.01 * years, 1.0 / (width * years))


@given(st.floats(1e-4, 1e-2), st.floats(-2.0, 2.0), sides)
def test_a_narrow_lognormal_is_nearly_normal(width, distance, is_call):
    """Black-76 at σF as the absolute volatility: they differ by the order of the width itself."""
    shared = {"strikes": 100.0, "years_to_expiry": 1.0, "is_call": is_call}
    forward = 100.0 * (1.0 + distance * width)
    normal = bachelier(**shared, forwards=forward, absolute_volatilities=100.0 * width)
    lognormal = black_76(**shared, forwards=forward, volatilities=width)
    assert normal.values == pytest.approx(lognormal.values, abs=3.0 * width * 100.0 * width)


@pytest.mark.parametrize("nothing", [{"years_to_expiry": 0.0}, {"absolute_volatilities": 0.0}])
def test_limits_without_time_value_are_exact(nothing):
    arguments = {"years_to_expiry": 2.0, "absolute_volatilities": 5.0, "strikes": -10.0} | nothing
    greeks = bachelier(**arguments, forwards=[-3.0, -3.0, -10.0, -10.0], is_call=[True, False, True, False])
    np.testing.assert_array_equal(greeks.values, [7.0, 0.0, 0.0, 0.0])
    np.testing.assert_array_equal(greeks.deltas, [1.0, 0.0, 0.5, -0.5])
    np.testing.assert_array_equal(greeks.gammas, 0.0)
    np.testing.assert_array_equal(greeks.statuses, [0, 0, OptionStatus.AT_KINK, OptionStatus.AT_KINK])


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        ({"forwards": math.inf}, OptionStatus.NOT_FINITE),
        ({"strikes": math.nan}, OptionStatus.NOT_FINITE),
        ({"years_to_expiry": -1.0}, OptionStatus.TIME_NEGATIVE),
        ({"absolute_volatilities": -1.0}, OptionStatus.VOLATILITY_NEGATIVE),
        ({"rates": -1e6}, OptionStatus.OUT_OF_RANGE),
    ],
)
def test_bad_input_is_named_and_spoils_only_itself(fault, status):
    good = {
        "forwards": -5.0, "strikes": 1.0, "years_to_expiry": 0.5, "absolute_volatilities": 4.0, "rates": 0.01,
    }  # fmt: skip
    mixed = {name: [value, fault.get(name, value)] for name, value in good.items()}
    for price in (bachelier, bachelier_higher):
        greeks = price(**mixed, is_call=True)
        np.testing.assert_array_equal(greeks.statuses, [OptionStatus.VALID, status])
        for figure, expected in zip(greeks[:-1], price(**good, is_call=True)[:-1], strict=True):
            np.testing.assert_array_equal(figure, [expected, 0.0])


@given(st.tuples(*[st.floats(allow_nan=True, allow_infinity=True)] * 5), sides)
def test_no_input_yields_a_nan_or_a_warning(numbers, is_call):
    names = ("forwards", "strikes", "years_to_expiry", "absolute_volatilities", "rates")
    for price in (bachelier, bachelier_higher):
        greeks = price(**dict(zip(names, numbers, strict=True)), is_call=is_call)
        assert all(np.isfinite(figure) for figure in greeks)
        assert greeks.usable or not any(greeks[:-1])


COUNT = 61


@given(st.integers(0, 2**32 - 1), st.integers(0, COUNT - 1), st.integers(1, COUNT))
def test_any_slice_computes_the_same_bits_as_the_whole(seed, start, length):
    draw = np.random.default_rng(seed)
    book = {
        "forwards": draw.normal(0.0, 100.0, COUNT),
        "strikes": draw.normal(0.0, 100.0, COUNT),
        "years_to_expiry": draw.choice([0.0, 0.1, 2.0], COUNT),
        "absolute_volatilities": draw.choice([0.0, 3.0, 200.0], COUNT),
        "rates": draw.uniform(-0.1, 0.2, COUNT),
        "is_call": draw.integers(0, 2, COUNT).astype(bool),
    }
    part = slice(start, start + length)
    for price in (bachelier, bachelier_higher):
        whole = price(**book)
        sliced = price(**{name: column[part] for name, column in book.items()})
        assert [figure.tobytes() for figure in sliced] == [figure[part].tobytes() for figure in whole]
