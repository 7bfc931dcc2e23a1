"""Merton's jumps: published values, 50 digits, QuantLib, limits, parity, derivatives, statuses."""

import math

import mpmath
import numpy as np
import pytest
import QuantLib
from hypothesis import given
from hypothesis import strategies as st

from app.quant.black_scholes import black_76
from app.quant.merton_jumps import MertonStatus, merton_jump_diffusion

models = st.fixed_dictionaries(
    {
        "years_to_expiry": st.floats(0.01, 3.0),
        "volatilities": st.floats(0.05, 1.5),
        "jump_intensities": st.floats(0.0, 30.0),
        "mean_log_jumps": st.floats(-0.5, 0.5),
        "jump_volatilities": st.floats(0.0, 0.6),
    }
)
MODEL = {
    "volatilities": 0.3,
    "jump_intensities": 2.0,
    "mean_log_jumps": -0.1,
    "jump_volatilities": 0.2,
}


@pytest.mark.parametrize(
    ("strike", "years", "intensity", "share", "printed"),
    [
        (80.0, 0.10, 1.0, 0.25, 20.67),
        (80.0, 0.50, 5.0, 0.25, 23.61),
        (90.0, 0.25, 10.0, 0.25, 12.75),
        (100.0, 0.10, 1.0, 0.50, 3.14),
        (100.0, 0.50, 5.0, 0.50, 8.96),
        (110.0, 0.25, 1.0, 0.50, 1.93),
        (120.0, 0.50, 1.0, 0.50, 2.15),
        (120.0, 0.10, 5.0, 0.25, 0.06),
        (80.0, 0.25, 1.0, 0.75, 21.96),
        (90.0, 0.10, 1.0, 0.75, 11.11),
    ],
)
def test_haugs_table(strike, years, intensity, share, printed):
    """E. G. Haug, The Complete Guide to Option Pricing Formulas (1998), page 9, as QuantLib's tests quote it:
    spot 100, rate 8 %, total volatility 25 %, of whose variance the jumps (mean zero) make the share.
    """
    forward = 100.0 * math.exp(0.08 * years)
    jump_volatility = 0.25 * math.sqrt(share / intensity)
    found = merton_jump_diffusion(
        forwards=forward,
        strikes=strike,
        years_to_expiry=years,
        volatilities=0.25 * math.sqrt(1.0 - share),
        jump_intensities=intensity,
        mean_log_jumps=-0.5 * jump_volatility**2,
        jump_volatilities=jump_volatility,
        rates=0.08,
        is_call=True,
    )
    assert found.values == pytest.approx(printed, abs=0.0051)


def _exact(strike: float, model: dict[str, float], is_call: bool) -> mpmath.mpf:
    """On a forward of 1: the series at 50 digits, to far beyond the last of them."""
    years, sigma, intensity, mean_log, jump_volatility = (mpmath.mpf(value) for value in model.values())
    growth = mean_log + jump_volatility**2 / 2
    drift = intensity * years * (mpmath.exp(growth) - 1)
    sign = 1 if is_call else -1
    total, probability, n = mpmath.mpf(0), mpmath.exp(-intensity * years), 0
    while n < 60 + intensity * years or probability * mpmath.exp(n * max(growth, 0)) > mpmath.mpf(10) ** -60:
        forward = mpmath.exp(n * growth - drift)
        s = mpmath.sqrt(sigma**2 * years + n * jump_volatility**2)
        d1 = mpmath.log(forward / strike) / s + s / 2
        black = sign * (forward * mpmath.ncdf(sign * d1) - strike * mpmath.ncdf(sign * (d1 - s)))
        total += probability * black
        n += 1
        probability *= intensity * years / n
    return total


def test_twelve_digits_of_the_whole_series_however_far_out_of_the_money():
    random = np.random.default_rng(1)
    worst, smallest = 0.0, 1.0
    for _ in range(60):
        model = {
            "years_to_expiry": random.uniform(0.01, 3.0),
            "volatilities": random.uniform(0.05, 1.5),
            "jump_intensities": random.choice([0.1, random.uniform(0.0, 10.0)]),
            "mean_log_jumps": random.uniform(-0.5, 0.5),
            "jump_volatilities": random.uniform(0.0, 0.6),
        }
        moneyness = random.uniform(-4.0, 4.0)
        strike, is_call = math.exp(moneyness), moneyness > 0.0
        found = merton_jump_diffusion(forwards=1.0, strikes=strike, **model, is_call=is_call)
        with mpmath.workdps(50):
            exact = _exact(strike, model, is_call)
            worst = max(worst, float(abs(mpmath.mpf(float(found.values)) / exact - 1)))
        smallest = min(smallest, float(exact))
        assert 0.0 <= found.truncation_errors <= 1.2e-16 * found.values
    assert smallest < 1e-15
    assert worst <= 1e-12


def test_few_and_many_jumps_are_summed_to_the_end():
    jumps = np.array([0.5, 5.0, 50.0, 400.0])
    found = merton_jump_diffusion(
        forwards=1.0,
        strikes=1.0,
        years_to_expiry=1.0,
        volatilities=0.2,
        jump_intensities=jumps,
        mean_log_jumps=0.0,
        jump_volatilities=0.02,
        is_call=False,
    )
    assert np.all(found.statuses == MertonStatus.VALID)
    assert np.all(found.truncation_errors <= 1.2e-16 * found.values)
    for intensity, value in zip(jumps, found.values, strict=True):
        with mpmath.workdps(50):
            model = {"years": 1.0, "sigma": 0.2, "intensity": intensity, "mean": 0.0, "jump": 0.02}
            assert float(_exact(1.0, model, is_call=False)) == pytest.approx(value, rel=2e-13)


def test_quantlib_agrees():
    """Its Python has no JumpDiffusionEngine; its Bates engine with (nearly) constant variance is one."""
    today, count = QuantLib.Date(1, 1, 2021), QuantLib.Actual365Fixed()
    QuantLib.Settings.instance().evaluationDate = today
    flat = QuantLib.YieldTermStructureHandle(QuantLib.FlatForward(today, 0.0, count))
    spot = QuantLib.QuoteHandle(QuantLib.SimpleQuote(100.0))
    random = np.random.default_rng(5)
    for _ in range(100):
        days, sigma = int(random.integers(20, 730)), random.uniform(0.1, 1.0)
        intensity, mean_log, jump_volatility = (
            random.uniform(0.0, 8.0),
            random.uniform(-0.2, 0.2),
            random.uniform(0.02, 0.3),
        )
        process = QuantLib.BatesProcess(
            flat, flat, spot, sigma**2, 1.0, sigma**2, 1e-6, 0.0, intensity, mean_log, jump_volatility
        )
        strike = 100.0 * math.exp(random.uniform(-1.0, 1.0) * sigma * math.sqrt(days / 365))
        is_call = strike >= 100.0
        side = QuantLib.Option.Call if is_call else QuantLib.Option.Put
        option = QuantLib.VanillaOption(
            QuantLib.PlainVanillaPayoff(side, strike), QuantLib.EuropeanExercise(today + days)
        )
        option.setPricingEngine(QuantLib.BatesEngine(QuantLib.BatesModel(process), 1e-13, 1_000_000))
        found = merton_jump_diffusion(
            forwards=100.0,
            strikes=strike,
            years_to_expiry=days / 365.0,
            volatilities=sigma,
            jump_intensities=intensity,
            mean_log_jumps=mean_log,
            jump_volatilities=jump_volatility,
            is_call=is_call,
        )
        assert float(found.values) == pytest.approx(option.NPV(), rel=1e-10)


@given(models, st.floats(-1.0, 1.0), st.booleans())
def test_without_jumps_it_is_black_76(model, moneyness, is_call):
    model = {**model, "jump_intensities": 0.0}
    contract = {
        "forwards": 100.0,
        "strikes": 100.0 * math.exp(moneyness),
        "years_to_expiry": model["years_to_expiry"],
        "volatilities": model["volatilities"],
        "rates": 0.05,
        "is_call": is_call,
    }
    black = black_76(**contract)
    found = merton_jump_diffusion(**{**model, **contract})
    for name in ("values", "deltas", "gammas", "vegas", "thetas", "rhos"):
        # Black-76 subtracts its two legs: its error is absolute
        assert getattr(found, name) == pytest.approx(getattr(black, name), rel=1e-9, abs=1e-11)
    assert found.truncation_errors == 0.0


@given(models, st.floats(-1.5, 1.5), st.floats(-0.1, 0.2))
def test_put_call_parity(model, moneyness, rate):
    strike = 100.0 * math.exp(moneyness)
    call = merton_jump_diffusion(forwards=100.0, strikes=strike, **model, rates=rate, is_call=True)
    put = merton_jump_diffusion(forwards=100.0, strikes=strike, **model, rates=rate, is_call=False)
    discount = math.exp(-rate * model["years_to_expiry"])
    assert call.values - put.values == pytest.approx(discount * (100.0 - strike), abs=3e-11)
    assert call.deltas - put.deltas == pytest.approx(discount, abs=1e-12)
    assert call.gammas == pytest.approx(put.gammas, rel=1e-9)


@given(models)
def test_the_forward_is_a_martingale(model):
    """A call struck at nearly nothing is worth the forward less the strike."""
    found = merton_jump_diffusion(forwards=1.0, strikes=1e-30, **model, is_call=True)
    assert found.values == pytest.approx(1.0, abs=1e-13)
    assert found.deltas == pytest.approx(1.0, abs=1e-13)


def test_greeks_are_the_derivatives():
    strikes = np.array([50.0, 80.0, 100.0, 125.0, 200.0])

    def at(**changed):
        contract = {"forwards": 100.0, "strikes": strikes, "years_to_expiry": 0.5, "rates": 0.03, **MODEL}
        return merton_jump_diffusion(**{**contract, **changed}, is_call=strikes > 90.0)

    def slope(name, figure, value, h):
        up, down = at(**{name: value + h}), at(**{name: value - h})
        return (getattr(up, figure) - getattr(down, figure)) / (2.0 * h)

    found = at()
    cases = [
        (found.deltas, slope("forwards", "values", 100.0, 1e-2)),
        (found.gammas, slope("forwards", "deltas", 100.0, 1e-2)),
        (found.vegas, slope("volatilities", "values", 0.3, 1e-4)),
        (found.thetas, -slope("years_to_expiry", "values", 0.5, 1e-5)),
        (found.rhos, slope("rates", "values", 0.03, 1e-5)),
    ]
    for analytic, difference in cases:
        np.testing.assert_allclose(analytic, difference, rtol=1e-5)


def test_limits():
    none = {**MODEL, "years_to_expiry": 0.0}
    found = merton_jump_diffusion(forwards=100.0, strikes=[90.0, 100.0, 110.0], **none, is_call=True)
    assert found.values.tolist() == [10.0, 0.0, 0.0]
    assert found.deltas.tolist() == [1.0, 0.5, 0.0]
    assert found.statuses.tolist() == [MertonStatus.VALID, MertonStatus.AT_KINK, MertonStatus.VALID]
    only_jumps = {**MODEL, "volatilities": 0.0, "jump_volatilities": 0.0, "years_to_expiry": 1.0}
    found = merton_jump_diffusion(forwards=1.0, strikes=0.7, **only_jumps, is_call=False)
    rise = -2.0 * math.expm1(-0.1)  # -λm: what the forward gains while it does not jump
    lows = [math.exp(rise - 0.1 * n) for n in range(40)]
    chances = [math.exp(-2.0) * 2.0**n / math.factorial(n) for n in range(40)]
    expected = sum(chance * max(0.7 - low, 0.0) for chance, low in zip(chances, lows, strict=True))
    assert found.values == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"forwards": math.nan}, MertonStatus.NOT_FINITE),
        ({"forwards": 0.0}, MertonStatus.FORWARD_NOT_POSITIVE),
        ({"strikes": 0.0}, MertonStatus.STRIKE_NOT_POSITIVE),
        ({"years_to_expiry": -1.0}, MertonStatus.TIME_NEGATIVE),
        ({"volatilities": -0.1}, MertonStatus.VOLATILITY_NEGATIVE),
        ({"jump_intensities": -0.1}, MertonStatus.INTENSITY_NEGATIVE),
        ({"jump_volatilities": -0.1}, MertonStatus.JUMP_VOLATILITY_NEGATIVE),
        ({"jump_intensities": 501.0}, MertonStatus.TOO_MANY_JUMPS),
        ({"mean_log_jumps": 6.0}, MertonStatus.TOO_MANY_JUMPS),
        ({"rates": -800.0}, MertonStatus.OUT_OF_RANGE),
    ],
)
def test_parameters_are_named_by_what_is_wrong_with_them(changed, status):
    contract = {"forwards": 100.0, "strikes": 100.0, "years_to_expiry": 1.0, "rates": 0.0, **MODEL}
    found = merton_jump_diffusion(**{**contract, **changed}, is_call=True)
    assert found.statuses == status
    assert not found.usable
    assert all(float(figure) == 0.0 for figure in found[:-1])


@given(st.lists(st.floats(), min_size=8, max_size=8), st.booleans())
def test_never_a_nan(numbers, is_call):
    forward, strike, rate, years, *model = numbers
    found = merton_jump_diffusion(
        forwards=forward,
        strikes=strike,
        rates=rate,
        years_to_expiry=years,
        **dict(zip(MODEL, model, strict=True)),
        is_call=is_call,
    )
    assert all(np.isfinite(figure) for figure in found)


def test_shapes_broadcast_and_a_slice_computes_the_same_bits():
    strikes, years = np.linspace(50.0, 150.0, 11)[:, None], np.array([0.1, 0.5, 1.0])
    whole = merton_jump_diffusion(
        forwards=100.0, strikes=strikes, years_to_expiry=years, **MODEL, is_call=True
    )
    assert whole.values.shape == (11, 3)
    part = merton_jump_diffusion(
        forwards=100.0, strikes=strikes[::2, 0], years_to_expiry=0.5, **MODEL, is_call=True
    )
    for ours, theirs in zip(part, whole, strict=True):
        np.testing.assert_array_equal(ours, theirs[::2, 1])
