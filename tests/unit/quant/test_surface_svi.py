"""SVI slices: what their parametrisations promise, and arbitrage found wherever it is."""

import math

import mpmath
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from app.quant.surface import (
    JumpWings,
    RawSvi,
    arbitrage_report,
    durrleman_densities,
    from_jump_wings,
    to_jump_wings,
    total_variances,
)

# Axel Vogt's slice, T = 1, which has a butterfly: Gatheral and Jacquier (2014), sections 3.3 and 5.1, printed
# as raw SVI (a, b, m, ρ, σ) = (-0.0410, 0.1331, 0.3586, 0.3060, 0.4153) and as the jump wings below. They
# cure it by other c = p + 2ψ and ṽ = v 4pc / (p + c)².
VOGT = RawSvi(-0.0410, 0.1331, 0.3060, 0.3586, 0.4153)
VOGT_WINGS = JumpWings(0.01742625, -0.1752111, 0.6997381, 1.316798, 0.0116249)
VOGT_CURED = VOGT_WINGS._replace(right_slopes=0.3493158, minimum_variances=0.01548182)

_SINH = np.sinh(np.linspace(-8.0, 8.0, 4001))

slices = st.builds(
    RawSvi,
    st.floats(-0.1, 0.3),
    st.floats(0.0, 1.2),
    st.floats(-1.0, 1.0),
    st.floats(-0.5, 0.5),
    st.floats(0.005, 1.0),
)


def _grid(svi: RawSvi) -> np.ndarray:
    return np.asarray(svi.centres) + np.asarray(svi.widths) * _SINH


def _pair(earlier: RawSvi, later: RawSvi) -> RawSvi:
    return RawSvi(*np.array([earlier, later]).T)


def test_vogts_slice_in_jump_wings_as_published():
    wings = to_jump_wings(slices=VOGT, years_to_expiry=1.0)
    np.testing.assert_allclose(np.array(wings), VOGT_WINGS, rtol=2e-6)


def test_vogts_slice_has_a_butterfly_and_its_published_cure_has_none():
    report = arbitrage_report(slices=VOGT)
    assert report.butterflies.tolist() == [True]
    assert 0.5 < report.butterfly_log_moneyness[0] < 1.2  # figure 2 of the paper: g is negative around 0.8
    assert report.least_densities[0] < -0.01
    cured = from_jump_wings(wings=VOGT_CURED, years_to_expiry=1.0)
    assert arbitrage_report(slices=cured).free


@given(slices, st.floats(0.003, 3.0))
def test_jump_wings_and_back(svi: RawSvi, years: float):
    assume(svi.angles > 1e-3 and abs(svi.rotations) < 0.999)
    assume(total_variances(log_moneyness=0.0, slices=svi) > 1e-4)
    beta = svi.centres / math.hypot(svi.centres, svi.widths)
    assume(abs(beta - svi.rotations) > 1e-2)  # at the vertex the figures do not say how round it is
    again = from_jump_wings(wings=to_jump_wings(slices=svi, years_to_expiry=years), years_to_expiry=years)
    np.testing.assert_allclose(np.array(again, dtype=float), np.array(svi), rtol=1e-7, atol=1e-9)


@given(slices)
def test_density_is_that_of_fifty_digit_derivatives(svi: RawSvi):
    assume(svi.levels + svi.angles * svi.widths * math.sqrt(1.0 - svi.rotations**2) > 1e-3)
    k = svi.centres + 0.7 * svi.widths

    def w(x):
        a, b, rho, m, s = map(mpmath.mpf, svi)
        return a + b * (rho * (x - m) + mpmath.sqrt((x - m) ** 2 + s * s))

    with mpmath.workdps(50):
        level, first, second = w(k), mpmath.diff(w, k), mpmath.diff(w, k, 2)
        exact = (1 - k * first / (2 * level)) ** 2 - first**2 / 4 * (1 / level + 0.25) + second / 2
    got = float(durrleman_densities(log_moneyness=k, slices=svi))
    assert got == pytest.approx(float(exact), rel=1e-10, abs=1e-11)


@given(slices)
def test_a_butterfly_found_is_there_and_one_not_found_is_on_no_grid(svi: RawSvi):
    report = arbitrage_report(slices=svi)
    if svi.levels + svi.angles * svi.widths * math.sqrt(1.0 - svi.rotations**2) <= 0.0:
        assert report.butterflies[0]
        return
    assume(total_variances(log_moneyness=_grid(svi), slices=svi).min() > 1e-12)  # one over less overflows
    if not report.butterflies[0]:
        assert durrleman_densities(log_moneyness=_grid(svi), slices=svi).min() > -1e-9
        return
    place = report.butterfly_log_moneyness[0]
    if np.isfinite(place):
        assert durrleman_densities(log_moneyness=place, slices=svi) < 1e-9
    else:
        assert svi.angles * (1.0 + np.sign(place) * svi.rotations) > 2.0 - 1e-9  # Lee


@given(slices, slices)
def test_a_crossing_found_is_there_and_one_not_found_is_on_no_grid(earlier: RawSvi, later: RawSvi):
    def gap(k: np.ndarray | float) -> np.ndarray:
        return total_variances(log_moneyness=k, slices=later) - total_variances(
            log_moneyness=k, slices=earlier
        )

    report = arbitrage_report(slices=_pair(earlier, later))
    if not report.calendars[1]:
        for grid in (_grid(earlier), _grid(later)):
            assert np.all(gap(grid) > -1e-9 * (1.0 + np.abs(grid)))
        return
    place = report.calendar_log_moneyness[1]
    if np.isfinite(place):
        assert gap(place) < 1e-9 * (1.0 + abs(place))
    else:
        side = np.sign(place)
        slopes = [each.angles * (1.0 + side * each.rotations) for each in (earlier, later)]
        assert slopes[1] < slopes[0] + 1e-9


@given(slices)
def test_a_slice_may_equal_or_lie_above_the_one_before(svi: RawSvi):
    assert not arbitrage_report(slices=_pair(svi, svi)).calendars[1]
    assert not arbitrage_report(slices=_pair(svi, svi._replace(levels=svi.levels + 1e-6))).calendars[1]
    assert arbitrage_report(slices=_pair(svi, svi._replace(levels=svi.levels - 1e-3))).calendars[1]


def test_a_wing_steeper_than_lees_bound_is_a_butterfly_at_infinity():
    report = arbitrage_report(slices=RawSvi(0.1, 1.05, 0.0, 0.0, 3.0))
    assert not report.butterflies[0]
    report = arbitrage_report(slices=RawSvi(0.1, 1.05, 0.95, 0.0, 3.0))
    assert report.butterflies[0]
    assert not report.free
