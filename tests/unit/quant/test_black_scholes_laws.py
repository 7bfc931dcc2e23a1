"""Laws that need no reference: parity, homogeneity, bounds, limits, derivatives, statuses, independence."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import InvalidInput
from app.quant import conventions
from app.quant.bachelier import bachelier, bachelier_higher
from app.quant.black_scholes import (
    Exercise,
    OptionStatus,
    black_76,
    black_76_higher,
    black_scholes_merton,
    black_scholes_merton_higher,
    coin_settled,
)
from app.quant.conventions import deribit_greeks

options = st.fixed_dictionaries(
    {
        "spots": st.floats(1e-3, 1e6),
        "log_moneyness": st.floats(-1.0, 1.0),
        "years_to_expiry": st.floats(1e-3, 3.0),
        "volatilities": st.floats(0.05, 2.0),
        "rates": st.floats(-0.1, 0.3),
        "dividend_yields": st.floats(-0.1, 0.3),
    }
).map(
    lambda drawn: {
        **{name: value for name, value in drawn.items() if name != "log_moneyness"},
        "strikes": drawn["spots"] * math.exp(-drawn["log_moneyness"]),
    }
)
sides = st.booleans()


def _carried(option):
    """The discounted spot and strike, between which every law about values is stated."""
    years = option["years_to_expiry"]
    return (
        option["spots"] * math.exp(-option["dividend_yields"] * years),
        option["strikes"] * math.exp(-option["rates"] * years),
    )


@given(options)
def test_put_call_parity(option):
    call = black_scholes_merton(**option, is_call=True)
    put = black_scholes_merton(**option, is_call=False)
    spot, strike = _carried(option)
    assert call.values - put.values == pytest.approx(spot - strike, abs=1e-14 * (spot + strike))
    assert call.deltas - put.deltas == pytest.approx(spot / option["spots"], rel=1e-13)
    np.testing.assert_array_equal((call.gammas, call.vegas), (put.gammas, put.vegas))


@given(options, sides, st.floats(1e-3, 1e3))
def test_value_is_homogeneous_in_spot_and_strike(option, is_call, scale):
    scaled = {**option, "spots": option["spots"] * scale, "strikes": option["strikes"] * scale}
    one = black_scholes_merton(**option, is_call=is_call)
    other = black_scholes_merton(**scaled, is_call=is_call)
    size = sum(_carried(option))
    assert other.values / scale == pytest.approx(one.values, abs=1e-13 * size)
    # Euler: V = S dV/dS + K dV/dK, with dV/dK = -e^{-rT} N(d2) seen through rho = -T K dV/dK
    strike_leg = one.rhos / option["years_to_expiry"]
    assert one.values == pytest.approx(one.deltas * option["spots"] - strike_leg, abs=1e-14 * size)


@given(options, sides)
def test_value_lies_between_its_bounds(option, is_call):
    spot, strike = _carried(option)
    value = black_scholes_merton(**option, is_call=is_call).values
    intrinsic = max(spot - strike, 0.0) if is_call else max(strike - spot, 0.0)
    assert intrinsic * (1 - 1e-14) <= value <= (spot if is_call else strike) * (1 + 1e-14)


@given(options, sides, st.floats(1e-3, 1.0))
def test_value_is_monotonic_in_volatility_and_strike(option, is_call, more):
    base = black_scholes_merton(**option, is_call=is_call)
    slack = 1e-14 * sum(_carried(option))
    wilder = {**option, "volatilities": option["volatilities"] * (1 + more)}
    assert black_scholes_merton(**wilder, is_call=is_call).values >= base.values - slack
    farther = {**option, "strikes": option["strikes"] * (1 + more)}
    change = black_scholes_merton(**farther, is_call=is_call).values - base.values
    assert change <= slack if is_call else change >= -slack


def _slope(function, at, step):
    """Central difference with one Richardson step: its error is of order step^4."""
    wide = (function(at + step) - function(at - step)) / (2 * step)
    narrow = (function(at + step / 2) - function(at - step / 2)) / step
    return (4 * narrow - wide) / 3


OF_MOVES = ("spots", "years_to_expiry", "volatilities")


def _width(option):
    """The relative move over which an option's figures change: its total volatility, at most 1."""
    return min(option["volatilities"] * math.sqrt(option["years_to_expiry"]), 1.0)


@given(options, sides)
def test_greeks_are_the_derivatives(option, is_call):
    greeks = black_scholes_merton(**option, is_call=is_call)
    years, size, width = option["years_to_expiry"], sum(_carried(option)), _width(option)

    def figure(name, argument):
        return lambda at: getattr(black_scholes_merton(**{**option, argument: at}, is_call=is_call), name)

    def check(ours, name, argument, step, scale):
        at = option[argument]
        assert ours == pytest.approx(_slope(figure(name, argument), at, step), abs=2e-6 * scale, rel=1e-6)

    spot_step = 0.01 * width * option["spots"]
    check(greeks.deltas, "values", "spots", spot_step, 1.0)
    check(greeks.gammas, "deltas", "spots", spot_step, 1.0 / (option["spots"] * width))
    check(greeks.vegas, "values", "volatilities", 0.01 * option["volatilities"], size * math.sqrt(years))
    decay = size * (1.0 + width) / years  # -dV/dT, on the scale of what there is to lose per year
    check(-greeks.thetas, "values", "years_to_expiry", 0.01 * years, decay)
    check(greeks.rhos, "values", "rates", 0.01 * width / years, size * years)
    volatility_step = 0.01 * option["volatilities"]
    check(greeks.vannas, "deltas", "volatilities", volatility_step, 1.0 / option["volatilities"])
    check(
        greeks.volgas,
        "vegas",
        "volatilities",
        volatility_step,
        size * math.sqrt(years) / option["volatilities"],
    )


@given(options, sides)
def test_higher_greeks_are_the_derivatives(option, is_call):
    higher = black_scholes_merton_higher(**option, is_call=is_call)
    spot, years, volatility, width = *(option[name] for name in OF_MOVES), _width(option)
    gamma_scale = 1.0 / (spot * width)

    def check(ours, name, argument, step, scale):
        def figure(at):
            return getattr(black_scholes_merton(**{**option, argument: at}, is_call=is_call), name)

        slope = _slope(figure, option[argument], step)
        assert ours == pytest.approx(slope, abs=2e-6 * scale, rel=1e-6)

    check(-higher.charms, "deltas", "years_to_expiry", 0.01 * years, (1.0 + width) / years)
    check(higher.speeds, "gammas", "spots", 0.01 * width * spot, gamma_scale / (spot * width))
    check(higher.zommas, "gammas", "volatilities", 0.01 * volatility, gamma_scale / volatility)
    check(-higher.colours, "gammas", "years_to_expiry", 0.01 * years, gamma_scale * (1.0 + width) / years)


@given(options, sides)
def test_higher_greeks_on_a_forward_are_those_of_a_spot_without_carry(option, is_call):
    shared = {name: option[name] for name in ("strikes", "years_to_expiry", "volatilities", "rates")}
    on_forward = black_76_higher(**shared, forwards=option["spots"], is_call=is_call)
    on_spot = black_scholes_merton_higher(
        **shared, spots=option["spots"], dividend_yields=option["rates"], is_call=is_call
    )
    np.testing.assert_array_equal(on_forward, on_spot)


@given(options, sides)
def test_black_76_is_the_spot_formula_at_the_forward(option, is_call):
    years, rate = option["years_to_expiry"], option["rates"]
    growth = math.exp((rate - option["dividend_yields"]) * years)
    forward = {name: option[name] for name in ("strikes", "years_to_expiry", "volatilities", "rates")}
    on_forward = black_76(**forward, forwards=option["spots"] * growth, is_call=is_call)
    on_spot = black_scholes_merton(**option, is_call=is_call)
    size = sum(_carried(option))
    assert on_forward.values == pytest.approx(on_spot.values, abs=1e-13 * size)
    assert on_forward.deltas * growth == pytest.approx(on_spot.deltas, abs=1e-12)
    assert on_forward.rhos == pytest.approx(-years * on_forward.values, rel=1e-15)


@given(options, sides)
def test_net_delta_is_the_slope_of_the_coin_premium(option, is_call):
    arguments = {name: option[name] for name in ("strikes", "years_to_expiry", "volatilities")}
    greeks = coin_settled(**arguments, forwards=option["spots"], is_call=is_call)
    plain = black_76(**arguments, forwards=option["spots"], is_call=is_call)
    np.testing.assert_array_equal(greeks.deltas, plain.deltas)
    np.testing.assert_array_equal(greeks.values_in_coin, plain.values / option["spots"])
    slope = _slope(
        lambda at: coin_settled(**arguments, forwards=at, is_call=is_call).values_in_coin,
        option["spots"],
        0.01 * _width(option) * option["spots"],
    )
    assert greeks.net_deltas == pytest.approx(option["spots"] * slope, abs=1e-6, rel=1e-6)


@pytest.mark.parametrize("exercise", [Exercise.AMERICAN, Exercise.BERMUDAN])
@pytest.mark.parametrize("price", [black_76, black_76_higher, coin_settled, bachelier, bachelier_higher])
def test_other_exercise_is_refused_by_its_name(price, exercise):
    volatility = "absolute_volatilities" if price in (bachelier, bachelier_higher) else "volatilities"
    arguments = {"forwards": 1.0, "strikes": 1.0, "years_to_expiry": 1.0, volatility: 1.0, "is_call": True}
    with pytest.raises(InvalidInput, match=f"{exercise} exercise is not priced") as refused:
        price(**arguments, exercise=exercise)
    assert refused.value.path == "/exercise"


@given(options, sides)
def test_dollar_greeks_are_the_moves_they_are_named_after(option, is_call):
    """Each is a move to first order of the dollar delta, or of the dollar gamma."""
    greeks = black_scholes_merton(**option, is_call=is_call)
    higher = black_scholes_merton_higher(**option, is_call=is_call)
    prices = {"underlying_prices": option["spots"]}
    percent, point, day = 0.01 * option["spots"], 0.01, 1 / 365
    expected = {
        "gammas": (conventions.dollar_gammas_per_percent, greeks.gammas, percent * option["spots"]),
        "vannas": (conventions.dollar_vannas_per_point, greeks.vannas, point * option["spots"]),
        "charms": (conventions.dollar_charms_per_day, higher.charms, day * option["spots"]),
        "speeds": (conventions.dollar_speeds_per_percent, higher.speeds, percent**2 * option["spots"]),
        "zommas": (conventions.dollar_zommas_per_point, higher.zommas, percent * point * option["spots"]),
        "colours": (conventions.dollar_colours_per_day, higher.colours, percent * day * option["spots"]),
    }
    for name, (scale, raw, factor) in expected.items():
        assert scale(**{name: raw}, **prices) == pytest.approx(raw * factor, rel=1e-14)
    assert conventions.volgas_per_point_squared(greeks.volgas) == pytest.approx(greeks.volgas * point**2)


def test_limits_without_time_value_are_exact():
    both = {"strikes": 100.0, "is_call": [True, False, True, False], "spots": [120.0, 120.0, 80.0, 80.0]}
    expired = black_scholes_merton(**both, years_to_expiry=0.0, volatilities=0.5, rates=0.1)
    np.testing.assert_array_equal(expired.values, [20.0, 0.0, 0.0, 20.0])
    np.testing.assert_array_equal(expired.deltas, [1.0, 0.0, 0.0, -1.0])
    np.testing.assert_array_equal((expired.gammas, expired.vegas, expired.rhos), np.zeros((3, 4)))
    np.testing.assert_array_equal(expired.statuses, OptionStatus.VALID)
    np.testing.assert_array_equal((expired.vannas, expired.volgas), np.zeros((2, 4)))
    higher = black_scholes_merton_higher(**both, years_to_expiry=0.0, volatilities=0.5, rates=0.1)
    np.testing.assert_array_equal(higher[:4], np.zeros((4, 4)))
    certain = black_scholes_merton(**both, years_to_expiry=2.0, volatilities=0.0, rates=0.1)
    strike = 100.0 * np.exp(-0.1 * 2.0)
    np.testing.assert_array_equal(certain.values, [120.0 - strike, 0.0, 0.0, strike - 80.0])
    np.testing.assert_array_equal(certain.thetas, [-0.1 * strike, 0.0, 0.0, 0.1 * strike])
    np.testing.assert_array_equal(certain.rhos, [2.0 * strike, 0.0, 0.0, -2.0 * strike])


@pytest.mark.parametrize("width", [{"years_to_expiry": 0.0}, {"volatilities": 0.0}])
def test_the_kink_is_named_and_finite(width):
    arguments = {"forwards": 50.0, "strikes": 50.0, "years_to_expiry": 1.0, "volatilities": 0.3} | width
    greeks = black_76(**arguments, is_call=[True, False])
    np.testing.assert_array_equal(greeks.statuses, OptionStatus.AT_KINK)
    assert greeks.usable.all()
    np.testing.assert_array_equal(greeks.values, 0.0)
    np.testing.assert_array_equal(greeks.deltas, [0.5, -0.5])
    np.testing.assert_array_equal(greeks.gammas, 0.0)


@given(options, sides)
def test_the_limit_is_approached(option, is_call):
    nearly = black_scholes_merton(**{**option, "volatilities": 1e-9}, is_call=is_call)
    at_limit = black_scholes_merton(**{**option, "volatilities": 0.0}, is_call=is_call)
    assert nearly.values == pytest.approx(at_limit.values, abs=2e-9 * sum(_carried(option)))


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        ({"spots": math.nan}, OptionStatus.NOT_FINITE),
        ({"rates": math.inf}, OptionStatus.NOT_FINITE),
        ({"spots": 0.0}, OptionStatus.UNDERLYING_NOT_POSITIVE),
        ({"strikes": -1.0}, OptionStatus.STRIKE_NOT_POSITIVE),
        ({"years_to_expiry": -1e-9}, OptionStatus.TIME_NEGATIVE),
        ({"volatilities": -0.1}, OptionStatus.VOLATILITY_NEGATIVE),
        ({"rates": -1e6}, OptionStatus.OUT_OF_RANGE),
    ],
)
def test_bad_input_is_named_and_spoils_only_itself(fault, status):
    good = {"spots": 100.0, "strikes": 90.0, "years_to_expiry": 0.5, "volatilities": 0.4, "rates": 0.01}
    mixed = {name: [value, fault.get(name, value)] for name, value in good.items()}
    greeks = black_scholes_merton(**mixed, is_call=True)
    np.testing.assert_array_equal(greeks.statuses, [OptionStatus.VALID, status])
    alone = black_scholes_merton(**good, is_call=True)
    for figure, expected in zip(greeks[:6], alone[:6], strict=True):
        np.testing.assert_array_equal(figure, [expected, 0.0])


@given(st.tuples(*[st.floats(allow_nan=True, allow_infinity=True)] * 6), sides)
def test_no_input_yields_a_nan_or_a_warning(numbers, is_call):
    underlying, strike, years, volatility, rate, dividend_yield = numbers
    shared = {"strikes": strike, "years_to_expiry": years, "volatilities": volatility, "is_call": is_call}
    for greeks in (
        black_scholes_merton(**shared, spots=underlying, rates=rate, dividend_yields=dividend_yield),
        coin_settled(**shared, forwards=underlying, rates=rate),
        deribit_greeks(**shared, underlying_prices=underlying),
        black_scholes_merton_higher(**shared, spots=underlying, rates=rate, dividend_yields=dividend_yield),
    ):
        assert all(np.isfinite(figure) for figure in greeks)
        assert greeks.usable or not any(greeks[:-1])


COUNT = 67


def _book(seed):
    draw = np.random.default_rng(seed)
    return {
        "spots": draw.uniform(1e-2, 1e5, COUNT),
        "strikes": draw.uniform(1e-2, 1e5, COUNT),
        "years_to_expiry": draw.choice([0.0, 1e-4, 0.1, 2.0], COUNT) * draw.uniform(0.5, 1.0, COUNT),
        "volatilities": draw.choice([-1.0, 0.0, 0.2, 1.5], COUNT) * draw.uniform(0.5, 1.0, COUNT),
        "rates": draw.uniform(-0.1, 0.2, COUNT),
        "dividend_yields": draw.uniform(-0.1, 0.2, COUNT),
        "is_call": draw.integers(0, 2, COUNT).astype(bool),
    }


def _bits(greeks, where=slice(None)):
    return [np.asarray(figure)[where].tobytes() for figure in greeks]


@given(
    st.integers(0, 2**32 - 1),
    st.integers(0, COUNT - 1),
    st.integers(1, COUNT),
    st.sampled_from([-7, -2, -1, 1, 2, 3, 16]),
)
def test_any_slice_computes_the_same_bits_as_the_whole(seed, start, length, step):
    book = _book(seed)
    part = slice(start, start + length)
    views = {name: column[part][::step] for name, column in book.items()}
    chosen = np.arange(COUNT)[part][::step]
    far_apart = {name: np.tile(column[:, None], (1, 700))[:, 0] for name, column in book.items()}
    reordered = np.random.default_rng(seed).permutation(COUNT)
    for price in (black_scholes_merton, black_scholes_merton_higher):
        whole = price(**book)
        assert _bits(price(**views)) == _bits(whole, chosen)
        assert _bits(price(**far_apart)) == _bits(whole)
        alone = price(**{name: column[start] for name, column in book.items()})
        assert _bits(alone, ...) == _bits(whole, start)
        shuffled = price(**{name: column[reordered] for name, column in book.items()})
        assert _bits(shuffled) == _bits(whole, reordered)


def test_grids_broadcast_to_the_bits_of_their_elements():
    book = _book(1)
    spots = book.pop("spots")[:5, None]
    grid = black_scholes_merton(spots=spots, **book)
    assert grid.values.shape == (5, COUNT)
    for index in range(5):
        row = black_scholes_merton(spots=spots[index], **book)
        assert _bits(grid, index) == _bits(row)


def test_an_empty_book_is_priced():
    empty = black_76(forwards=[], strikes=[], years_to_expiry=[], volatilities=[], is_call=[])
    assert empty.values.shape == empty.statuses.shape == (0,)
