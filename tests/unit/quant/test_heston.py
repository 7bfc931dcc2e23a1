"""Heston: published values, 40 digits, QuantLib, limits, parity, martingale, derivatives, statuses."""

import math

import mpmath
import numpy as np
import pytest
import QuantLib
from hypothesis import given, settings
from hypothesis import strategies as st

from app.quant.black_scholes import black_76
from app.quant.heston import HestonStatus, heston

MODEL = {
    "initial_variances": 0.5,
    "mean_reversion_speeds": 3.0,
    "long_run_variances": 0.6,
    "volatilities_of_variance": 1.5,
    "correlations": -0.3,
}
models = st.fixed_dictionaries(
    {
        "initial_variances": st.floats(1e-3, 2.0),
        "mean_reversion_speeds": st.floats(0.0, 10.0),
        "long_run_variances": st.floats(1e-3, 2.0),
        "volatilities_of_variance": st.floats(0.0, 3.0),
        "correlations": st.floats(-0.95, 0.95),
        "years_to_expiry": st.floats(0.01, 5.0),
    }
)


def _named(initial, speed, long_run, volatility, correlation, years):
    return {
        "initial_variances": initial,
        "mean_reversion_speeds": speed,
        "long_run_variances": long_run,
        "volatilities_of_variance": volatility,
        "correlations": correlation,
        "years_to_expiry": years,
    }


def test_the_values_that_lewis_published():
    """Fifty digits each: A. Lewis, as quoted in QuantLib's test suite (hestonmodel.cpp, Alan Lewis)."""
    strikes = np.array([80.0, 90.0, 100.0, 110.0, 120.0])
    puts = [
        7.958878113256768285213263077598987193482161301733,
        12.017966707346304987709573290236471654992071308187,
        17.055270961270109413522653999411000974895436309183,
        23.017825898442800538908781834822560777763225722188,
        29.811026202682471843340682293165857439167301370697,
    ]
    calls = [
        26.774758743998854221382195325726949201687074848341,
        20.933349000596710388139445766564068085476194042256,
        16.070154917028834278213466703938231827658768230714,
        12.132211516709844867860534767549426052805766831181,
        9.024913483457835636553375454092357136489051667150,
    ]
    contract = {
        "forwards": 100.0 * math.exp(0.01 - 0.02),
        "strikes": strikes,
        "rates": 0.01,
        **_named(0.04, 4.0, 0.25, 1.0, -0.5, 1.0),
    }
    np.testing.assert_allclose(heston(**contract, is_call=False).values, puts, rtol=3e-15)
    np.testing.assert_allclose(heston(**contract, is_call=True).values, calls, rtol=3e-15)


def test_the_values_of_andersen_where_feller_is_far_violated():
    """L. Andersen, Simple and efficient simulation of the Heston model, Journal of Computational Finance 11
    (2008), case I, to the digits printed there.
    """
    found = heston(
        forwards=100.0,
        strikes=[60.0, 100.0, 140.0],
        **_named(0.04, 0.5, 0.04, 1.0, -0.9, 10.0),
        is_call=True,
    )
    assert np.all(found.statuses == HestonStatus.FELLER_VIOLATED)
    assert np.all(found.usable)
    np.testing.assert_allclose(found.values, [44.330, 13.085, 0.296], atol=0.5e-3)


def _reference_call(strike: float, model: dict[str, float]) -> mpmath.mpf:
    """On a forward of 1: Lewis' integral on Im ξ = -1/2 of the characteristic function in its usual form."""
    v0, speed, long_run, sigma, rho, years = (mpmath.mpf(value) for value in model.values())
    k = mpmath.log(mpmath.mpf(strike))

    def characteristic(u):
        b = speed - 1j * rho * sigma * u
        d = mpmath.sqrt(b * b + sigma**2 * (u * u + 1j * u))
        g, e = (b - d) / (b + d), mpmath.exp(-d * years)
        drift = (b - d) * years - 2 * mpmath.log((1 - g * e) / (1 - g))
        return mpmath.exp((speed * long_run * drift + v0 * (b - d) * (1 - e) / (1 - g * e)) / sigma**2)

    def integrand(u):
        value = mpmath.exp(-1j * u * k) * characteristic(u - mpmath.mpf("0.5") * 1j)
        return mpmath.re(value) / (u * u + mpmath.mpf("0.25"))

    end = mpmath.mpf(1)
    while abs(characteristic(end - mpmath.mpf("0.5") * 1j)) > mpmath.mpf(10) ** -36:
        end *= 1.5
    corners = [mpmath.mpf(0)]
    for power in range(13, -1, -1):
        start, stop = corners[-1], end * mpmath.mpf(2) ** -power
        pieces = int((stop - start) * abs(k) / 6) + 1
        corners += [start + (stop - start) * (i + 1) / pieces for i in range(pieces)]
    with mpmath.workdps(40):
        area = mpmath.quad(integrand, corners, method="gauss-legendre", maxdegree=7)
    return 1 - mpmath.sqrt(mpmath.mpf(strike)) / mpmath.pi * area


@pytest.mark.parametrize(
    ("strike", "model"),
    [
        (1.0, _named(0.04, 1.5, 0.04, 0.3, -0.7, 1.0)),
        (2.0, _named(0.04, 1.5, 0.04, 0.3, -0.7, 1.0)),
        (0.6, _named(0.64, 4.0, 0.5, 1.5, 0.2, 0.5)),
        (1.01, _named(0.3, 2.0, 0.4, 2.0, -0.4, 0.02)),
        (0.8, _named(0.04, 0.5, 0.04, 1.0, -0.9, 10.0)),
        (1.4, _named(0.8, 8.0, 0.6, 3.0, 0.5, 0.25)),
        (3.0, _named(0.4, 0.2, 0.5, 2.0, 0.8, 4.0)),
    ],
)
def test_fifteen_digits_of_an_independent_integral(strike, model):
    """Also of the value of an option far out of the money (8e-8 of the forward), and of fat tails."""
    with mpmath.workdps(40):
        call = _reference_call(strike, model)
        exact = call if strike >= 1.0 else call - 1 + mpmath.mpf(strike)
        found = heston(forwards=1.0, strikes=strike, **model, is_call=strike >= 1.0)
        assert abs(float(found.values) / exact - 1) <= 5e-15


def _quantlib_value(strike: float, is_call: bool, days: int, model: dict[str, float]) -> float:
    today, count = QuantLib.Date(1, 1, 2021), QuantLib.Actual365Fixed()
    QuantLib.Settings.instance().evaluationDate = today
    flat = QuantLib.YieldTermStructureHandle(QuantLib.FlatForward(today, 0.0, count))
    spot = QuantLib.QuoteHandle(QuantLib.SimpleQuote(100.0))
    process = QuantLib.HestonProcess(flat, flat, spot, *list(model.values())[:5])
    side = QuantLib.Option.Call if is_call else QuantLib.Option.Put
    option = QuantLib.VanillaOption(
        QuantLib.PlainVanillaPayoff(side, strike), QuantLib.EuropeanExercise(today + days)
    )
    option.setPricingEngine(QuantLib.AnalyticHestonEngine(QuantLib.HestonModel(process), 1e-13, 1_000_000))
    return option.NPV()


def test_quantlib_agrees():
    """With its adaptive Gauss-Lobatto, within 1e-10 everywhere (its Gauss-Laguerre of 144 loses digits)."""
    random = np.random.default_rng(3)
    for _ in range(150):
        days = int(random.integers(20, 1000))
        model = _named(
            random.uniform(0.04, 1.0),
            random.uniform(0.5, 6.0),
            random.uniform(0.04, 1.0),
            random.uniform(0.2, 2.0),
            random.uniform(-0.8, 0.8),
            days / 365.0,
        )
        width = math.sqrt(model["initial_variances"] * model["years_to_expiry"])
        strike = 100.0 * math.exp(random.uniform(-1.5, 1.5) * width)
        is_call = strike >= 100.0
        ours = heston(forwards=100.0, strikes=strike, **model, is_call=is_call)
        assert float(ours.values) == pytest.approx(_quantlib_value(strike, is_call, days, model), rel=1e-11)


@given(models, st.floats(-1.0, 1.0))
def test_without_volatility_of_variance_it_is_black_scholes_with_the_average_variance(model, moneyness):
    model = {**model, "volatilities_of_variance": 0.0}
    speed, years = model["mean_reversion_speeds"], model["years_to_expiry"]
    decay = speed * years
    mean_life = 1.0 if decay == 0.0 else -math.expm1(-decay) / decay
    variance = model["long_run_variances"] * (1.0 - mean_life) + model["initial_variances"] * mean_life
    strike = 100.0 * math.exp(moneyness)
    is_call = strike >= 100.0
    found = heston(forwards=100.0, strikes=strike, **model, is_call=is_call)
    black = black_76(
        forwards=100.0,
        strikes=strike,
        years_to_expiry=years,
        volatilities=math.sqrt(variance),
        is_call=is_call,
    )
    if black.values > 1e-8:
        assert found.values == pytest.approx(black.values, rel=1e-11, abs=1e-14)
        assert found.deltas == pytest.approx(black.deltas, rel=1e-11, abs=1e-14)
        assert found.gammas == pytest.approx(black.gammas, rel=1e-11)


def test_the_limit_of_small_volatility_of_variance_is_smooth():
    """The error of leaving it out falls with its square, down to the last digits: nothing cancels."""
    model = {**_named(0.5, 3.0, 0.6, 0.0, 0.0, 0.7), "forwards": 100.0, "strikes": 120.0, "is_call": True}
    exact = float(heston(**model).values)
    small = {**model, "volatilities_of_variance": [1e-1, 1e-2, 1e-3, 1e-5, 1e-9]}
    errors = np.abs(heston(**small).values / exact - 1.0)
    assert errors[1] == pytest.approx(errors[0] / 100.0, rel=0.05)
    assert errors[2] == pytest.approx(errors[1] / 100.0, rel=0.05)
    assert np.all(errors[3:] <= 1e-11)


@given(models, st.floats(-1.5, 1.5), st.floats(-0.1, 0.2))
def test_put_call_parity(model, moneyness, rate):
    strike = 100.0 * math.exp(moneyness)
    call = heston(forwards=100.0, strikes=strike, **model, rates=rate, is_call=True)
    put = heston(forwards=100.0, strikes=strike, **model, rates=rate, is_call=False)
    discount = math.exp(-rate * model["years_to_expiry"])
    assert call.statuses == put.statuses
    assert call.usable
    assert call.values - put.values == pytest.approx(discount * (100.0 - strike), abs=1e-12)
    assert call.deltas - put.deltas == pytest.approx(discount, abs=1e-14)
    assert call.gammas == put.gammas >= 0.0


@given(models, st.floats(-1.5, 1.5))
def test_put_call_symmetry(model, moneyness):
    """A call is a put seen from the other currency, whose variance reverts at κ - ρσ: another contour."""
    sigma, rho = model["volatilities_of_variance"], model["correlations"]
    speed = model["mean_reversion_speeds"] - rho * sigma
    if speed <= 0.01:
        return
    pull = model["mean_reversion_speeds"] * model["long_run_variances"]
    mirrored = {
        **model,
        "mean_reversion_speeds": speed,
        "long_run_variances": pull / speed,
        "correlations": -rho,
    }
    strike = math.exp(moneyness)
    call = heston(forwards=1.0, strikes=strike, **model, is_call=True)
    put = heston(forwards=strike, strikes=1.0, **mirrored, is_call=False)
    assert call.values == pytest.approx(put.values, rel=1e-10, abs=1e-300)


@pytest.mark.parametrize(
    "model",
    [
        _named(0.5, 3.0, 0.6, 1.5, -0.3, 0.5),
        _named(0.09, 1.0, 0.16, 0.6, 0.7, 1.0),
        _named(0.3, 2.0, 0.4, 2.0, -0.6, 0.1),
        _named(0.04, 0.0, 0.0, 0.0, 0.0, 0.25),
    ],
)
def test_the_forward_is_a_martingale(model):
    """The density from the gammas, q(K) = (F/K)² gamma, integrates to 1 and has the forward as its mean."""
    log_strikes, width = np.linspace(-12.0, 12.0, 2_401, retstep=True)
    strikes = np.exp(log_strikes)
    found = heston(forwards=1.0, strikes=strikes, **model, is_call=True)
    density = found.gammas / strikes  # of ln K
    assert width * density.sum() == pytest.approx(1.0, abs=1e-10)
    assert width * (strikes * density).sum() == pytest.approx(1.0, abs=1e-10)


def test_greeks_are_the_derivatives():
    strikes, years = np.array([40.0, 80.0, 100.0, 125.0, 250.0])[:, None], np.array([0.05, 0.5, 2.0])

    def at(**changed):
        contract = {"forwards": 100.0, "strikes": strikes, "years_to_expiry": years, "rates": 0.04, **MODEL}
        return heston(**{**contract, **changed}, is_call=strikes > 90.0)

    def slope(name, figure, value, h):
        up, down = at(**{name: value + h}), at(**{name: value - h})
        return (getattr(up, figure) - getattr(down, figure)) / (2.0 * h)

    found = at()
    cases = [
        (found.deltas, slope("forwards", "values", 100.0, 1e-2)),
        (found.gammas, slope("forwards", "deltas", 100.0, 1e-2)),
        (found.variance_vegas, slope("initial_variances", "values", 0.5, 1e-4)),
        (found.long_run_variance_vegas, slope("long_run_variances", "values", 0.6, 1e-4)),
        (found.vannas, slope("initial_variances", "deltas", 0.5, 1e-4)),
        (found.volgas, slope("initial_variances", "variance_vegas", 0.5, 1e-4)),
        (found.thetas, -slope("years_to_expiry", "values", years, 1e-5)),
    ]
    for analytic, difference in cases:
        np.testing.assert_allclose(analytic, difference, rtol=3e-5, atol=1e-9)
    adjusted = found.deltas + -0.3 * 1.5 * found.variance_vegas / 100.0
    np.testing.assert_allclose(found.minimum_variance_deltas, adjusted, rtol=1e-14)


@pytest.mark.long
def test_every_contract_of_a_wide_grid_converges():
    """The grid on which Andersen and Lake (2018) try their contours, to fat tails of thirty years."""
    grid = np.meshgrid(
        [100.0001, 101.0, 110.0, 200.0, 1000.0, 10000.0],
        [0.0025, 0.1, 0.5, 2.0, 10.0, 30.0],
        [0.0001, 0.0025, 0.04, 0.25, 1.0],
        [0.01, 0.1, 0.5, 2.0],
        [0.0001, 0.0025, 0.04, 0.25, 1.0],
        [0.0001, 0.1, 0.5, 1.0, 3.0],
        [-0.95, -0.5, -0.1, 0.0, 0.1, 0.5, 0.95],
    )
    strikes, years, initial, speed, long_run, sigma, rho = (each.ravel() for each in grid)
    found = heston(
        forwards=100.0, strikes=strikes, **_named(initial, speed, long_run, sigma, rho, years), is_call=True
    )
    assert found.values.size == 126_000
    assert np.all(found.usable)
    other = speed - rho * sigma
    mirrored = other > 0.005
    puts = heston(
        forwards=strikes[mirrored],
        strikes=100.0,
        **_named(
            initial[mirrored],
            other[mirrored],
            (speed * long_run)[mirrored] / other[mirrored],
            sigma[mirrored],
            -rho[mirrored],
            years[mirrored],
        ),
        is_call=False,
    )
    calls = found.values[mirrored]
    seen = calls > 1e-250
    errors = np.abs(puts.values[seen] / calls[seen] - 1.0)
    assert errors.max() <= 1e-9
    assert np.quantile(errors, 0.99) <= 1e-12


def test_no_time_or_no_variance_is_the_limit():
    none = {**MODEL, "years_to_expiry": 0.0}
    found = heston(forwards=100.0, strikes=[90.0, 100.0, 110.0], **none, is_call=True)
    assert found.values.tolist() == [10.0, 0.0, 0.0]
    assert found.deltas.tolist() == [1.0, 0.5, 0.0]
    assert found.statuses.tolist() == [HestonStatus.VALID, HestonStatus.AT_KINK, HestonStatus.VALID]
    still = {**_named(0.0, 2.0, 0.0, 0.0, 0.0, 1.0)}
    put = heston(forwards=100.0, strikes=[90.0, 110.0], **still, rates=0.1, is_call=False)
    np.testing.assert_allclose(put.values, [0.0, 10.0 * math.exp(-0.1)])
    np.testing.assert_allclose(put.deltas, [0.0, -math.exp(-0.1)])
    np.testing.assert_allclose(put.thetas, 0.1 * put.values)


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"forwards": math.nan}, HestonStatus.NOT_FINITE),
        ({"rates": math.inf}, HestonStatus.NOT_FINITE),
        ({"forwards": 0.0}, HestonStatus.FORWARD_NOT_POSITIVE),
        ({"strikes": -1.0}, HestonStatus.STRIKE_NOT_POSITIVE),
        ({"years_to_expiry": -0.1}, HestonStatus.TIME_NEGATIVE),
        ({"initial_variances": -0.1}, HestonStatus.VARIANCE_NEGATIVE),
        ({"long_run_variances": -0.1}, HestonStatus.VARIANCE_NEGATIVE),
        ({"mean_reversion_speeds": -0.1}, HestonStatus.SPEED_NEGATIVE),
        ({"volatilities_of_variance": -0.1}, HestonStatus.VOLATILITY_OF_VARIANCE_NEGATIVE),
        ({"correlations": 1.0}, HestonStatus.CORRELATION_OUTSIDE),
        ({"volatilities_of_variance": 3.0}, HestonStatus.FELLER_VIOLATED),
    ],
)
def test_parameters_are_named_by_what_is_wrong_with_them(changed, status):
    contract = {"forwards": 100.0, "strikes": 100.0, "years_to_expiry": 1.0, "rates": 0.0, **MODEL}
    found = heston(**{**contract, **changed}, is_call=True)
    assert found.statuses == status
    assert bool(found.usable) == (status == HestonStatus.FELLER_VIOLATED)
    if not found.usable:
        assert all(float(figure) == 0.0 for figure in found[:-1])


@settings(max_examples=60)
@given(st.lists(st.floats(), min_size=9, max_size=9), st.booleans())
def test_never_a_nan(numbers, is_call):
    forward, strike, rate, *model = numbers
    found = heston(forwards=forward, strikes=strike, rates=rate, **_named(*model), is_call=is_call)
    assert all(np.isfinite(figure) for figure in found)


def test_shapes_broadcast_and_a_slice_computes_the_same_bits():
    strikes, years = np.linspace(50.0, 150.0, 11)[:, None], np.array([0.1, 0.5, 1.0])
    whole = heston(forwards=100.0, strikes=strikes, years_to_expiry=years, **MODEL, is_call=True)
    assert whole.values.shape == (11, 3)
    part = heston(forwards=100.0, strikes=strikes[::2, 0], years_to_expiry=0.5, **MODEL, is_call=True)
    for ours, theirs in zip(part, whole, strict=True):
        np.testing.assert_array_equal(ours, theirs[::2, 1])
