"""A surface between and beyond its expiries, and how it moves with the underlying."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.quant.black_scholes import black_76
from app.quant.surface import (
    LOCAL_VOLATILITY,
    STICKY_DELTA,
    STICKY_STRIKE,
    RawSvi,
    SurfaceStatus,
    VolatilitySurface,
    durrleman_densities,
    moved,
    parity_forward,
    smile_deltas,
    total_variances,
)

YEARS = np.array([0.02, 0.1, 0.5])
FORWARDS = np.array([50_000.0, 50_500.0, 52_000.0])
ROWS = np.array([
    [0.002, 0.03, -0.2, 0.01, 0.06],
    [0.01, 0.08, -0.1, 0.02, 0.2],
    [0.06, 0.2, 0.05, 0.05, 0.5],
])  # fmt: skip
SURFACE = VolatilitySurface(YEARS, FORWARDS, ROWS)

strikes = st.floats(5_000.0, 300_000.0)
times = st.floats(0.0, 3.0)


def test_at_its_expiries_it_is_its_slices():
    grid = np.geomspace(10_000.0, 200_000.0, 50)
    for index, years in enumerate(YEARS):
        found = SURFACE.evaluate(strikes=grid, years_to_expiry=years)
        expected = total_variances(log_moneyness=np.log(grid / FORWARDS[index]), slices=RawSvi(*ROWS[index]))
        np.testing.assert_allclose(found.total_variances, expected, rtol=1e-12)
        np.testing.assert_allclose(found.volatilities, np.sqrt(expected / years), rtol=1e-12)
        assert np.all(found.statuses == SurfaceStatus.INTERPOLATED)


@given(strikes, st.floats(0.02, 0.5))
def test_between_expiries_total_variance_is_linear_at_the_same_moneyness(strike: float, years: float):
    forward = float(SURFACE.forwards_at(years))
    k = np.log(strike / forward)
    slices = [float(total_variances(log_moneyness=k, slices=RawSvi(*row))) for row in ROWS]
    expected = np.interp(years, YEARS, slices)
    found = SURFACE.evaluate(strikes=strike, years_to_expiry=years)
    assert float(found.total_variances) == pytest.approx(expected, rel=1e-11)


@given(st.floats(-1.5, 1.5), times, times)
def test_total_variance_never_falls_with_time(k: float, one: float, other: float):
    sooner, later = sorted((one, other))
    found = SURFACE.evaluate(strikes=np.exp(k), years_to_expiry=[sooner, later], forwards=1.0).total_variances
    assert found[0] <= found[1] * (1.0 + 1e-12)


def test_before_the_first_expiry_volatilities_stay_also_at_no_time_at_all():
    found = SURFACE.evaluate(strikes=48_000.0, years_to_expiry=[0.0, 0.01, 0.02], forwards=50_000.0)
    np.testing.assert_allclose(found.volatilities, found.volatilities[2], rtol=1e-14)
    assert found.total_variances[0] == 0.0
    assert found.statuses.tolist() == [1, 1, 0]


def test_after_the_last_expiry_the_volatility_at_the_forward_stays_and_the_smile_flattens():
    found = SURFACE.evaluate(strikes=52_000.0, years_to_expiry=[0.5, 2.0])
    np.testing.assert_allclose(found.volatilities[1], found.volatilities[0], rtol=1e-14)
    assert abs(found.skews[1]) < abs(found.skews[0])
    assert found.statuses.tolist() == [0, SurfaceStatus.AFTER_LAST_EXPIRY]


@pytest.mark.parametrize("years", [0.001, 0.02, 0.05, 0.1, 0.3, 0.5, 1.0, 5.0])
def test_no_butterfly_at_any_time_of_this_surface(years: float):
    """By finite differences of what is evaluated; the slices themselves are free of them."""
    k, step = np.linspace(-1.0, 1.0, 201), 1e-4
    below, w, above = (
        SURFACE.evaluate(strikes=np.exp(k + shift), years_to_expiry=years, forwards=1.0).total_variances
        for shift in (-step, 0.0, step)
    )
    first, second = (above - below) / (2 * step), (above - 2 * w + below) / step**2
    densities = (1 - k * first / (2 * w)) ** 2 - first**2 / 4 * (1 / w + 0.25) + second / 2
    assert densities.min() > 0.0
    if years == YEARS[0]:
        exact = durrleman_densities(log_moneyness=k, slices=RawSvi(*ROWS[0]))
        np.testing.assert_allclose(densities, exact, atol=1e-5)


@given(strikes, st.floats(0.005, 2.0))
def test_skew_is_the_slope_of_the_smile(strike: float, years: float):
    step = 1e-6
    found = SURFACE.evaluate(strikes=strike * np.exp([-step, 0.0, step]), years_to_expiry=years)
    slope = (found.volatilities[2] - found.volatilities[0]) / (2 * step)
    assert found.skews[1] == pytest.approx(slope, abs=1e-7)


def test_elements_do_not_depend_on_their_neighbours():
    rng = np.random.default_rng(7)
    asked = rng.uniform(10_000, 200_000, 500), rng.uniform(0.0, 1.0, 500)
    whole = SURFACE.evaluate(strikes=asked[0], years_to_expiry=asked[1]).volatilities
    strided = SURFACE.evaluate(strikes=asked[0][::-3], years_to_expiry=asked[1][::-3]).volatilities
    np.testing.assert_array_equal(strided, whole[::-3])


@pytest.mark.parametrize(
    ("strike", "years", "forward", "status"),
    [
        (np.nan, 0.1, 1.0, SurfaceStatus.NOT_FINITE),
        (1.0, np.inf, 1.0, SurfaceStatus.NOT_FINITE),
        (0.0, 0.1, 1.0, SurfaceStatus.STRIKE_NOT_POSITIVE),
        (1.0, 0.1, -1.0, SurfaceStatus.FORWARD_NOT_POSITIVE),
        (1.0, -0.1, 1.0, SurfaceStatus.TIME_NEGATIVE),
    ],
)
def test_bad_input_has_a_status_and_zeros(strike, years, forward, status):
    found = SURFACE.evaluate(strikes=[1.0, strike], years_to_expiry=[0.1, years], forwards=[1.0, forward])
    assert found.statuses.tolist() == [SurfaceStatus.INTERPOLATED, status]
    assert (found.volatilities[1], found.total_variances[1], found.skews[1]) == (0.0, 0.0, 0.0)
    assert found.usable.tolist() == [True, False]


def test_a_surface_without_slices_or_with_an_impossible_one_says_so():
    empty = VolatilitySurface(np.empty(0), np.empty(0), np.empty((0, 5)))
    assert empty.evaluate(strikes=1.0, years_to_expiry=1.0).statuses == SurfaceStatus.NO_SLICES
    sunk = VolatilitySurface(YEARS[:1], FORWARDS[:1], np.array([[-1.0, 0.1, 0.0, 0.0, 0.1]]))
    found = sunk.evaluate(strikes=50_000.0, years_to_expiry=0.02)
    assert (found.statuses, found.volatilities) == (SurfaceStatus.VARIANCE_NOT_POSITIVE, 0.0)


@pytest.mark.parametrize(
    ("years", "forwards", "rows"),
    [
        (YEARS[::-1], FORWARDS, ROWS),
        (YEARS, -FORWARDS, ROWS),
        (YEARS, FORWARDS, ROWS * np.nan),
        (YEARS, FORWARDS, ROWS[:2]),
    ],
)
def test_what_cannot_be_a_surface_is_refused(years, forwards, rows):
    with pytest.raises(ValueError, match="surface"):
        VolatilitySurface(years, forwards, rows)


@given(st.floats(30_000.0, 80_000.0), st.floats(0.02, 0.5), st.floats(0.7, 1.4))
def test_where_the_smile_goes(strike: float, years: float, factor: float):
    def volatility(ratio: float, asked: float) -> float:
        shifted = moved(surface=SURFACE, forward_factors=factor, skew_stickiness_ratio=ratio)
        return float(shifted.evaluate(strikes=asked, years_to_expiry=years).volatilities)

    before = float(SURFACE.evaluate(strikes=strike, years_to_expiry=years).volatilities)
    assert volatility(STICKY_STRIKE, strike) == pytest.approx(before, rel=1e-12)
    assert volatility(STICKY_DELTA, strike * factor) == pytest.approx(before, rel=1e-11)
    assert volatility(LOCAL_VOLATILITY, strike / factor) == pytest.approx(before, rel=1e-11)


@pytest.mark.parametrize("ratio", [STICKY_DELTA, STICKY_STRIKE, LOCAL_VOLATILITY, 1.4])
def test_smile_deltas_are_the_slope_of_the_price_when_forward_and_smile_move(ratio: float):
    grid, step = np.array([30_000.0, 45_000.0, 50_500.0, 56_000.0, 90_000.0]), 1e-5
    years, is_call = 0.1, np.array([False, False, True, True, True])

    def values(factor: float) -> np.ndarray:
        surface = moved(surface=SURFACE, forward_factors=factor, skew_stickiness_ratio=ratio)
        volatilities = surface.evaluate(strikes=grid, years_to_expiry=years).volatilities
        forwards = SURFACE.forwards_at(years) * factor
        return black_76(
            forwards=forwards, strikes=grid, years_to_expiry=years, volatilities=volatilities, is_call=is_call
        ).values

    forward = float(SURFACE.forwards_at(years))
    slopes = (values(1.0 + step) - values(1.0 - step)) / (2 * step * forward)
    found = smile_deltas(
        surface=SURFACE, strikes=grid, years_to_expiry=years, is_call=is_call, skew_stickiness_ratio=ratio
    )
    np.testing.assert_allclose(found.smile_deltas, slopes, atol=1e-8)
    np.testing.assert_allclose(found.smile_deltas - found.net_smile_deltas, values(1.0) / forward, rtol=1e-12)
    assert found.usable.all()
    if ratio == STICKY_STRIKE:
        np.testing.assert_array_equal(found.smile_deltas, found.black_deltas)


def test_smile_deltas_of_bad_input_are_zero():
    found = smile_deltas(surface=SURFACE, strikes=[-1.0, 50_000.0], years_to_expiry=0.1, is_call=True)
    assert found.usable.tolist() == [False, True]
    assert found.smile_deltas[0] == found.net_smile_deltas[0] == 0.0


@pytest.mark.parametrize("in_coin", [True, False])
def test_the_forward_that_a_chain_implies(in_coin: bool):
    forward, grid, half = 50_500.0, np.arange(40_000.0, 62_000.0, 2_000.0), 20.0
    priced = [
        black_76(
            forwards=forward, strikes=grid, years_to_expiry=0.1, volatilities=0.6, is_call=is_call
        ).values
        for is_call in (True, False)
    ]
    quotes = [(values - half, values + half) for values in priced]
    quotes[0][0][3] += 900.0  # a stale call bid: with its put it would be free money
    quotes[1][0][5] = 0.0  # a put that nobody bids for
    scale = forward if in_coin else 1.0
    found = parity_forward(
        strikes=grid,
        call_bids=quotes[0][0] / scale,
        call_asks=quotes[0][1] / scale,
        put_bids=quotes[1][0] / scale,
        put_asks=quotes[1][1] / scale,
        coin_settled=in_coin,
    )
    assert found.lowest <= forward <= found.highest
    assert abs(found.forward - forward) < half
    assert (found.agreeing, found.strikes) == (9, 9)  # the stale pair contradicts itself


def test_no_quotes_imply_no_forward():
    nothing = np.zeros(3)
    found = parity_forward(
        strikes=[1.0, 2.0, 3.0],
        call_bids=nothing,
        call_asks=nothing,
        put_bids=nothing,
        put_asks=nothing,
        coin_settled=True,
    )
    assert found == (0.0, 0.0, 0.0, 0, 0)
