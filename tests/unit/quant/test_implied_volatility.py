"""The volatility behind a premium: against 50 digits, round trips, conditioning, bounds, statuses."""

import math

import mpmath
import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from app.quant.black_scholes import black_76, black_scholes_merton, coin_settled
from app.quant.implied_volatility import (
    ImpliedStatus,
    black_76_implied_volatilities,
    black_scholes_implied_volatilities,
    coin_settled_implied_volatilities,
)
from app.quant.normalised_black import mills_ratio, value_over_vega

mpmath.mp.dps = 50
EPSILON = 2.0**-53
SMALLEST_PREMIUM = 1e-290  # of the forward

# The stated domain: moneyness e^±3, total volatility 1e-4…4, small and large values of both alike.
log_moneyness = st.one_of(
    st.floats(-3.0, 3.0),
    st.builds(lambda sign, power: sign * 10.0**power, st.sampled_from([-1.0, 1.0]), st.floats(-12.0, 0.0)),
)
total_volatilities = st.one_of(st.floats(1e-4, 4.0), st.floats(-4.0, math.log10(4.0)).map(lambda p: 10.0**p))
sides = st.booleans()


def _black(forward: float, strike: float, total: float, is_call: bool) -> mpmath.mpf:
    sign = 1 if is_call else -1
    forward, strike, total = (mpmath.mpf(each) for each in (forward, strike, total))
    d1 = mpmath.log(forward / strike) / total + total / 2
    return sign * (forward * mpmath.ncdf(sign * d1) - strike * mpmath.ncdf(sign * (d1 - total)))


def _condition(forward: float, strike: float, total: float, premium: mpmath.mpf) -> float:
    d1 = mpmath.log(mpmath.mpf(forward) / strike) / total + mpmath.mpf(total) / 2
    return float(premium / (total * forward * mpmath.npdf(d1)))


@settings(max_examples=400)
@given(st.floats(1e-3, 1e6), log_moneyness, total_volatilities)
@example(1.0, 0.0, 1e-4)
@example(1.0, 0.0, 4.0)
@example(1.0, -3.0, 4.0)
@example(1.0, 3.0, 0.09)
@example(1.0, -1e-12, 1e-4)
def test_out_of_the_money_the_volatility_is_recovered_to_its_last_digits(forward, moneyness, total):
    """The bar is 1e-12; what is held is 1e-14. The premium's rounding is part of the error."""
    strike = forward * math.exp(-moneyness)
    is_call = strike >= forward
    exact = _black(forward, strike, total, is_call)
    assume(exact > SMALLEST_PREMIUM * forward)
    found = black_76_implied_volatilities(
        premiums=float(exact), forwards=forward, strikes=strike, years_to_expiry=1.0, is_call=is_call
    )
    assert found.statuses == ImpliedStatus.VALID
    condition = _condition(forward, strike, total, exact)
    assert condition < 4.5
    assert found.condition_numbers == pytest.approx(condition, rel=1e-9)
    assert abs(float(found.volatilities) / total - 1.0) <= 3e-15 + 8.0 * EPSILON * condition <= 1e-14


@settings(max_examples=200)
@given(st.floats(1e-3, 1e6), st.floats(-3.0, 3.0), st.floats(1e-3, 4.0), sides)
def test_in_the_money_as_far_as_the_premium_can_tell(forward, moneyness, total, is_call):
    strike = forward * math.exp(-moneyness)
    exact = _black(forward, strike, total, is_call)
    found = black_76_implied_volatilities(
        premiums=float(exact), forwards=forward, strikes=strike, years_to_expiry=1.0, is_call=is_call
    )
    if found.statuses != ImpliedStatus.VALID:
        assert int(found.statuses) in {ImpliedStatus.AT_INTRINSIC, ImpliedStatus.BELOW_INTRINSIC}
        intrinsic = abs(mpmath.mpf(forward) - strike)
        assert exact < 1e-300 or exact - intrinsic <= 4.0 * EPSILON * max(forward, strike)
        return
    change = 8.0 * EPSILON * _condition(forward, strike, total, exact)
    if change < 1e-4:  # beyond, the first order says too little
        assert abs(float(found.volatilities) / total - 1.0) <= 3e-15 + change


def test_the_whole_domain_by_a_grid():
    """Every moneyness and volatility that the bar names, priced from the kernel itself."""
    x = np.concatenate([np.linspace(-3.0, 0.0, 301), -np.logspace(-12.0, -2.0, 41)])
    s = np.logspace(-4.0, math.log10(4.0), 500)
    betas = np.array([[value_over_vega(each, total) for total in s] for each in x])
    h, t = x[:, None] / s, 0.5 * s
    betas = betas * np.exp(-0.5 * (h * h + t * t)) / math.sqrt(2.0 * math.pi)
    moneyness = np.broadcast_to(np.exp(x)[:, None], betas.shape)
    premiums = betas * np.sqrt(moneyness)  # calls on a forward below the strike of 1
    inside = premiums > SMALLEST_PREMIUM * moneyness
    found = black_76_implied_volatilities(
        premiums=premiums[inside],
        forwards=moneyness[inside],
        strikes=1.0,
        years_to_expiry=1.0,
        is_call=True,
    )
    assert np.sum(inside) > 85_000
    assert np.all(found.statuses == ImpliedStatus.VALID)
    # exp(x) and ln(F) cost the moneyness of the small |x| an absolute 1e-16, which weighs as 1e-16/s
    errors = np.abs(found.volatilities / np.broadcast_to(s, betas.shape)[inside] - 1.0)
    assert np.all(errors <= 1e-14 + 3e-16 / np.broadcast_to(s, betas.shape)[inside])


def test_mills_ratio_agrees_with_fifty_digits():
    for z in -np.concatenate([[0.0], np.logspace(-8.0, 4.0, 400)]):
        scaled = -mpmath.mpf(z) / mpmath.sqrt(2)
        exact = mpmath.sqrt(mpmath.pi / 2) * mpmath.exp(scaled**2) * mpmath.erfc(scaled)
        assert abs(mills_ratio(z) / exact - 1) <= 1.5e-15
    assert mills_ratio(-1e12) == 1e-12
    assert mills_ratio(2.0) == pytest.approx(float(mpmath.ncdf(2) / mpmath.npdf(2)), rel=1e-15)


@given(st.floats(1.0, 1e5), st.floats(-1.0, 1.0), st.floats(0.01, 2.0), st.floats(0.05, 2.0), sides)
def test_the_three_conventions_return_what_their_pricers_took(spot, moneyness, years, volatility, is_call):
    strike, rate, dividend_yield = spot * math.exp(-moneyness), 0.07, 0.03
    shared = {"strikes": strike, "years_to_expiry": years, "is_call": is_call}
    on_spot = {**shared, "spots": spot, "rates": rate, "dividend_yields": dividend_yield}
    on_forward = {**shared, "forwards": spot, "rates": rate}
    for found in (
        black_scholes_implied_volatilities(
            premiums=black_scholes_merton(**on_spot, volatilities=volatility).values, **on_spot
        ),
        black_76_implied_volatilities(
            premiums=black_76(**on_forward, volatilities=volatility).values, **on_forward
        ),
        coin_settled_implied_volatilities(
            premiums_in_coin=coin_settled(**on_forward, volatilities=volatility).values_in_coin, **on_forward
        ),
    ):
        # the pricer's own rounding, absolute in the size of its two legs, is what limits the way back
        legs = max(1.0, math.exp(abs(moneyness)))
        if found.statuses == ImpliedStatus.VALID and found.condition_numbers < 1e6:
            d1 = (moneyness + (rate - dividend_yield) * years) / (volatility * math.sqrt(years))
            if abs(d1) < 4.0:
                allowed = 1e-14 + 40.0 * EPSILON * legs * math.exp(0.5 * (abs(d1) + 1.5) ** 2)
                assert float(found.volatilities) == pytest.approx(volatility, rel=allowed / math.sqrt(years))


@given(st.floats(-2.0, 2.0), st.floats(0.02, 3.0), sides)
def test_volatility_rises_with_the_premium(moneyness, total, is_call):
    exact = float(_black(1.0, math.exp(-moneyness), total, is_call))
    found = black_76_implied_volatilities(
        premiums=exact * np.array([1.0 - 1e-7, 1.0, 1.0 + 1e-7]),
        forwards=1.0,
        strikes=math.exp(-moneyness),
        years_to_expiry=1.0,
        is_call=is_call,
    )
    if np.all(found.statuses == ImpliedStatus.VALID) and found.condition_numbers[1] < 1e4:
        assert np.all(np.diff(found.volatilities) > 0.0)
        slope = (found.volatilities[2] - found.volatilities[0]) / (2e-7 * found.volatilities[1])
        assert slope == pytest.approx(found.condition_numbers[1], rel=1e-2)


def test_what_has_no_volatility_says_why():
    nan, inf = math.nan, math.inf
    cases = [
        (10.0, 100.0, 90.0, 1.0, True, ImpliedStatus.AT_INTRINSIC),
        (0.0, 100.0, 110.0, 1.0, True, ImpliedStatus.AT_INTRINSIC),
        (9.99, 100.0, 90.0, 1.0, True, ImpliedStatus.BELOW_INTRINSIC),
        (-1e-9, 100.0, 110.0, 1.0, True, ImpliedStatus.BELOW_INTRINSIC),
        (100.0, 100.0, 110.0, 1.0, True, ImpliedStatus.ABOVE_MAXIMUM),
        (100.0, 100.0, 110.0, 1.0, False, ImpliedStatus.VALID),
        (110.0, 100.0, 110.0, 1.0, False, ImpliedStatus.ABOVE_MAXIMUM),
        (1e9, 100.0, 110.0, 1.0, True, ImpliedStatus.ABOVE_MAXIMUM),
        (nan, 100.0, 110.0, 1.0, True, ImpliedStatus.NOT_FINITE),
        (1.0, inf, 110.0, 1.0, True, ImpliedStatus.NOT_FINITE),
        (1.0, 0.0, 110.0, 1.0, True, ImpliedStatus.UNDERLYING_NOT_POSITIVE),
        (1.0, 100.0, -1.0, 1.0, True, ImpliedStatus.STRIKE_NOT_POSITIVE),
        (1.0, 100.0, 110.0, 0.0, True, ImpliedStatus.TIME_NOT_POSITIVE),
        (1.0, 1e308, 1e-308, 1.0, False, ImpliedStatus.ABOVE_MAXIMUM),
        (5e-324, 5e-324, 1e-320, 1.0, True, ImpliedStatus.ABOVE_MAXIMUM),
        (5e-324, 1e308, 1e308, 1.0, True, ImpliedStatus.OUT_OF_RANGE),
    ]
    premiums, forwards, strikes, years, calls, statuses = zip(*cases, strict=True)
    found = black_76_implied_volatilities(
        premiums=premiums, forwards=forwards, strikes=strikes, years_to_expiry=years, is_call=calls
    )
    assert found.statuses.tolist() == list(statuses)
    unusable = found.statuses != ImpliedStatus.VALID
    assert np.all(found.volatilities[unusable] == 0.0)
    assert np.all(found.condition_numbers[unusable] == 0.0)
    np.testing.assert_array_equal(found.usable, np.array(statuses) <= ImpliedStatus.AT_INTRINSIC)


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=5, max_size=5), sides)
def test_never_a_nan(numbers, is_call):
    premium, forward, strike, years, rate = numbers
    for found in (
        black_76_implied_volatilities(
            premiums=premium,
            forwards=forward,
            strikes=strike,
            years_to_expiry=years,
            rates=rate,
            is_call=is_call,
        ),
        coin_settled_implied_volatilities(
            premiums_in_coin=abs(premium),
            forwards=abs(forward),
            strikes=abs(strike),
            years_to_expiry=abs(years),
            is_call=is_call,
        ),
    ):
        assert math.isfinite(found.volatilities)
        assert math.isfinite(found.condition_numbers)


def test_shapes_broadcast_and_a_slice_computes_the_same_bits():
    strikes, years = np.linspace(50.0, 150.0, 21)[:, None], np.array([0.1, 0.5, 1.0])
    premiums = black_76(
        forwards=100.0, strikes=strikes, years_to_expiry=years, volatilities=0.6, is_call=strikes > 100
    ).values
    whole = black_76_implied_volatilities(
        premiums=premiums, forwards=100.0, strikes=strikes, years_to_expiry=years, is_call=strikes > 100
    )
    assert whole.volatilities.shape == (21, 3)
    part = black_76_implied_volatilities(
        premiums=premiums[::2, 1],
        forwards=100.0,
        strikes=strikes[::2, 0],
        years_to_expiry=0.5,
        is_call=strikes[::2, 0] > 100,
    )
    np.testing.assert_array_equal(part.volatilities, whole.volatilities[::2, 1])
